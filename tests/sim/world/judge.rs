//! Whether the promises hold at the end of a run, when peace has come.

use std::collections::BTreeSet;

use holdfast::config::buffer::WhenFull;
use holdfast::config::client::Confirm;

use super::World;

impl World {
    /// What was promised holds.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        let dropped: BTreeSet<&[u8]> = self.disk.dropped.iter().map(Vec::as_slice).collect();
        if !self.bounded && !dropped.is_empty() {
            return Err("messages were dropped without a bound".to_owned());
        }
        for (link, peer) in self.peers.iter().take(self.setup.links.len()).enumerate() {
            self.tally.delivered += peer.delivered();
            if peer.confirm == Confirm::None {
                continue;
            }
            let dead: BTreeSet<&[u8]> = self.disk.dead().map(|message| message.payload.as_slice()).collect();
            let set_aside = |payload: &Vec<u8>| peer.chokes_on(payload) && dead.contains(payload.as_slice());
            let lost = |payload: &&Vec<u8>| {
                !peer.has(payload) && !dropped.contains(payload.as_slice()) && !set_aside(payload)
            };
            let lost: Vec<_> = self.stored.iter().filter(lost).map(|p| String::from_utf8_lossy(p)).collect();
            let drops_newest = self.setup.bounds_of(link).when_full == WhenFull::DropNewest && self.bounded;
            // What it gave up is announced to a peer that has numbers; after a crash as a part of the block left open.
            let announced = peer.numbered && self.tally.crashes == 0;
            let excused = match (drops_newest, announced) {
                (true, true) => peer.dropped_newest,
                (true, false) => u64::MAX,
                (false, _) => 0,
            };
            if lost.len() as u64 > excused {
                return Err(format!("link {link} never saw {lost:?} although they were stored"));
            }
        }
        self.judge_dead_letters()?;
        self.tally.dropped = dropped.len() as u64;
        self.tally.commits = self.disk.commits;
        self.judge_devices()
    }

    /// What a peer refused is kept, as long as nothing else went wrong.
    fn judge_dead_letters(&self) -> Result<(), String> {
        let mut kept: BTreeSet<&[u8]> = self.disk.dead().map(|message| message.payload.as_slice()).collect();
        kept.extend(self.disk.dropped.iter().map(Vec::as_slice));
        let refused = self.peers.iter().flat_map(|peer| &peer.refused);
        let lost = refused.filter(|payload| !kept.contains(payload.as_slice())).count();
        let excused = self.bad_disk || self.tally.crashes > 0 || self.tally.cuts > 0;
        if lost > 0 && !excused {
            Err(format!("{lost} refused messages are not among the dead letters"))
        } else {
            Ok(())
        }
    }

    /// The retained topics say what the agent believes.
    fn judge_devices(&self) -> Result<(), String> {
        let (Some(broker), Some(agent)) = (self.peers.get(self.setup.links.len()), &self.agent) else {
            return Ok(());
        };
        let status = agent.status(self.clock());
        let devices = status["devices"].as_object().cloned().unwrap_or_default();
        for (id, device) in devices {
            let topic = format!("p/devices/{id}/status");
            let told = broker.retained.get(&topic).map(|told| String::from_utf8_lossy(told).into_owned());
            if told.as_deref() != Some(device.to_string().as_str()) {
                return Err(format!("{topic} says {told:?}, the agent believes {device}"));
            }
        }
        Ok(())
    }
}
