//! Who may come in at a server, and how much: networks, accounts, throttles, failed logins, connections of one address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use crate::config::access::Access;
use crate::config::network::Remote;
use crate::config::server::Limits;
use crate::source::forwarded::{self, Head, Way};
use crate::source::penalty::{Penalties, Penalty};
use crate::source::throttle::{Throttle, Throttles};
use crate::time::Time;

/// Failed logins that are told loudly at once, and in an hour.
const LOUD: u64 = 10;
/// Origins and names that are told loudly, each once.
const TOLD: usize = 16;
/// Longest of them.
const TOLD_BYTES: usize = 256;

/// The gate of one server.
#[derive(Debug)]
pub struct AccessControl {
    access: Access,
    connections_per_ip: usize,
    connected: BTreeMap<Remote, usize>,
    users: Throttles<Rc<str>>,
    remotes: Throttles<Remote>,
    /// Of callers behind a proxy, whose requests share connections.
    proxied: Throttles<Remote>,
    penalties: Penalties,
    loud: Throttle,
    told: BTreeSet<String>,
    /// What was turned away.
    pub counts: Counts,
}

/// How often something was turned away since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections from a network that may not come in, and requests from there through a trusted proxy.
    pub denied_networks: u64,
    /// Connections over `limits.connections` or `limits.connections_per_ip`.
    pub denied_connections: u64,
    /// Logins of an account that may not come in.
    pub denied_users: u64,
    /// Logins with a wrong name or password.
    pub failed_logins: u64,
    /// Messages and requests over a rate.
    pub throttled: u64,
    /// Requests of a browser's page that may not ask, or not change anything.
    pub denied_origins: u64,
    /// Requests for a name that is none of this gateway's.
    pub denied_hosts: u64,
}

impl Counts {
    /// Each with its name, in the order in which they are shown.
    pub fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("denied_networks", self.denied_networks),
            ("denied_connections", self.denied_connections),
            ("denied_users", self.denied_users),
            ("failed_logins", self.failed_logins),
            ("throttled", self.throttled),
            ("denied_origins", self.denied_origins),
            ("denied_hosts", self.denied_hosts),
        ]
    }
}

/// Who sends: the throttle of the connection, the address, and the user if there is one.
#[derive(Debug)]
pub struct Sender<'a> {
    /// Of the connection, unless that brings what others send, too.
    pub throttle: Option<&'a mut Throttle>,
    /// Where it comes from.
    pub remote: Remote,
    /// Who it is.
    pub user: Option<&'a Rc<str>>,
}

impl AccessControl {
    /// Nobody has come yet.
    pub fn new(access: &Access, limits: &Limits, now: Time) -> AccessControl {
        let hour = crate::config::throttle::Per::Hour;
        let loud = crate::config::throttle::Throttle { amount: LOUD, per: hour, burst: LOUD };
        AccessControl {
            access: access.clone(),
            connections_per_ip: limits.connections_per_ip,
            connected: BTreeMap::new(),
            users: Throttles::new(limits.rate_per_user),
            remotes: Throttles::new(limits.rate_per_ip),
            proxied: Throttles::new(limits.rate_per_client),
            penalties: Penalties::default(),
            loud: Throttle::new(Some(loud), now),
            told: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Whether an address may connect at all. What a trusted proxy brings is looked at request by request.
    pub fn lets_in(&mut self, address: IpAddr) -> bool {
        let is_allowed = self.allows(address) || self.trusts(Some(address));
        let lets_in = is_allowed && !self.denies(address);
        self.counts.denied_networks += u64::from(!lets_in);
        lets_in
    }

    /// Whether a request may come from an address, through a trusted proxy or from that machine itself. One that is not known could be any.
    pub fn lets_in_caller(&mut self, address: Option<IpAddr>) -> bool {
        let lets_in = match address {
            Some(address) => self.allows(address) && !self.denies(address),
            None => self.access.allow.is_empty() && self.access.deny.is_empty(),
        };
        self.counts.denied_networks += u64::from(!lets_in);
        lets_in
    }

    /// Whether a peer is a trusted proxy; one without an address is at a Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.access.trusted_proxies.iter().any(|proxy| proxy.holds(peer))
    }

    /// Which way a request came that a peer has sent.
    pub fn way(&self, peer: Option<IpAddr>, head: &Head<'_>) -> Way {
        forwarded::way(peer, head, &self.access.trusted_proxies)
    }

    fn allows(&self, address: IpAddr) -> bool {
        let allow = &self.access.allow;
        allow.is_empty() || allow.iter().any(|network| network.holds(address))
    }

    fn denies(&self, address: IpAddr) -> bool {
        self.access.deny.iter().any(|network| network.holds(address))
    }

    /// Takes another connection of an address in, unless it has too many. Each one that is taken in needs a [`AccessControl::left`].
    pub fn connected(&mut self, who: Remote) -> bool {
        let count = self.connected.entry(who).or_default();
        if self.connections_per_ip > 0 && *count >= self.connections_per_ip {
            return false;
        }
        *count += 1;
        true
    }

    /// A connection that was taken in has ended.
    pub fn left(&mut self, who: Remote) {
        if let Some(count) = self.connected.get_mut(&who) {
            *count -= 1;
            if *count == 0 {
                self.connected.remove(&who);
            }
        }
    }

    /// Whether an account that has logged in may come in.
    pub fn lets_in_user(&mut self, user: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|known| known == user);
        let Access { allow_users, deny_users, .. } = &self.access;
        let lets_in = (allow_users.is_empty() || named(allow_users)) && !named(deny_users);
        self.counts.denied_users += u64::from(!lets_in);
        lets_in
    }

    /// How many of so many messages may pass at this moment: they are spent. The error says how long until one may.
    pub fn pass(&mut self, now: Time, sender: &mut Sender<'_>, messages: u64) -> Result<u64, Duration> {
        let room = self.room(now, sender);
        let passing = room.unwrap_or(0).min(messages);
        self.counts.throttled += messages - passing;
        self.spend(now, sender, passing);
        room.map(|_| passing)
    }

    /// Whether one more message of a user may pass at this moment: it is spent. The error says how long until it may.
    pub fn pass_user(&mut self, now: Time, user: &str) -> Result<(), Duration> {
        let Some(throttle) = self.users.of(&user.into(), now) else { return Ok(()) };
        if throttle.room(now) == 0 {
            self.counts.throttled += 1;
            return Err(throttle.wait());
        }
        throttle.spend(1);
        Ok(())
    }

    /// So many have passed without having been asked for; they are owed if there was no room.
    pub fn spend(&mut self, now: Time, sender: &mut Sender<'_>, messages: u64) {
        let of_client = match &mut sender.throttle {
            Some(throttle) => Some(&mut **throttle),
            None => self.proxied.of(&sender.remote, now),
        };
        let of_remote = self.remotes.of(&sender.remote, now);
        let of_user = sender.user.and_then(|user| self.users.of(user, now));
        [of_client, of_remote, of_user].into_iter().flatten().for_each(|throttle| throttle.spend(messages));
    }

    fn room(&mut self, now: Time, sender: &mut Sender<'_>) -> Result<u64, Duration> {
        let Sender { throttle, remote, user } = sender;
        let user = user.and_then(|user| self.users.of(user, now));
        let of_client = match throttle {
            Some(throttle) => Some(&mut **throttle),
            None => self.proxied.of(remote, now),
        };
        let all = [of_client, self.remotes.of(remote, now), user];
        let rooms = all.into_iter().flatten().map(|throttle| (throttle.room(now), throttle.wait()));
        let (room, wait) =
            rooms.fold((u64::MAX, Duration::ZERO), |(room, wait), next| (room.min(next.0), wait.max(next.1)));
        if room == 0 { Err(wait) } else { Ok(room) }
    }

    /// Whether it is worth a loud word that this origin, name or proxy was met: once each, for a bounded number of them.
    pub fn is_news(&mut self, turned_away: &str) -> bool {
        self.told.len() < TOLD && turned_away.len() <= TOLD_BYTES && self.told.insert(turned_away.to_owned())
    }

    /// How long an account has to wait before it may log in at an address, if it has to.
    pub fn login_wait(&self, now: Time, account: &str, who: Remote) -> Option<Duration> {
        self.penalties.wait(now, account, who)
    }

    /// A login failed. Tells what it costs, and whether it is worth a loud word.
    pub fn login_failed(&mut self, now: Time, account: &str, who: Remote) -> (Penalty, bool) {
        self.counts.failed_logins += 1;
        let is_loud = self.loud.room(now) > 0;
        self.loud.spend(u64::from(is_loud));
        (self.penalties.failed(now, account, who), is_loud)
    }

    /// A login succeeded.
    pub fn login_succeeded(&mut self, account: &str, who: Remote) {
        self.penalties.succeeded(account, who);
    }

    /// Whether an account was right at an address before, so that a place is kept for it.
    pub fn has_logged_in(&self, account: &str, who: Remote) -> bool {
        self.penalties.is_known(account, who)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Environment, Overrides};

    fn gate(lines: &str) -> AccessControl {
        let environment = Environment { host_name: "gw", data_dir: Path::new("/d"), env: &|_| None };
        let text = format!("[[server]]\n{lines}");
        let config = Config::parse(&text, Path::new("/t"), &Overrides::default(), &environment).unwrap();
        AccessControl::new(&config.servers[0].access, &config.servers[0].limits, Time::default())
    }

    fn remote(address: &str) -> Remote {
        Remote::of(address.parse().unwrap())
    }

    const LOGIN: &str = "auth = 'basic'\nusers = [{ name = 'a', password = 'x' }]\n";

    #[test]
    fn a_network_that_is_denied_stays_out_even_if_it_is_allowed() {
        let mut lan = gate("allow = ['192.168.1.0/24', '::1']\ndeny = ['192.168.1.66']");
        let found =
            ["192.168.1.7", "::ffff:192.168.1.7", "::1", "192.168.1.66", "::ffff:192.168.1.66", "10.0.0.1"]
                .map(|address| lan.lets_in(address.parse().unwrap()));
        assert_eq!(found, [true, true, true, false, false, false]);
        assert_eq!(lan.counts.denied_networks, 3);
        assert!(gate("").lets_in("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn a_trusted_proxy_may_connect_and_its_callers_are_let_in_by_their_own_addresses() {
        let mut lan = gate(
            "allow = ['192.168.1.0/24']\ndeny = ['192.168.1.66', '10.0.0.2']\ntrusted_proxies = ['127.0.0.1', '10.0.0.0/8']",
        );
        let peers = ["127.0.0.1", "10.0.0.1", "10.0.0.2", "192.168.1.66", "203.0.113.9"];
        let found = peers.map(|address| lan.lets_in(address.parse().unwrap()));
        assert_eq!(found, [true, true, false, false, false]);
        let callers = ["192.168.1.7", "127.0.0.1", "192.168.1.66", "203.0.113.9"];
        let found = callers.map(|address| lan.lets_in_caller(Some(address.parse().unwrap())));
        assert_eq!(found, [true, false, false, false]);
        assert!(!lan.lets_in_caller(None), "it could be any of those who may not");
        assert_eq!(lan.counts.denied_networks, 7);
        assert!(gate("").lets_in_caller(None) && !gate("deny = ['10.0.0.2']").lets_in_caller(None));
    }

    #[test]
    fn callers_who_share_a_connection_have_a_rate_each() {
        let mut gate = gate("limits = { rate_per_client = '1/s burst 2' }");
        let mut pass = |address: &str| {
            let mut sender = Sender { throttle: None, remote: remote(address), user: None };
            gate.pass(Time::default(), &mut sender, 1).is_ok()
        };
        let found = ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"].map(&mut pass);
        assert_eq!(found, [true, true, false, true]);
    }

    #[test]
    fn an_account_that_is_denied_stays_out_even_if_it_is_allowed() {
        let mut gate = gate(&format!("{LOGIN}allow_users = ['a', 'b']\ndeny_users = ['b']"));
        assert_eq!(["a", "b", "c"].map(|user| gate.lets_in_user(user)), [true, false, false]);
        assert_eq!(gate.counts.denied_users, 2);
    }

    #[test]
    fn an_address_has_so_many_connections_until_one_of_them_ends() {
        let mut gate = gate("limits = { connections_per_ip = 2 }");
        let one = remote("10.0.0.1");
        assert_eq!([(); 3].map(|()| gate.connected(one)), [true, true, false]);
        assert!(gate.connected(remote("10.0.0.2")));
        gate.left(one);
        assert!(gate.connected(one));
        (0..2).for_each(|_| gate.left(one));
        gate.left(remote("10.0.0.2"));
        assert!(gate.connected.is_empty());
    }

    #[test]
    fn an_address_has_half_of_the_places_unless_it_is_said_otherwise() {
        let taken = |limits: &str| {
            let mut gate = gate(&format!("limits = {{ {limits} }}"));
            (0..300).filter(|_| gate.connected(remote("127.0.0.1"))).count()
        };
        let found = ["", "connections = 9", "connections = 1", "connections_per_ip = 0"].map(taken);
        assert_eq!(found, [128, 4, 1, 300]);
        assert_eq!(taken("connections = 9, connections_per_ip = 9"), 9);
    }

    #[test]
    fn the_narrowest_throttle_counts_and_all_are_spent_together() {
        let mut gate = gate(&format!(
            "{LOGIN}limits = {{ rate_per_user = '1/s burst 5', rate_per_ip = '1/s burst 3' }}"
        ));
        let now = Time::default();
        let user: Rc<str> = "a".into();
        let mut pass = |address: &str, messages| {
            let mut throttle = Throttle::new(None, now);
            let mut sender =
                Sender { throttle: Some(&mut throttle), remote: remote(address), user: Some(&user) };
            gate.pass(now, &mut sender, messages)
        };
        assert_eq!(pass("10.0.0.1", 4), Ok(3));
        assert_eq!(pass("10.0.0.1", 1), Err(Duration::from_secs(1)));
        assert_eq!(pass("10.0.0.2", 4), Ok(2), "the user has had three already");
        assert_eq!(gate.counts.throttled, 4);
    }

    #[test]
    fn what_is_turned_away_is_told_once_and_strangers_cannot_fill_the_log_with_it() {
        let mut gate = gate("");
        assert_eq!([gate.is_news("a.example"), gate.is_news("a.example")], [true, false]);
        assert!(!gate.is_news(&"x".repeat(300)));
        assert_eq!((0..100).filter(|number| gate.is_news(&number.to_string())).count(), 15);
    }

    #[test]
    fn only_some_failed_logins_are_loud() {
        let mut gate = gate(LOGIN);
        let loud = (0..100)
            .filter(|number| gate.login_failed(Time::default(), "a", remote(&format!("10.0.0.{number}"))).1);
        assert_eq!(loud.count(), 10);
    }
}
