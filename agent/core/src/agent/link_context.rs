//! A link with everything that belongs to it.

use super::poison::Sample;
use super::stop::GOING_AWAY;
use super::trial::{Rollback, Trial};
use super::{LinkSetup, MqttSetup, Setup, SourceSetup};
use crate::config::buffer::{Bounds, BufferLimits};
use crate::config::replay::Replay;
use crate::ids::{ConnectionId, OutletId};
use crate::link::frame_limit::FrameLimit;
use crate::link::mqtt::terms::Terms;
use crate::link::poison::{MessageRef, PoisonDetector};
use crate::link::{Link, LinkRule};
use crate::outlet::lane::{self, Routes};
use crate::outlet::replay_limiter::ReplayLimiter;
use crate::source::inbox::Inbox;
use crate::source::subscriber::Took;
use crate::time::{Now, Time};
use crate::wire::ENVELOPE_BYTES_MAX;

/// A link and what belongs to its connection.
#[derive(Debug)]
pub struct LinkContext {
    /// Its id, `mqtt` for the broker's.
    pub id: String,
    /// Name of its outlet in the store, without a priority.
    pub outlet: String,
    /// What it is in the configuration.
    pub role: Role,
    /// Its life.
    pub link: Link,
    /// When something was confirmed last, UTC ns.
    pub last_confirmed_ns: Option<u64>,
    /// Days until the peer's certificate ends, on TLS.
    pub certificate_days_left: Option<i64>,
    /// Messages of the peer's own.
    pub received: u64,
    /// Those of them that the buffer has not taken yet.
    pub inbox: Inbox,
    /// Where they go: to every other client link, so that no echo goes round for ever.
    pub others: Routes,
    /// Numbers confirmed since the start, gaps included.
    pub confirmed: u64,
    /// Its outlets and their priorities, rising, the first of priority 0.
    pub lanes: Vec<(u8, OutletId)>,
    /// The outlets that its connection began with, in the order of their lanes on it.
    pub introduced: Vec<OutletId>,
    /// Messages in flight at most.
    pub window: usize,
    /// Whether it introduces itself.
    pub hello: bool,
    /// How a backlog is sent.
    pub replay: Replay,
    /// How much of it may be sent at this moment.
    pub pace: ReplayLimiter,
    /// How carefully it sends.
    pub caution: PoisonDetector,
    /// How large its envelopes may be.
    pub frames: FrameLimit,
    /// Whether somebody was told that its peer does not echo pings.
    pub told_unechoed: bool,
    /// The last message that its peer took, as far as one was kept.
    pub taken: Option<Sample>,
    /// A message that was sent on this connection.
    pub offered: Option<Sample>,
    /// Messages that are to blame and on their way to the dead letters.
    pub convicted: Vec<MessageRef>,
    /// When a refused message was last told as a warning.
    pub warned_at: Option<Time>,
    /// Number of its connection.
    pub conn: ConnectionId,
    /// How many entries were sent on this connection.
    pub sent: u64,
    /// Settings that have yet to prove themselves.
    pub trial: Option<Trial>,
    /// Why settings of the configuration were not kept.
    pub rollback: Option<Rollback>,
    /// The words of the failed dials since it was up last.
    pub refused_as: Vec<String>,
    /// What it fetches, if it is a source's.
    pub fetched: Fetched,
    /// How MQTT is spoken on its connection, or was on the last one.
    pub terms: Option<Terms>,
    /// Why the broker does not take a state.
    pub state_refused: Option<String>,
    /// Reasons for that which were told.
    pub states_told: Vec<String>,
    /// Its sessions that another client of the same id took over, or may have.
    pub taken_over: Option<TakenOver>,
}

/// Sessions that another client of the same id took over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// How many since the start.
    pub times: u64,
    /// When the last one was, UTC ns.
    pub last_ns: u64,
    /// What the last one was told as.
    pub words: String,
}

/// What a source has fetched since the start.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Counts of messages.
    pub took: Took,
    /// When the last one was stored, UTC ns.
    pub last_ns: Option<u64>,
    /// What its subscriptions lack, a sentence each.
    pub faults: Vec<String>,
    /// Why it waits.
    pub holds: Option<String>,
}

/// What a line is in the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// A client.
    Client(Box<LinkSetup>),
    /// The link to the broker.
    Broker,
    /// A source.
    Source(Box<SourceSetup>),
    /// Nothing any more.
    Gone,
}

impl LinkContext {
    /// A client link.
    pub fn of_client(own: &LinkSetup, now: Now) -> LinkContext {
        let pace = ReplayLimiter::new(own.replay, now.mono);
        let link = Link::new(own.rule.clone(), now.mono);
        let role = Role::Client(Box::new(own.clone()));
        let line = LinkContext::new(&own.id, own.outlet(), role, link, own.window, pace);
        LinkContext { hello: own.hello, replay: own.replay, frames: FrameLimit::new(own.frame_bytes), ..line }
    }

    /// The link to the broker.
    pub fn of_broker(own: &MqttSetup, now: Now) -> LinkContext {
        let pace = ReplayLimiter::new(Replay::default(), now.mono);
        let link = Link::new(own.rule.clone(), now.mono);
        LinkContext::new("mqtt", lane::MQTT.to_owned(), Role::Broker, link, own.window, pace)
    }

    /// The link of a source.
    pub fn of_source(own: &SourceSetup, now: Now) -> LinkContext {
        let pace = ReplayLimiter::new(Replay::default(), now.mono);
        let link = Link::new(own.rule.clone(), now.mono);
        let name = format!("source:{}", own.id);
        LinkContext::new(&name, name.clone(), Role::Source(Box::new(own.clone())), link, 0, pace)
    }

    /// The same, but it does not dial before its outlets have a place.
    pub fn waiting(mut self, now: Now) -> LinkContext {
        self.link.retire(now.mono, GOING_AWAY, &mut Vec::new());
        self
    }

    /// Whether it is a client's.
    pub fn is_client(&self) -> bool {
        matches!(self.role, Role::Client(_))
    }

    /// What the configuration says of a source.
    pub fn source(&self) -> Option<&SourceSetup> {
        match &self.role {
            Role::Source(own) => Some(own),
            Role::Client(_) | Role::Broker | Role::Gone => None,
        }
    }

    /// Whether its link is not configured any more.
    pub fn is_gone(&self) -> bool {
        self.role == Role::Gone
    }

    /// What the configuration says of a client.
    pub fn own(&self) -> Option<&LinkSetup> {
        match &self.role {
            Role::Client(own) => Some(own),
            Role::Broker | Role::Source(_) | Role::Gone => None,
        }
    }

    /// How its link lives, unless that is gone.
    pub fn rule(&self, setup: &Setup) -> Option<LinkRule> {
        match &self.role {
            Role::Client(own) => Some(own.rule.clone()),
            Role::Broker => setup.mqtt.as_ref().map(|own| own.rule.clone()),
            Role::Source(own) => Some(own.rule.clone()),
            Role::Gone => None,
        }
    }

    /// What bounds its place in the buffer.
    pub fn bounds(&self, setup: &Setup) -> Bounds {
        let own = setup.buffer.bounds(self.own().map_or(BufferLimits::default(), |own| own.place));
        self.trial.as_ref().map_or(own, |trial| trial.bounds(&setup.buffer, own))
    }

    /// Takes over the settings of a fresh line. Returns what it was in the configuration before.
    pub fn adopt(&mut self, fresh: LinkContext) -> Role {
        self.id = fresh.id;
        (self.window, self.hello) = (fresh.window, fresh.hello);
        (self.replay, self.pace) = (fresh.replay, fresh.pace);
        (self.frames, self.told_unechoed) = (fresh.frames, false);
        self.forget_messages();
        self.refused_as.clear();
        (self.taken_over, self.terms, self.state_refused) = (None, None, None);
        self.states_told.clear();
        std::mem::replace(&mut self.role, fresh.role)
    }

    /// What was known of its messages says nothing any more.
    pub fn forget_messages(&mut self) {
        self.caution = PoisonDetector::default();
        (self.taken, self.offered) = (None, None);
    }

    /// When it has something to do that no event announces.
    pub fn deadline(&self) -> Option<Time> {
        let caution = self.caution.deadline().filter(|_| self.link.may_send());
        [self.link.deadline(), self.inbox.deadline(), caution].into_iter().flatten().min()
    }

    fn new(
        id: &str,
        outlet: String,
        role: Role,
        link: Link,
        window: usize,
        pace: ReplayLimiter,
    ) -> LinkContext {
        LinkContext {
            id: id.to_owned(),
            outlet,
            role,
            link,
            last_confirmed_ns: None,
            certificate_days_left: None,
            received: 0,
            inbox: Inbox::default(),
            others: Routes::default(),
            confirmed: 0,
            lanes: Vec::new(),
            introduced: Vec::new(),
            window,
            hello: false,
            replay: Replay::default(),
            pace,
            caution: PoisonDetector::default(),
            frames: FrameLimit::new(ENVELOPE_BYTES_MAX),
            told_unechoed: false,
            taken: None,
            offered: None,
            convicted: Vec::new(),
            warned_at: None,
            conn: ConnectionId::default(),
            sent: 0,
            trial: None,
            rollback: None,
            refused_as: Vec::new(),
            terms: None,
            state_refused: None,
            states_told: Vec::new(),
            taken_over: None,
            fetched: Fetched::default(),
        }
    }
}
