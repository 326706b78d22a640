//! The network between the agent and its peers: what is on its way arrives in order, late, or never.

use holdfast::config::client::Confirm;
use holdfast::logic::agent::Event;
use holdfast::logic::closing::Closing;
use holdfast::logic::port::{LinkOrder, LinkReport};

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
    pub(super) conn: u64,
    /// Nothing passes any more, and nobody is told.
    pub(super) half_open: bool,
    pub(super) up: bool,
    /// The peer closes this connection for a reason of its own as soon as it is sent something.
    pub(super) unwilling: Option<Unwilling>,
    /// Frames arrive in order.
    pub(super) up_at: u64,
    pub(super) down_at: u64,
}

impl World {
    pub(super) fn dial(&mut self, link: usize, conn: u64) {
        let unwilling = if self.healed { None } else { self.unwilling() };
        self.conns[link] =
            Some(Conn { conn, half_open: false, up: false, unwilling, up_at: self.now, down_at: self.now });
        let (agent, own) =
            (self.agent.as_ref().expect("it has dialed"), self.of_agent(link).expect("it dials"));
        self.peers[link].epochs = agent.lanes(own).map(|(_, epoch)| epoch.to_owned()).collect();
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
        let longest = if self.seed.below(10) == 0 { 2 * SECOND } else { 40 * MS };
        let latency = 1 + self.seed.below(longest);
        let Some(at) = &mut self.conns[link] else { return };
        let conn = at.conn;
        at.up_at = at.up_at.max(self.now + latency);
        let arrives_at = at.up_at;
        if let (LinkOrder::Send { through, .. }, Confirm::None) = (&order, self.peers[link].confirm) {
            let report = LinkReport::Written(*through);
            self.after(MS, Pending::ToAgent { link, conn, report });
        }
        self.at(arrives_at, Pending::ToPeer { link, conn, order });
    }

    pub(super) fn reach_agent(&mut self, link: usize, conn: u64, report: LinkReport) -> Result<(), String> {
        if self.conns[link].as_ref().is_none_or(|at| at.conn != conn || at.half_open) {
            return Ok(());
        }
        if matches!(report, LinkReport::Closed { .. } | LinkReport::DialFailed(_)) {
            self.conns[link] = None;
        }
        match self.of_agent(link) {
            Some(link) => self.feed(Event::Link { link, conn, report }),
            None => Ok(()),
        }
    }

    pub(super) fn reach_peer(&mut self, link: usize, conn: u64, order: LinkOrder) -> Result<(), String> {
        let passes = |at: &Conn| at.conn == conn && at.up && !at.half_open;
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
        let (order, choked) = match (self.peers[link].chokes_at(&order), order) {
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
            self.tally.choked += 1;
            let code = self.one_of(&[1003, 1007, 1009]);
            return self.hang_up(link, conn, code);
        }
        for report in reports {
            let latency = 1 + self.seed.below(40 * MS);
            let Some(at) = &mut self.conns[link] else { return Ok(()) };
            at.down_at = at.down_at.max(self.now + latency);
            let arrives_at = at.down_at;
            self.at(arrives_at, Pending::ToAgent { link, conn, report });
        }
        Ok(())
    }

    /// The connection breaks, and both ends hear of it.
    pub(super) fn cut(&mut self, link: usize, conn: u64) {
        let closing = Closing::of(self.close_code(), "");
        let report = LinkReport::Closed { closing, error: "cut".to_owned() };
        self.tally.cuts += 1;
        if let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn && at.up) {
            at.up = false;
            self.after(5 * MS, Pending::ToAgent { link, conn, report });
        }
    }

    /// Nothing passes any more, and nobody hears of it.
    pub(super) fn half_open(&mut self, link: usize, conn: u64) {
        if let Some(at) = self.conns[link].as_mut().filter(|at| at.conn == conn) {
            at.half_open = true;
            self.tally.cuts += 1;
        }
    }
}
