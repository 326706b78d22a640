//! Places in the buffer that no client has any more and that hold messages all the same. A client that another one replaces, or that
//! gets another id, leaves one: nothing is lost there, and nothing goes on from there either until somebody is told.

use super::link_context::LinkContext;
use super::{Action, Agent};
use crate::ids::LinkId;
use crate::link::LinkState;
use crate::observe::log_event::LogEvent;
use crate::outlet::lane;
use crate::outlet::queue::OutletQueue;

/// Those that were found in the store at the start.
#[derive(Debug, Default)]
pub(crate) struct LeftBehind {
    /// Names of outlets, without a priority, rising.
    outlets: Vec<String>,
    is_told: bool,
}

impl LeftBehind {
    pub(crate) fn new(found: &[String]) -> LeftBehind {
        let clients =
            found.iter().map(|name| lane::parse(name).0).filter(|link| lane::client(link).is_some());
        let mut outlets: Vec<String> = clients.map(str::to_owned).collect();
        outlets.sort();
        outlets.dedup();
        LeftBehind { outlets, is_told: false }
    }
}

impl Agent {
    /// Messages held for a link, about.
    pub(crate) fn unconfirmed(&self, link: LinkId) -> u64 {
        self.queues(link).map(OutletQueue::unconfirmed).sum()
    }

    /// The places that hold messages and belong to no client, as a client names one that is its own.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let is_open = |outlet: &String| self.links.iter().any(|line| line.outlet == *outlet);
        let found = self.left_behind.outlets.iter().filter(|outlet| !is_open(outlet)).cloned();
        let gone = self.links.pairs().filter(|(link, line)| line.is_gone() && self.unconfirmed(*link) > 0);
        let outlets = found.chain(gone.map(|(_, line)| line.outlet.clone()));
        let mut names: Vec<String> =
            outlets.filter_map(|outlet| lane::client(&outlet).map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Tells once what a start has found: messages without a client, or no link to send any over.
    pub(crate) fn tell_at_start(&mut self, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.left_behind.is_told, true) {
            return;
        }
        let mut links = self.links.iter().filter(|line| line.is_client());
        if links.all(|line| line.link.state() == LinkState::Inactive) {
            let mut clients = self.links.iter().filter_map(LinkContext::own);
            let inactive = clients.find(|own| !own.places.is_empty()).map(|own| own.id.clone());
            out.push(Action::Note(LogEvent::NoLink { inactive }));
        }
        let names = self.left_behind();
        out.extend(names.into_iter().map(|outlet| Action::Note(LogEvent::LeftBehind { outlet })));
    }

    /// Tells of a link that is about to go.
    pub(crate) fn tell_if_left(&self, link: LinkId, out: &mut Vec<Action>) {
        let LinkContext { outlet, .. } = &self.links[link];
        if let Some(name) = lane::client(outlet).filter(|_| self.unconfirmed(link) > 0) {
            out.push(Action::Note(LogEvent::LeftBehind { outlet: name.to_owned() }));
        }
    }
}
