//! Messages that may come twice: those in flight, and those confirmed and not yet removed from the disk when a life ended.

use holdfast_core::message::Entry;
use holdfast_core::outlet::lane;

use super::super::setup::MQTT_WINDOW;
use super::World;

/// A group of the simulated disk holds this many messages at most.
const GROUP: u64 = 20;

impl World {
    /// On one connection at most a window, one group, and what the end of a life has left can come again. (A power cut may add
    /// what was confirmed within the last second, and a disk that refuses removals what it refused, so those are not counted
    /// here.)
    pub(super) fn check_twice(&self, link: usize) -> Result<(), String> {
        let window = self.links.get(link).map_or(MQTT_WINDOW, |link| link.window) as u64;
        let twice = self.peers[link].twice();
        // Out of order a lane has two places where it may stop in the middle of a group.
        let groups = self.peers[link].epochs.len() as u64 * if self.peers[link].loose { 2 } else { 1 };
        let own = self.outlet_of(link);
        let left = self.unremoved.iter().filter(|(outlet, _)| lane::parse(outlet).0 == own).count() as u64;
        if twice > window + groups * GROUP + left && !self.power_cut && !self.bad_disk {
            return Err(format!(
                "link {link}: {twice} came twice on one connection, the window is {window}, {left} were left"
            ));
        }
        Ok(())
    }

    /// A life ends: notes what it had confirmed and not removed.
    pub(super) fn note_unremoved(&mut self) {
        let Some(agent) = &self.agent else { return };
        let mut left = std::mem::take(&mut self.unremoved);
        let entries =
            || self.disk.all_groups().flat_map(|(outlet, group)| group.iter().map(move |own| (outlet, own)));
        left.retain(|(outlet, seq)| entries().any(|(other, entry)| other == outlet && entry.seq == *seq));
        left.extend(
            entries()
                .filter(|(outlet, entry)| agent.has_confirmed(outlet, entry.last()))
                .map(|(outlet, entry)| (outlet.to_owned(), entry.seq)),
        );
        self.unremoved = left;
    }

    /// Confirmed messages are removed as soon as the disk has time for it.
    pub(super) fn check_removed(&self) -> Result<(), String> {
        let Some(agent) = &self.agent else { return Ok(()) };
        if !self.disk.is_idle() || self.bad_disk || self.tally.sick > 0 || self.stopping_since.is_some() {
            return Ok(());
        }
        // Out of order both ends of a gap may be confirmed before its middle.
        let confirmed = |outlet: &str, entry: &Entry| {
            let mut numbers = (entry.seq..=entry.last()).rev();
            numbers.all(|seq| agent.has_confirmed(outlet, seq))
        };
        let left =
            self.disk.all_groups().find(|(outlet, group)| group.iter().all(|entry| confirmed(outlet, entry)));
        match left {
            Some((outlet, group)) => {
                Err(format!("{outlet}: {} is confirmed and nobody removes it", group[0].seq))
            }
            None => Ok(()),
        }
    }
}
