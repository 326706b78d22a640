//! A connection that is up: its pings, what is in flight on it, and the deadlines of what is owed.
//!
//! A deadline is a silence, not a time: as long as bytes of ours arrive at the peer, or a frame of the peer grows, a slow line
//! is no dead one. How far the bytes have come is looked at while an answer is owed, and before anything is given up.

use std::collections::VecDeque;
use std::time::Duration;

use super::prefer::Prefer;
use super::watch::{Patience, Watch};
use super::{EndpointHabits, Life, Link, LinkEffect};
use crate::config::client::Confirm;
use crate::link::protocol::{LinkOrder, Peer, Traffic};
use crate::seed::Seed;
use crate::time::Time;

/// While something waits for its acknowledgement, pings follow each other by this or a part of the time that a pong has.
const PING_EACH: Duration = Duration::from_secs(1);
/// Pings without an echo that are kept in mind.
const UNECHOED_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Up {
    pub(crate) since: Time,
    ping_out: Option<PingOut>,
    pinged_at: Time,
    /// Whether the peer has echoed a ping on this connection.
    echoes: bool,
    /// Whether a pong that echoes nothing came while the ping is out.
    other_pong: bool,
    /// Pings that are taken as answered although no echo came, oldest first: it may be late.
    unechoed: VecDeque<PingOut>,
    /// How many entries were sent.
    sent: u64,
    /// Since when something is in flight without any confirmation.
    pub(crate) waiting_since: Option<Time>,
    pub(crate) watch: Watch,
    pub(crate) prefer: Prefer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PingOut {
    number: u64,
    /// Number of entries that were sent before it.
    covers: u64,
    at: Time,
}

impl Up {
    /// The ping with this number, which is answered with this; those before it are as well (RFC 6455 §5.5.3).
    fn take_ping(&mut self, number: u64) -> Option<PingOut> {
        if let Some(ping) = self.ping_out.take_if(|ping| ping.number == number) {
            self.unechoed.clear();
            return Some(ping);
        }
        let at = self.unechoed.iter().position(|ping| ping.number == number)?;
        self.unechoed.drain(..=at).next_back()
    }

    /// No echo of this ping is waited for any more.
    fn set_aside(&mut self, ping: PingOut) {
        self.unechoed.push_back(ping);
        if self.unechoed.len() > UNECHOED_MAX {
            self.unechoed.pop_front();
        }
    }
}

impl Link {
    /// Bytes that may be in flight: few on a slow link, so that a ping does not wait long behind its own messages.
    pub fn flight_bytes_max(&self) -> usize {
        match &self.life {
            Life::Up(_) => self.window.bytes(),
            Life::Idle | Life::Down { .. } | Life::Dialing { .. } | Life::Closing | Life::Leaving { .. } => 0,
        }
    }

    /// Notes that entries were told to be sent, `count` of them on this connection so far; `bytes` are in flight with them.
    pub fn sent(&mut self, now: Time, count: u64, bytes: usize, out: &mut Vec<LinkEffect>) {
        let Life::Up(up) = &mut self.life else { return };
        up.sent = count;
        up.waiting_since.get_or_insert(now);
        self.window.sent(now, count, bytes);
        if up.ping_out.is_none() && self.rule.confirm == Confirm::Pong {
            self.ping(now, out);
        }
    }

    /// Notes that confirmations make progress: so many entries and bytes still wait for one.
    pub fn progressed(&mut self, now: Time, entries: usize, bytes: usize) {
        let aim = self.rule.ping.timeout / 2;
        let usual = self.rule.confirm_timeout;
        let Life::Up(up) = &mut self.life else { return };
        if let Some(since) = up.waiting_since {
            let took = now.since(up.watch.silent_since(since, Duration::ZERO));
            self.habits[self.endpoints.current()].confirmation.answered(took, usual);
        }
        up.waiting_since = (entries > 0).then_some(now);
        let confirmed = up.sent.saturating_sub(u64::try_from(entries).unwrap_or(u64::MAX));
        self.window.confirmed(now, confirmed, aim);
        if entries > 0 {
            self.window.sent(now, up.sent, bytes);
        }
    }

    pub(crate) fn opened(&mut self, now: Time, peer: &Peer, seed: &mut Seed, out: &mut Vec<LinkEffect>) {
        let Life::Dialing { .. } = self.life else { return };
        self.life = Life::Up(Up {
            since: now,
            ping_out: None,
            pinged_at: now,
            echoes: false,
            other_pong: false,
            unechoed: VecDeque::new(),
            sent: 0,
            waiting_since: None,
            watch: Watch::default(),
            prefer: Prefer::after(self.endpoints.prefer_at(now, seed)),
        });
        self.ping_within = peer.terms.and_then(|terms| terms.ping_within());
        self.since = now;
        self.reconnects += 1;
        self.rtt = None;
        self.window.came_up();
        out.push(LinkEffect::Opened(peer.clone()));
        if self.is_unechoed() {
            self.ping(now, out);
        }
    }

    pub(crate) fn pong(&mut self, now: Time, number: u64, out: &mut Vec<LinkEffect>) {
        let was_held_back = self.is_unechoed();
        let by_pong = self.rule.confirm == Confirm::Pong;
        let (usual, at_most) = (self.rule.ping.timeout, self.rule.confirm_timeout);
        let Life::Up(up) = &mut self.life else { return };
        let Some(ping) = up.take_ping(number) else { return self.other_pong(now, out) };
        up.echoes = true;
        let habits = &mut self.habits[self.endpoints.current()];
        habits.is_unechoed = false;
        let took = now.since(up.watch.silent_since(ping.at, at_most));
        habits.pong.answered(took, usual);
        if was_held_back {
            // Nothing could be confirmed until this moment.
            up.waiting_since = up.waiting_since.map(|_| now);
        }
        let again = by_pong && up.ping_out.is_none() && ping.covers < up.sent;
        self.rtt = Some(now.since(ping.at));
        if by_pong && ping.covers > 0 {
            out.push(LinkEffect::Confirmed(ping.covers));
        }
        if again {
            self.ping(now, out);
        }
    }

    /// A pong came that echoes nothing. It is a sign of life, and no more. Whether it answers a ping shows only when no echo
    /// comes in time: a peer may send pongs of its own.
    pub(crate) fn other_pong(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        let by_pong = self.rule.confirm == Confirm::Pong;
        let is_known = self.is_unechoed();
        let Life::Up(up) = &mut self.life else { return };
        up.other_pong = true;
        if is_known {
            return self.do_without_echo(out);
        }
        if !by_pong
            && !up.echoes
            && let Some(ping) = up.ping_out.take()
        {
            self.rtt = Some(now.since(ping.at));
            up.set_aside(ping);
        }
    }

    /// The ping that is out is taken as answered, by a pong that confirms nothing.
    fn do_without_echo(&mut self, out: &mut Vec<LinkEffect>) {
        let Life::Up(up) = &mut self.life else { return };
        if let Some(ping) = up.ping_out.take() {
            up.set_aside(ping);
        }
        let habits = &mut self.habits[self.endpoints.current()];
        if !std::mem::replace(&mut habits.is_unechoed, true) {
            out.push(LinkEffect::Unechoed);
        }
    }

    /// Whether its endpoint answers pings and does not echo them, where echoes are what confirms.
    fn is_unechoed(&self) -> bool {
        self.rule.confirm == Confirm::Pong && self.habits[self.endpoints.current()].is_unechoed
    }

    /// Whether nothing is sent because no pong would confirm it.
    pub(crate) fn is_held_back(&self, up: &Up) -> bool {
        self.is_unechoed() && !up.echoes
    }

    /// Whether it is up, and its peer's pongs confirm nothing.
    pub fn proves_nothing(&self) -> bool {
        matches!(&self.life, Life::Up(up) if self.is_held_back(up))
    }

    pub(crate) fn ping(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        if self.is_unpinged() {
            return;
        }
        let Life::Up(up) = &mut self.life else { return };
        self.pings += 1;
        up.ping_out = Some(PingOut { number: self.pings, covers: up.sent, at: now });
        up.pinged_at = now;
        up.other_pong = false;
        out.push(LinkEffect::Tell(LinkOrder::Ping(self.pings)));
    }

    /// Sends a ping if it is up, has had no pong yet and waits for none.
    pub fn ask(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        let silent = self.rtt.is_none() && matches!(&self.life, Life::Up(up) if up.ping_out.is_none());
        if silent {
            self.ping(now, out);
        }
    }

    /// When the next ping is due. A peer that acknowledges in its own time is asked sooner while something waits for it, so
    /// that a dead one is known as soon as one that confirms by its pongs.
    pub(crate) fn ping_at(&self, up: &Up) -> Option<Time> {
        if self.owed_pong(up).is_some() || self.is_unpinged() {
            return None;
        }
        // One that is held back is asked whether it echoes, whatever the keep-alive.
        let asks = Some(self.rule.ping.timeout).filter(|_| self.is_held_back(up));
        let interval = Some(self.rule.ping.interval).filter(|interval| !interval.is_zero()).or(asks);
        let interval = interval.into_iter().chain(self.ping_within).min();
        let usual = interval.map(|interval| up.pinged_at + interval);
        let waits_since = up.waiting_since.filter(|_| self.rule.confirm == Confirm::Ack);
        let sooner =
            waits_since.map(|since| up.pinged_at.max(since) + PING_EACH.min(self.rule.ping.timeout / 4));
        usual.into_iter().chain(sooner).min()
    }

    /// The time of the ping whose pong is owed. A peer that needs not answer pings (`confirm = "none"`) must go on once it
    /// has answered one.
    fn owed_pong(&self, up: &Up) -> Option<Time> {
        let owed = self.rule.confirm != Confirm::None || up.echoes;
        up.ping_out.as_ref().filter(|_| owed).map(|ping| ping.at)
    }

    /// Since when a confirmation is owed: none is by a peer whose pongs confirm nothing.
    fn waiting_since(&self, up: &Up) -> Option<Time> {
        up.waiting_since.filter(|_| !self.is_held_back(up))
    }

    /// Since when an answer of any kind is owed.
    fn owed_since(&self, up: &Up) -> Option<Time> {
        self.owed_pong(up).into_iter().chain(self.waiting_since(up)).min()
    }

    /// When it is time to see how far the bytes have come.
    pub(crate) fn look_at(&self, up: &Up) -> Option<Time> {
        let since = self.owed_since(up)?;
        let looks = up.watch.look_at(since, self.rule.ping.timeout);
        [Some(looks), self.pong_deadline(up), self.confirmation_deadline(up)].into_iter().flatten().min()
    }

    /// Takes in how far the bytes have come, and gives up if nothing moves.
    pub(crate) fn saw(&mut self, now: Time, traffic: &Traffic, seed: &mut Seed, out: &mut Vec<LinkEffect>) {
        let Life::Up(up) = &self.life else { return };
        let owed_since = self.owed_since(up).unwrap_or(now);
        if let Life::Up(up) = &mut self.life {
            up.watch.saw(now, traffic, owed_since);
        }
        let by_pong = self.rule.confirm == Confirm::Pong;
        let answers = matches!(&self.life, Life::Up(up) if by_pong && up.other_pong && !up.echoes);
        match self.overdue(now) {
            Some(_) if answers => self.do_without_echo(out),
            Some((error, longer)) => {
                self.habits[self.endpoints.current()] = longer;
                self.hang_up(now, &error, seed, out);
            }
            None => {}
        }
    }

    /// Why the connection is to be given up, and what is known of its endpoint then: one that is late and shows life has more
    /// time from then on.
    fn overdue(&self, now: Time) -> Option<(String, EndpointHabits)> {
        let Life::Up(up) = &self.life else { return None };
        let is_past = |deadline: Option<Time>| deadline.is_some_and(|at| at <= now);
        let habits = self.habits[self.endpoints.current()];
        let (since, error, longer) = if is_past(self.pong_deadline(up)) {
            let since = self.owed_pong(up)?;
            let allowed = self.allowed(up, self.rule.ping.timeout, habits.pong, since);
            let error = format!("no pong within {}", seconds(allowed));
            (since, error, EndpointHabits { pong: habits.pong.after_miss(), ..habits })
        } else if is_past(self.confirmation_deadline(up)) {
            let since = self.waiting_since(up)?;
            let allowed = self.allowed(up, self.rule.confirm_timeout, habits.confirmation, since);
            let error = format!("nothing confirmed for {}", seconds(allowed));
            (since, error, EndpointHabits { confirmation: habits.confirmation.after_miss(), ..habits })
        } else {
            return None;
        };
        Some((error, if up.watch.is_alive(since) { longer } else { habits }))
    }

    fn pong_deadline(&self, up: &Up) -> Option<Time> {
        let since = self.owed_pong(up)?;
        let silent_since = up.watch.silent_since(since, self.rule.confirm_timeout);
        let patience = self.habits[self.endpoints.current()].pong;
        Some(silent_since + self.allowed(up, self.rule.ping.timeout, patience, since))
    }

    fn confirmation_deadline(&self, up: &Up) -> Option<Time> {
        let since = self.waiting_since(up)?;
        let silent_since = up.watch.silent_since(since, Duration::ZERO);
        let patience = self.habits[self.endpoints.current()].confirmation;
        Some(silent_since + self.allowed(up, self.rule.confirm_timeout, patience, since))
    }

    /// How long a silence may be, for an answer that is owed since then. Patience is for a peer that has all we sent, not for a
    /// line that carries nothing. Where bytes were seen to trickle, a lost packet has to pass a long queue twice before anything
    /// behind it is acknowledged.
    fn allowed(&self, up: &Up, usual: Duration, patience: Patience, since: Time) -> Duration {
        let usual = if up.watch.moved_at() > since { usual * 2 } else { usual };
        if up.watch.is_cut_off() { usual } else { patience.stretch(usual) }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
