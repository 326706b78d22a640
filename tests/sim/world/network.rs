//! The network between the agent and its peers: what is on its way arrives in order, late, or never.

use holdfast_core::agent::Event;
use holdfast_core::config::client::Confirm;
use holdfast_core::ids::{ConnectionId, LinkId};
use holdfast_core::link::closing::Closing;
use holdfast_core::link::post_queue::PostQueue;
use holdfast_core::link::protocol::{LinkOrder, LinkReport, Traffic};

use holdfast_core::wire::ENVELOPE_BYTES_MAX;

use super::{MS, Pending, SECOND, World};

/// How a peer closes that takes nothing, with which code.
#[derive(Clone, Copy)]
pub(super) enum Unwilling {
    /// It does not read what comes.
    Deaf(u16),
    /// It answers pings, and closes at the first message.
    Refuses(u16),
}

/// A connection as the network sees it.
pub(super) struct Conn {
    pub(super) conn: ConnectionId,
    /// Nothing passes any more, and nobody is told, from this moment on.
    pub(super) half_open_at: Option<u64>,
    pub(super) up: bool,
    /// The peer closes this connection for a reason of its own as soon as it is sent something.
    pub(super) unwilling: Option<Unwilling>,
    /// Frames arrive in order.
    pub(super) up_at: u64,
    pub(super) down_at: u64,
    /// Bytes a second, where the line is slow.
    rate: Option<u64>,
    /// What was sent: from when to when it is on its way, and its bytes.
    on_its_way: Vec<(u64, u64, u64)>,
    /// Bytes that have arrived, of what is not there any more.
    arrived: u64,
    heard: u64,
    /// Bytes of an envelope at most.
    frame_bytes: usize,
    /// Posts on it, if it is an HTTP link's.
    pub(super) posts: Option<PostQueue>,
}

impl Conn {
    pub(super) fn is_half_open(&self) -> bool {
        self.half_open_at.is_some()
    }

    /// Forgets the single orders that have arrived.
    fn settle(&mut self, now: u64) {
        let now = self.half_open_at.map_or(now, |at| now.min(at));
        let arrived = self.on_its_way.extract_if(.., |(_, to, _)| *to <= now);
        self.arrived += arrived.map(|(.., bytes)| bytes).sum::<u64>();
    }

    /// What the kernel knows of its bytes.
    fn traffic(&self, now: u64) -> Traffic {
        let now = self.half_open_at.map_or(now, |at| now.min(at));
        let missing = |(from, to, bytes): &(u64, u64, u64)| {
            let left = to.saturating_sub(now.max(*from));
            (u128::from(*bytes) * u128::from(left)).div_ceil(u128::from(to - from)) as u64
        };
        Traffic {
            written: self.arrived + self.on_its_way.iter().map(|(.., bytes)| bytes).sum::<u64>(),
            unacknowledged: Some(self.on_its_way.iter().map(missing).sum()),
            heard: self.heard,
            frames: self.heard,
            peer_is_full: false,
        }
    }
}

/// Bytes of an order on the line.
fn bytes_of(order: &LinkOrder) -> u64 {
    match order {
        LinkOrder::Send { entries, .. } => 1000 * entries.len() as u64,
        LinkOrder::Hello { .. } | LinkOrder::Publish(_) => 100,
        LinkOrder::Ping(_) | LinkOrder::FrameBytes(_) | LinkOrder::Probe(_) | LinkOrder::Close(_) => 10,
    }
}

impl World {
    pub(super) fn dial(&mut self, link: usize, conn: ConnectionId) {
        let unwilling = if self.healed { None } else { self.unwilling() };
        let rate = (self.seed.below(6) == 0).then(|| 250 + self.seed.below(4000));
        self.tally.slow += u64::from(rate.is_some());
        self.conns[link] = Some(Conn {
            conn,
            half_open_at: None,
            up: false,
            unwilling,
            up_at: self.now,
            down_at: self.now,
            rate,
            on_its_way: Vec::new(),
            arrived: 0,
            heard: 0,
            frame_bytes: ENVELOPE_BYTES_MAX,
            posts: None,
        });
        let (agent, own) =
            (self.agent.as_ref().expect("it has dialed"), self.of_agent(link).expect("it dials"));
        self.peers[link].epochs = agent.lanes(own).map(|(_, epoch)| epoch.to_owned()).collect();
        self.begin_to_post(link);
        if self.is_dead(link) {
            return self.dial_nobody(link, conn);
        }
        self.peers[link].connect();
        let luck = if self.healed { 9 } else { self.seed.below(10) };
        let report = match luck {
            0 => LinkReport::DialFailed(self.refusal()),
            1 => return,
            _ => LinkReport::Up(Default::default()),
        };
        if let (LinkReport::Up(_), Some(at)) = (&report, &mut self.conns[link]) {
            at.up = true;
        }
        self.after(200 * MS, Pending::ToAgent { link, conn, report });
        if !self.healed && luck < 7 {
            let trouble = match self.seed.below(2) {
                0 => Pending::Cut { link, conn },
                _ => Pending::HalfOpen { link, conn },
            };
            self.after(20 * SECOND, trouble);
        }
    }

    pub(super) fn tell(&mut self, link: usize, order: LinkOrder) {
        let Some(order) = self.told_to_post(link, order) else { return };
        let Some(conn) = self.conns[link].as_ref().map(|at| at.conn) else { return };
        let arrives_at = self.goes_out(link, bytes_of(&order));
        if let (LinkOrder::Send { through, .. }, Confirm::None) = (&order, self.peers[link].confirm) {
            let report = LinkReport::Written(*through);
            self.after(MS, Pending::ToAgent { link, conn, report });
        }
        self.at(arrives_at, Pending::ToPeer { link, conn, order });
    }

    /// Sends N bytes. Returns the time of their arrival.
    pub(super) fn goes_out(&mut self, link: usize, bytes: u64) -> u64 {
        let longest = if self.seed.below(10) == 0 { 2 * SECOND } else { 40 * MS };
        let latency = 1 + self.seed.below(longest);
        let Some(at) = &mut self.conns[link] else { return self.now + latency };
        let begins_at = at.up_at.max(self.now);
        let takes = at.rate.map_or(0, |rate| bytes * SECOND / rate);
        at.up_at = (begins_at + takes).max(self.now + latency);
        let arrives_at = at.up_at;
        at.settle(self.now);
        at.on_its_way.push((begins_at, arrives_at.max(begins_at + 1), bytes));
        arrives_at
    }

    pub(super) fn reach_agent(
        &mut self,
        link: usize,
        conn: ConnectionId,
        report: LinkReport,
    ) -> Result<(), String> {
        let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn && !at.is_half_open()) else {
            return Ok(());
        };
        at.heard += 1;
        if matches!(report, LinkReport::Pong(_)) {
            self.unechoed.remove(&link);
        }
        if matches!(report, LinkReport::Closed { .. } | LinkReport::DialFailed(_)) {
            self.conns[link] = None;
        }
        match self.of_agent(link) {
            Some(link) => self.feed(Event::Link { link, conn, report }),
            None => Ok(()),
        }
    }

    pub(super) fn reach_peer(
        &mut self,
        link: usize,
        conn: ConnectionId,
        order: LinkOrder,
    ) -> Result<(), String> {
        let passes = |at: &Conn| at.conn == conn && at.up && !at.is_half_open();
        if !self.conns[link].as_ref().is_some_and(passes) {
            return Ok(());
        }
        let unwilling = self.conns[link].as_ref().and_then(|at| at.unwilling);
        match (unwilling, &order) {
            (Some(Unwilling::Deaf(code)), _) | (Some(Unwilling::Refuses(code)), LinkOrder::Send { .. }) => {
                self.tally.unwilling += 1;
                return self.hang_up(link, conn, code);
            }
            (Some(Unwilling::Refuses(_)) | None, _) => {}
        }
        let frame_bytes = self.conns[link].as_mut().map_or(0, |at| {
            at.frame_bytes = if let LinkOrder::FrameBytes(bytes) = order { bytes } else { at.frame_bytes };
            at.frame_bytes
        });
        let refused = self.peers[link].refuses_at(&order, frame_bytes);
        let poison = self.peers[link].chokes_at(&order);
        let (order, choked) = match (refused.into_iter().chain(poison).min(), order) {
            (Some(at), LinkOrder::Send { lane, through, mut entries }) => {
                entries.truncate(at);
                (LinkOrder::Send { lane, through, entries }, true)
            }
            (_, order) => (order, false),
        };
        let reports =
            self.peers[link].arrive(order, &mut self.seed).map_err(|e| format!("link {link}: {e}"))?;
        self.check_twice(link)?;
        if choked {
            let is_poison = poison.is_some_and(|poison| refused.is_none_or(|refused| poison < refused));
            self.tally.choked += u64::from(is_poison);
            self.tally.oversized += u64::from(!is_poison);
            let code = if is_poison { self.one_of(&[1003, 1007, 1009]) } else { 1009 };
            return self.hang_up(link, conn, code);
        }
        for report in reports {
            let latency = 1 + self.seed.below(40 * MS) + self.peers[link].late;
            let Some(at) = &mut self.conns[link] else { return Ok(()) };
            at.down_at = at.down_at.max(self.now + latency);
            let arrives_at = at.down_at;
            self.at(arrives_at, Pending::ToAgent { link, conn, report });
        }
        Ok(())
    }

    /// The connection breaks, and both ends hear of it.
    pub(super) fn cut(&mut self, link: usize, conn: ConnectionId) {
        let closing = Closing::of(self.close_code(), "");
        let report = LinkReport::Closed { closing, error: "cut".to_owned() };
        self.tally.cuts += 1;
        if let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn && at.up) {
            at.up = false;
            self.after(5 * MS, Pending::ToAgent { link, conn, report });
        }
    }

    /// Nothing passes any more, and nobody hears of it.
    pub(super) fn half_open(&mut self, link: usize, conn: ConnectionId) {
        if let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn) {
            at.half_open_at.get_or_insert(self.now);
            self.tally.cuts += 1;
        }
    }

    /// How far the bytes of a connection have come.
    pub(super) fn look(&mut self, link: LinkId, conn: ConnectionId) -> Result<(), String> {
        let own = self.number(link);
        let Some(at) = self.conns[own].as_ref().filter(|at| at.conn == conn) else { return Ok(()) };
        let report = LinkReport::Traffic(at.traffic(self.now));
        self.feed(Event::Link { link, conn, report })
    }
}
