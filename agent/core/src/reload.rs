//! What a new configuration changes, and how much has to give way for it.

use std::fmt;

use crate::config::Config;
use crate::config::edit::Kind;
use crate::setup::Setup;
use crate::source::intake::Refused;

/// A configuration that was read, and whose listeners are bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// What the agent would be made of.
    pub setup: Setup,
    /// What differs from the configuration in force.
    pub changes: Changes,
}

/// How two configurations differ, their clients aside: the agent knows which settings of those are in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The agent must stop and start: its name or its directory is not the same.
    pub restart: bool,
    /// Names of the tables that changed, without `agent` and those of clients.
    pub tables: Vec<String>,
    /// Whether the same tables stand in another order.
    pub reordered: bool,
}

/// How a configuration is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It says the same.
    Unchanged,
    /// While everything runs: servers that changed are replaced, links come and go.
    Applied,
    /// By a new start.
    Restarting,
}

/// What was done for a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// How it was taken over.
    pub how: Takeover,
    /// Names of the tables that changed.
    pub changed: Vec<String>,
}

/// Why the configuration in force stays so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadError {
    /// The agent is stopping.
    Stopping,
    /// Another reload goes on.
    UnderWay,
    /// What was read is wrong, or cannot be bound.
    Invalid(String),
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Takeover::Unchanged => "unchanged",
            Takeover::Applied => "applied",
            Takeover::Restarting => "restarting",
        })
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Stopping => Refused::Stopping.fmt(f),
            ReloadError::UnderWay => f.write_str("another reload is under way"),
            ReloadError::Invalid(error) => f.write_str(error),
        }
    }
}

impl Changes {
    /// The same where a table that says the same has to be taken over once more.
    pub fn with(mut self, table: String) -> Changes {
        if !self.tables.contains(&table) {
            self.tables.push(table);
        }
        self
    }
}

/// Compares two configurations.
pub fn compare(old: &Config, new: &Config) -> Changes {
    let mut tables = Vec::new();
    let mut note = |differs: bool, name: &str| {
        if differs {
            tables.push(name.to_owned());
        }
    };
    let servers = (
        old.servers.iter().map(|server| (&server.id, server)).collect(),
        new.servers.iter().map(|server| (&server.id, server)).collect(),
    );
    named(&mut note, "server", &servers.0, &servers.1);
    let sources = (
        old.sources.iter().map(|source| (&source.id, source)).collect(),
        new.sources.iter().map(|source| (&source.id, source)).collect(),
    );
    named(&mut note, "source", &sources.0, &sources.1);
    note(old.buffer != new.buffer, "buffer");
    note(old.mqtt != new.mqtt, "mqtt");
    note(old.presence != new.presence, "presence");
    note(old.host != new.host, "host");
    note(old.log != new.log, "log");
    note(old.limits != new.limits, "limits");
    let order = |config: &Config| -> Vec<String> {
        [Kind::Client, Kind::Server, Kind::Source]
            .into_iter()
            .flat_map(|kind| config.ids(kind))
            .map(str::to_owned)
            .collect()
    };
    Changes { restart: old.agent != new.agent, tables, reordered: order(old) != order(new) }
}

type Tables<'a, T> = Vec<(&'a String, &'a T)>;

fn named<T: PartialEq>(note: &mut impl FnMut(bool, &str), kind: &str, old: &Tables<T>, new: &Tables<T>) {
    for (id, table) in new {
        note(
            old.iter().find(|(known, _)| known == id).is_none_or(|(_, known)| known != table),
            &format!("{kind}.{id}"),
        );
    }
    for (id, _) in old {
        note(!new.iter().any(|(known, _)| known == id), &format!("{kind}.{id}"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, Overrides};

    const BASE: &str = "[[client]]\nid = \"a\"\nurl = \"ws://a/\"\n[[client]]\nid = \"b\"\nurl = \"ws://b/\"\n\
                        [mqtt]\nurl = \"mqtt://m/\"\n[buffer]\nmax_messages = 5\n";

    fn config(text: &str) -> Config {
        let environment = Environment { host_name: "gw", data_dir: Path::new("/d"), env: &|_| None };
        Config::parse(text, Path::new("/t"), &Overrides::default(), &environment).unwrap()
    }

    fn changes(from: &str, to: &str) -> Changes {
        compare(&config(BASE), &config(&BASE.replace(from, to)))
    }

    fn tables(names: &[&str]) -> Changes {
        Changes { tables: names.iter().map(|name| (*name).to_owned()).collect(), ..Changes::default() }
    }

    #[test]
    fn what_says_the_same_changes_nothing() {
        assert_eq!(changes("max_messages = 5", "max_messages=5 # five"), Changes::default());
    }

    #[test]
    fn a_table_that_changed_is_named_unless_it_is_a_clients() {
        assert_eq!(changes("ws://b/", "ws://c/"), Changes::default());
        assert_eq!(changes("mqtt://m/", "mqtt://n/"), tables(&["mqtt"]));
        assert_eq!(changes("= 5", "= 6"), tables(&["buffer"]));
        assert_eq!(changes("[mqtt]\nurl = \"mqtt://m/\"\n", ""), tables(&["mqtt"]));
        let served = "[[server]]\nid = \"s\"\n[mqtt]";
        assert_eq!(changes("[mqtt]", served).tables, ["server.s", "server.ws_server_1"]);
    }

    #[test]
    fn what_the_configuration_names_may_have_changed_too() {
        let with = |changes: Changes| changes.with("server.s".to_owned());
        assert_eq!(with(with(Changes::default())), tables(&["server.s"]));
        assert_eq!(with(changes("= 5", "= 6")), tables(&["buffer", "server.s"]));
    }

    #[test]
    fn the_same_tables_may_stand_in_another_order() {
        let (mut swapped, base) = (config(BASE), config(BASE));
        swapped.clients.reverse();
        assert_eq!(compare(&base, &swapped), Changes { reordered: true, ..Changes::default() });
    }

    #[test]
    fn another_name_needs_a_new_start() {
        let renamed = changes("[mqtt]", "[agent]\nid = \"x\"\n[mqtt]");
        assert_eq!(renamed, Changes { restart: true, ..tables(&["mqtt"]) });
    }
}
