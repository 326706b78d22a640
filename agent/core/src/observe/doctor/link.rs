//! Links: a test of each, and what the running agent says of it.

use std::time::Duration;

use super::{AgentFacts, Finding, LinkFacts};
use crate::link::probe::{DialStep, Failed};

/// The test of one url of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTest {
    /// Id of the client, or `mqtt`.
    pub id: String,
    /// Where it leads, without secrets.
    pub url: String,
    /// The name that a name server had to know; none for an address.
    pub name: Option<String>,
    /// How long that took, if it came to an answer.
    pub name_took: Option<Duration>,
    /// The step that failed.
    pub failed: Option<Failed>,
}

/// Findings about the names that links need. `servers` is the number of name servers that this machine knows.
pub fn names(tests: &[LinkTest], servers: usize) -> Vec<Finding> {
    const ABOUT: &str = "dns";
    let mut findings = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for test in tests {
        let Some(name) = &test.name else { continue };
        match &test.failed {
            Some(failed) if failed.step == DialStep::Name => {
                let remedy = match servers {
                    0 => {
                        "this machine is told of no name server: see /etc/resolv.conf, and what writes it (DHCP, NetworkManager, systemd-resolved)"
                    }
                    _ => failed.hint,
                };
                let finding = Finding::fault(ABOUT, &failed.error, remedy);
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
            Some(_) | None => {
                known.extend(test.name_took.map(|took| format!("{name} in {} ms", took.as_millis())))
            }
        }
    }
    if findings.is_empty() {
        let found = match known.is_empty() {
            true => "no link needs a name".to_owned(),
            false => known.join(", "),
        };
        findings.push(Finding::ok(ABOUT, found));
    }
    findings
}

/// Findings about each link that was tested. `agent` has the facts of the running one, if one runs.
pub fn links(tests: &[LinkTest], agent: Option<&AgentFacts>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ids: Vec<&str> = tests.iter().map(|test| test.id.as_str()).collect();
    ids.dedup();
    for id in ids {
        let own: Vec<&LinkTest> = tests.iter().filter(|test| test.id == id).collect();
        let source = id.strip_prefix("source:");
        // The agent tells of sources in lower case.
        let known = source.map_or_else(|| id.to_owned(), |id| format!("source:{}", id.to_lowercase()));
        let seen = agent.and_then(|agent| agent.links.get(&known));
        let about = match source {
            Some(source) => format!("source {source}"),
            None if id == "mqtt" => "broker".to_owned(),
            None => format!("link {id}"),
        };
        let works = own.iter().any(|test| test.failed.is_none());
        for test in own {
            findings.push(match &test.failed {
                None => passed(&about, test, seen),
                Some(failed) => fell(&about, test, failed, seen, works),
            });
        }
        findings.extend(seen.into_iter().flat_map(|seen| troubles(&about, seen)));
    }
    findings
}

fn held_words(held: u64) -> String {
    if held == 1 { "1 message held".to_owned() } else { format!("{held} messages held") }
}

fn passed(about: &str, test: &LinkTest, seen: Option<&LinkFacts>) -> Finding {
    let url = &test.url;
    let Some(seen) = seen else { return Finding::ok(about, format!("{url} passes every step of a test")) };
    let held = match seen.held {
        0 => String::new(),
        held => format!(", {}", held_words(held)),
    };
    match seen.state.as_str() {
        "up" => Finding::ok(about, format!("up{held}, and {url} passes every step of a test")),
        "disconnected" => Finding::warning(
            about,
            format!("told to stay away{held}"),
            format!("holdfast client connect {}", test.id),
        ),
        "inactive" => {
            let command = match test.id.strip_prefix("source:") {
                Some(id) => format!("holdfast source enable {id}"),
                None => format!("holdfast client enable {}", test.id),
            };
            Finding::warning(about, format!("inactive{held}"), command)
        }
        _ => Finding::warning(
            about,
            format!(
                "down in the agent{held} ({}), while {url} passes every step of a test",
                seen.last_error.as_deref().unwrap_or("it has not been dialled yet")
            ),
            match test.id.starts_with("source:") {
                true => "the agent dials again by itself".to_owned(),
                false => {
                    format!(
                        "the agent dials again by itself; holdfast client connect {} dials at once",
                        test.id
                    )
                }
            },
        ),
    }
}

fn fell(about: &str, test: &LinkTest, failed: &Failed, seen: Option<&LinkFacts>, works: bool) -> Finding {
    let (url, step, error) = (&test.url, failed.step.name(), &failed.error);
    if seen.is_some_and(|seen| seen.state == "up") {
        let found = format!("up, but another connection to {url} fails at the step {step}: {error}");
        return Finding::warning(about, found, failed.hint);
    }
    let held = seen.map(|seen| seen.held).filter(|held| *held > 0);
    let held = held.map(|held| format!(", {}", held_words(held))).unwrap_or_default();
    let found = format!("{url} fails at the step {step}{held}: {error}");
    match works {
        true => Finding::warning(about, format!("{found}; another url of it works"), failed.hint),
        false => Finding::fault(about, found, failed.hint),
    }
}

/// Troubles of a link that may be up all the same.
fn troubles(about: &str, seen: &LinkFacts) -> Vec<Finding> {
    let held_back = seen.held_back.as_ref().map(|why| {
        Finding::fault(about, format!("it is up and sends nothing: {why}"), "set `confirm` as it says")
    });
    let blocked = seen.blocked_by.map(|seq| {
        Finding::fault(
            about,
            format!("the peer closes at message {seq}, again and again"),
            "holdfast buffer peek shows the message; holdfast buffer purge gives it up, if the peer cannot be mended",
        )
    });
    let rejected = seen
        .settings_rejected
        .as_ref()
        .map(|why| Finding::warning(about, why, "mend its table in the configuration, then holdfast reload"));
    let refused = seen.status_refused.as_ref().map(|why| {
        Finding::fault(about, why, "let this user of the broker write to everything below `prefix` of [mqtt]")
    });
    let taken_over = seen.taken_over.as_ref().map(|why| {
        Finding::warning(about, why, "give each agent an id of its own: `id` in [agent], or `client_id`")
    });
    [held_back, blocked, rejected, refused, taken_over].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::link::dial_error::DialError;
    use crate::link::protocol::Refusal;
    use crate::observe::doctor::Grade;

    fn test(id: &str, url: &str, failed: Option<(DialStep, &str)>) -> LinkTest {
        let took = Duration::from_millis(3);
        let failed = failed.map(|(step, error)| {
            let cause = if step == DialStep::Name { DialError::Dns } else { DialError::Refused };
            Failed::new(step, Refusal::new(cause, error), took, false)
        });
        LinkTest {
            id: id.to_owned(),
            url: url.to_owned(),
            name: Some("hub".to_owned()),
            name_took: Some(took),
            failed,
        }
    }

    fn agent(cloud: serde_json::Value) -> AgentFacts {
        AgentFacts::read(&json!({ "links": { "cloud": cloud } }))
    }

    fn found(tests: &[LinkTest], agent: Option<&AgentFacts>) -> Vec<(Grade, String)> {
        let all = links(tests, agent);
        assert!(all.iter().all(|one| (one.grade == Grade::Ok) == one.remedy.is_empty()), "{all:?}");
        all.into_iter()
            .map(|finding| (finding.grade, format!("{}: {}", finding.about, finding.found)))
            .collect()
    }

    #[test]
    fn a_test_and_what_the_agent_says_make_one_finding() {
        let (good, bad) =
            (test("cloud", "ws://hub", None), test("cloud", "ws://hub", Some((DialStep::Tcp, "refused"))));
        let (up, down) = (
            agent(json!({ "state": "up" })),
            agent(json!({ "state": "down", "unconfirmed": 4, "last_error": "lost" })),
        );
        let one = |test: &LinkTest, agent| found(std::slice::from_ref(test), agent).remove(0);
        assert_eq!(
            one(&good, None),
            (Grade::Ok, "link cloud: ws://hub passes every step of a test".to_owned())
        );
        assert_eq!(one(&good, Some(&up)).0, Grade::Ok);
        let (grade, words) = one(&good, Some(&down));
        assert!(grade == Grade::Warning && words.contains("4 messages held (lost)"), "{words}");
        let (grade, words) = one(&bad, Some(&up));
        assert!(grade == Grade::Warning && words.contains("at the step tcp: refused"), "{words}");
        let (grade, words) = one(&bad, Some(&down));
        assert!(grade == Grade::Fault && words.contains("step tcp, 4 messages held: refused"), "{words}");
        assert_eq!(one(&bad, None).0, Grade::Fault);
        let away = agent(json!({ "state": "disconnected" }));
        assert_eq!(one(&good, Some(&away)).0, Grade::Warning);
    }

    #[test]
    fn an_url_that_fails_beside_one_that_works_is_a_warning() {
        let tests =
            [test("cloud", "ws://a", Some((DialStep::Tcp, "refused"))), test("cloud", "ws://b", None)];
        assert_eq!(
            found(&tests, None).iter().map(|(grade, _)| *grade).collect::<Vec<_>>(),
            [Grade::Warning, Grade::Ok]
        );
    }

    #[test]
    fn a_link_that_is_up_and_delivers_nothing_is_a_fault() {
        let agent =
            agent(json!({ "state": "up", "held_back": "no echo", "blocked_by": 7, "settings_rejected": "no",
                "status_refused": "not authorized", "taken_over": { "times": 1, "hint": "a clone?" } }));
        let all = found(&[test("cloud", "ws://a", None)], Some(&agent));
        assert_eq!(
            all.iter().map(|(grade, _)| *grade).collect::<Vec<_>>(),
            [Grade::Ok, Grade::Fault, Grade::Fault, Grade::Warning, Grade::Fault, Grade::Warning]
        );
    }

    #[test]
    fn a_name_that_cannot_be_resolved_is_told_once_and_with_the_lack_of_a_name_server() {
        let bad = test("a", "ws://hub", Some((DialStep::Name, "cannot resolve hub")));
        let all = names(&[bad.clone(), bad.clone()], 0);
        assert_eq!(all.len(), 1);
        assert!(all[0].grade == Grade::Fault && all[0].remedy.contains("told of no name server"), "{all:?}");
        assert!(!names(&[bad], 1)[0].remedy.contains("told of no"), "the name is to blame");
        let good = names(&[test("a", "ws://hub", None)], 1);
        assert_eq!((good[0].grade, good[0].found.as_str()), (Grade::Ok, "hub in 3 ms"));
        let address = LinkTest { name: None, ..test("a", "ws://10.0.0.1", None) };
        assert_eq!(names(&[address], 0)[0].found, "no link needs a name");
    }
}
