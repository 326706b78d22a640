//! Cost of a failed login: the answer comes late, later each time, and after some failures there is a wait before another
//! try. Failures count for the address, for the account, and for both together; only time forgives them. An account that was right
//! at an address before is not held up there by what others try.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::config::network::Remote;
use crate::time::Time;

/// How late the answer to the first failure comes; each one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// How long the first wait is; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// A failure is forgotten after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// How many addresses, accounts and pairs of them are remembered, of each.
const REMEMBERED: usize = 1024;
/// Addresses that are remembered of one account that was right.
const ADDRESSES: usize = 16;
/// One address has few tries, whichever account it names.
const OF_ADDRESS: Schedule = Schedule { free: 5, wait_max: Duration::from_secs(300) };
/// One account has more, from all addresses: they belong to many, one of which may be its owner at a new address.
const OF_ACCOUNT: Schedule = Schedule { free: 20, wait_max: Duration::from_secs(60) };

/// Accounts and addresses that have failed, how often, and those that were right.
#[derive(Debug, Default)]
pub struct Penalties {
    addresses: Ledger<Remote>,
    accounts: Ledger<Rc<str>>,
    pairs: Ledger<(Rc<str>, Remote)>,
    /// Addresses at which an account was right, the latest last.
    right: BTreeMap<Rc<str>, VecDeque<Remote>>,
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    /// Failures that cost no wait.
    free: u32,
    wait_max: Duration,
}

#[derive(Debug)]
struct Ledger<K>(BTreeMap<K, Failures>);

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Time,
    wait_until: Time,
}

/// Cost of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Penalty {
    /// The failures that count here.
    pub count: u32,
    /// The answer is this late.
    pub delay: Duration,
    /// Another try is not looked at before this has passed.
    pub wait: Duration,
}

impl Penalties {
    /// How long an account has to wait before it may try at an address, if it has to.
    pub fn wait(&self, now: Time, account: &str, who: Remote) -> Option<Duration> {
        let wait = match self.is_known(account, who) {
            true => self.pairs.wait(now, &(account.into(), who)),
            false => self.addresses.wait(now, &who).max(self.accounts.wait(now, &account.into())),
        };
        (!wait.is_zero()).then_some(wait)
    }

    /// A login failed.
    pub fn failed(&mut self, now: Time, account: &str, who: Remote) -> Penalty {
        let account: Rc<str> = account.into();
        let is_known = self.is_known(&account, who);
        let of_address = self.addresses.failed(now, who, OF_ADDRESS);
        let of_account = self.accounts.failed(now, account.clone(), OF_ACCOUNT);
        let of_pair = self.pairs.failed(now, (account, who), OF_ADDRESS);
        match is_known {
            true => of_pair,
            false if of_account.wait > of_address.wait => of_account,
            false => of_address,
        }
    }

    /// A login succeeded: what others try does not hold it up from here on. What failed before stays.
    pub fn succeeded(&mut self, account: &str, who: Remote) {
        if !self.right.contains_key(account) && self.right.len() >= REMEMBERED {
            self.right.pop_first();
        }
        let addresses = self.right.entry(account.into()).or_default();
        addresses.retain(|known| *known != who);
        if addresses.len() >= ADDRESSES {
            addresses.pop_front();
        }
        addresses.push_back(who);
    }

    /// Whether the account was right at this address before.
    pub fn is_known(&self, account: &str, who: Remote) -> bool {
        self.right.get(account).is_some_and(|addresses| addresses.contains(&who))
    }
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Ledger(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Ledger<K> {
    fn wait(&self, now: Time, key: &K) -> Duration {
        self.0.get(key).map_or(Duration::ZERO, |failures| failures.wait_until.since(now))
    }

    fn failed(&mut self, now: Time, key: K, schedule: Schedule) -> Penalty {
        self.forget(now, &key);
        let failures = self.0.entry(key).or_insert(Failures { count: 0, last: now, wait_until: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        let count = failures.count;
        let wait = match count.checked_sub(schedule.free + 1) {
            Some(more) => doubled(FIRST_WAIT, more).min(schedule.wait_max),
            None => Duration::ZERO,
        };
        failures.wait_until = now + wait;
        let late = doubled(FIRST_DELAY, (count - 1).min(OF_ADDRESS.free - 1));
        Penalty { count, delay: if wait.is_zero() { late } else { Duration::ZERO }, wait }
    }

    /// Makes room for one more. The ones with the fewest failures go first, or a flood of new ones would wash away the others.
    fn forget(&mut self, now: Time, key: &K) {
        let is_old = |failures: &Failures| now.since(failures.last) >= FORGOTTEN_AFTER;
        if self.0.get(key).is_some_and(is_old) {
            self.0.remove(key);
        }
        if self.0.len() < REMEMBERED || self.0.contains_key(key) {
            return;
        }
        self.0.retain(|_, failures| !is_old(failures));
        let least = self.0.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
        let least = least.map(|(key, _)| key.clone());
        if let Some(least) = least.filter(|_| self.0.len() >= REMEMBERED) {
            self.0.remove(&least);
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Time {
        Time::default() + Duration::from_secs(s)
    }

    fn remote(number: u32) -> Remote {
        Remote::of(core::net::Ipv4Addr::from(number).into())
    }

    fn fail_often(penalties: &mut Penalties, now: Time) {
        for _ in 0..9 {
            penalties.failed(now, "a", remote(1));
        }
    }

    #[test]
    fn answers_come_later_each_time_and_then_the_address_has_to_wait() {
        let mut penalties = Penalties::default();
        let costs: Vec<(u128, u64)> = (0..12)
            .map(|_| penalties.failed(at(0), "a", remote(1)))
            .map(|penalty| (penalty.delay.as_millis(), penalty.wait.as_secs()))
            .collect();
        let late = [(250, 0), (500, 0), (1000, 0), (2000, 0), (4000, 0)];
        let waits = [(0, 10), (0, 20), (0, 40), (0, 80), (0, 160), (0, 300), (0, 300)];
        assert_eq!(costs, [&late[..], &waits[..]].concat());
        assert_eq!(penalties.wait(at(299), "b", remote(1)), Some(Duration::from_secs(1)));
        assert_eq!(
            (penalties.wait(at(300), "a", remote(1)), penalties.wait(at(0), "a", remote(2))),
            (None, None)
        );
    }

    #[test]
    fn a_right_login_forgives_nothing_and_a_quarter_of_an_hour_everything() {
        let mut penalties = Penalties::default();
        fail_often(&mut penalties, at(0));
        assert_eq!(penalties.failed(at(900), "a", remote(1)).count, 1);
        // Whoever owns one account could guess at others without end.
        for guess in 2..8 {
            penalties.succeeded("mine", remote(1));
            assert_eq!(penalties.failed(at(900), "a", remote(1)).count, guess);
        }
        assert_eq!(penalties.wait(at(900), "a", remote(1)), Some(Duration::from_secs(20)));
        penalties.succeeded("a", remote(1));
        assert_eq!(
            penalties.wait(at(900), "a", remote(1)),
            Some(Duration::from_secs(20)),
            "its own failures"
        );
    }

    #[test]
    fn an_account_that_was_right_at_an_address_is_not_held_up_there_by_others() {
        let mut penalties = Penalties::default();
        penalties.succeeded("pump", remote(1));
        for number in 0..100 {
            penalties.failed(at(0), "pump", remote(1000 + number));
            penalties.failed(at(0), "other", remote(1));
        }
        assert_eq!(penalties.wait(at(0), "pump", remote(1)), None);
        assert_eq!(penalties.wait(at(0), "other", remote(1)), Some(Duration::from_secs(300)));
        assert_eq!(penalties.wait(at(0), "pump", remote(2)), Some(Duration::from_secs(60)), "a stranger");
        assert_eq!(penalties.failed(at(0), "pump", remote(1)).count, 1);
        for _ in 0..5 {
            penalties.failed(at(0), "pump", remote(1));
        }
        assert_eq!(
            penalties.wait(at(0), "pump", remote(1)),
            Some(Duration::from_secs(10)),
            "its own failures"
        );
    }

    #[test]
    fn guesses_at_one_account_from_many_addresses_are_few() {
        let mut penalties = Penalties::default();
        let mut guesses = 0;
        for second in 0..600 {
            for number in 0..50 {
                let who = remote(second * 50 + number);
                if penalties.wait(at(second.into()), "pump", who).is_none() {
                    penalties.failed(at(second.into()), "pump", who);
                    guesses += 1;
                }
            }
        }
        assert!(guesses < 40, "{guesses} in ten minutes");
    }

    #[test]
    fn many_addresses_are_bounded_and_those_that_fail_most_are_remembered() {
        let mut penalties = Penalties::default();
        fail_often(&mut penalties, at(0));
        for number in 2..5000 {
            let account = format!("a{number}");
            penalties.failed(at(u64::from(number) / 10), &account, remote(number));
            penalties.succeeded(&account, remote(number));
            (0..20).for_each(|more| penalties.succeeded("many", remote(number + more)));
            assert!(penalties.addresses.0.len() <= REMEMBERED && penalties.accounts.0.len() <= REMEMBERED);
            assert!(penalties.right.len() <= REMEMBERED && penalties.right["many"].len() <= ADDRESSES);
        }
        assert_eq!(penalties.failed(at(500), "a4999", remote(4999)).count, 2);
        assert_eq!(penalties.failed(at(500), "a", remote(1)).count, 10);
    }
}
