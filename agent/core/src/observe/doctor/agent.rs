//! The configuration, and how the running agent says that it is.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Finding;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// The file.
    pub file: String,
    /// Whether it is there; without one all defaults are in force.
    pub exists: bool,
    /// Everything that keeps it from being taken over, a sentence each.
    pub faults: Vec<String>,
    /// Its other defects.
    pub warnings: Vec<String>,
    /// Active links, without the broker's.
    pub links: usize,
    /// A client that has only to be made active.
    pub inactive: Option<String>,
}

impl Configuration {
    /// Findings about the configuration.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "configuration";
        let fault = |found: &String| {
            Finding::fault(
                ABOUT,
                found,
                "mend it; `holdfast check` reads it again, and man holdfast.toml has every key",
            )
        };
        let warning = |found: &String| Finding::warning(ABOUT, found, "see `holdfast check`");
        let mut findings: Vec<Finding> = self.faults.iter().map(fault).collect();
        findings.extend(self.warnings.iter().map(warning));
        if self.faults.is_empty() && self.links == 0 {
            let (found, remedy) = match &self.inactive {
                Some(id) => ("no link is active", format!("have it made: holdfast client enable {id}")),
                None => ("no link is configured", "add one: holdfast client add wss://HOST/PATH".to_owned()),
            };
            findings.push(Finding::warning(
                ABOUT,
                format!("{found}: messages are held, and go nowhere"),
                remedy,
            ));
        }
        if findings.is_empty() {
            let found = match self.exists {
                true => format!("{} has no fault", self.file),
                false => format!("there is no {}, and all defaults are in force", self.file),
            };
            findings.push(Finding::ok(ABOUT, found));
        }
        findings
    }
}

/// Facts that the running agent tells of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentFacts {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its links by their id, the broker's as `mqtt`.
    pub links: BTreeMap<String, LinkFacts>,
    /// Bytes that it wrote today and ever.
    pub written_bytes: (Option<u64>, Option<u64>),
    store: String,
    state: String,
    error: String,
    counts: Counts,
    rejected: Option<String>,
    sentences: Vec<String>,
}

/// How a link is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinkFacts {
    /// In a word.
    pub state: String,
    /// Messages held for it.
    pub held: u64,
    /// Why it was lost, or could not be made, for the last time.
    pub last_error: Option<String>,
    /// Why nothing is sent although it is up.
    pub held_back: Option<String>,
    /// Why settings that were on trial are not in force.
    pub settings_rejected: Option<String>,
    /// Number of the message that the peer closes at.
    pub blocked_by: Option<u64>,
    /// Why the broker does not take the status.
    pub status_refused: Option<String>,
    /// What is said of sessions that another client of the same id took over, or may have.
    pub taken_over: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Counts {
    dropped: u64,
    expired: u64,
    dead: u64,
    damaged: u64,
    refused: u64,
}

impl AgentFacts {
    /// Reads a status. A member that is missing, as in that of another version, counts as nothing.
    pub fn read(status: &Value) -> AgentFacts {
        let buffer = &status["buffer"];
        let count = |key: &str| buffer[key].as_u64().unwrap_or_default();
        let links = status["links"].as_object().into_iter().flatten();
        let links = links.map(|(id, link)| (id.clone(), link));
        let broker = status.get("mqtt").map(|link| ("mqtt".to_owned(), link));
        let sources = status["sources"].as_object().into_iter().flatten();
        let sources = sources.map(|(id, link)| (format!("source:{id}"), link));
        let servers = status["servers"].as_object().into_iter().flatten();
        let renewals = servers.filter_map(|(id, server)| {
            let error = text(&server["certificate_error"])?;
            Some(format!("server {id}: the certificate cannot be renewed: {error}"))
        });
        let repairs = status["repairs"].as_array().into_iter().flatten().filter_map(text);
        AgentFacts {
            id: text(&status["agent"]).unwrap_or_default(),
            version: text(&status["version"]).unwrap_or_default(),
            links: links.chain(broker).chain(sources).map(|(id, link)| (id, LinkFacts::read(link))).collect(),
            written_bytes: (
                buffer["disk_bytes_written_today"].as_u64(),
                buffer["disk_bytes_written_total"].as_u64(),
            ),
            store: text(&buffer["store"]).unwrap_or_default(),
            state: text(&buffer["state"]).unwrap_or_default(),
            error: text(&buffer["error"]).unwrap_or_default(),
            counts: Counts {
                dropped: count("dropped"),
                expired: count("expired"),
                dead: count("dead"),
                damaged: count("damaged"),
                refused: count("refused"),
            },
            rejected: text(&status["configuration_rejected"]),
            sentences: renewals.chain(repairs).collect(),
        }
    }

    /// Findings about it, without those about its links.
    pub fn findings(&self) -> Vec<Finding> {
        const ABOUT: &str = "agent";
        let mut findings = Vec::new();
        if let Some(rejected) = &self.rejected {
            let found = format!(
                "it goes on with an older configuration; the newer one was rejected: {}",
                rejected.replace('\n', "; ")
            );
            findings.push(Finding::fault(
                ABOUT,
                found,
                "mend the file and have it taken over: holdfast check, then holdfast reload",
            ));
        }
        findings.extend(self.store());
        findings.extend(self.losses());
        findings.extend(self.sentences.iter().map(|sentence| {
            Finding::warning(ABOUT, sentence, "see the log from that time on: journalctl -u holdfast")
        }));
        if findings.is_empty() {
            findings.push(Finding::ok(ABOUT, format!("{} {} runs", self.id, self.version)));
        }
        findings
    }

    fn store(&self) -> Vec<Finding> {
        const ABOUT: &str = "store";
        let error = &self.error;
        match (self.store.as_str(), self.state.as_str()) {
            ("read-only", _) => vec![Finding::fault(
                ABOUT,
                format!("store = \"read-only\": what is held goes out, and nothing new is stored: {error}"),
                "`dmesg` tells whether the card failed; once its file system can be written again, the agent goes on by itself",
            )],
            ("failing", _) => vec![Finding::fault(
                ABOUT,
                format!("store = \"failing\": {error}"),
                "make room, or mend what it names; the agent tries again by itself",
            )],
            (_, "full") => vec![Finding::fault(
                ABOUT,
                "the buffer is full: what comes now is refused, or older messages give way (`buffer.when_full`)",
                "have the link confirm that holds them (holdfast status), or raise `buffer.max_bytes` or `max_messages`",
            )],
            _ => Vec::new(),
        }
    }

    fn losses(&self) -> Vec<Finding> {
        const ABOUT: &str = "buffer";
        let Counts { dropped, expired, dead, damaged, refused } = self.counts;
        let mut findings = Vec::new();
        let mut warn = |count: u64, found: &str, remedy: &str| {
            if count > 0 {
                findings.push(Finding::warning(ABOUT, format!("{count} {found}"), remedy));
            }
        };
        warn(
            dropped,
            "messages were given up at a bound since the start, and announced as a gap",
            "raise `buffer.max_bytes` or `max_messages`, or have the link that is down mended",
        );
        warn(
            expired,
            "messages became too old since the start, and were announced as a gap",
            "raise `buffer.ttl`, or have the link that is down mended",
        );
        warn(
            refused,
            "messages were refused since the start; their senders were told",
            "see `holdfast status`: the buffer was full, or the disk took nothing",
        );
        warn(dead, "messages that a peer refused lie among the dead letters", "holdfast buffer dead list");
        warn(damaged, "groups of messages were found damaged", "holdfast buffer verify");
        findings
    }
}

/// No agent answers.
pub fn no_agent(why: &str) -> Finding {
    let remedy =
        "start it: systemctl start holdfast, or holdfast run; with another data directory, say --data-dir";
    Finding::warning("agent", why, remedy)
}

impl LinkFacts {
    fn read(link: &Value) -> LinkFacts {
        LinkFacts {
            state: text(&link["state"]).unwrap_or_default(),
            held: link["unconfirmed"].as_u64().unwrap_or_default(),
            last_error: text(&link["last_error"]),
            held_back: text(&link["held_back"]),
            settings_rejected: text(&link["settings_rejected"]),
            blocked_by: link["blocked_by"].as_u64(),
            status_refused: text(&link["status_refused"]),
            taken_over: text(&link["taken_over"]["hint"]),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::observe::doctor::Grade;

    fn grades(findings: &[Finding]) -> Vec<(Grade, &str)> {
        findings.iter().map(|finding| (finding.grade, finding.about.as_str())).collect()
    }

    #[test]
    fn a_configuration_without_a_link_is_a_warning_and_one_with_faults_is_a_fault() {
        let sound =
            Configuration { file: "/a.toml".to_owned(), exists: true, links: 1, ..Configuration::default() };
        assert_eq!(grades(&sound.findings()), [(Grade::Ok, "configuration")]);
        let bare = Configuration { links: 0, ..sound.clone() };
        assert_eq!(grades(&bare.findings()), [(Grade::Warning, "configuration")]);
        assert!(bare.findings()[0].remedy.contains("client add"));
        let off = Configuration { inactive: Some("lab".to_owned()), ..bare };
        assert!(off.findings()[0].remedy.ends_with("holdfast client enable lab"));
        let faults = vec!["/a.toml:1:1: x: unknown key".to_owned(), "/a.toml:2:1: y: unknown key".to_owned()];
        let found = Configuration { links: 0, faults, ..sound }.findings();
        assert_eq!(grades(&found), [(Grade::Fault, "configuration"), (Grade::Fault, "configuration")]);
        assert!(found[1].found.starts_with("/a.toml:2:1: y"), "{found:?}");
    }

    #[test]
    fn an_agent_that_holds_and_loses_nothing_is_well() {
        let facts = AgentFacts::read(
            &json!({ "agent": "gw", "version": "1", "buffer": { "store": "ok", "state": "holding", "dropped": 0 } }),
        );
        assert_eq!(grades(&facts.findings()), [(Grade::Ok, "agent")]);
        assert_eq!(grades(&AgentFacts::read(&json!({})).findings()), [(Grade::Ok, "agent")]);
    }

    #[test]
    fn everything_that_is_wrong_with_the_agent_is_a_finding_with_a_remedy() {
        let facts = AgentFacts::read(&json!({
            "configuration_rejected": "a.toml:3: no",
            "repairs": ["the store was born again"],
            "servers": { "s": { "certificate_error": "a.key: no" } },
            "buffer": { "store": "read-only", "state": "failing", "error": "Read-only file system", "dropped": 1, "expired": 2,
                "dead": 3, "damaged": 4, "refused": 5 },
        }));
        let found = facts.findings();
        let expected = ["agent", "store", "buffer", "buffer", "buffer", "buffer", "buffer", "agent", "agent"];
        assert_eq!(found.iter().map(|finding| finding.about.as_str()).collect::<Vec<_>>(), expected);
        assert!(
            found.iter().all(|finding| finding.grade > Grade::Ok && !finding.remedy.is_empty()),
            "{found:?}"
        );
        assert!(
            found[1].found.contains("store = \"read-only\"")
                && found[1].found.ends_with("Read-only file system")
        );
        let full = AgentFacts::read(&json!({ "buffer": { "store": "ok", "state": "full" } }));
        assert_eq!(grades(&full.findings()), [(Grade::Fault, "store")]);
    }
}
