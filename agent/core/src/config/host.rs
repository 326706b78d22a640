//! `[host]`

use std::time::Duration;

use super::render::{self, Lines};
use super::table::Table;
use super::value;

/// `[host]`: what is sent of the machine that the agent runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Host {
    /// How often the facts of the host are sent as a message with topic `host/metrics` (1 s to 1 day); never by default. The
    /// status shows them in any case.
    pub interval: Option<Duration>,
}

impl Host {
    pub(super) fn read(table: &mut Table) -> Host {
        Host { interval: table.optional("interval", value::duration(1_000..=value::DAY)) }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![("interval", self.interval.map(|interval| render::string(&render::duration(interval))))]
    }
}
