//! `[agent]` and `[presence]`.

use std::path::PathBuf;
use std::time::Duration;

use super::render::{self, Lines};
use super::table::Table;
use super::{Environment, tree::Node, value};

/// `[agent]`: who this agent is, and where it keeps what it must not forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Name of this gateway; the host name by default. A topic level: no `/`, `+`, `#`, no braces, control characters.
    pub id: String,
    /// Folder of the store and the state. For a user other than root it is by default `~/.local/state/holdfast`, for a service
    /// the one that systemd gave it.
    pub data_dir: PathBuf,
    /// The wall clock counts as synchronized as long as this file is there. It must lie where a restart of the machine removes it.
    /// systemd-timesyncd makes the one of the default; with chrony, a drop-in lets `chrony-wait.service` make one:
    /// `ExecStartPost=touch /run/clock-is-right`.
    pub clock_file: PathBuf,
}

/// systemd-timesyncd makes it once the time came from the network (systemd-timesyncd.service(8)).
const CLOCK_FILE: &str = "/run/systemd/timesync/synchronized";

/// `[presence]`: when a device counts as gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// A device without a connection is offline when it was not heard for so long.
    pub offline_after: Duration,
    /// How many devices are remembered at most. One is remembered once a message of it came; each has a retained topic at the broker.
    pub max_devices: usize,
    /// How many of them may be first heard from one address (an IPv6 client counts by its first 64 bits), so that no single one fills
    /// the list; 0 is no bound of their own. Messages of further devices are taken all the same.
    pub max_devices_per_ip: usize,
}

impl Agent {
    /// The agent of which nothing is said.
    pub fn of(environment: &Environment) -> Agent {
        Agent {
            id: id_of_host(environment.host_name),
            data_dir: environment.data_dir.to_owned(),
            clock_file: CLOCK_FILE.into(),
        }
    }

    pub(super) fn read(table: &mut Table, environment: &Environment) -> Agent {
        let default = Agent::of(environment);
        table.known("environment");
        Agent {
            id: table.value("id", default.id, id),
            data_dir: table.value("data_dir", default.data_dir, value::path),
            clock_file: table.value("clock_file", default.clock_file, value::path),
        }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("id", Some(render::string(&self.id))),
            ("data_dir", Some(render::path(&self.data_dir))),
            ("clock_file", Some(render::path(&self.clock_file))),
        ]
    }
}

impl Default for Presence {
    fn default() -> Presence {
        Presence { offline_after: Duration::from_secs(300), max_devices: 10_000, max_devices_per_ip: 1000 }
    }
}

impl Presence {
    pub(super) fn read(table: &mut Table) -> Presence {
        let default = Presence::default();
        Presence {
            offline_after: table.value(
                "offline_after",
                default.offline_after,
                value::duration(100..=30 * value::DAY),
            ),
            max_devices: table.value("max_devices", default.max_devices, value::number(1..=1_000_000)),
            max_devices_per_ip: table.value(
                "max_devices_per_ip",
                default.max_devices_per_ip,
                value::number(0..=1_000_000),
            ),
        }
    }

    pub(super) fn lines(&self) -> Lines {
        vec![
            ("offline_after", Some(render::string(&render::duration(self.offline_after)))),
            ("max_devices", Some(self.max_devices.to_string())),
            ("max_devices_per_ip", Some(self.max_devices_per_ip.to_string())),
        ]
    }
}

fn id(node: &Node, _: &super::table::Reading) -> Result<String, String> {
    let id = value::text(node)?;
    if id.is_empty() || id.len() > 128 || id.contains(is_foreign) {
        return Err("must have 1 to 128 bytes and no `/`, `+`, `#`, brace or control character".to_owned());
    }
    Ok(id.to_owned())
}

fn id_of_host(host_name: &str) -> String {
    let id: String =
        host_name.chars().map(|letter| if is_foreign(letter) { '-' } else { letter }).take(32).collect();
    if id.is_empty() { "holdfast".to_owned() } else { id }
}

fn is_foreign(letter: char) -> bool {
    letter.is_control() || "/+#{}".contains(letter)
}
