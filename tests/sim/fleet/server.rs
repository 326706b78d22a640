//! The server that restarts: away for a while, and then able to take so many connections a second and no more.

use std::time::Duration;

use holdfast_core::link::closing::Closing;
use holdfast_core::link::dial_error::DialError;
use holdfast_core::link::protocol::{LinkReport, Peer, Refusal, RefusalKind};
use holdfast_core::time::Time;

/// Treatment of callers that are one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Resets the connection.
    Reset,
    /// HTTP 503, with `Retry-After` or without.
    Busy(Option<Duration>),
}

/// One kind of restart.
#[derive(Debug, Clone, Copy)]
pub struct Restart {
    /// How it takes leave: close code 1012, or a reset.
    pub code: Option<u16>,
    /// How long it is away.
    pub away: Duration,
    /// Answer to dials meanwhile: a reset by the kernel, or what a proxy in front of it says.
    pub meanwhile: Beyond,
    /// Connections that it can take each second.
    pub rate: u64,
    /// The rest of them.
    pub beyond: Beyond,
}

pub struct Server {
    restart: Restart,
    /// When it went.
    pub opened_at: Time,
    /// Credit of this moment, in nanoseconds of work; never more than a second's worth.
    credit_ns: u64,
    counted_at: Time,
}

impl Server {
    pub fn new(restart: Restart) -> Server {
        Server { restart, opened_at: Time::default(), credit_ns: 0, counted_at: Time::default() }
    }

    /// How every connection ends.
    pub fn close(&self) -> LinkReport {
        LinkReport::Closed {
            closing: Closing::of(self.restart.code, ""),
            error: "the server restarts".to_owned(),
        }
    }

    /// The answer to an attempt.
    pub fn answer(&mut self, now: Time) -> LinkReport {
        if now.since(self.opened_at) < self.restart.away {
            return refused(self.restart.meanwhile);
        }
        if self.has_room(now) {
            return LinkReport::Up(Peer::default());
        }
        refused(self.restart.beyond)
    }

    fn has_room(&mut self, now: Time) -> bool {
        const SECOND_NS: u64 = 1_000_000_000;
        let idle_ns = u64::try_from(now.since(self.counted_at).as_nanos()).unwrap_or(SECOND_NS);
        self.credit_ns = self.credit_ns.saturating_add(idle_ns).min(SECOND_NS);
        self.counted_at = now;
        let cost_ns = SECOND_NS / self.restart.rate;
        let room = self.credit_ns >= cost_ns;
        self.credit_ns -= if room { cost_ns } else { 0 };
        room
    }
}

fn refused(how: Beyond) -> LinkReport {
    let cause = match how {
        Beyond::Reset => DialError::Broken,
        Beyond::Busy(retry_after) => DialError::Http { status: 503, asks: RefusalKind::Busy { retry_after } },
    };
    LinkReport::DialFailed(Refusal::new(cause, "refused"))
}
