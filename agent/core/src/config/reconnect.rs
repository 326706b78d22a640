//! `reconnect` of a link: when it is tried again.

use std::time::Duration;

use super::render;
use super::table::Table;
use super::value;

/// Back-off between tries. Always with full jitter, also before the first retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// False: nothing is tried again. The first failure or loss is the last word until the agent starts anew or this table
    /// changes.
    pub active: bool,
    /// In place of a back-off, the time between two tries. The first wait is random, from nothing to this, so that a fleet
    /// that has lost its server stays spread over it.
    pub interval: Option<Duration>,
    /// Upper end of the first wait. When a stable connection was lost it is 8 times as much, since a whole fleet may have lost
    /// it.
    pub min: Duration,
    /// Upper end of the longest wait. A peer's `Retry-After` is believed up to this, and up to half as long more is added to it.
    pub max: Duration,
    /// A connection must have been up for so long before the back-off starts from `min` again.
    pub stable_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect {
            active: true,
            interval: None,
            min: Duration::from_secs(1),
            max: Duration::from_secs(300),
            stable_after: Duration::from_secs(60),
        }
    }
}

impl Reconnect {
    pub(super) fn read(table: &mut Table) -> Reconnect {
        let default = Reconnect::default();
        table.optional("jitter", value::word([("full", ())]));
        let reconnect = Reconnect {
            active: table.value("active", default.active, value::boolean),
            interval: table.optional("interval", value::timeout()),
            min: table.value("min", default.min, value::timeout()),
            max: table.value("max", default.max, value::timeout()),
            stable_after: table.value("stable_after", default.stable_after, value::duration(0..=value::DAY)),
        };
        if reconnect.max < reconnect.min {
            let key = if table.has("max") { "max" } else { "min" };
            let (min, max) = (render::duration(reconnect.min), render::duration(reconnect.max));
            let what = if key == "max" {
                format!("{max} is below min ({min})")
            } else {
                format!("{min} is above max ({max})")
            };
            table.fail(key, what);
        }
        reconnect
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&[
            ("active", Some(self.active.to_string())),
            ("interval", self.interval.map(|interval| render::string(&render::duration(interval)))),
            ("min", Some(render::string(&render::duration(self.min)))),
            ("max", Some(render::string(&render::duration(self.max)))),
            ("jitter", Some(render::string("full"))),
            ("stable_after", Some(render::string(&render::duration(self.stable_after)))),
        ])
    }
}
