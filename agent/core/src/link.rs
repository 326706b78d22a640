//! The life of one link: dial, watch, hang up, wait, dial again. Links of all kinds live the same life.
//!
//! It owns the state of the connection and its deadlines. What is sent over it belongs to the outbox.

use std::time::Duration;

use serde::Serialize;

pub mod backoff;
pub mod closing;
pub mod dial_error;
pub mod endpoint;
pub mod frame_limit;
pub mod http_status;
pub mod lookup;
pub mod mqtt;
pub mod poison;
pub mod post_queue;
mod prefer;
pub mod probe;
pub mod protocol;
pub mod redirect;
mod up;
mod watch;
mod window;

use self::up::Up;
use self::watch::Patience;
use self::window::Window;
use crate::config::client::{Confirm, Ping, Reconnect};
use crate::config::link_kind::LinkKind;
use crate::ids::{EndpointId, Table};
use crate::link::backoff::{Cause, WaitReason};
use crate::link::closing::Closing;
use crate::link::endpoint::{EndpointRule, Endpoints};
use crate::link::protocol::{LinkOrder, LinkReport, Peer, RefusalKind};
use crate::seed::Seed;
use crate::time::Time;

/// Connections in a row that a broker has closed soon and without a reason, before one is guessed.
const CUT_SHORT: u32 = 3;
/// A peer that is left for another rule may take so long for its part of the closing.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What a link is told by the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkRule {
    /// Its protocol.
    pub kind: LinkKind,
    /// False holds messages and never dials.
    pub active: bool,
    /// What lets a message be forgotten.
    pub confirm: Confirm,
    /// Keep-alive.
    pub ping: Ping,
    /// Back-off.
    pub reconnect: Reconnect,
    /// Where it may connect to.
    pub endpoints: EndpointRule,
    /// A dial ends within this.
    pub connect_timeout: Duration,
    /// Something in flight is confirmed within this, or the link is dead.
    pub confirm_timeout: Duration,
    /// The id by which its peer knows it, and of which there is one at a time (MQTT only).
    pub client_id: Option<String>,
}

/// What follows from a step of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEffect {
    /// Start a connection to this endpoint.
    Dial(EndpointId),
    /// Goodbye was said to move to another endpoint: what is in flight is sent again there.
    Left,
    /// Drop the connection, or the try to make one.
    HangUp,
    /// Tell the connection's task.
    Tell(LinkOrder),
    /// See how far its bytes have come, and tell as `Traffic` before anything else.
    Look,
    /// The connection can be used.
    Opened(Peer),
    /// Of what was sent on this connection, the first so many entries are confirmed.
    Confirmed(u64),
    /// The peer answers pings, and not with what they hold: its pongs confirm nothing. Nothing more is sent until one does.
    Unechoed,
    /// The connection is gone, or could not be made; the next try comes after `retry_in`, none if there is none.
    Lost {
        /// What happened.
        error: String,
        /// What the peer's close frame says.
        closing: Closing,
        /// Time until the next try.
        retry_in: Option<Duration>,
        /// Why it is as long as it is.
        because: WaitReason,
        /// Whether it had been up.
        was_up: bool,
    },
}

/// Where the link is in its life. While it is up there is no retry time that could be stale.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    /// Never dials: inactive, or stopped for good.
    Idle,
    /// Without a time nothing is tried again.
    Down {
        retry_at: Option<Time>,
    },
    Dialing {
        give_up_at: Time,
    },
    Up(Up),
    /// Goodbye was said.
    Closing,
    /// Goodbye was said, to dial again under another rule.
    Leaving {
        give_up_at: Time,
    },
}

/// What is known of an endpoint over its connections.
#[derive(Debug, Clone, Copy, Default)]
struct EndpointHabits {
    /// How late its answers may be.
    pong: Patience,
    confirmation: Patience,
    /// Whether it answered pings and did not echo them, on the last connection that showed it.
    is_unechoed: bool,
}

/// One link.
#[derive(Debug, Clone)]
pub struct Link {
    rule: LinkRule,
    endpoints: Endpoints,
    life: Life,
    window: Window,
    /// What is known of each endpoint.
    habits: Table<EndpointId, EndpointHabits>,
    /// Whether somebody told it to stay away until told otherwise.
    parted: bool,
    /// Since when it is in the state that is shown.
    since: Time,
    pings: u64,
    rtt: Option<Duration>,
    reconnects: u64,
    last_error: Option<String>,
    /// Why the wait before the next try is as long as it is.
    because: WaitReason,
    /// A peer that sets a keep-alive of its own is pinged as often as that needs.
    ping_within: Option<Duration>,
    /// Connections in a row that the peer closed soon and without a reason.
    cut_short: u32,
}

/// The state as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Configured not to connect, or stopped.
    Inactive,
    /// Told to stay away.
    Disconnected,
    /// Waiting for the next try.
    Down,
    /// Trying. That a try is under way at this moment is not worth a status message each time.
    #[serde(rename = "down")]
    Connecting,
    /// In use.
    Up,
}

impl Link {
    /// A link that dials at its first step, if it is active.
    pub fn new(rule: LinkRule, now: Time) -> Self {
        let mut link = Link {
            endpoints: Endpoints::new(rule.endpoints, now),
            habits: Table::from(vec![EndpointHabits::default(); rule.endpoints.count.max(1)]),
            rule,
            life: Life::Idle,
            window: Window::default(),
            parted: false,
            since: now,
            pings: 0,
            rtt: None,
            reconnects: 0,
            last_error: None,
            because: WaitReason::BackOff,
            ping_within: None,
            cut_short: 0,
        };
        link.begin(now);
        link
    }

    /// Whether it is in use.
    pub fn is_up(&self) -> bool {
        matches!(self.life, Life::Up(_))
    }

    /// Whether entries may be sent: not while it waits for the last confirmations before it moves to another endpoint, nor to a
    /// peer whose pongs confirm nothing.
    pub fn may_send(&self) -> bool {
        matches!(&self.life, Life::Up(up) if !up.prefer.is_draining() && !self.is_held_back(up))
    }

    /// Which of its endpoints it uses, or dialled last.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoints.current()
    }

    /// Whether goodbye was said to go on under another rule, or at another endpoint.
    pub fn is_leaving(&self) -> bool {
        matches!(self.life, Life::Leaving { .. })
    }

    /// Whether nothing more will come from it.
    pub fn is_idle(&self) -> bool {
        self.life == Life::Idle
    }

    /// The state as people see it.
    pub fn state(&self) -> LinkState {
        match self.life {
            Life::Idle if self.parted && self.rule.active => LinkState::Disconnected,
            Life::Idle => LinkState::Inactive,
            Life::Down { .. } | Life::Leaving { .. } => LinkState::Down,
            Life::Dialing { .. } => LinkState::Connecting,
            Life::Up(_) | Life::Closing => LinkState::Up,
        }
    }

    /// Since when it is in that state (a dial between two waits does not count).
    pub fn since(&self) -> Time {
        self.since
    }

    /// When it tries again, if it waits.
    pub fn retry_at(&self) -> Option<Time> {
        match self.life {
            Life::Down { retry_at } => retry_at,
            Life::Idle | Life::Dialing { .. } | Life::Up(_) | Life::Closing | Life::Leaving { .. } => None,
        }
    }

    /// Why it does not try again earlier, if it waits.
    pub fn waits_because(&self) -> Option<WaitReason> {
        self.retry_at().map(|_| self.because)
    }

    /// Round trip of the last ping.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Number of its last ping.
    pub fn pings(&self) -> u64 {
        self.pings
    }

    /// How often it came up again after it was lost.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.saturating_sub(1)
    }

    /// What went wrong last; none once it has been stable.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Takes in what the connection's task reports.
    pub fn handle(&mut self, now: Time, report: &LinkReport, seed: &mut Seed, out: &mut Vec<LinkEffect>) {
        match report {
            LinkReport::Up(peer) => self.opened(now, peer, seed, out),
            LinkReport::Probed(outcome) => self.probed(now, outcome, seed),
            LinkReport::DialFailed(refusal) => {
                let cause = Cause::Refused(refusal.cause.kind());
                self.lost(now, cause, &refusal.to_string(), Closing::Plain, seed, out);
            }
            LinkReport::Closed { closing, error } => self.closed(now, *closing, error, seed, out),
            LinkReport::Pong(number) => self.pong(now, *number, out),
            LinkReport::OtherPong => self.other_pong(now, out),
            LinkReport::Traffic(traffic) => self.saw(now, traffic, seed, out),
            LinkReport::Written(sent) if self.rule.confirm == Confirm::None => {
                out.push(LinkEffect::Confirmed(*sent));
            }
            LinkReport::Confirmed(sent) if self.confirms_by_answer() => {
                out.push(LinkEffect::Confirmed(*sent));
            }
            LinkReport::Written(_)
            | LinkReport::Confirmed(_)
            | LinkReport::Ack { .. }
            | LinkReport::Resume { .. }
            | LinkReport::Nack { .. }
            | LinkReport::StateRefused(_)
            | LinkReport::Inbound(_)
            | LinkReport::Subscribed(_)
            | LinkReport::Took(_)
            | LinkReport::Holds(_) => {}
        }
    }

    /// Acts on every deadline that has passed.
    pub fn advance(&mut self, now: Time, seed: &mut Seed, out: &mut Vec<LinkEffect>) {
        match &self.life {
            Life::Idle | Life::Closing => {}
            Life::Down { retry_at } => {
                if retry_at.is_some_and(|at| at <= now) {
                    let give_up_at = now + self.rule.connect_timeout + Duration::from_secs(1);
                    self.life = Life::Dialing { give_up_at };
                    out.push(LinkEffect::Dial(self.endpoints.choose(now, seed)));
                }
            }
            Life::Dialing { give_up_at } => {
                if *give_up_at <= now {
                    let error = format!("cannot dial: no result after {:?}", self.rule.connect_timeout);
                    self.hang_up(now, &error, seed, out);
                }
            }
            Life::Leaving { give_up_at } => {
                if *give_up_at <= now {
                    out.push(LinkEffect::HangUp);
                    self.begin(now);
                    self.advance(now, seed, out);
                }
            }
            Life::Up(up) => {
                if self.look_at(up).is_some_and(|at| at <= now) {
                    out.push(LinkEffect::Look);
                }
                if self.ping_at(up).is_some_and(|at| at <= now) {
                    self.ping(now, out);
                }
                self.settle(now);
                self.look_for_preferred(now, seed, out);
            }
        }
    }

    /// When [`Link::advance`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        match &self.life {
            Life::Idle | Life::Closing => None,
            Life::Down { retry_at } => *retry_at,
            Life::Dialing { give_up_at } | Life::Leaving { give_up_at } => Some(*give_up_at),
            Life::Up(up) => {
                [self.look_at(up), self.ping_at(up), up.prefer.deadline()].into_iter().flatten().min()
            }
        }
    }

    /// Says goodbye with this close code; nothing is dialled any more.
    pub fn close(&mut self, code: u16, out: &mut Vec<LinkEffect>) {
        match self.life {
            Life::Up(_) => {
                out.push(LinkEffect::Tell(LinkOrder::Close(code)));
                self.life = Life::Closing;
            }
            Life::Dialing { .. } | Life::Leaving { .. } => {
                out.push(LinkEffect::HangUp);
                self.life = Life::Idle;
            }
            Life::Idle | Life::Down { .. } => self.life = Life::Idle,
            Life::Closing => {}
        }
    }

    /// Lives on under another rule: says goodbye with this close code if it is up, and dials as if it had just begun.
    pub fn reconfigure(&mut self, now: Time, rule: LinkRule, code: u16, out: &mut Vec<LinkEffect>) {
        self.endpoints = Endpoints::new(rule.endpoints, now);
        self.habits = Table::from(vec![EndpointHabits::default(); rule.endpoints.count.max(1)]);
        self.window = Window::default();
        self.rule = rule;
        self.parted = false;
        self.start_over(now, code, out);
    }

    /// Says goodbye with this close code if it is up, and stays away until [`Link::reconfigure`].
    pub fn retire(&mut self, now: Time, code: u16, out: &mut Vec<LinkEffect>) {
        self.rule.active = false;
        self.start_over(now, code, out);
    }

    /// Says goodbye with this close code if it is up, and stays away until [`Link::connect`] or [`Link::reconfigure`].
    pub fn disconnect(&mut self, now: Time, code: u16, out: &mut Vec<LinkEffect>) {
        if !std::mem::replace(&mut self.parted, true) {
            self.start_over(now, code, out);
            self.since = now;
        }
    }

    /// Dials at once, unless it is up or does so already. An inactive link stays as it is.
    pub fn connect(&mut self, now: Time) {
        self.parted = false;
        if let Life::Idle | Life::Down { .. } = self.life {
            self.endpoints = Endpoints::new(self.rule.endpoints, now);
            self.begin(now);
        }
    }

    /// What lets a message be forgotten.
    pub fn confirms_by(&self) -> Confirm {
        self.rule.confirm
    }

    /// Whether being connected is all that shows that the peer is there: nothing is pinged over HTTP.
    pub fn is_unpinged(&self) -> bool {
        self.rule.kind == LinkKind::Http
    }

    /// Whether the peer answers for what it was sent, and is still listened to.
    fn confirms_by_answer(&self) -> bool {
        let answers = match self.rule.kind {
            LinkKind::Http | LinkKind::Mqtt => true,
            LinkKind::WebSocket => false,
        };
        answers && matches!(self.life, Life::Up(_) | Life::Closing)
    }

    /// Whether it dials, or would: it is active, and nobody told it to stay away.
    pub fn may_dial(&self) -> bool {
        self.rule.active && !self.parted
    }

    /// Whether the configuration lets it dial.
    pub fn is_active(&self) -> bool {
        self.rule.active
    }

    fn start_over(&mut self, now: Time, code: u16, out: &mut Vec<LinkEffect>) {
        self.last_error = None;
        match self.life {
            Life::Up(_) => {
                out.push(LinkEffect::Tell(LinkOrder::Close(code)));
                self.life = Life::Leaving { give_up_at: now + LEAVE_WITHIN };
                self.since = now;
                self.rtt = None;
            }
            Life::Dialing { .. } => {
                out.push(LinkEffect::HangUp);
                self.begin(now);
            }
            Life::Idle | Life::Down { .. } => self.begin(now),
            Life::Closing | Life::Leaving { .. } => {}
        }
    }

    fn begin(&mut self, now: Time) {
        self.life = if self.may_dial() { Life::Down { retry_at: Some(now) } } else { Life::Idle };
    }

    /// Drops whatever is left of it, for good.
    pub fn abandon(&mut self, out: &mut Vec<LinkEffect>) {
        if !matches!(self.life, Life::Idle | Life::Down { .. }) {
            out.push(LinkEffect::HangUp);
        }
        self.life = Life::Idle;
    }

    fn is_stable(&self, up: &Up, now: Time) -> bool {
        now.since(up.since) >= self.rule.reconnect.stable_after
    }

    /// Forgets the last error once the connection has proved itself.
    fn settle(&mut self, now: Time) {
        if let Life::Up(up) = &self.life
            && self.is_stable(up, now)
        {
            self.endpoints.proved();
            self.last_error = None;
            self.cut_short = 0;
        }
    }

    fn closed(
        &mut self,
        now: Time,
        closing: Closing,
        error: &str,
        seed: &mut Seed,
        out: &mut Vec<LinkEffect>,
    ) {
        let closing = self.explained(now, closing);
        let cause = match closing {
            Closing::Plain | Closing::Message | Closing::TooLarge | Closing::Unexplained => Cause::Lost,
            Closing::TakenOver => Cause::TakenOver,
            Closing::Restarting => Cause::Restarting,
            Closing::Busy { retry_after } => Cause::Refused(RefusalKind::Busy { retry_after }),
            Closing::Unauthorized if self.is_proven(now) => Cause::Lost,
            Closing::Unauthorized => Cause::Refused(RefusalKind::Unauthorized),
        };
        let error = match closing {
            Closing::Unauthorized if self.rule.kind != LinkKind::Mqtt => {
                format!("{error} (it refuses the login)")
            }
            Closing::Unexplained => {
                format!("{error}, {}", closing::cut_short(self.rule.client_id.as_deref().unwrap_or_default()))
            }
            Closing::Plain
            | Closing::Unauthorized
            | Closing::TakenOver
            | Closing::Restarting
            | Closing::Busy { .. }
            | Closing::Message
            | Closing::TooLarge => error.to_owned(),
        };
        self.lost(now, cause, &error, closing, seed, out);
    }

    /// An end without a reason is worth a guess only when it comes again and again, each time soon.
    fn explained(&mut self, now: Time, closing: Closing) -> Closing {
        self.settle(now);
        match closing {
            Closing::Unexplained if self.is_up() => {
                self.cut_short += 1;
                if self.cut_short >= CUT_SHORT { closing } else { Closing::Plain }
            }
            Closing::Unexplained => Closing::Plain,
            Closing::Plain
            | Closing::Restarting
            | Closing::Busy { .. }
            | Closing::Unauthorized
            | Closing::Message
            | Closing::TooLarge
            | Closing::TakenOver => closing,
        }
    }

    /// A login that was good for a while has run out, and the next one may be good again.
    fn is_proven(&self, now: Time) -> bool {
        matches!(&self.life, Life::Up(up) if self.is_stable(up, now))
    }

    fn hang_up(&mut self, now: Time, error: &str, seed: &mut Seed, out: &mut Vec<LinkEffect>) {
        out.push(LinkEffect::HangUp);
        self.lost(now, Cause::Lost, error, Closing::Plain, seed, out);
    }

    fn lost(
        &mut self,
        now: Time,
        cause: Cause,
        error: &str,
        closing: Closing,
        seed: &mut Seed,
        out: &mut Vec<LinkEffect>,
    ) {
        self.settle(now);
        let (proved, was_up) = match &self.life {
            Life::Up(up) => (self.is_stable(up, now), true),
            Life::Dialing { .. } => (false, false),
            Life::Closing => {
                self.life = Life::Idle;
                return;
            }
            Life::Leaving { .. } => return self.begin(now),
            Life::Idle | Life::Down { .. } => return,
        };
        let (wait, because) = self.endpoints.failed(now, &self.rule.reconnect, cause, proved, seed);
        let retry_in = self.rule.reconnect.active.then_some(wait);
        self.because = because;
        if was_up {
            self.since = now;
        }
        self.rtt = None;
        self.last_error = Some(error.to_owned());
        self.life = Life::Down { retry_at: retry_in.map(|wait| now + wait) };
        out.push(LinkEffect::Lost { error: error.to_owned(), closing, retry_in, because, was_up });
    }
}

#[cfg(test)]
mod tests;
