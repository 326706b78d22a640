//! Links come and go with the configuration: each has a line for the life of the agent, and its outlets in the store are its
//! lanes once they can be used. A line whose link is gone stays, so that a number always means the same link.

use super::link_context::Role;
use super::stop::GOING_AWAY;
use super::{Action, Agent, LinkContext, LinkSetup, MqttSetup, Setup, SourceSetup};
use crate::ids::{LinkId, Table};
use crate::outlet::buffer::OutletOwner;
use crate::outlet::lane::{self, Routes};
use crate::time::Now;

/// A line for every client, for the broker, and for every source.
pub(crate) fn lines(
    clients: &[LinkSetup],
    broker: Option<&MqttSetup>,
    sources: &[SourceSetup],
    now: Now,
) -> Table<LinkId, LinkContext> {
    let clients = clients.iter().map(|own| LinkContext::of_client(own, now));
    let sources = sources.iter().map(|own| LinkContext::of_source(own, now));
    clients.chain(broker.map(|own| LinkContext::of_broker(own, now))).chain(sources).collect()
}

/// Whose each outlet of the store is at the start.
pub(crate) fn owners(
    lines: &Table<LinkId, LinkContext>,
    setup: &Setup,
    outlets: &[String],
) -> Vec<OutletOwner> {
    let owner = |name: &String| {
        let (outlet, priority) = lane::parse(name);
        let link = lines.first(|line| line.outlet == outlet).expect("the store opens no others");
        OutletOwner { link, priority, bounds: lines[link].bounds(setup), gone: false }
    };
    outlets.iter().map(owner).collect()
}

impl Agent {
    /// The number of the link with this outlet, unless it is gone.
    pub fn link_of(&self, outlet: &str) -> Option<LinkId> {
        self.links.first(|line| line.outlet == outlet && !line.is_gone())
    }

    /// Takes the links of another setup: those that are not in it go, those that are new wait for their places, and those whose
    /// settings are not the same connect anew: they say goodbye, and what they had in flight is sent again.
    pub(crate) fn take_lines(
        &mut self,
        now: Now,
        clients: &[LinkSetup],
        broker_changed: bool,
        out: &mut Vec<Action>,
    ) {
        let fresh = lines(clients, self.setup.mqtt.as_ref(), &self.setup.sources, now);
        for link in self.links.ids() {
            if !fresh.iter().any(|own| own.outlet == self.links[link].outlet) {
                self.part(now, link, out);
            }
        }
        for own in fresh {
            self.take_line(now, own, broker_changed, out);
        }
        let Agent { buffer, setup, links, .. } = self;
        let mut new_epochs = setup.new_epochs.iter().cloned();
        let of_clients = setup.priorities_with(links.iter().filter_map(LinkContext::own));
        let holding = |line: &LinkContext| !line.is_gone() && line.source().is_none();
        for (link, line) in links.pairs().filter(|(_, line)| holding(line)) {
            let priorities = if line.is_client() { &of_clients[..] } else { &[0] };
            buffer.want(link, &line.outlet, priorities, line.bounds(setup), &mut new_epochs);
        }
        self.owner(now, out);
    }

    /// Seats whoever has got a place since.
    pub(crate) fn seat_new(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.take_lanes_anew(now, out) {
            self.route();
        }
    }

    /// Seats whoever can be seated, and routes. A link that gets another lane connects anew, since both ends count them.
    pub(crate) fn owner(&mut self, now: Now, out: &mut Vec<Action>) {
        self.take_lanes_anew(now, out);
        self.route();
    }

    /// Tells whether any link has other lanes than before.
    fn take_lanes_anew(&mut self, now: Now, out: &mut Vec<Action>) -> bool {
        let changed = self.take_lanes();
        changed.iter().for_each(|link| self.connect_anew(now, *link, out));
        !changed.is_empty()
    }

    /// Gives every link the lanes that it can use. Tells which have others than before.
    pub(crate) fn take_lanes(&mut self) -> Vec<LinkId> {
        let mut lanes = Table::from(vec![Vec::new(); self.links.len()]);
        for (outlet, owner) in self.buffer.owners() {
            lanes[owner.link].push((owner.priority, outlet));
        }
        let mut changed = Vec::new();
        for (link, lanes) in lanes.pairs_mut() {
            lanes.sort_unstable();
            if self.links[link].lanes != *lanes {
                self.links[link].lanes = std::mem::take(lanes);
                changed.push(link);
            }
        }
        changed
    }

    /// Tells each message where to go: what comes in to every client link, what a peer sends to every other one.
    pub(crate) fn route(&mut self) {
        let lanes_but = |own: Option<LinkId>| -> Vec<_> {
            let others = self.links.pairs().filter(|(link, line)| line.is_client() && own != Some(*link));
            others.map(|(_, line)| line.lanes.clone()).collect()
        };
        let others: Vec<Routes> = self.links.ids().map(|own| Routes::over(&lanes_but(Some(own)))).collect();
        self.routes = Routes::over(&lanes_but(None));
        self.links.iter_mut().zip(others).for_each(|(line, others)| line.others = others);
    }

    /// Says goodbye to a link that is not configured any more. What is held for it stays in the store.
    fn part(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) {
        if self.links[link].is_gone() {
            return;
        }
        self.tell_if_left(link, out);
        let line = &mut self.links[link];
        line.role = Role::Gone;
        (line.trial, line.rollback, line.certificate_days_left) = (None, None, None);
        self.close_inbox(link, "its client is not configured any more", out);
        self.connect_anew(now, link, out);
    }

    fn take_line(&mut self, now: Now, fresh: LinkContext, broker_changed: bool, out: &mut Vec<Action>) {
        let Some(link) = self.links.first(|line| line.outlet == fresh.outlet) else {
            // A source needs no place in the store.
            let is_source = fresh.source().is_some();
            self.links.push(if is_source { fresh } else { fresh.waiting(now) });
            return self.links.ids().next_back().into_iter().for_each(|link| self.recall_frame_limit(link));
        };
        let line = &mut self.links[link];
        let changes = line.role != fresh.role || (fresh.role == Role::Broker && broker_changed);
        if !changes {
            return;
        }
        let before = line.adopt(fresh);
        match before {
            // One that has taken the place of another has nothing to go back to.
            Role::Client(before) if before.id != line.id => (line.trial, line.rollback) = (None, None),
            // Neither has one that was not there, or has no place yet.
            Role::Client(before) if !line.lanes.is_empty() => self.begin_trial(link, before),
            Role::Client(_) | Role::Broker | Role::Source(_) | Role::Gone => {}
        }
        self.recall_frame_limit(link);
        self.connect_anew(now, link, out);
    }

    /// Under the rule that its link has now; without a place or a configuration it stays away.
    pub(crate) fn connect_anew(&mut self, now: Now, link: LinkId, out: &mut Vec<Action>) {
        let line = &self.links[link];
        let rule = line.rule(&self.setup).filter(|_| !line.lanes.is_empty() || line.source().is_some());
        let own = &mut self.links[link].link;
        let mut effects = Vec::new();
        match rule {
            Some(rule) => own.reconfigure(now.mono, rule, GOING_AWAY, &mut effects),
            None => own.retire(now.mono, GOING_AWAY, &mut effects),
        }
        self.go_down(link);
        self.apply(now, link, effects, out);
    }
}
