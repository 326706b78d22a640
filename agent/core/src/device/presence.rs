//! Which devices are there. A device is online while a connection of it is open, or while it was heard within
//! `offline_after`; then it is offline until it is heard again. It survives a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::agent::Presence as Rule;
use crate::time::{Now, Time};

/// After a change the file is written at once, but not more often than this.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// All devices that are known.
#[derive(Debug)]
pub struct Presence {
    rule: Rule,
    devices: BTreeMap<String, Device>,
    /// When the next device may fall silent; not later than the truth.
    check_at: Option<Time>,
    save: Save,
    ignored: u64,
}

/// What is known of a device.
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
    /// A connection of it opened.
    Connected,
    /// A message of it came.
    Heard,
    /// Nothing came for `offline_after`.
    Silent,
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
        Presence { check_at: Some(now + rule.offline_after), rule, devices, save, ignored: 0 }
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

    /// Devices that were not remembered because there are too many.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// A message of the device came. True when it changed its state.
    pub fn heard(&mut self, now: Now, id: &str) -> bool {
        self.seen(now, id, Reason::Heard)
    }

    /// A connection of the device opened. True when it changed its state.
    pub fn connected(&mut self, now: Now, id: &str) -> bool {
        let changed = self.seen(now, id, Reason::Connected);
        if let Some(device) = self.devices.get_mut(id) {
            device.connections += 1;
        }
        changed
    }

    /// A connection of the device closed.
    pub fn disconnected(&mut self, now: Now, id: &str) {
        if let Some(device) = self.devices.get_mut(id) {
            device.connections = device.connections.saturating_sub(1);
            device.heard_at = now.mono;
            self.look_at(now.mono + self.rule.offline_after);
        }
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
        let Some(device) = self.devices.get_mut(id) else { return self.first_seen(now, id, reason) };
        device.heard_at = now.mono;
        if device.online {
            return false;
        }
        device.turn(now, true, reason);
        self.touch();
        self.look_at(now.mono + self.rule.offline_after);
        true
    }

    fn first_seen(&mut self, now: Now, id: &str, reason: Reason) -> bool {
        if self.devices.len() >= self.rule.max_devices {
            self.ignored += 1;
            return false;
        }
        let device =
            Device { online: true, since_ns: now.wall_ns, reason, heard_at: now.mono, connections: 0 };
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

    const RULE: Rule = Rule { offline_after: Duration::from_secs(300), max_devices: 2 };

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
        assert!(presence.heard(at(0), "pump"));
        assert!(!presence.heard(at(200), "pump"));
        assert!(presence.advance(at(300)).is_empty());
        assert_eq!(presence.deadline(), Some(at(0).mono), "the file is due");
        presence.save(at(300).mono).expect("due");
        assert_eq!(presence.deadline(), Some(at(500).mono));
        assert_eq!(presence.advance(at(500)), ["pump"]);
        assert_eq!(presence.devices()["pump"].reason, Reason::Silent);
        assert!(presence.heard(at(501), "pump"));
    }

    #[test]
    fn an_open_connection_keeps_a_silent_device_online() {
        let mut presence = presence(None);
        presence.connected(at(0), "pump");
        presence.connected(at(0), "pump");
        presence.disconnected(at(1), "pump");
        assert!(presence.advance(at(1000)).is_empty());
        presence.disconnected(at(1000), "pump");
        assert!(presence.advance(at(1299)).is_empty());
        assert_eq!(presence.advance(at(1300)), ["pump"]);
    }

    #[test]
    fn a_restart_keeps_the_states_and_gives_everyone_time_to_be_heard() {
        let mut before = presence(None);
        before.heard(at(0), "pump");
        before.heard(at(0), "fan");
        before.advance(at(300));
        before.heard(at(300), "pump");
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
        presence.heard(at(1), "pump");
        assert!(presence.save(at(1).mono).is_some());
        presence.heard(at(2), "fan");
        assert_eq!(presence.save(at(2).mono), None);
        assert!(presence.save(at(6).mono).is_some());
        assert_eq!(presence.save(at(20).mono), None);
    }

    #[test]
    fn more_devices_than_allowed_are_counted_and_not_remembered() {
        let mut presence = presence(None);
        for id in ["a", "b", "c"] {
            presence.heard(at(0), id);
        }
        assert_eq!((presence.devices().len(), presence.ignored()), (2, 1));
    }
}
