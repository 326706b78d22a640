//! A message that makes the peer close the link is found, and set aside so that the rest flows on. Pure.
//!
//! A close code is no evidence by itself: a peer may close for reasons of its own, or take nothing at all. So messages go
//! one at a time, and before the suspected one goes again another message is sent, the *control*. As a rule that is the
//! last message that the peer took: it has it already, and can take it again. Only when the peer takes the control and
//! closes after the suspect, `STRIKES` times, the suspect is to blame. Where the peer has not taken anything yet, the
//! control is a message of another priority; without one it is a message that waits behind the suspect: if the peer takes
//! that one, those before it are to blame.
//! Where the peer takes neither, nothing is set aside, and all is held.

use std::time::Duration;

use crate::ids::OutletId;
use crate::link::closing::Closing;
use crate::time::Time;

/// The suspect must make the peer close the link this often.
const STRIKES: u32 = 3;
/// Connections that end without an answer while one message is under way, until messages go several at a time again.
const STALLS: u32 = 3;
/// Messages behind the suspect that are tried in its place.
const BEHIND_MAX: usize = 8;
/// After the control nothing is sent for this long: a pong may come before the peer has looked into the message.
const SETTLE: Duration = Duration::from_secs(1);

/// A message of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageRef {
    /// The outlet that it belongs to.
    pub outlet: OutletId,
    /// Its number there.
    pub seq: u64,
}

/// The message that shows whether the peer takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Which message.
    pub message: MessageRef,
    /// How many entries were sent on this connection with it.
    pub ordinal: u64,
    /// Whether it waits behind the suspect; else the peer has it already.
    pub is_behind: bool,
}

/// What is to be sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Whatever there is room for.
    Usual,
    /// Nothing: the control is under way.
    Nothing,
    /// The last message that the peer took.
    Taken,
    /// Whatever waits in other outlets.
    Others,
    /// The message so far behind the suspect, once the peer has shown that it reads; without one the suspect.
    Behind(usize),
    /// The suspect, once the peer has shown that it reads.
    Suspect,
}

/// How carefully a link sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoisonDetector {
    /// How many more messages are sent one at a time.
    careful: usize,
    case: Option<Case>,
    control: Option<(Control, Stage)>,
    /// Whether the peer took anything but the suspect on this connection.
    passed: bool,
    /// Suspects, each with the last number behind it that was sent in its place.
    jumped: Vec<(MessageRef, u64)>,
}

/// How far the control is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    Taken { settled_at: Time },
    Settled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    suspect: MessageRef,
    /// The peer's words.
    reason: String,
    /// Times that the peer closed after the suspect although it had taken the control.
    strikes: u32,
    /// Times that it did so without a control.
    unproven: u32,
    /// Whether it did so too often for the peer to be one that takes others.
    is_blocked: bool,
    stalls: u32,
    /// Whether the last message that it took is of no use as the control.
    taken_failed: bool,
    /// Times that the peer closed after a message of another outlet, and the last one of those.
    others_failed: u32,
    other: Option<MessageRef>,
    /// Messages behind the suspect after which the peer closed as often.
    behind: Vec<MessageRef>,
    /// Times that it did so after the one behind those.
    behind_strikes: u32,
}

impl PoisonDetector {
    /// A connection came up.
    pub fn came_up(&mut self) {
        self.control = None;
        self.passed = false;
    }

    /// How many more messages may be in flight beside this number of them.
    pub fn room(&self, in_flight: usize) -> usize {
        if self.careful > 0 || self.case.is_some() { 1_usize.saturating_sub(in_flight) } else { usize::MAX }
    }

    /// The message that is suspected.
    pub fn suspect(&self) -> Option<MessageRef> {
        self.case.as_ref().map(|case| case.suspect)
    }

    /// What the next one behind stands for: the suspect, and those behind it that were tried before.
    pub fn skipped(&self) -> impl Iterator<Item = MessageRef> {
        self.case.iter().flat_map(|case| std::iter::once(case.suspect).chain(case.behind.iter().copied()))
    }

    /// The suspect, if the peer closes after it again and again and nothing shows that it takes anything else.
    pub fn blocked_by(&self) -> Option<MessageRef> {
        self.case.as_ref().filter(|case| case.is_blocked).map(|case| case.suspect)
    }

    /// What is to be sent next. `knows_taken` tells whether a message that the peer took is at hand.
    /// `others_wait` whether there is something to send in other outlets than the suspect's.
    pub fn next(&mut self, now: Time, knows_taken: bool, others_wait: bool) -> Next {
        let Some(case) = &self.case else { return Next::Usual };
        match &mut self.control {
            Some((_, Stage::UnderWay)) => return Next::Nothing,
            Some((_, Stage::Taken { settled_at })) if *settled_at > now => return Next::Nothing,
            Some((_, stage)) => *stage = Stage::Settled,
            None => {}
        }
        if self.passed {
            Next::Usual
        } else if knows_taken && !case.taken_failed {
            Next::Taken
        } else if others_wait && case.others_failed < STRIKES {
            Next::Others
        } else if case.unproven >= STRIKES {
            Next::Behind(case.behind.len())
        } else {
            Next::Suspect
        }
    }

    /// When the suspect may be sent.
    pub fn deadline(&self) -> Option<Time> {
        match self.control {
            Some((_, Stage::Taken { settled_at })) => Some(settled_at).filter(|_| self.case.is_some()),
            Some((_, Stage::UnderWay | Stage::Settled)) | None => None,
        }
    }

    /// The control is sent.
    pub fn sent(&mut self, control: Control) {
        if let Some(case) = self.case.as_ref().filter(|_| control.is_behind) {
            self.jumped.retain(|(suspect, _)| *suspect != case.suspect);
            self.jumped.push((case.suspect, control.message.seq));
        }
        self.control = Some((control, Stage::UnderWay));
    }

    /// The control that is under way.
    pub fn control(&self) -> Option<Control> {
        self.control.filter(|(_, stage)| *stage == Stage::UnderWay).map(|(control, _)| control)
    }

    /// The peer took the control. Returns those that are to blame, and the peer's words.
    pub fn control_passed(&mut self, now: Time) -> Option<(Vec<MessageRef>, String)> {
        let control = self.control()?;
        self.control = Some((control, Stage::Taken { settled_at: now + SETTLE }));
        self.passed = true;
        if !control.is_behind {
            return None;
        }
        let case = std::mem::take(self).case?;
        self.passed = true;
        Some((std::iter::once(case.suspect).chain(case.behind).collect(), case.reason))
    }

    /// The peer has everything up to and including a number of an outlet, from an earlier connection. Returns those that
    /// are to blame: it says so only after it took what waited behind them.
    pub fn resumed(&mut self, outlet: OutletId, seq: u64) -> Option<(Vec<MessageRef>, String)> {
        let tried = |(suspect, sent): &&(MessageRef, u64)| suspect.outlet == outlet && *sent <= seq;
        let (suspect, _) = *self.jumped.iter().find(tried)?;
        let case = std::mem::take(self)
            .case
            .unwrap_or_else(|| Case { reason: "the peer closed after it".to_owned(), ..Case::of(suspect) });
        let passed = case.behind.into_iter().filter(|behind| behind.outlet == outlet && behind.seq <= seq);
        Some((std::iter::once(suspect).chain(passed).collect(), case.reason))
    }

    /// Messages were confirmed; `acquitted` tells whether the suspect is among them.
    pub fn confirmed(&mut self, messages: u64, acquitted: bool) {
        self.careful = self.careful.saturating_sub(usize::try_from(messages).unwrap_or(usize::MAX));
        self.passed = true;
        if acquitted && let Some(case) = self.case.take() {
            self.jumped.retain(|(suspect, _)| *suspect != case.suspect);
        }
    }

    /// The link was lost with this number of messages in flight, of which `first` was sent first. Returns the one that is to
    /// blame.
    pub fn lost(
        &mut self,
        closing: Closing,
        error: &str,
        in_flight: usize,
        first: Option<MessageRef>,
    ) -> Option<MessageRef> {
        let control = self.control.take().filter(|_| in_flight == 0).map(|(control, _)| control);
        match (closing, control) {
            (Closing::Restarting | Closing::Busy { .. } | Closing::Unauthorized | Closing::TakenOver, _) => {
                None
            }
            (Closing::Plain, _) => {
                self.stalled(control, in_flight);
                None
            }
            (Closing::Message | Closing::TooLarge | Closing::Unexplained, Some(control)) => {
                self.refused(control);
                None
            }
            (Closing::Message | Closing::TooLarge | Closing::Unexplained, None) => {
                self.blame(error, in_flight, first?)
            }
        }
    }

    /// A peer that confirms only after more than one message would wait for ever.
    fn stalled(&mut self, control: Option<Control>, in_flight: usize) {
        self.careful = 0;
        let Some(case) = &mut self.case else { return };
        case.stalls += u32::from(control.is_some() || in_flight > 0);
        if case.stalls < STALLS {
            return;
        }
        case.stalls = 0;
        if control.is_some_and(|control| !control.is_behind) {
            // A peer need not say again that it has a message.
            case.taken_failed = true;
        } else {
            self.case = None;
        }
    }

    /// The peer closed after the control.
    fn refused(&mut self, control: Control) {
        let Some(case) = &mut self.case else { return };
        if !control.is_behind {
            case.taken_failed = true;
            return;
        }
        case.behind_strikes += 1;
        if case.behind_strikes < STRIKES {
            return;
        }
        case.behind_strikes = 0;
        case.behind.push(control.message);
        if case.behind.len() >= BEHIND_MAX {
            self.start_over();
        }
    }

    /// There is nothing more to try behind the suspect. It has another chance, or the one of another outlet is suspected.
    pub fn start_over(&mut self) {
        let Some(case) = &mut self.case else { return };
        let fresh = Case {
            is_blocked: case.is_blocked,
            reason: std::mem::take(&mut case.reason),
            ..Case::of(case.suspect)
        };
        *case = match case.other {
            None => Case { strikes: case.strikes, ..fresh },
            Some(other) => Case {
                suspect: other,
                unproven: STRIKES,
                others_failed: STRIKES,
                other: Some(case.suspect),
                ..fresh
            },
        };
    }

    fn blame(&mut self, error: &str, in_flight: usize, first: MessageRef) -> Option<MessageRef> {
        self.careful = self.careful.max(in_flight);
        if in_flight > 1 {
            return None;
        }
        if let Some(case) =
            self.case.as_mut().filter(|case| case.suspect.outlet != first.outlet && !self.passed)
        {
            case.others_failed += 1;
            case.other = Some(first);
            return None;
        }
        let known = self.case.take().filter(|case| case.suspect == first);
        let mut case = known.unwrap_or_else(|| Case::of(first));
        error.clone_into(&mut case.reason);
        case.stalls = 0;
        *(if self.passed { &mut case.strikes } else { &mut case.unproven }) += 1;
        case.is_blocked |= case.unproven >= STRIKES;
        if case.strikes < STRIKES {
            self.case = Some(case);
            return None;
        }
        *self = PoisonDetector::default();
        Some(first)
    }
}

impl Case {
    fn of(suspect: MessageRef) -> Case {
        Case {
            suspect,
            reason: String::new(),
            strikes: 0,
            unproven: 0,
            is_blocked: false,
            stalls: 0,
            taken_failed: false,
            others_failed: 0,
            other: None,
            behind: Vec::new(),
            behind_strikes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: MessageRef = of(7);

    const fn of(seq: u64) -> MessageRef {
        MessageRef { outlet: OutletId(0), seq }
    }

    fn control(seq: u64, is_behind: bool) -> Control {
        Control { message: of(seq), ordinal: 1, is_behind }
    }

    fn close(caution: &mut PoisonDetector, in_flight: usize, first: u64) -> Option<MessageRef> {
        let guilty = caution.lost(Closing::Message, "too big", in_flight, Some(of(first)));
        caution.came_up();
        guilty
    }

    fn at(seconds: u64) -> Time {
        Time::default() + Duration::from_secs(seconds)
    }

    /// The message before it passes, then the peer closes with it alone in flight.
    fn strike(caution: &mut PoisonDetector) -> Option<MessageRef> {
        if caution.next(at(0), true, false) == Next::Taken {
            caution.sent(control(6, false));
            assert_eq!(caution.next(at(0), true, false), Next::Nothing);
            assert_eq!(caution.control_passed(at(0)), None);
            assert_eq!(caution.next(at(0), true, false), Next::Nothing);
            assert_eq!(caution.deadline(), Some(at(1)));
        }
        assert_eq!((caution.next(at(1), true, false), caution.deadline()), (Next::Usual, None));
        assert_eq!((caution.room(0), caution.room(1)), (1, 0));
        close(caution, 1, BAD.seq)
    }

    fn suspected() -> PoisonDetector {
        let mut caution = PoisonDetector::default();
        assert_eq!(close(&mut caution, 40, 3), None);
        assert_eq!((caution.room(0), caution.room(1)), (1, 0), "it is looked for one at a time");
        caution.confirmed(4, false);
        assert_eq!(strike(&mut caution), None);
        assert_eq!(caution.suspect(), Some(BAD));
        caution
    }

    #[test]
    fn the_third_close_after_it_alone_sets_it_aside_if_another_passed_before_each() {
        let mut caution = suspected();
        assert_eq!(strike(&mut caution), None);
        assert_eq!(strike(&mut caution), Some(BAD));
        assert_eq!(caution.room(50), usize::MAX);
    }

    #[test]
    fn a_peer_that_takes_nothing_any_more_blames_nobody() {
        let mut caution = suspected();
        for _ in 0..100 {
            let alone = match caution.next(at(0), true, false) {
                Next::Taken => {
                    caution.sent(control(6, false));
                    0
                }
                Next::Behind(number) => {
                    caution.sent(control(8 + number as u64, true));
                    0
                }
                Next::Usual | Next::Nothing | Next::Others | Next::Suspect => 1,
            };
            assert_eq!(close(&mut caution, alone, BAD.seq), None);
        }
        assert_eq!(caution.blocked_by(), Some(BAD));
    }

    #[test]
    fn where_nothing_passed_yet_the_ones_behind_tell_which_is_to_blame() {
        let mut caution = PoisonDetector::default();
        for round in 0..3 {
            assert_eq!((caution.blocked_by(), caution.suspect().is_some()), (None, round > 0));
            assert_eq!(close(&mut caution, 1, BAD.seq), None);
        }
        assert_eq!((caution.next(at(0), false, false), caution.blocked_by()), (Next::Behind(0), Some(BAD)));
        for _ in 0..3 {
            assert_eq!(caution.next(at(0), false, false), Next::Behind(0));
            caution.sent(control(8, true));
            assert_eq!(close(&mut caution, 0, 8), None);
        }
        assert_eq!(caution.next(at(0), false, false), Next::Behind(1));
        caution.sent(control(9, true));
        assert_eq!(caution.control_passed(at(0)), Some((vec![BAD, of(8)], "too big".to_owned())));
        assert_eq!((caution.next(at(0), true, false), caution.room(9)), (Next::Usual, usize::MAX));
    }

    #[test]
    fn a_control_that_was_answered_and_then_makes_the_peer_close_does_not_count_against_the_suspect() {
        let mut caution = suspected();
        caution.sent(control(6, false));
        caution.control_passed(at(0));
        assert_eq!(close(&mut caution, 0, 0), None);
        assert_eq!(caution.next(at(0), true, false), Next::Suspect, "another control is of no use");
        caution.confirmed(1, true);
        assert_eq!((caution.suspect(), caution.next(at(0), true, false)), (None, Next::Usual));
    }

    #[test]
    fn a_suspect_that_is_confirmed_is_acquitted() {
        let mut caution = suspected();
        caution.confirmed(1, true);
        assert_eq!((caution.suspect(), caution.next(at(0), true, false)), (None, Next::Usual));
    }

    #[test]
    fn another_message_starts_the_count_anew() {
        let mut caution = PoisonDetector::default();
        for seq in [7, 8, 7, 8, 7, 8] {
            caution.confirmed(0, false);
            assert_eq!(close(&mut caution, 1, seq), None);
        }
    }

    #[test]
    fn a_link_that_is_lost_for_another_reason_blames_nobody_and_forgets_nothing() {
        for closing in [Closing::Plain, Closing::Restarting, Closing::Unauthorized] {
            let mut caution = suspected();
            assert_eq!(caution.lost(closing, "gone", 0, None), None);
            caution.came_up();
            assert_eq!(strike(&mut caution), None, "{closing:?}");
            assert_eq!(strike(&mut caution), Some(BAD), "{closing:?}");
        }
        let mut caution = PoisonDetector::default();
        assert_eq!(caution.lost(Closing::Unauthorized, "expired", 1, Some(BAD)), None);
        assert_eq!((caution.room(50), caution.suspect()), (usize::MAX, None));
    }

    #[test]
    fn a_message_that_the_peer_does_not_confirm_a_second_time_is_no_control() {
        let mut caution = suspected();
        for _ in 0..STALLS {
            assert_eq!(caution.next(at(0), true, false), Next::Taken);
            caution.sent(control(6, false));
            assert_eq!(caution.lost(Closing::Plain, "nothing confirmed", 0, None), None);
            caution.came_up();
        }
        assert_eq!(caution.next(at(0), true, false), Next::Suspect);
    }

    #[test]
    fn what_waits_in_another_outlet_is_the_control_until_the_peer_closes_after_it_as_well() {
        let mut caution = PoisonDetector::default();
        close(&mut caution, 1, BAD.seq);
        for _ in 0..STRIKES {
            assert_eq!(caution.next(at(0), false, true), Next::Others);
            assert_eq!(
                caution.lost(Closing::Message, "", 1, Some(MessageRef { outlet: OutletId(1), seq: 2 })),
                None
            );
            caution.came_up();
        }
        assert_eq!((caution.next(at(0), false, true), caution.suspect()), (Next::Suspect, Some(BAD)));
        for outlet in [1, 0, 1] {
            caution.start_over();
            assert_eq!(
                caution.suspect().map(|suspect| suspect.outlet),
                Some(OutletId(outlet)),
                "each has its turn"
            );
            assert_eq!(caution.next(at(0), false, true), Next::Behind(0));
        }
        let mut caution = PoisonDetector::default();
        close(&mut caution, 1, BAD.seq);
        caution.start_over();
        for round in 0..STRIKES {
            assert_eq!(caution.next(at(0), false, true), Next::Others);
            caution.confirmed(1, false);
            assert_eq!(caution.next(at(0), false, true), Next::Usual);
            assert_eq!(close(&mut caution, 1, BAD.seq).is_some(), round == 2);
        }
    }

    #[test]
    fn a_peer_that_resumes_behind_the_suspect_after_others_were_tried_has_passed_it_over() {
        let mut caution = PoisonDetector::default();
        (0..3).for_each(|_| assert_eq!(close(&mut caution, 1, BAD.seq), None));
        assert_eq!(caution.clone().resumed(OutletId(0), 8), None, "it may have taken it");
        caution.sent(control(8, true));
        assert_eq!(caution.clone().resumed(OutletId(0), 7), None);
        assert_eq!(caution.clone().resumed(OutletId(1), 8), None);
        assert_eq!(caution.resumed(OutletId(0), 8), Some((vec![BAD], "too big".to_owned())));
    }

    #[test]
    fn the_usual_window_comes_back_once_all_that_was_in_flight_has_passed() {
        let mut caution = PoisonDetector::default();
        close(&mut caution, 5, BAD.seq);
        caution.confirmed(4, false);
        assert_eq!(caution.room(0), 1);
        caution.confirmed(1, false);
        assert_eq!(caution.room(50), usize::MAX);
    }

    #[test]
    fn a_peer_that_confirms_nothing_one_at_a_time_gets_its_window_back() {
        let mut caution = PoisonDetector::default();
        close(&mut caution, 5, BAD.seq);
        caution.lost(Closing::Plain, "gone", 1, Some(BAD));
        assert_eq!(caution.room(50), usize::MAX);
        let mut caution = suspected();
        for _ in 0..STALLS {
            assert_eq!(caution.room(0), 1);
            caution.lost(Closing::Plain, "gone", 1, Some(BAD));
        }
        assert_eq!(caution.room(50), usize::MAX);
    }
}
