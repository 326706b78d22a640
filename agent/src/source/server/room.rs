//! Room for callers: which descriptors they may have, and who waits until one is free again. One for all servers.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::config::limits::CallerLimits;
use holdfast_core::descriptors::{Ceilings, TURNED_AWAY};
use smol::Timer;
use smol::channel::{Sender, bounded};
use smol::future::or;

use super::accept::Places;
use super::memory::Pool;

/// How long is waited for a caller to leave before it is looked again: others than callers make room as well.
const PAUSE: Duration = Duration::from_secs(1);

/// Room that callers may take.
#[derive(Debug)]
pub struct Room {
    ceilings: Cell<Ceilings>,
    waiting: RefCell<Vec<Sender<()>>>,
    /// For what callers of all servers send, and for their connections.
    pub(super) memory: Rc<Pool>,
    /// Those who are turned away while only the reserve is left.
    pub turned_away: Places,
}

impl Default for Room {
    fn default() -> Room {
        let (ceilings, waiting) = (Cell::default(), RefCell::default());
        let memory = Pool::new(bytes(CallerLimits::default()));
        Room { ceilings, waiting, memory, turned_away: Places::new(TURNED_AWAY) }
    }
}

impl Room {
    /// From here on these are in force.
    pub fn set(&self, ceilings: Ceilings, limits: CallerLimits) {
        self.ceilings.set(ceilings);
        self.memory.resize(bytes(limits));
    }

    /// Whether a caller of a server, or one of the control socket, may not have this descriptor.
    pub fn keeps(&self, descriptor: &impl AsFd, is_control: bool) -> bool {
        let number = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0);
        self.ceilings.get().keep(number, is_control)
    }

    /// A caller has left.
    pub fn left(&self) {
        self.waiting.take();
    }

    /// Waits until a caller has left, or for a moment.
    pub async fn wait(&self) {
        let (sender, left) = bounded(1);
        self.waiting.borrow_mut().push(sender);
        let left = async {
            // Nothing is ever sent: the sender goes.
            let _ = left.recv().await;
        };
        let pause = async {
            Timer::after(PAUSE).await;
        };
        or(left, pause).await;
    }
}

fn bytes(limits: CallerLimits) -> usize {
    usize::try_from(limits.memory).unwrap_or(usize::MAX)
}
