//! Which links are configured, and which number each has here and in the agent.

use holdfast_core::config::buffer::{Bounds, BufferLimits};
use holdfast_core::ids::LinkId;
use holdfast_core::outlet::lane;

use super::World;

impl World {
    /// The name of a link's outlet in the store, without a priority.
    pub(super) fn outlet_of(&self, link: usize) -> String {
        self.links.get(link).map_or_else(|| lane::MQTT.to_owned(), |own| lane::of_client(&own.id))
    }

    /// What bounds the place of a link in the buffer.
    pub(super) fn bounds_of(&self, link: usize) -> Bounds {
        self.setup.buffer.bounds(self.links.get(link).map_or(BufferLimits::default(), |own| own.place))
    }

    /// The number here of a link of the agent.
    pub(super) fn number(&self, link: LinkId) -> usize {
        let outlet =
            self.agent.as_ref().and_then(|agent| agent.outlet(link)).expect("the agent speaks of it");
        (0..self.peers.len()).find(|own| self.outlet_of(*own) == outlet).expect("it is one of the links")
    }

    /// The number in the agent of a link, which may be gone.
    pub(super) fn of_agent(&self, link: usize) -> Option<LinkId> {
        let (agent, outlet) = (self.agent.as_ref()?, self.outlet_of(link));
        (0..)
            .map(LinkId)
            .map_while(|own| Some((own, agent.outlet(own)?)))
            .find(|(_, own)| *own == outlet)
            .map(|(own, _)| own)
    }

    /// The client links to which messages go at this moment.
    pub(super) fn seated(&self) -> Vec<usize> {
        let Some(agent) = &self.agent else { return Vec::new() };
        let is_seated = |link: &usize| {
            let own = agent.link_of(&self.outlet_of(*link));
            own.is_some_and(|own| agent.lanes(own).count() > 0)
        };
        (0..self.links.len()).filter(is_seated).collect()
    }

    /// Each link comes or goes, or stays what it was.
    pub(super) fn shuffle(&mut self) {
        let mut next = Vec::new();
        for link in &self.links {
            let was_in = self.setup.links.iter().find(|own| own.id == link.id);
            let stays = self.seed.below(4) > 0;
            let comes = self.seed.below(3) > 0;
            if if was_in.is_some() { stays } else { comes } {
                next.push(was_in.unwrap_or(link).clone());
            }
        }
        if self.seed.below(2) == 0 {
            next.reverse();
        }
        self.setup.links = next;
        self.setup.mqtt = self.broker.clone().filter(|_| self.seed.below(4) > 0);
    }

    /// Epochs that no outlet has.
    pub(super) fn new_epochs(&mut self) -> Vec<String> {
        self.new_epochs += 1;
        (0..self.links.len() * 2 + 1).map(|n| format!("epoch{}-{n}", self.new_epochs)).collect()
    }
}
