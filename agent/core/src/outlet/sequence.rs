//! Numbers that are never used twice: reserved on disk in blocks, used from memory.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::outlet::store_protocol::{Held, Opened, OutletSequence, SequenceRange, Sequences};
use crate::time::Time;

/// Size of the smallest block. Half of it is always left, or a reservation is on its way, so that no batch that a source may hand
/// over is refused for ever.
const BLOCK_MIN: u64 = 20_000;
const BLOCK_MAX: u64 = 1 << 24;
/// How long a block lasts, by the speed of use. What a power cut leaves of it is announced as missing.
const BLOCK_TIME: Duration = Duration::from_secs(10);
/// A burst that is shorter says nothing of the speed.
const SPEED_TIME_MIN: Duration = Duration::from_secs(10);

/// How the numbers go on after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// What is to be saved before a number is used.
    pub numbers: Sequences,
    /// Per outlet, numbers that the run before may have used without leaving anything: `(from, to)`.
    pub gaps: Vec<Option<(u64, u64)>>,
}

/// Continues after the last run. `run` names this one; `new_epochs` are epochs for outlets without numbers; `wall_ns` gives the ids a
/// start that no earlier run can have reached when the file is lost.
pub fn resume(opened: &Opened, run: u64, new_epochs: &[String], wall_ns: u64) -> Resumed {
    let Opened { outlets: names, facts, given, .. } = opened;
    let held = &facts.held;
    let lost = opened.numbers.is_none();
    let mut saved = opened.numbers.clone().unwrap_or_default();
    if let Some(given) = given {
        given.correct(&mut saved);
    }
    let last_id = held.iter().map(|held| held.last_id).max().unwrap_or(0);
    let id_start = if lost && last_id > 0 { wall_ns / 1000 } else { 1 };
    let id_next = after(saved.clean, saved.ids).max(last_id + 1).max(id_start);
    let mut outlets = saved.outlets.clone();
    // Who has no place in this run is asked for later, maybe in another one.
    if !saved.clean {
        outlets.values_mut().for_each(OutletSequence::tear);
    }
    let mut gaps = Vec::new();
    for ((name, held), birth) in names.iter().zip(held).zip(new_epochs) {
        let (numbers, gap) = resume_outlet(outlets.get(name), held, birth);
        outlets.insert(name.clone(), numbers);
        gaps.push(gap);
    }
    let ids = SequenceRange { next: id_next, end: id_next + BLOCK_MIN };
    let session = saved.session + 1;
    let mut frame_limits = saved.frame_limits;
    frame_limits.retain(|_, kept| kept.holds(session));
    Resumed { numbers: Sequences { session, run, ids, outlets, frame_limits, clean: false }, gaps }
}

/// The same for one outlet, which may also come later than the run.
pub fn resume_outlet(
    saved: Option<&OutletSequence>,
    held: &Held,
    birth: &str,
) -> (OutletSequence, Option<(u64, u64)>) {
    let behind_store = held.range.map_or(1, |(_, last)| last + 1);
    let Some(saved) = saved else {
        let block = SequenceRange { next: behind_store, end: behind_store + BLOCK_MIN };
        return (OutletSequence { epoch: birth.to_owned(), block, ..OutletSequence::default() }, None);
    };
    let next = after(!saved.torn, saved.block).max(behind_store);
    // Behind what is held nothing can have been forgotten, so what is not there was lost with the run, or by damage. Without
    // it, all that was used before the block was saved may have been confirmed, but for what a run that ended in order has left.
    let gone_from = match (saved.confirmed.filter(|_| !saved.torn), held.range) {
        (Some(through), _) => behind_store.max(through + 1),
        (None, Some(_)) => behind_store,
        (None, None) => saved.block.next,
    };
    let gap = (gone_from < next).then(|| (gone_from, next - 1));
    let block = SequenceRange { next, end: next + BLOCK_MIN };
    (OutletSequence { block, torn: false, ..saved.clone() }, gap)
}

/// Which numbers of an outlet a store may hold: none below `from`, none above `through`. What was given by `given` was safe
/// once, on the disk or by its confirmation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First number that was not known to be confirmed.
    pub from: u64,
    /// Last number that certainly was given.
    pub given: u64,
    /// Last number that may have been given.
    pub through: u64,
}

/// What the store of the run that saved these numbers may hold of each outlet.
pub fn spans(saved: &Sequences) -> BTreeMap<String, Span> {
    let span = |(name, own): (&String, &OutletSequence)| {
        let used = after(saved.clean && !own.torn, own.block).saturating_sub(1);
        let given = own.block.next.saturating_sub(1);
        (name.clone(), Span { from: own.confirmed.unwrap_or(0) + 1, given, through: used })
    };
    saved.outlets.iter().map(span).collect()
}

/// First number that the run which saved this block can't have used.
fn after(clean: bool, block: SequenceRange) -> u64 {
    if clean { block.next } else { block.end }
}

/// Decides how large the next block is and keeps the reservation that is on its way.
#[derive(Debug, Clone)]
pub struct Reserve {
    size: u64,
    /// When the last block was reserved, and which id was the next then.
    last: Option<(Time, u64)>,
    on_its_way: Option<Sequences>,
    /// Something beside the numbers is to be kept that the disk does not know.
    has_news: bool,
}

impl Default for Reserve {
    fn default() -> Self {
        Reserve { size: BLOCK_MIN, last: None, on_its_way: None, has_news: false }
    }
}

impl Reserve {
    /// Whether this many numbers left are too few, and no reservation is on its way.
    pub fn is_due(&self, left: u64) -> bool {
        self.on_its_way.is_none() && left < (self.size / 4).max(BLOCK_MIN / 2)
    }

    /// Whether a reservation is on its way.
    pub fn is_under_way(&self) -> bool {
        self.on_its_way.is_some()
    }

    /// Something beside the numbers is to be kept.
    pub fn note(&mut self) {
        self.has_news = true;
    }

    /// Whether something is to be kept and no reservation is on its way.
    pub fn has_news(&self) -> bool {
        self.has_news && !self.is_under_way()
    }

    /// How large the next block is, by the speed of use. Each message uses an id.
    pub fn size(&mut self, now: Time, next_id: u64) -> u64 {
        if let Some((at, id)) = self.last.replace((now, next_id)) {
            let used = u128::from(next_id.saturating_sub(id));
            let wanted = used * BLOCK_TIME.as_millis() / now.since(at).max(SPEED_TIME_MIN).as_millis();
            self.size = u64::try_from(wanted).unwrap_or(BLOCK_MAX).clamp(BLOCK_MIN, BLOCK_MAX);
        }
        self.size
    }

    /// Notes that these numbers are on their way to the disk.
    pub fn begin(&mut self, numbers: &Sequences) {
        self.on_its_way = Some(numbers.clone());
        self.has_news = false;
    }

    /// The numbers are on the disk (then they may be used), or are not.
    pub fn ended(&mut self, done: bool) -> Option<Sequences> {
        if !done {
            // Tried again soon, which says nothing about the speed of use.
            self.last = None;
            self.has_news = true;
        }
        self.on_its_way.take().filter(|_| done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::given::{self, Given, OutletGiven};
    use crate::outlet::store_protocol::StoreFacts;

    fn saved(clean: bool) -> Sequences {
        let block = SequenceRange { next: 100, end: 500 };
        let outlet =
            OutletSequence { epoch: "E1".into(), block, confirmed: Some(99), ..OutletSequence::default() };
        let outlets = BTreeMap::from([("client:a".to_owned(), outlet)]);
        let ids = SequenceRange { next: 1000, end: 2000 };
        Sequences { session: 3, run: 7, ids, outlets, clean, ..Sequences::default() }
    }

    fn resume_with(saved: Option<Sequences>, held: Held) -> Resumed {
        resume_after(saved, held, None)
    }

    fn resume_after(saved: Option<Sequences>, held: Held, given: Option<Given>) -> Resumed {
        let facts = StoreFacts { held: vec![held], ..StoreFacts::default() };
        let outlets = vec!["client:a".to_owned()];
        let opened = Opened { outlets, numbers: saved, given, facts, ..Opened::default() };
        resume(&opened, 8, &["E2".to_owned()], 1_700_000_000_000_000_000)
    }

    fn without_outlets(saved: Sequences) -> Sequences {
        resume(&Opened { numbers: Some(saved), ..Opened::default() }, 8, &[], 0).numbers
    }

    /// The last run had given the numbers up to 149, of which those up to 139 were confirmed.
    fn given() -> Option<Given> {
        let own = OutletGiven { tag: given::tag("client:a"), unconfirmed: 140, next: 150 };
        Some(Given { run: 7, ids: 1100, outlets: vec![own] })
    }

    fn holding(first: u64, last: u64) -> Held {
        Held { range: Some((first, last)), last_id: 1500, ..Held::default() }
    }

    #[test]
    fn a_clean_stop_leaves_no_gap_and_wastes_no_number() {
        let resumed = resume_with(Some(saved(true)), Held::default());
        assert_eq!(resumed.gaps, [None]);
        assert_eq!(resumed.numbers.outlets["client:a"].block.next, 100);
        assert_eq!((resumed.numbers.session, resumed.numbers.ids.next), (4, 1000));
    }

    #[test]
    fn what_a_clean_stop_has_left_unconfirmed_and_no_store_holds_is_a_gap() {
        let mut left = saved(true);
        left.outlets.values_mut().for_each(|outlet| outlet.confirmed = Some(40));
        assert_eq!(resume_with(Some(left.clone()), Held::default()).gaps, [Some((41, 99))]);
        assert_eq!(resume_with(Some(left.clone()), holding(41, 99)).gaps, [None]);
        assert_eq!(resume_with(Some(left.clone()), holding(41, 60)).gaps, [Some((61, 99))]);
        left.outlets.values_mut().for_each(|outlet| outlet.confirmed = None);
        assert_eq!(resume_with(Some(left), Held::default()).gaps, [None], "a file of an earlier version");
    }

    #[test]
    fn after_a_crash_the_unused_rest_of_the_block_is_a_gap_behind_what_the_store_holds() {
        let resumed = resume_with(Some(saved(false)), holding(90, 120));
        assert_eq!(resumed.gaps, [Some((121, 499))]);
        assert_eq!(resumed.numbers.outlets["client:a"].block.next, 500);
        assert_eq!(resumed.numbers.ids.next, 2000);
    }

    #[test]
    fn what_is_missing_behind_the_store_after_a_crash_is_a_gap_also_when_it_was_used_before_the_block_was_saved()
     {
        assert_eq!(resume_with(Some(saved(false)), holding(10, 40)).gaps, [Some((41, 499))]);
        assert_eq!(resume_with(Some(saved(false)), Held::default()).gaps, [Some((100, 499))]);
    }

    #[test]
    fn without_the_file_a_new_epoch_goes_on_behind_the_store_and_ids_never_come_back() {
        let resumed = resume_with(None, holding(90, 120));
        let outlet = &resumed.numbers.outlets["client:a"];
        assert_eq!((outlet.epoch.as_str(), outlet.block.next), ("E2", 121));
        assert!(resumed.numbers.ids.next > 1_000_000_000);
        assert_eq!(resume_with(None, Held::default()).numbers.ids.next, 1);
    }

    #[test]
    fn numbers_of_an_outlet_that_is_not_configured_are_kept_and_not_used_twice() {
        let kept = |clean| without_outlets(saved(clean)).outlets["client:a"].clone();
        let back = |clean| resume_outlet(Some(&kept(clean)), &Held::default(), "E2");
        assert_eq!((back(true).0.epoch.as_str(), back(true).0.block.next, back(true).1), ("E1", 100, None));
        assert_eq!((back(false).0.block.next, back(false).1), (500, Some((100, 499))));
    }

    #[test]
    fn what_a_crash_left_open_is_a_gap_also_after_a_clean_run_without_the_outlet() {
        let between = without_outlets(saved(false));
        let resumed = resume_with(Some(Sequences { clean: true, ..between }), Held::default());
        assert_eq!(resumed.gaps, [Some((100, 499))]);
        assert!(!resumed.numbers.outlets["client:a"].torn);
    }

    #[test]
    fn what_a_clean_run_left_unconfirmed_is_a_gap_also_after_the_crash_of_a_run_without_the_outlet() {
        let block = SequenceRange { next: 100, end: 100 };
        let mut left = saved(true);
        left.outlets.values_mut().for_each(|own| (own.block, own.confirmed) = (block, Some(40)));
        let between = without_outlets(left);
        let mut killed = between.clone();
        Given { run: killed.run, ids: 1100, outlets: Vec::new() }.correct(&mut killed);
        for crashed in [between, killed] {
            assert_eq!(resume_with(Some(crashed), Held::default()).gaps, [Some((41, 99))]);
        }
    }

    #[test]
    fn after_a_kill_exactly_what_was_given_and_neither_confirmed_nor_stored_is_a_gap() {
        let memory = resume_after(Some(saved(false)), Held::default(), given());
        assert_eq!(memory.gaps, [Some((140, 149))]);
        assert_eq!((memory.numbers.outlets["client:a"].block.next, memory.numbers.ids.next), (150, 1100));
        let stored = resume_after(Some(saved(false)), holding(120, 144), given());
        assert_eq!(stored.gaps, [Some((145, 149))]);
        let all = resume_after(Some(saved(false)), holding(120, 149), given());
        assert_eq!((all.gaps, all.numbers.outlets["client:a"].block.next), (vec![None], 150));
    }

    #[test]
    fn what_was_confirmed_before_a_kill_is_no_gap_although_its_removal_came_too_late() {
        assert_eq!(resume_after(Some(saved(false)), holding(100, 110), given()).gaps, [Some((140, 149))]);
    }

    #[test]
    fn what_a_kill_left_is_remembered_exactly_for_an_outlet_without_a_place_in_the_next_run() {
        let opened = Opened { numbers: Some(saved(false)), given: given(), ..Opened::default() };
        let between = resume(&opened, 8, &[], 0).numbers;
        let resumed = resume_with(Some(Sequences { clean: true, ..between }), Held::default());
        assert_eq!(resumed.gaps, [Some((140, 149))]);
        assert_eq!(resumed.numbers.outlets["client:a"].block.next, 150);
    }

    #[test]
    fn a_block_lasts_some_seconds() {
        let mut reserve = Reserve::default();
        let at = |s| Time::default() + Duration::from_secs(s);
        assert_eq!(reserve.size(at(0), 1), BLOCK_MIN);
        assert_eq!(reserve.size(at(10), 200_001), 200_000);
        assert!(!reserve.is_due(50_000) && reserve.is_due(49_999));
        assert_eq!(reserve.size(at(20), 240_001), 40_000);
        assert_eq!(reserve.size(at(4000), 240_101), BLOCK_MIN);
    }

    #[test]
    fn numbers_count_as_reserved_only_once_they_are_on_the_disk() {
        let mut reserve = Reserve::default();
        assert!(reserve.is_due(0));
        reserve.begin(&saved(false));
        assert!(!reserve.is_due(0), "one reservation at a time");
        assert_eq!(reserve.ended(false), None);
        reserve.begin(&saved(false));
        assert_eq!(reserve.ended(true), Some(saved(false)));
    }

    #[test]
    fn a_store_may_hold_what_was_not_confirmed_up_to_the_last_number_that_may_have_been_given() {
        let span = |clean| spans(&saved(clean))["client:a"];
        assert_eq!(span(true), Span { from: 100, given: 99, through: 99 });
        assert_eq!(span(false), Span { from: 100, given: 99, through: 499 });
    }
}
