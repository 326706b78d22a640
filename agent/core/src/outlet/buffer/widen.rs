//! Outlets that come while everything runs: the disk opens their places, then their numbers are reserved, and only then is
//! anything taken for them. An outlet whose link is gone stays, gives way first, and is not counted any more.

use super::{Buffer, BufferEffect, Outlet, OutletOwner, OutletQueue};
use crate::config::buffer::{Bounds, WhenFull};
use crate::ids::{LinkId, OutletId};
use crate::outlet::lane;
use crate::outlet::sequence;
use crate::outlet::store_protocol::{SequenceRange, StoreOrder};

/// Outlets that have no place yet.
#[derive(Debug, Default)]
pub(super) struct Coming {
    places: Vec<PendingOutlet>,
    /// How many of them the disk was asked for, without an answer yet.
    asked: usize,
}

#[derive(Debug)]
struct PendingOutlet {
    name: String,
    owner: OutletOwner,
    birth: String,
}

impl Buffer {
    /// Whose the outlets are that can be used, in the order of their numbers.
    pub fn owners(&self) -> impl Iterator<Item = (OutletId, OutletOwner)> {
        self.outlets.pairs().take(self.usable).map(|(id, outlet)| (id, outlet.owner))
    }

    /// Outlets whose links are not gone.
    pub fn live(&self) -> impl Iterator<Item = &Outlet> {
        self.outlets.iter().filter(|outlet| !outlet.owner.gone)
    }

    /// Wants a place for each of these priorities of a link, and for those that it had earlier. `outlet` is its name in the
    /// store; `new_epochs` gives epochs.
    pub fn want(
        &mut self,
        link: LinkId,
        outlet: &str,
        priorities: &[u8],
        bounds: Bounds,
        new_epochs: &mut impl Iterator<Item = String>,
    ) {
        let configured = priorities.iter().map(|priority| lane::name(outlet, *priority));
        let known = self.base.outlets.keys().filter(|name| lane::parse(name).0 == outlet).cloned();
        for name in configured.chain(known).collect::<Vec<_>>() {
            if self.outlet_of(&name).is_some() || self.coming.places.iter().any(|place| place.name == name) {
                continue;
            }
            let (_, priority) = lane::parse(&name);
            let owner = OutletOwner { link, priority, bounds, gone: false };
            let birth = new_epochs.next().expect("there is one for each lane that there could be");
            self.coming.places.push(PendingOutlet { name, owner, birth });
        }
    }

    /// Goes on under other bounds; none for an outlet whose link is gone.
    pub fn rebind(&mut self, bounds: impl Fn(LinkId) -> Option<Bounds>) {
        let coming = self.coming.places.iter_mut().map(|place| &mut place.owner);
        for owner in self.outlets.iter_mut().map(|outlet| &mut outlet.owner).chain(coming) {
            let next = bounds(owner.link);
            owner.gone = next.is_none();
            let gone = Bounds { when_full: WhenFull::DropOldest, max_messages: 0, ..owner.bounds };
            owner.bounds = next.unwrap_or(gone);
        }
    }

    /// Asks the disk for the places that are wanted.
    pub(super) fn widen(&mut self, out: &mut Vec<BufferEffect>) {
        if self.coming.asked > 0 || self.coming.places.is_empty() {
            return;
        }
        self.coming.asked = self.coming.places.len();
        let outlets = self.coming.places.iter().map(|place| place.name.clone()).collect();
        out.push(BufferEffect::Disk(StoreOrder::Widen { outlets }));
    }

    /// The disk could not open them; they are wanted all the same.
    pub(super) fn widen_failed(&mut self) {
        self.coming.asked = 0;
    }

    /// The disk has the places that it was asked for; numbers are reserved for them next.
    pub(super) fn widened(&mut self) {
        let asked = std::mem::take(&mut self.coming.asked);
        for PendingOutlet { name, owner, birth } in self.coming.places.drain(..asked) {
            let held = self.facts.held.get(self.outlets.len()).copied().unwrap_or_default();
            let (own, gap) = sequence::resume_outlet(self.base.outlets.get(&name), &held, &birth);
            let start = SequenceRange { next: own.block.next, end: own.block.next };
            let queue = OutletQueue::new(name.clone(), own.epoch.clone(), start, held, gap);
            self.outlets.push(Outlet::new(owner, queue.skipping(own.skipped.clone())));
            self.base.outlets.insert(name, own);
            self.ids.next = self.ids.next.max(held.last_id + 1);
        }
    }

    /// Numbers are there for all outlets that have any: what is taken may go to them.
    pub(super) fn make_usable(&mut self) {
        let ready = self.queues().take_while(|outbox| outbox.numbers_left() > 0).count();
        self.usable = self.usable.max(ready);
    }
}
