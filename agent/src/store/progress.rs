//! Signs of life of an opening, for whoever waits for it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use holdfast_core::observe::watchdog::Patience;

use crate::os::clock;

/// Values are many, and a look at the clock is worth some.
const VALUES: u32 = 256;

/// Told how much time an opening that makes progress asks for.
pub type Tell = Box<dyn Fn(Duration) + Send>;

/// Passes the signs on, as often as [`Patience`] says.
pub struct Progress {
    patience: RefCell<Patience>,
    values: Cell<u32>,
    tell: Tell,
}

/// Progress that nobody waits for.
pub fn silent() -> Progress {
    Progress::to(Box::new(|_| {}))
}

impl Progress {
    /// Tells this one.
    pub fn to(tell: Tell) -> Progress {
        Progress { patience: RefCell::default(), values: Cell::default(), tell }
    }

    /// Something was done.
    pub fn made(&self) {
        self.ahead(0);
    }

    /// A value was looked at or written.
    pub fn value(&self) {
        self.values.set(self.values.get().wrapping_add(1));
        if self.values.get().is_multiple_of(VALUES) {
            self.made();
        }
    }

    /// Something was done, and so many bytes are read next without a sign.
    pub fn ahead(&self, silent_bytes: u64) {
        let asked = self.patience.borrow_mut().progress(clock::now().mono, silent_bytes);
        if let Some(time) = asked {
            (self.tell)(time);
        }
    }
}
