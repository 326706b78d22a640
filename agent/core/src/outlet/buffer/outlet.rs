//! One outlet with all that the buffer knows of it.

use super::expire::OutletExpiry;
use crate::config::buffer::Bounds;
use crate::ids::LinkId;
use crate::outlet::queue::OutletQueue;

/// An outlet: whose it is, what it holds, and whether anybody is there to take it.
#[derive(Debug)]
pub struct Outlet {
    /// Its owner, with what bounds it.
    pub owner: OutletOwner,
    /// What it holds.
    pub queue: OutletQueue,
    /// Whether its link is up.
    pub is_up: bool,
    /// How far its messages are given up for their age.
    pub(super) expiry: OutletExpiry,
}

/// Whose an outlet is, and what bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutletOwner {
    /// The link that it belongs to.
    pub link: LinkId,
    /// Its priority among the outlets of that link.
    pub priority: u8,
    /// What bounds all outlets of that link together.
    pub bounds: Bounds,
    /// Whether that link is gone.
    pub gone: bool,
}

impl Outlet {
    /// One whose link is not up yet.
    pub fn new(owner: OutletOwner, queue: OutletQueue) -> Outlet {
        Outlet { owner, queue, is_up: false, expiry: OutletExpiry::default() }
    }

    /// Whether something waits in it for its link, or for what is before it.
    pub fn is_behind(&self) -> bool {
        self.queue.is_behind(self.is_up)
    }
}
