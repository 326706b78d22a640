//! What a new configuration changes, and how much has to give way for it.

use crate::config::Config;

/// What is to be done for a new configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: it says the same.
    Unchanged,
    /// It can be taken over while everything runs: servers that changed are replaced, and `links` tells for each link, the
    /// broker's last, whether it must connect anew.
    Apply {
        /// Names of the tables that changed.
        changed: Vec<String>,
        /// For each link.
        links: Vec<bool>,
    },
    /// The agent must stop and start: its outlets, its name or its directory are not the same.
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
    let same = old.agent == new.agent && outlets(old) == outlets(new);
    if !same {
        return Plan::Restart { changed };
    }
    let clients = old.clients.iter().zip(&new.clients).map(|(old, new)| old != new);
    let mqtt = old.mqtt.iter().zip(&new.mqtt).map(|(old, new)| old != new);
    Plan::Apply { changed, links: clients.chain(mqtt).collect() }
}

/// What the outlets of the store are named after.
fn outlets(config: &Config) -> (Vec<String>, Vec<u8>, bool) {
    let clients = config.clients.iter().map(|client| client.id.to_lowercase()).collect();
    (clients, config.priorities(), config.mqtt.is_some())
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
    // The same tables in another order are other outlets.
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

    fn apply(changed: &str, links: [bool; 3]) -> Plan {
        Plan::Apply { changed: vec![changed.to_owned()], links: links.to_vec() }
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
        assert_eq!(planned("ws://b/", "ws://c/"), apply("client.b", [false, true, false]));
        assert_eq!(planned("mqtt://m/", "mqtt://n/"), apply("mqtt", [false, false, true]));
        assert_eq!(planned("= 5", "= 6"), apply("buffer", [false, false, false]));
    }

    #[test]
    fn other_outlets_need_a_new_start() {
        assert_eq!(planned("id = \"b\"", "id = \"c\""), restart(&["client.c", "client.b"]));
        assert_eq!(planned("[mqtt]\nurl = \"mqtt://m/\"\n", ""), restart(&["mqtt"]));
        let swapped =
            "[[client]]\nid = \"b\"\nurl = \"ws://b/\"\n[[client]]\nid = \"a\"\nurl = \"ws://a/\"\n";
        let rest = BASE.split_once("[mqtt]").unwrap().1;
        assert_eq!(plan(&config(BASE), &config(&format!("{swapped}[mqtt]{rest}"))), restart(&["order"]));
    }

    #[test]
    fn a_priority_that_nobody_had_needs_a_new_start_and_another_topic_does_not() {
        let inbound = |more: &str| format!("inbound = {{ topic = 't'{more} }}\n[mqtt]");
        assert_eq!(planned("[mqtt]", &inbound("")), apply("client.b", [false, true, false]));
        assert_eq!(planned("[mqtt]", &inbound(", priority = 7")), restart(&["client.b"]));
    }

    #[test]
    fn another_name_or_another_priority_needs_a_new_start() {
        assert_eq!(planned("[mqtt]", "[agent]\nid = \"x\"\n[mqtt]"), restart(&["agent", "mqtt"]));
        let alarms = "[[server]]\n[[server.route]]\npath = \"/a\"\npriority = 5\n[mqtt]";
        assert_eq!(planned("[mqtt]", alarms), restart(&["server.ws_server_1"]));
    }

    #[test]
    fn another_server_leaves_the_links_alone() {
        let served = "[[server]]\nid = \"s\"\n[mqtt]";
        let changed = vec!["server.s".to_owned(), "server.ws_server_1".to_owned()];
        assert_eq!(planned("[mqtt]", served), Plan::Apply { changed, links: vec![false; 3] });
    }

    #[test]
    fn a_secret_that_changed_is_noticed_and_not_told() {
        let (one, two) = ("auth = { bearer = \"one\" }\n[mqtt]", "auth = { bearer = \"two\" }\n[mqtt]");
        let plan = plan(&config(&BASE.replace("[mqtt]", one)), &config(&BASE.replace("[mqtt]", two)));
        assert_eq!(plan, apply("client.b", [false, true, false]));
    }
}
