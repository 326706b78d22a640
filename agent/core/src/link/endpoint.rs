//! Which of several urls a link dials. Each has a back-off of its own, so that a dead one is left at once and a whole round of
//! dead ones ends in the usual waits; none is ever dialled more often than if it were the only one. Pure.

use std::time::Duration;

use crate::config::address::Balance;
use crate::config::client::Reconnect;
use crate::ids::{EndpointId, Table};
use crate::link::backoff::{self, Cause, STABLE_LOST, WaitReason};
use crate::seed::Seed;
use crate::time::Time;

/// What a link is told of its urls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointRule {
    /// How many there are; at least one.
    pub count: usize,
    /// Which of them is used.
    pub balance: Balance,
    /// After how long on another one the first ones are tried again; zero never.
    pub prefer_after: Duration,
}

/// The urls of a link, by their positions.
#[derive(Debug, Clone)]
pub struct Endpoints {
    rule: EndpointRule,
    all: Table<EndpointId, Endpoint>,
    current: Option<EndpointId>,
}

#[derive(Debug, Clone, Copy)]
struct Endpoint {
    failures: u32,
    ready_at: Time,
    /// Why it is not ready earlier.
    reason: WaitReason,
}

impl Endpoint {
    fn ready(at: Time) -> Endpoint {
        Endpoint { failures: 0, ready_at: at, reason: WaitReason::BackOff }
    }
}

impl EndpointRule {
    /// The only one.
    pub fn single() -> EndpointRule {
        EndpointRule { count: 1, balance: Balance::Failover, prefer_after: Duration::ZERO }
    }
}

impl Endpoints {
    /// All of them are ready to be dialled.
    pub fn new(rule: EndpointRule, now: Time) -> Endpoints {
        Endpoints { rule, all: Table::from(vec![Endpoint::ready(now); rule.count.max(1)]), current: None }
    }

    /// The one that is used, or was dialled last.
    pub fn current(&self) -> EndpointId {
        self.current.unwrap_or(EndpointId::FIRST)
    }

    /// Chooses the one that is dialled.
    pub fn choose(&mut self, now: Time, seed: &mut Seed) -> EndpointId {
        let count = self.all.len();
        let is_ready = |endpoint: &EndpointId| self.all[*endpoint].ready_at <= now;
        let chosen = match self.rule.balance {
            Balance::Failover => {
                self.all.ids().filter(is_ready).min_by_key(|endpoint| self.all[*endpoint].failures)
            }
            Balance::RoundRobin => {
                let anywhere = || usize::try_from(seed.below(count as u64)).unwrap_or_default();
                let first = self.current.map_or_else(anywhere, |current| current.0 + 1);
                (first..first + count).map(|endpoint| EndpointId(endpoint % count)).find(is_ready)
            }
        };
        let chosen = chosen.unwrap_or_else(|| self.soonest());
        self.current = Some(chosen);
        chosen
    }

    /// The one that is used has proved itself.
    pub fn proved(&mut self) {
        let current = self.current();
        self.all[current].failures = 0;
    }

    /// The one that is used failed, or was lost after it had proved itself. Returns the wait before the next dial,
    /// and why it is as long as it is.
    pub fn failed(
        &mut self,
        now: Time,
        reconnect: &Reconnect,
        cause: Cause,
        proved: bool,
        seed: &mut Seed,
    ) -> (Duration, WaitReason) {
        let current = self.current();
        let failures = if proved { STABLE_LOST } else { self.all[current].failures };
        let own = wait(reconnect, failures, proved, cause, seed);
        let reason = WaitReason::of(cause, reconnect.interval.is_some());
        self.all[current] = Endpoint { failures: failures.saturating_add(1), ready_at: now + own, reason };
        if self.all.iter().any(|endpoint| endpoint.ready_at <= now) {
            // A whole fleet may have lost the same one, and goes to the same other one.
            let failures = if proved { STABLE_LOST } else { 0 };
            return (wait(reconnect, failures, true, Cause::Lost, seed), WaitReason::NextUrl);
        }
        let soonest = self.all[self.soonest()];
        (soonest.ready_at.since(now), soonest.reason)
    }

    /// When the ones before the one that is used are to be tried again; none if there are none, or that is not wanted.
    pub fn prefer_at(&self, now: Time, seed: &mut Seed) -> Option<Time> {
        let is_led_away = self.rule.balance == Balance::Failover && self.current() > EndpointId::FIRST;
        let after = self.rule.prefer_after;
        // Those who were led away together come back one by one.
        (is_led_away && !after.is_zero()).then(|| now + after + seed.up_to(after / 2))
    }

    /// This one works: it is dialled next.
    pub fn prefer(&mut self, now: Time, endpoint: EndpointId) {
        self.all[endpoint] = Endpoint::ready(now);
        self.all.iter_mut().take(endpoint.0).for_each(|before| before.failures = before.failures.max(1));
    }

    fn soonest(&self) -> EndpointId {
        let soonest = self.all.ids().min_by_key(|endpoint| self.all[*endpoint].ready_at);
        soonest.unwrap_or(EndpointId::FIRST)
    }
}

/// `first` tells the first wait of several.
fn wait(reconnect: &Reconnect, failures: u32, first: bool, cause: Cause, seed: &mut Seed) -> Duration {
    match reconnect.interval {
        Some(interval) => backoff::fixed(interval, reconnect.max, first || failures == 0, cause, seed),
        None => backoff::delay(reconnect, failures, cause, seed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::protocol::RefusalKind;

    const REFUSED: Cause = Cause::Refused(RefusalKind::Retry);

    struct Sim {
        endpoints: Endpoints,
        reconnect: Reconnect,
        now: Time,
        seed: Seed,
    }

    impl Sim {
        fn new(count: usize, balance: Balance) -> Sim {
            let rule = EndpointRule { count, balance, prefer_after: Duration::from_secs(300) };
            let now = Time::default() + Duration::from_secs(1000);
            let reconnect = Reconnect::default();
            Sim { endpoints: Endpoints::new(rule, now), reconnect, now, seed: Seed::new(3) }
        }

        fn choose(&mut self) -> usize {
            (self.endpoints.choose(self.now, &mut self.seed)).0
        }

        /// Fails, and goes to the time of the next dial.
        fn fail(&mut self, cause: Cause, proved: bool) -> Duration {
            let (wait, _) = self.endpoints.failed(self.now, &self.reconnect, cause, proved, &mut self.seed);
            self.now = self.now + wait;
            wait
        }
    }

    #[test]
    fn failover_takes_the_first_and_leaves_a_dead_one_for_the_next_within_the_shortest_wait() {
        let mut sim = Sim::new(3, Balance::Failover);
        assert_eq!(sim.choose(), 0);
        for expected in [1, 2] {
            assert!(sim.fail(REFUSED, false) <= Duration::from_secs(1));
            assert_eq!(sim.choose(), expected);
        }
    }

    #[test]
    fn when_all_are_dead_the_waits_grow_as_if_each_were_the_only_one() {
        let mut sim = Sim::new(2, Balance::Failover);
        let mut dials = [0_u32; 2];
        let start = sim.now;
        while sim.now.since(start) < Duration::from_secs(3600) {
            dials[sim.choose()] += 1;
            sim.fail(REFUSED, false);
        }
        // With full jitter up to 5 minutes an hour has about 24 dials of each, and 10 more at its beginning.
        assert!(dials.iter().all(|dials| (15..60).contains(dials)), "{dials:?}");
    }

    #[test]
    fn one_that_asks_for_time_is_not_dialled_earlier_while_the_others_are() {
        let mut sim = Sim::new(2, Balance::Failover);
        let until = sim.now + Duration::from_secs(240);
        assert_eq!(sim.choose(), 0);
        sim.fail(Cause::Refused(RefusalKind::Busy { retry_after: Some(Duration::from_secs(240)) }), false);
        while sim.now < until {
            assert_eq!(sim.choose(), 1);
            sim.fail(REFUSED, false);
        }
    }

    #[test]
    fn a_fleet_that_loses_a_stable_server_goes_to_the_next_one_spread_over_eight_times_the_shortest_wait() {
        let waits: Vec<Duration> = (0..500)
            .map(|number| {
                let mut sim = Sim { seed: Seed::new(number), ..Sim::new(2, Balance::Failover) };
                sim.choose();
                sim.fail(Cause::Lost, true)
            })
            .collect();
        let late = waits.iter().filter(|wait| **wait > Duration::from_secs(4)).count();
        assert!((150..350).contains(&late), "{late} of 500 wait longer than half of 8 s");
    }

    #[test]
    fn round_robin_begins_anywhere_and_takes_the_next_one_at_each_connect() {
        let mut firsts = std::collections::BTreeSet::new();
        for number in 0..50 {
            let mut sim = Sim { seed: Seed::new(number), ..Sim::new(3, Balance::RoundRobin) };
            let first = sim.choose();
            firsts.insert(first);
            for step in 1..3 {
                sim.now = sim.now + Duration::from_secs(3600);
                assert_eq!(sim.choose(), (first + step) % 3);
            }
        }
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn the_first_one_is_preferred_again_and_only_by_failover() {
        let mut sim = Sim::new(2, Balance::Failover);
        sim.choose();
        assert_eq!(sim.endpoints.prefer_at(sim.now, &mut sim.seed), None, "it is on the first one");
        sim.fail(REFUSED, false);
        assert_eq!(sim.choose(), 1);
        let wait = sim.endpoints.prefer_at(sim.now, &mut sim.seed).unwrap().since(sim.now);
        assert!((300..=450).contains(&wait.as_secs()), "{wait:?}");
        sim.endpoints.prefer(sim.now, EndpointId(0));
        assert_eq!(sim.choose(), 0);
        let mut sim = Sim::new(2, Balance::RoundRobin);
        sim.endpoints.current = Some(EndpointId(1));
        assert_eq!(sim.endpoints.prefer_at(sim.now, &mut sim.seed), None);
    }

    #[test]
    fn a_fixed_interval_is_random_at_first_and_fixed_from_then_on() {
        let mut sim = Sim::new(1, Balance::Failover);
        let interval = Duration::from_secs(7);
        sim.reconnect.interval = Some(interval);
        sim.choose();
        assert!(sim.fail(REFUSED, false) < interval);
        for _ in 0..9 {
            sim.choose();
            assert_eq!(sim.fail(REFUSED, false), interval);
        }
        assert!(sim.fail(Cause::Lost, true) < interval, "a fleet has lost it together");
    }
}
