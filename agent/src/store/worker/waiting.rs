//! What an order has to wait for: it is carried out when no sync of the log would meet it, and reported when what it wrote is safe.

use std::io;
use std::sync::Arc;

use holdfast_core::ids::OutletId;
use holdfast_core::outlet::store_protocol::{StoreOrder, StoreOrderKind, StoreReport};
use holdfast_core::time::Time;

use super::super::backend::Fault;
use super::super::open_store::OpenStore;
use super::super::recovery::STORE;
use super::super::syncs::{Ended, SmallFile, Write};
use super::super::{numbers, space};
use super::Worker;
use crate::os::clock;

impl Worker {
    /// Carries an order out, as soon as it may be. `Close` is the thread's own.
    pub fn carry_out(&mut self, order: StoreOrder) {
        if let Some(order) = self.waits.keep_back(order) {
            self.carry_out_now(order);
        }
        self.save_meter();
        self.go_on();
    }

    fn carry_out_now(&mut self, order: StoreOrder) {
        let (kind, outlet) = order.kind();
        // Whoever reads or removes has the open files.
        let needs_names = !matches!(
            order,
            StoreOrder::Read { .. } | StoreOrder::Forget { .. } | StoreOrder::Measure | StoreOrder::Close
        );
        let attempt = match self.keep_names() {
            Err(error) if needs_names => Err(error),
            Ok(()) | Err(_) => self.attempt(order),
        };
        match attempt {
            Ok(report) => self.reports.extend(report),
            Err(error) => {
                self.measure();
                self.reports.push(StoreReport::Failed { order: kind, outlet, error });
            }
        }
    }

    /// What is to be reported since this was asked last.
    pub fn take_reports(&mut self) -> Vec<StoreReport> {
        std::mem::take(&mut self.reports)
    }

    /// What was waited for has come.
    pub fn synced(&mut self, outcome: io::Result<()>) {
        match (self.waits.ended(), outcome) {
            (Some(Ended::Log(_, reports)), Ok(())) => {
                self.syncs += 1;
                // What is synced to a file without a name is not safe.
                match self.keep_names() {
                    Ok(()) => self.reports.extend(reports),
                    Err(error) => self.fail(reports, &error),
                }
            }
            (Some(Ended::Log(log, reports)), Err(error)) => {
                let error =
                    Fault::World(error.to_string()).context("sync", &self.dir.join(STORE)).to_string();
                self.fail(reports, &error);
                // A handle that was opened since has synced what it found.
                if self.hold.as_ref().is_some_and(|hold| hold.is_log(&log)) {
                    self.lose_for(&error);
                    space::drop_ballast(&self.dir);
                    // What can be read is known at once.
                    let _ = self.hold();
                }
            }
            (Some(Ended::File(file)), outcome) => self.has_saved(file, outcome),
            (None, _) => {}
        }
        self.measure();
        for order in self.waits.held_back() {
            self.carry_out_now(order);
        }
        self.go_on();
    }

    fn has_saved(&mut self, file: SmallFile, outcome: io::Result<()>) {
        self.syncs += 1;
        match (outcome, file.report) {
            (Ok(()), Some(report)) => {
                let payload = Some(file.payload.to_vec());
                match report {
                    StoreReport::NumbersSaved => self.files.numbers = payload,
                    StoreReport::PresenceSaved => self.files.presence = payload,
                    _ => self.files.clocks = payload,
                }
                self.reports.push(report);
            }
            (Ok(()), None) => {
                self.count();
                self.meter.saved();
            }
            // Its directory may have been removed while it was written.
            (Err(_), report) if self.has_made_anew() => self.waits.save(SmallFile { report, ..file }),
            // A full disk gives the ballast up for it.
            (Err(_), report) if space::drop_ballast(&self.dir) => {
                self.waits.save(SmallFile { report, ..file });
            }
            (Err(error), Some(report)) => {
                let error = self.about(file.name, &error);
                self.fail(vec![report], &error);
            }
            (Err(error), None) => log::warn!("{}", self.about(file.name, &error)),
        }
    }

    /// Reports that orders could not be carried out after all.
    fn fail(&mut self, reports: Vec<StoreReport>, error: &str) {
        let failed = |report: StoreReport| {
            let (order, outlet) = order_of(&report);
            StoreReport::Failed { order, outlet, error: error.to_owned() }
        };
        self.reports.extend(reports.into_iter().map(failed));
    }

    /// Begins to wait for what is to be waited for next.
    fn go_on(&mut self) {
        let Worker { waits, hold, sync_by, dir, .. } = self;
        let due = sync_by.is_some_and(|time| time <= clock::now().mono);
        let log = || {
            *sync_by = None;
            hold.as_mut()?.begin_sync()
        };
        waits.begin(due, log, dir);
    }

    /// When something flushed must be synced; none while the disk is waited for anyway.
    pub fn sync_by(&self) -> Option<Time> {
        self.sync_by.filter(|_| !self.waits.is_busy())
    }

    /// Has what was only flushed synced if it is time.
    pub fn settle_in_time(&mut self) {
        self.go_on();
    }

    /// Syncs what was only flushed, and waits for it.
    pub(super) fn settle(&mut self) {
        if self.hold.as_ref().is_some_and(OpenStore::unsynced) || self.waits.owes() {
            match self.with(|hold| Ok(hold.commit()?)) {
                Ok(()) => self.is_synced(),
                Err(error) => log::warn!("{error}"),
            }
        }
        self.sync_by = None;
    }

    /// All that was flushed until here is safe.
    pub(super) fn is_synced(&mut self) {
        let reports = self.waits.take_pending();
        self.reports.extend(reports);
        self.sync_by = None;
    }

    /// Has the meter's file written if it is due.
    pub(super) fn save_meter(&mut self) {
        self.count();
        let now = clock::now().mono;
        if self.meter.is_due(now, false) && self.is_ours() && self.read_only.is_none() {
            let file = self.meter.file(now);
            self.save("meter", numbers::save_meter, file, None);
        }
    }

    pub(super) fn save_meter_last(&mut self) {
        self.count();
        let now = clock::now().mono;
        if self.meter.is_due(now, true) && self.is_ours() && self.read_only.is_none() {
            let file = self.meter.file(now);
            if let Err(error) = numbers::save_meter(&self.dir, &file) {
                log::warn!("{}", self.about("meter", &error));
            }
        }
    }

    pub(super) fn after_log(&mut self, report: StoreReport) -> Option<StoreReport> {
        self.waits.after_log(report);
        None
    }

    pub(super) fn save(
        &mut self,
        name: &'static str,
        write: Write,
        payload: Vec<u8>,
        report: Option<StoreReport>,
    ) -> Option<StoreReport> {
        self.waits.save(SmallFile { name, write, payload: Arc::new(payload), report });
        None
    }

    /// The handle is dead: what was flushed and not synced cannot be believed.
    pub(super) fn lose_for(&mut self, error: &str) {
        self.lose_to_fault();
        let reports = self.waits.take_pending();
        self.fail(reports, error);
    }
}

/// The kind and the outlet of an order that would have been reported like this.
fn order_of(report: &StoreReport) -> (StoreOrderKind, Option<OutletId>) {
    match report {
        StoreReport::Dropped { outlet, .. } => (StoreOrderKind::DropOldest, Some(*outlet)),
        StoreReport::Expired { outlet, .. } => (StoreOrderKind::Expire, Some(*outlet)),
        StoreReport::NumbersSaved => (StoreOrderKind::SaveNumbers, None),
        StoreReport::PresenceSaved => (StoreOrderKind::SavePresence, None),
        StoreReport::ClocksSaved => (StoreOrderKind::SaveClocks, None),
        _ => (StoreOrderKind::Append, None),
    }
}
