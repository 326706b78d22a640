//! Which devices are there. A device is known once a message of it came: a connection alone makes none, since anybody can open
//! one under any name. It is online while a connection of it is open, or while it was heard within `offline_after`; then it is
//! offline until it is heard again. It survives a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::agent::Presence as Rule;
use crate::config::network::Remote;
use crate::time::{Now, Time};

/// After a change the file is written at once, but not more often than this.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// All devices that are known.
#[derive(Debug)]
pub struct Presence {
    rule: Rule,
    devices: BTreeMap<String, Device>,
    /// Open connections of devices that were never heard.
    unheard: BTreeMap<String, u32>,
    /// Devices that were first heard from an address, since the start.
    brought: BTreeMap<Remote, usize>,
    /// When the next device may fall silent; not later than the truth.
    check_at: Option<Time>,
    save: Save,
    ignored: u64,
}

/// Knowledge about a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Whether it is online.
    pub online: bool,
    /// Since when, UTC ns.
    pub since_ns: u64,
    /// Why it is so.
    pub reason: Reason,
    #[serde(skip)]
    heard_at: Time,
    #[serde(skip)]
    connections: u32,
}

/// Why a device is online or offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A connection of it opened, and it was heard before.
    Connected,
    /// A message of it came.
    Heard,
    /// Nothing came for `offline_after`.
    Silent,
    /// Its last will was published: its connection broke.
    Will,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    Clean { not_before: Time },
    Dirty { not_before: Time },
}

impl Presence {
    /// Goes on with what the last run saved: who was online gets `offline_after` from now on to be heard.
    pub fn new(rule: Rule, saved: Option<&[u8]>, now: Time) -> Self {
        let mut devices: BTreeMap<String, Device> =
            saved.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        devices.values_mut().for_each(|device| device.heard_at = now);
        let save = Save::Clean { not_before: now };
        let (unheard, brought) = (BTreeMap::new(), BTreeMap::new());
        let check_at = Some(now + rule.offline_after);
        Presence { rule, devices, unheard, brought, check_at, save, ignored: 0 }
    }

    /// Goes on under another rule.
    pub fn reconfigure(&mut self, now: Time, rule: Rule) {
        self.rule = rule;
        self.look_at(now);
    }

    /// All devices, by id.
    pub fn devices(&self) -> &BTreeMap<String, Device> {
        &self.devices
    }

    /// Messages of devices that were not remembered because there are too many, of all or of their address.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// How many are online, and how many are not.
    pub fn counts(&self) -> (usize, usize) {
        let online = self.devices.values().filter(|device| device.online).count();
        (online, self.devices.len() - online)
    }

    /// A message of the device came, from this address if it came from one. True when it changed its state.
    pub fn heard(&mut self, now: Now, id: &str, from: Option<Remote>) -> bool {
        match self.devices.contains_key(id) {
            true => self.seen(now, id, Reason::Heard),
            false => self.first_heard(now, id, from),
        }
    }

    /// A connection of the device opened. True when it changed its state.
    pub fn connected(&mut self, now: Now, id: &str) -> bool {
        match self.devices.get_mut(id) {
            Some(device) => device.connections += 1,
            None => *self.unheard.entry(id.to_owned()).or_default() += 1,
        }
        self.seen(now, id, Reason::Connected)
    }

    /// A connection of the device closed.
    pub fn disconnected(&mut self, now: Now, id: &str) {
        if let Some(device) = self.devices.get_mut(id) {
            device.connections = device.connections.saturating_sub(1);
            device.heard_at = now.mono;
            self.look_at(now.mono + self.rule.offline_after);
        } else if let Some(connections) = self.unheard.get_mut(id) {
            *connections -= 1;
            if *connections == 0 {
                self.unheard.remove(id);
            }
        }
    }

    /// The last will of the device was published. True when it changed its state, which it does not while another connection of it is open.
    pub fn departed(&mut self, now: Now, id: &str) -> bool {
        let gone = self.devices.get_mut(id).filter(|device| device.online && device.connections == 0);
        let Some(device) = gone else { return false };
        device.turn(now, false, Reason::Will);
        self.touch();
        true
    }

    /// Takes those offline that have been silent for too long, and returns their ids.
    pub fn advance(&mut self, now: Now) -> Vec<String> {
        if self.check_at.is_none_or(|at| now.mono < at) {
            return Vec::new();
        }
        self.check_at = None;
        let mut silent = Vec::new();
        for (id, device) in
            self.devices.iter_mut().filter(|(_, device)| device.online && device.connections == 0)
        {
            let silent_at = device.heard_at + self.rule.offline_after;
            if silent_at <= now.mono {
                device.turn(now, false, Reason::Silent);
                silent.push(id.clone());
            } else {
                self.check_at = Some(self.check_at.map_or(silent_at, |at| at.min(silent_at)));
            }
        }
        if !silent.is_empty() {
            self.touch();
        }
        silent
    }

    /// The file to write, if it is due.
    pub fn save(&mut self, now: Time) -> Option<Vec<u8>> {
        let Save::Dirty { not_before } = self.save else { return None };
        (not_before <= now).then(|| self.snapshot(now))
    }

    /// The file as it must be at the end.
    pub fn snapshot(&mut self, now: Time) -> Vec<u8> {
        self.save = Save::Clean { not_before: now + SAVE_INTERVAL };
        serde_json::to_vec(&self.devices).expect("a map of plain values is always JSON")
    }

    /// The file could not be written: it is due again.
    pub fn save_failed(&mut self) {
        self.touch();
    }

    /// When [`Presence::advance`] or [`Presence::save`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let save = match self.save {
            Save::Dirty { not_before } => Some(not_before),
            Save::Clean { .. } => None,
        };
        [self.check_at, save].into_iter().flatten().min()
    }

    fn seen(&mut self, now: Now, id: &str, reason: Reason) -> bool {
        let Some(device) = self.devices.get_mut(id) else { return false };
        device.heard_at = now.mono;
        if device.online {
            return false;
        }
        device.turn(now, true, reason);
        self.touch();
        self.look_at(now.mono + self.rule.offline_after);
        true
    }

    fn first_heard(&mut self, now: Now, id: &str, from: Option<Remote>) -> bool {
        let most = self.rule.max_devices_per_ip;
        let from = from.filter(|remote| *remote != Remote::Here && most > 0);
        let is_crowded =
            from.is_some_and(|remote| self.brought.get(&remote).is_some_and(|count| *count >= most));
        if is_crowded || self.devices.len() >= self.rule.max_devices {
            self.ignored += 1;
            return false;
        }
        if let Some(remote) = from {
            *self.brought.entry(remote).or_default() += 1;
        }
        let connections = self.unheard.remove(id).unwrap_or(0);
        let (reason, heard_at) = (Reason::Heard, now.mono);
        let device = Device { online: true, since_ns: now.wall_ns, reason, heard_at, connections };
        self.devices.insert(id.to_owned(), device);
        self.touch();
        self.look_at(now.mono + self.rule.offline_after);
        true
    }

    fn look_at(&mut self, at: Time) {
        self.check_at = Some(self.check_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn touch(&mut self) {
        if let Save::Clean { not_before } = self.save {
            self.save = Save::Dirty { not_before };
        }
    }
}

impl Device {
    fn turn(&mut self, now: Now, online: bool, reason: Reason) {
        self.online = online;
        self.since_ns = now.wall_ns;
        self.reason = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Boot, Clock};

    const RULE: Rule =
        Rule { offline_after: Duration::from_secs(300), max_devices: 2, max_devices_per_ip: 1 };

    fn at(s: u64) -> Now {
        let mono = Time::default() + Duration::from_secs(s);
        Now { mono, wall_ns: s * 1_000_000_000, clock: Clock::Synced, boot: Boot(1), up_ns: mono.0 }
    }

    fn presence(saved: Option<&[u8]>) -> Presence {
        Presence::new(RULE, saved, at(0).mono)
    }

    #[test]
    fn a_device_is_online_while_it_was_heard_within_offline_after() {
        let mut presence = presence(None);
        assert!(presence.heard(at(0), "pump", None));
        assert!(!presence.heard(at(200), "pump", None));
        assert!(presence.advance(at(300)).is_empty());
        assert_eq!(presence.deadline(), Some(at(0).mono), "the file is due");
        presence.save(at(300).mono).expect("due");
        assert_eq!(presence.deadline(), Some(at(500).mono));
        assert_eq!(presence.advance(at(500)), ["pump"]);
        assert_eq!(presence.devices()["pump"].reason, Reason::Silent);
        assert!(presence.heard(at(501), "pump", None));
    }

    #[test]
    fn an_open_connection_keeps_a_silent_device_online() {
        let mut presence = presence(None);
        presence.connected(at(0), "pump");
        assert!(presence.heard(at(0), "pump", None));
        presence.connected(at(0), "pump");
        presence.disconnected(at(1), "pump");
        assert!(presence.advance(at(1000)).is_empty());
        presence.disconnected(at(1000), "pump");
        assert!(presence.advance(at(1299)).is_empty());
        assert_eq!(presence.advance(at(1300)), ["pump"]);
    }

    #[test]
    fn a_device_whose_will_was_published_is_offline_at_once_unless_another_connection_is_open() {
        let mut presence = presence(None);
        for _ in 0..2 {
            presence.connected(at(0), "pump");
        }
        presence.heard(at(0), "pump", None);
        presence.disconnected(at(1), "pump");
        assert!(!presence.departed(at(1), "pump"));
        presence.disconnected(at(2), "pump");
        assert!(presence.departed(at(2), "pump") && !presence.departed(at(2), "pump"));
        let device = &presence.devices()["pump"];
        assert_eq!((device.online, device.reason, device.since_ns), (false, Reason::Will, at(2).wall_ns));
        assert!(presence.connected(at(3), "pump") && !presence.departed(at(3), "fan"));
    }

    #[test]
    fn a_restart_keeps_the_states_and_gives_everyone_time_to_be_heard() {
        let mut before = presence(None);
        before.heard(at(0), "pump", None);
        before.heard(at(0), "fan", None);
        before.advance(at(300));
        before.heard(at(300), "pump", None);
        let saved = before.snapshot(at(300).mono);
        let mut after = presence(Some(&saved));
        assert_eq!(after.devices()["pump"].since_ns, at(300).wall_ns);
        assert!(!after.devices()["fan"].online);
        assert_eq!(after.advance(at(300)), ["pump"]);
    }

    #[test]
    fn the_file_is_written_at_once_and_then_not_more_often_than_its_interval() {
        let mut presence = presence(None);
        assert_eq!(presence.save(at(1).mono), None);
        presence.heard(at(1), "pump", None);
        assert!(presence.save(at(1).mono).is_some());
        presence.heard(at(2), "fan", None);
        assert_eq!(presence.save(at(2).mono), None);
        assert!(presence.save(at(6).mono).is_some());
        assert_eq!(presence.save(at(20).mono), None);
    }

    #[test]
    fn more_devices_than_allowed_are_counted_and_not_remembered() {
        let mut presence = presence(None);
        for id in ["a", "b", "c"] {
            presence.heard(at(0), id, None);
        }
        assert_eq!((presence.devices().len(), presence.ignored()), (2, 1));
    }

    #[test]
    fn a_connection_without_a_message_makes_no_device() {
        let mut presence = presence(None);
        assert!(!presence.connected(at(0), "ghost"));
        assert_eq!((presence.devices().len(), presence.ignored(), presence.save(at(0).mono)), (0, 0, None));
        presence.disconnected(at(1), "ghost");
        assert!(presence.unheard.is_empty(), "what is gone is forgotten");
        presence.heard(at(2), "ghost", None);
        assert!(presence.devices()["ghost"].connections == 0);
    }

    #[test]
    fn a_device_that_was_heard_is_online_again_with_its_next_connection() {
        let mut presence = presence(None);
        presence.heard(at(0), "pump", None);
        assert_eq!(presence.advance(at(300)), ["pump"]);
        assert_eq!(presence.counts(), (0, 1));
        assert!(presence.connected(at(301), "pump"));
        assert_eq!(presence.devices()["pump"].reason, Reason::Connected);
        assert_eq!(presence.counts(), (1, 0));
    }

    #[test]
    fn an_address_brings_so_many_devices_and_others_and_this_machine_bring_theirs() {
        let mut presence = presence(None);
        let of = |address: &str| Some(Remote::of(address.parse().unwrap()));
        assert!(presence.heard(at(0), "a", of("10.0.0.1")));
        assert!(!presence.heard(at(0), "b", of("10.0.0.1")));
        assert_eq!((presence.devices().len(), presence.ignored()), (1, 1));
        assert!(!presence.heard(at(0), "a", of("10.0.0.2")), "it is known, and not another one");
        assert!(presence.heard(at(0), "b", of("10.0.0.2")));
        presence.rule.max_devices = 4;
        assert!(
            presence.heard(at(0), "c", Some(Remote::Here)) && presence.heard(at(0), "d", Some(Remote::Here))
        );
    }
}
