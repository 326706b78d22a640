//! A connection that is up: its pings, what is in flight on it, and the deadlines of what is owed.
//!
//! A deadline is a silence, not a time: as long as bytes of ours arrive at the peer, or a frame of the peer grows, a slow line
//! is no dead one. How far the bytes have come is looked at while an answer is owed, and before anything is given up.

use std::time::Duration;

use super::prefer::Prefer;
use super::watch::{Patience, Watch};
use super::{EndpointPatience, Life, Link, LinkEffect};
use crate::config::client::Confirm;
use crate::link::port::{LinkOrder, Peer, Traffic};
use crate::seed::Seed;
use crate::time::Time;

/// While something waits for its acknowledgement, pings follow each other by this or a part of the time that a pong has.
const PING_EACH: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Up {
    pub(crate) since: Time,
    ping_out: Option<PingOut>,
    pinged_at: Time,
    /// Whether the peer has answered a ping on this connection.
    answers_pings: bool,
    /// How many entries were sent, and whether any of them after the ping that is out.
    sent: u64,
    sent_since_ping: bool,
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
        match (&up.ping_out, self.rule.confirm) {
            (Some(_), _) => up.sent_since_ping = true,
            (None, Confirm::Pong) => self.ping(now, out),
            (None, Confirm::Ack | Confirm::None) => {}
        }
    }

    /// Notes that confirmations make progress: so many entries and bytes still wait for one.
    pub fn progressed(&mut self, now: Time, entries: usize, bytes: usize) {
        let aim = self.rule.ping.timeout / 2;
        let usual = self.rule.confirm_timeout;
        let Life::Up(up) = &mut self.life else { return };
        if let Some(since) = up.waiting_since {
            let took = now.since(up.watch.silent_since(since, Duration::ZERO));
            self.patience[self.endpoints.current()].confirmation.answered(took, usual);
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
            answers_pings: false,
            sent: 0,
            sent_since_ping: false,
            waiting_since: None,
            watch: Watch::default(),
            prefer: Prefer::after(self.endpoints.prefer_at(now, seed)),
        });
        self.since = now;
        self.reconnects += 1;
        self.rtt = None;
        self.window.came_up();
        out.push(LinkEffect::Opened(peer.clone()));
    }

    pub(crate) fn pong(&mut self, now: Time, number: u64, out: &mut Vec<LinkEffect>) {
        let by_pong = self.rule.confirm == Confirm::Pong;
        let (usual, at_most) = (self.rule.ping.timeout, self.rule.confirm_timeout);
        let Life::Up(up) = &mut self.life else { return };
        let Some(ping) = up.ping_out.take_if(|ping| ping.number == number) else { return };
        up.answers_pings = true;
        let took = now.since(up.watch.silent_since(ping.at, at_most));
        self.patience[self.endpoints.current()].pong.answered(took, usual);
        let again = by_pong && std::mem::take(&mut up.sent_since_ping);
        self.rtt = Some(now.since(ping.at));
        if by_pong && ping.covers > 0 {
            out.push(LinkEffect::Confirmed(ping.covers));
        }
        if again {
            self.ping(now, out);
        }
    }

    pub(crate) fn ping(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        let Life::Up(up) = &mut self.life else { return };
        self.pings += 1;
        up.ping_out = Some(PingOut { number: self.pings, covers: up.sent, at: now });
        up.pinged_at = now;
        up.sent_since_ping = false;
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
        if self.owed_pong(up).is_some() {
            return None;
        }
        let interval = Some(self.rule.ping.interval).filter(|interval| !interval.is_zero());
        let usual = interval.map(|interval| up.pinged_at + interval);
        let waits_since = up.waiting_since.filter(|_| self.rule.confirm == Confirm::Ack);
        let sooner =
            waits_since.map(|since| up.pinged_at.max(since) + PING_EACH.min(self.rule.ping.timeout / 4));
        usual.into_iter().chain(sooner).min()
    }

    /// The time of the ping whose pong is owed. A peer that needs not answer pings (`confirm = "none"`) must go on once it
    /// has answered one.
    fn owed_pong(&self, up: &Up) -> Option<Time> {
        let owed = self.rule.confirm != Confirm::None || up.answers_pings;
        up.ping_out.as_ref().filter(|_| owed).map(|ping| ping.at)
    }

    /// Since when an answer of any kind is owed.
    fn owed_since(&self, up: &Up) -> Option<Time> {
        self.owed_pong(up).into_iter().chain(up.waiting_since).min()
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
        if let Some(error) = self.overdue(now) {
            self.hang_up(now, &error, seed, out);
        }
    }

    /// Why the connection is given up. A peer that is late and shows life has more time from then on.
    fn overdue(&mut self, now: Time) -> Option<String> {
        let Life::Up(up) = &self.life else { return None };
        let is_past = |deadline: Option<Time>| deadline.is_some_and(|at| at <= now);
        let patience = self.patience[self.endpoints.current()];
        let (since, error, longer) = if is_past(self.pong_deadline(up)) {
            let error = format!(
                "no pong within {}",
                seconds(self.allowed(up, self.rule.ping.timeout, patience.pong, self.owed_pong(up)?))
            );
            (self.owed_pong(up)?, error, EndpointPatience { pong: patience.pong.after_miss(), ..patience })
        } else if is_past(self.confirmation_deadline(up)) {
            let allowed =
                self.allowed(up, self.rule.confirm_timeout, patience.confirmation, up.waiting_since?);
            let longer = EndpointPatience { confirmation: patience.confirmation.after_miss(), ..patience };
            (up.waiting_since?, format!("nothing confirmed for {}", seconds(allowed)), longer)
        } else {
            return None;
        };
        if up.watch.is_alive(since) {
            self.patience[self.endpoints.current()] = longer;
        }
        Some(error)
    }

    fn pong_deadline(&self, up: &Up) -> Option<Time> {
        let since = self.owed_pong(up)?;
        let silent_since = up.watch.silent_since(since, self.rule.confirm_timeout);
        let patience = self.patience[self.endpoints.current()].pong;
        Some(silent_since + self.allowed(up, self.rule.ping.timeout, patience, since))
    }

    fn confirmation_deadline(&self, up: &Up) -> Option<Time> {
        let since = up.waiting_since?;
        let silent_since = up.watch.silent_since(since, Duration::ZERO);
        let patience = self.patience[self.endpoints.current()].confirmation;
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
