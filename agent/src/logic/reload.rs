//! What a new configuration changes, and how much has to give way for it.

use super::lane;
use crate::config::Config;

/// What is to be done for a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it says the same.
    Unchanged,
    /// It can be taken over while everything runs: servers that changed are replaced, links come and go.
    Apply {
        /// Names of the tables that changed.
        changed: Vec<String>,
        /// Outlets of the links that stay, but must connect anew.
        links: Vec<String>,
    },
    /// The agent must stop and start: its name or its directory is not the same.
    Restart {
        /// Names of the tables that changed.
        changed: Vec<String>,
    },
}

/// What was done for a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// `unchanged`, `applied` or `restarting`.
    pub how: &'static str,
    /// Names of the tables that changed.
    pub changed: Vec<String>,
}

impl Plan {
    /// The same where a table that says the same has to be taken over anew.
    pub fn with(self, table: &str) -> Plan {
        let add = |mut changed: Vec<String>| {
            changed.extend((!changed.iter().any(|known| known == table)).then(|| table.to_owned()));
            changed
        };
        match self {
            Plan::Unchanged => Plan::Apply { changed: add(Vec::new()), links: Vec::new() },
            Plan::Apply { changed, links } => Plan::Apply { changed: add(changed), links },
            Plan::Restart { changed } => Plan::Restart { changed: add(changed) },
        }
    }

    /// What is told of it.
    pub fn told(&self) -> Reloaded {
        let (how, changed) = match self {
            Plan::Unchanged => ("unchanged", Vec::new()),
            Plan::Apply { changed, .. } => ("applied", changed.clone()),
            Plan::Restart { changed } => ("restarting", changed.clone()),
        };
        Reloaded { how, changed }
    }
}

/// Compares two configurations.
pub fn plan(old: &Config, new: &Config) -> Plan {
    let changed = changed(old, new);
    if changed.is_empty() {
        return Plan::Unchanged;
    }
    if old.agent != new.agent {
        return Plan::Restart { changed };
    }
    let mut links = Vec::new();
    for client in &new.clients {
        let before = old.clients.iter().find(|other| other.id.eq_ignore_ascii_case(&client.id));
        links.extend(before.filter(|before| *before != client).map(|_| lane::of_client(&client.id)));
    }
    let mqtt = old.mqtt.iter().zip(&new.mqtt).filter(|(old, new)| old != new);
    links.extend(mqtt.map(|_| lane::MQTT.to_owned()));
    Plan::Apply { changed, links }
}

fn changed(old: &Config, new: &Config) -> Vec<String> {
    let mut names = Vec::new();
    let mut note = |differs: bool, name: &str| {
        if differs {
            names.push(name.to_owned());
        }
    };
    note(old.agent != new.agent, "agent");
    let clients = (
        old.clients.iter().map(|client| (&client.id, client)).collect(),
        new.clients.iter().map(|client| (&client.id, client)).collect(),
    );
    named(&mut note, "client", &clients.0, &clients.1);
    let servers = (
        old.servers.iter().map(|server| (&server.id, server)).collect(),
        new.servers.iter().map(|server| (&server.id, server)).collect(),
    );
    named(&mut note, "server", &servers.0, &servers.1);
    note(old.buffer != new.buffer, "buffer");
    note(old.mqtt != new.mqtt, "mqtt");
    note(old.presence != new.presence, "presence");
    note(old.host != new.host, "host");
    // The same tables in another order.
    if names.is_empty() && old != new {
        names.push("order".to_owned());
    }
    names
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
    use crate::config::{Overrides, Surroundings};

    const BASE: &str = "[[client]]\nid = \"a\"\nurl = \"ws://a/\"\n[[client]]\nid = \"b\"\nurl = \"ws://b/\"\n\
                        [mqtt]\nurl = \"mqtt://m/\"\n[buffer]\nmax_messages = 5\n";

    fn config(text: &str) -> Config {
        let surroundings = Surroundings { host_name: "gw", data_dir: Path::new("/d"), env: &|_| None };
        Config::parse(text, Path::new("/t"), &Overrides::default(), &surroundings).unwrap()
    }

    fn planned(from: &str, to: &str) -> Plan {
        plan(&config(BASE), &config(&BASE.replace(from, to)))
    }

    fn apply(changed: &[&str], links: &[&str]) -> Plan {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Plan::Apply { changed: owned(changed), links: owned(links) }
    }

    fn restart(changed: &[&str]) -> Plan {
        Plan::Restart { changed: changed.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn what_says_the_same_changes_nothing() {
        assert_eq!(planned("max_messages = 5", "max_messages=5 # five"), Plan::Unchanged);
    }

    #[test]
    fn only_the_link_whose_table_changed_connects_anew() {
        assert_eq!(planned("ws://b/", "ws://c/"), apply(&["client.b"], &["client:b"]));
        assert_eq!(planned("mqtt://m/", "mqtt://n/"), apply(&["mqtt"], &["mqtt"]));
        assert_eq!(planned("= 5", "= 6"), apply(&["buffer"], &[]));
    }

    #[test]
    fn what_the_configuration_names_may_have_changed_too() {
        let fresh = Plan::Apply { changed: vec!["server.s".to_owned()], links: Vec::new() };
        assert_eq!(Plan::Unchanged.with("server.s").with("server.s"), fresh);
        assert_eq!(planned("= 5", "= 6").with("server.s").told().changed, ["buffer", "server.s"]);
        assert_eq!(restart(&["agent"]).with("server.s"), restart(&["agent", "server.s"]));
    }

    #[test]
    fn links_that_come_and_go_leave_the_others_alone() {
        assert_eq!(planned("id = \"b\"", "id = \"c\""), apply(&["client.c", "client.b"], &[]));
        assert_eq!(planned("[mqtt]\nurl = \"mqtt://m/\"\n", ""), apply(&["mqtt"], &[]));
        let swapped =
            "[[client]]\nid = \"b\"\nurl = \"ws://b/\"\n[[client]]\nid = \"a\"\nurl = \"ws://a/\"\n";
        let rest = BASE.split_once("[mqtt]").unwrap().1;
        let swapped = config(&format!("{swapped}[mqtt]{rest}"));
        assert_eq!(plan(&config(BASE), &swapped), apply(&["order"], &[]));
    }

    #[test]
    fn the_letters_of_an_id_may_be_large_or_small() {
        assert_eq!(planned("id = \"b\"", "id = \"B\""), apply(&["client.B", "client.b"], &["client:b"]));
    }

    #[test]
    fn a_priority_that_nobody_had_changes_the_tables_that_name_it() {
        let inbound = "inbound = { topic = 't', priority = 7 }\n[mqtt]";
        assert_eq!(planned("[mqtt]", inbound), apply(&["client.b"], &["client:b"]));
        let alarms = "[[server]]\n[[server.route]]\npath = \"/a\"\npriority = 5\n[mqtt]";
        assert_eq!(planned("[mqtt]", alarms), apply(&["server.ws_server_1"], &[]));
    }

    #[test]
    fn another_name_needs_a_new_start() {
        assert_eq!(planned("[mqtt]", "[agent]\nid = \"x\"\n[mqtt]"), restart(&["agent", "mqtt"]));
    }

    #[test]
    fn another_server_leaves_the_links_alone() {
        let served = "[[server]]\nid = \"s\"\n[mqtt]";
        let changed = vec!["server.s".to_owned(), "server.ws_server_1".to_owned()];
        assert_eq!(planned("[mqtt]", served), Plan::Apply { changed, links: Vec::new() });
    }

    #[test]
    fn a_secret_that_changed_is_noticed_and_not_told() {
        let (one, two) = ("auth = { bearer = \"one\" }\n[mqtt]", "auth = { bearer = \"two\" }\n[mqtt]");
        let plan = plan(&config(&BASE.replace("[mqtt]", one)), &config(&BASE.replace("[mqtt]", two)));
        assert_eq!(plan, apply(&["client.b"], &["client:b"]));
    }
}
