//! A store that cannot be written: what can be read of it is given out, what is confirmed is remembered, and the database is
//! tried again at a calm pace.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use holdfast_core::ids::OutletId;
use holdfast_core::outlet::store_protocol::StoreReport;
use holdfast_core::time::Time;

use super::super::backend::{Fault, LOG_FILE};
use super::super::open_store::Batch;
use super::super::recovery::STORE;
use super::super::view::View;
use super::super::{lock_to_write, numbers};
use super::{OpenStore, Worker};
use crate::os::clock;
use crate::os::private;

/// A database that could not be opened is not tried again before this: it costs a look at all of its log.
const OPEN_EACH: Duration = Duration::from_secs(5);

/// Dead letters kept in memory.
const LETTERS: usize = 1000;

/// Why nothing can be written, and what can be read all the same.
pub(super) struct ReadOnly {
    pub(super) cause: String,
    again_at: Time,
    /// The agent was started so: it has no numbers for what it would write.
    from_the_start: bool,
    /// None if nothing can be read either.
    view: Option<View>,
    /// Dead letters that are still in the store, too.
    letters: VecDeque<Vec<u8>>,
}

impl Worker {
    /// What can be looked into; opens it first.
    pub(super) fn groups(&mut self) -> Result<(), String> {
        match self.hold().map(|_| ()) {
            Err(_) if self.view().is_some() => Ok(()),
            opened => opened.map_err(|fault| fault.to_string()),
        }
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.read_only.as_ref().and_then(|own| own.view.as_ref())
    }

    /// Reads entries, from a store that cannot be written as well.
    pub(super) fn read(
        &mut self,
        outlet: OutletId,
        from: u64,
        falling: bool,
        max_bytes: usize,
    ) -> Result<Batch, String> {
        self.known(outlet)?;
        self.groups()?;
        if let (None, Some(view)) = (&self.hold, self.view()) {
            let read = if falling { View::read_down } else { View::read };
            let entries = read(view, outlet, from, max_bytes).map_err(|fault| fault.to_string())?;
            return Ok(Batch { entries, damaged: Vec::new() });
        }
        self.with(|hold| match falling {
            false => hold.read(outlet, from, max_bytes),
            true => hold.read_down(outlet, from, max_bytes),
        })
    }

    /// Remembers what is confirmed while it cannot be removed. Tells whether it did.
    pub(super) fn remember(&mut self, parts: &[(OutletId, Vec<(u64, u64)>)]) -> bool {
        if self.hold.is_some() {
            return false;
        }
        let view = self.read_only.as_mut().and_then(|own| own.view.as_mut());
        view.map(|view| parts.iter().for_each(|(outlet, ranges)| view.forget(*outlet, ranges))).is_some()
    }

    /// Starts without a database. What can be read is given out.
    pub(super) fn start_read_only(&mut self, cause: String) {
        log::warn!("nothing can be stored: {cause}");
        self.turn_read_only(cause);
        if let Some(own) = &mut self.read_only {
            own.from_the_start = true;
        }
    }

    /// Why the database is not even tried at this moment.
    pub(super) fn is_closed(&self) -> Option<String> {
        let waits = |own: &&ReadOnly| own.from_the_start || clock::now().mono < own.again_at;
        self.read_only.as_ref().filter(waits).map(|own| own.cause.clone())
    }

    /// The database cannot be opened: looks into its log instead.
    pub(super) fn turn_read_only(&mut self, cause: String) {
        let again_at = clock::now().mono + OPEN_EACH;
        if let Some(own) = &mut self.read_only {
            (own.cause, own.again_at) = (cause, again_at);
        } else {
            let letters = VecDeque::new();
            self.read_only = Some(ReadOnly { cause, again_at, from_the_start: false, view: None, letters });
        }
        if self.view().is_none() {
            let log = self.dir.join(STORE).join(LOG_FILE);
            match View::open(&log, &self.outlets, &self.spans, &self.progress) {
                Ok(view) => {
                    if let Some(own) = &mut self.read_only {
                        own.view = Some(view);
                    }
                }
                Err(fault) => log::debug!("{fault}"),
            }
        }
    }

    /// Keeps a dead letter in memory whose message cannot leave the store. Tells whether it did.
    pub(super) fn keep_letter(&mut self, payload: &[u8]) -> bool {
        let own = self.read_only.as_mut().filter(|own| own.view.is_some() && own.letters.len() < LETTERS);
        own.map(|own| own.letters.push_back(payload.to_owned())).is_some()
    }

    /// The database is open again: writes down what was set aside, and removes what was confirmed meanwhile.
    pub(super) fn catch_up(&mut self, hold: &mut OpenStore) -> Result<(), Fault> {
        let Some(own) = &mut self.read_only else { return Ok(()) };
        // One that cannot be written stays for the next time, and so does its message in the store.
        while let Some(letter) = own.letters.front() {
            let added = self.dead.add(letter);
            added
                .map_err(|error| Fault::World(error.to_string()).context("write", &self.dir.join("dead")))?;
            own.letters.pop_front();
        }
        own.view.as_ref().map_or(Ok(()), |view| view.catch_up(hold))
    }

    /// The lock of an agent that can write, in the place of one that could only read.
    fn lock_again(&mut self) -> Result<(), String> {
        let path = self.dir.join("lock");
        // A second lock on the same file would wait for the first.
        if self.lock.path == path && self.is_ours() {
            let pid = format!("{}\n", std::process::id());
            let written = private::open(&path).and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(pid.as_bytes())
            });
            written.map_err(|error| self.about("lock", &error))?;
            self.lock.cause = None;
        } else {
            self.lock = lock_to_write(&self.dir).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Whether an agent that was started without a writable store could have one, which is left as it is but for what was
    /// confirmed.
    pub(super) fn reopen(&mut self) -> Result<StoreReport, String> {
        if self.lock.cause.is_some() {
            self.lock_again()?;
        }
        numbers::probe(&self.dir).map_err(|error| self.about("probe", &error))?;
        if self.view().is_some() && self.hold.is_none() {
            let caught_up = self.recover().and_then(|mut hold| self.catch_up(&mut hold));
            caught_up.map_err(|fault| fault.to_string())?;
        }
        Ok(StoreReport::Reopened)
    }
}
