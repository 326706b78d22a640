//! How a link that was led away from the first endpoints comes back to one of them: it is tried beside the connection that there
//! is, and when it answers, nothing more is sent here; once all is confirmed, or some time has passed, the link moves. Nothing is
//! lost by it, and nothing comes twice unless a confirmation is late.

use std::time::Duration;

use super::{LEAVE_WITHIN, Life, Link, LinkEffect};
use crate::ids::EndpointId;
use crate::link::protocol::LinkOrder;
use crate::seed::Seed;
use crate::time::Time;

/// Confirmations are waited for so long.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// Normal closure (RFC 6455 §7.4.1).
const NORMAL: u16 = 1000;

/// Where it is on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prefer {
    /// It is where it wants to be.
    Content,
    /// It will try this endpoint.
    Waits { endpoint: EndpointId, at: Time },
    /// It tries this endpoint.
    Tries { endpoint: EndpointId, give_up_at: Time },
    /// That endpoint works: it moves once nothing is in flight.
    Drains { until: Time },
}

impl Prefer {
    /// Tries the first endpoint at this time, if there is one.
    pub(crate) fn after(at: Option<Time>) -> Prefer {
        at.map_or(Prefer::Content, |at| Prefer::Waits { endpoint: EndpointId::FIRST, at })
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self, Prefer::Drains { .. })
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self {
            Prefer::Content => None,
            Prefer::Waits { at, .. } => Some(*at),
            Prefer::Tries { give_up_at, .. } => Some(*give_up_at),
            Prefer::Drains { until } => Some(*until),
        }
    }
}

impl Link {
    /// Acts on what is due on the way back.
    pub(crate) fn look_for_preferred(&mut self, now: Time, seed: &mut Seed, out: &mut Vec<LinkEffect>) {
        let Life::Up(up) = &mut self.life else { return };
        match up.prefer {
            Prefer::Content => {}
            Prefer::Waits { endpoint, at } => {
                if at <= now {
                    let patience = self.rule.connect_timeout + self.rule.ping.timeout;
                    let give_up_at = now + patience + Duration::from_secs(1);
                    up.prefer = Prefer::Tries { endpoint, give_up_at };
                    out.push(LinkEffect::Tell(LinkOrder::Probe(endpoint)));
                }
            }
            Prefer::Tries { give_up_at, .. } => {
                if give_up_at <= now {
                    self.probed(now, &Err(String::new()), seed);
                }
            }
            Prefer::Drains { until } => {
                // A slow line that carries on is given its time.
                let until = until.max(up.watch.moved_at() + DRAIN_WITHIN);
                up.prefer = Prefer::Drains { until };
                if up.waiting_since.is_none() || until <= now {
                    out.push(LinkEffect::Left);
                    self.renew(now, out);
                }
            }
        }
    }

    /// Says goodbye, and dials as if it had just begun.
    pub fn renew(&mut self, now: Time, out: &mut Vec<LinkEffect>) {
        if let Life::Up(_) = self.life {
            self.life = Life::Leaving { give_up_at: now + LEAVE_WITHIN };
            self.since = now;
            self.rtt = None;
            out.push(LinkEffect::Tell(LinkOrder::Close(NORMAL)));
        }
    }

    /// The endpoint that was tried works, or does not: then the next one before ours is tried, and after the last one the first
    /// again, later.
    pub(crate) fn probed(&mut self, now: Time, outcome: &Result<(), String>, seed: &mut Seed) {
        let Life::Up(up) = &mut self.life else { return };
        let Prefer::Tries { endpoint, .. } = up.prefer else { return };
        let next = EndpointId(endpoint.0 + 1);
        up.prefer = match outcome {
            Ok(()) => {
                self.endpoints.prefer(now, endpoint);
                Prefer::Drains { until: now + DRAIN_WITHIN }
            }
            Err(_) if next < self.endpoints.current() => {
                let at = now + seed.up_to(self.rule.reconnect.min);
                Prefer::Waits { endpoint: next, at }
            }
            Err(_) => Prefer::after(self.endpoints.prefer_at(now, seed)),
        };
    }
}
