//! Whether the promises hold: at each answer and each sending, and at the end of a run, when peace has come.

use std::collections::BTreeSet;

use holdfast_core::agent::LinkSetup;
use holdfast_core::config::buffer::WhenFull;
use holdfast_core::config::client::Confirm;
use holdfast_core::link::protocol::LinkOrder;
use holdfast_core::outlet::given::Given;
use holdfast_core::outlet::lane;

use super::World;

impl World {
    /// Who is told `stored` is told the truth at that moment: each peer has it, a power cut would leave it, or it
    /// was given up at the bound or for its age since.
    pub(super) fn check_safe(&self, last_id: u64, payloads: &[Vec<u8>]) -> Result<(), String> {
        for (link, peer) in self.peers.iter().take(self.links.len()).enumerate() {
            let safe = |payload: &&Vec<u8>| {
                let given_up =
                    self.disk.dropped.contains(payload) || self.expired.contains(&(link, (*payload).clone()));
                peer.has(payload) || self.disk.keeps(&self.outlet_of(link), payload) || given_up
            };
            // What it gave up when it came is not safe, and that was said in a gap.
            if self.bounds_of(link).when_full == WhenFull::DropNewest && self.bounded {
                continue;
            }
            let mut taken = payloads.iter().filter(|payload| self.takers[*payload].contains(&link));
            if peer.confirm != Confirm::None && !taken.all(|payload| safe(&payload)) {
                return Err(format!("{last_id} was answered before link {link} had it safe"));
            }
        }
        match self.disk.reserved("").1 {
            end if last_id < end || self.volatile => Ok(()),
            end => Err(format!("id {last_id} was used, but only those below {end} are reserved")),
        }
    }

    /// No peer sees a number that a crash could give to another message.
    pub(super) fn check_reserved(&self, link: usize, order: &LinkOrder) -> Result<(), String> {
        let LinkOrder::Send { lane, entries, .. } = order else { return Ok(()) };
        let last = entries.iter().map(|entry| entry.last()).max().unwrap_or(0);
        let outlet = self.outlet(link, *lane);
        let (end, _) = self.disk.reserved(&outlet);
        // Under an epoch that ends with this life, no later one gives any number.
        let is_own = self.volatile && self.disk.epoch(&outlet) != Some(&self.peers[link].epochs[*lane]);
        if last < end || is_own {
            Ok(())
        } else {
            Err(format!("{last} was sent, but only those below {end} are reserved"))
        }
    }

    /// A link found out that its peer does not echo. With several urls each has to be found out.
    pub(super) fn note_unechoed(&mut self, id: &str) {
        self.tally.unechoed += 1;
        let single = |own: &LinkSetup| own.id == id && own.rule.endpoints.count == 1;
        self.unechoed.extend(self.links.iter().position(single));
    }

    /// Nothing is sent again and again to a peer whose pongs confirm nothing.
    pub(super) fn check_held_back(&self, link: usize, order: &LinkOrder) -> Result<(), String> {
        match order {
            LinkOrder::Send { .. } if self.unechoed.contains(&link) => {
                Err(format!("something was sent on link {link}, whose peer does not echo"))
            }
            _ => Ok(()),
        }
    }

    /// The name of a lane in the store.
    pub(super) fn outlet(&self, link: usize, lane: usize) -> String {
        let priority =
            self.agent.as_ref().zip(self.of_agent(link)).and_then(|(agent, own)| agent.lanes(own).nth(lane));
        lane::name(&self.outlet_of(link), priority.map_or(0, |(priority, _)| priority))
    }

    /// What was promised holds.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        let dropped: BTreeSet<&[u8]> = self.disk.dropped.iter().map(Vec::as_slice).collect();
        if !self.bounded && !dropped.is_empty() {
            return Err("messages were dropped without a bound".to_owned());
        }
        for (link, peer) in self.peers.iter().take(self.links.len()).enumerate() {
            self.tally.delivered += peer.delivered();
            if peer.confirm == Confirm::None {
                continue;
            }
            let dead: BTreeSet<&[u8]> = self.disk.dead().map(|message| message.payload.as_slice()).collect();
            let set_aside = |payload: &Vec<u8>| peer.chokes_on(payload) && dead.contains(payload.as_slice());
            let expired = |payload: &Vec<u8>| self.expired.contains(&(link, payload.clone()));
            let given_up = |payload: &Vec<u8>| dropped.contains(payload.as_slice()) || expired(payload);
            let lost = |payload: &&Vec<u8>| {
                self.takers[*payload].contains(&link)
                    && !peer.has(payload)
                    && !given_up(payload)
                    && !set_aside(payload)
            };
            let lost: Vec<_> = self.stored.iter().filter(lost).map(|p| String::from_utf8_lossy(p)).collect();
            let drops_newest = self.bounds_of(link).when_full == WhenFull::DropNewest && self.bounded;
            // What it gave up is announced to a peer that has numbers; where its last word is not on the disk as a part of the block
            // left open.
            let announced = peer.numbered && !self.ended_open;
            let excused = match (drops_newest, announced) {
                // Where no message is behind it, a gap may still wait for its turn on a slow line.
                (true, true) => peer.given_up + self.disk.announced_later(&self.outlet_of(link)),
                (true, false) => u64::MAX,
                (false, _) => 0,
            };
            if lost.len() as u64 > excused {
                return Err(format!("link {link} never saw {lost:?} although they were stored"));
            }
        }
        self.judge_dead_letters()?;
        self.judge_echoes()?;
        self.tally.dropped = dropped.len() as u64;
        self.tally.commits = self.disk.commits;
        self.judge_devices()
    }

    /// What a peer refused is kept, as long as nothing else went wrong.
    fn judge_dead_letters(&self) -> Result<(), String> {
        let mut kept: BTreeSet<&[u8]> = self.disk.dead().map(|message| message.payload.as_slice()).collect();
        kept.extend(self.disk.dropped.iter().map(Vec::as_slice));
        kept.extend(self.expired.iter().map(|(_, payload)| payload.as_slice()));
        // With a connection that the peer closes, a refusal that is on its way is lost, too.
        let calm = self.peers.iter().filter(|peer| peer.choking == 0);
        // What only memory had may be lost with an agent that ends while its disk takes nothing.
        let promised: BTreeSet<&Vec<u8>> = self.stored.iter().collect();
        let refused = calm.flat_map(|peer| &peer.refused);
        let refused = refused.filter(|payload| promised.contains(payload) || !self.bad_disk);
        let lost = refused.filter(|payload| !kept.contains(payload.as_slice())).count();
        let excused = self.tally.crashes > 0 || self.tally.cuts > 0;
        if lost > 0 && !excused {
            Err(format!("{lost} refused messages are not among the dead letters"))
        } else {
            Ok(())
        }
    }

    /// The retained topics say what the agent believes.
    fn judge_devices(&self) -> Result<(), String> {
        let (Some(broker), Some(agent)) = (self.peers.get(self.links.len()), &self.agent) else {
            return Ok(());
        };
        let status = agent.status(self.clock());
        for (id, device) in status.devices.into_iter().flat_map(|all| all.devices) {
            let device = serde_json::to_string(&device).map_err(|error| error.to_string())?;
            let topic = format!("p/devices/{id}/status");
            let told = broker.retained.get(&topic).map(|told| String::from_utf8_lossy(told).into_owned());
            if told.as_ref() != Some(&device) {
                return Err(format!("{topic} says {told:?}, the agent believes {device}"));
            }
        }
        Ok(())
    }
}

/// After a kill a life goes on with the very number that the one before would have given next.
pub(super) fn check_given(before: Option<&Given>, now: &Given) -> Result<(), String> {
    for old in before.iter().flat_map(|before| &before.outlets) {
        if let Some(new) = now.outlets.iter().find(|new| new.tag == old.tag && new.next != old.next) {
            return Err(format!(
                "{} comes next after a kill, although it would have been {}",
                new.next, old.next
            ));
        }
    }
    Ok(())
}
