//! Points of a status that a person should look at. It is read as JSON, since it may come from an agent of another
//! version.

use std::time::Duration;

use serde_json::{Map, Value};

use super::log_event::LogEvent;
use super::natural_order::natural_order;

/// Days before the end of a certificate from which on somebody should renew it.
const RENEW_DAYS: i64 = 14;

/// How an agent is, as an exit status tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Everything that is configured works.
    Well,
    /// It runs, and something does not work.
    Degraded,
}

/// How an agent is whose status this is.
pub fn condition(status: &Value) -> Condition {
    let is_well = problems(status).is_empty() && status["configuration_rejected"].is_null();
    if is_well { Condition::Well } else { Condition::Degraded }
}

/// Failures, a sentence each, with the remedy where it is known. A configuration that was rejected is not among them:
/// it is told in front of everything else.
pub fn problems(status: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(store(&status["buffer"]));
    for (id, link) in sorted(&status["links"]) {
        problems.extend(link_problems(&format!("link {id}"), id, link));
    }
    if status["mqtt"].is_object() {
        problems.extend(link_problems("the MQTT broker", "mqtt", &status["mqtt"]));
    }
    for (id, source) in sorted(&status["sources"]) {
        let name = format!("source {id}");
        problems.extend(link_problems(&name, id, source));
        let faults = source["subscription_faults"].as_array().into_iter().flatten();
        problems.extend(faults.filter_map(Value::as_str).map(|fault| format!("{name}: {fault}")));
    }
    for (id, server) in sorted(&status["servers"]) {
        problems.extend(server_problems(id, server));
    }
    problems
}

/// Things that work and want attention all the same, a sentence each.
pub fn notices(status: &Value) -> Vec<String> {
    let mut notices = Vec::new();
    if waits_for_a_link(status) {
        // The one that is there without any client has nowhere to go to.
        let mut links = sorted(&status["links"]).into_iter();
        let inactive = links.find(|(_, link)| link["url"].is_string()).map(|(id, _)| id.to_owned());
        notices.push(LogEvent::NoLink { inactive }.to_string());
    }
    let left = status["left_behind"].as_array().into_iter().flatten().filter_map(Value::as_str);
    notices.extend(left.map(|outlet| LogEvent::LeftBehind { outlet: outlet.to_owned() }.to_string()));
    let count = |key: &str| status["buffer"][key].as_u64().unwrap_or_default();
    match count("dead") {
        0 => {}
        1 => {
            notices.push("1 message was refused by its peer: `holdfast buffer dead list` shows it".to_owned())
        }
        dead => notices.push(format!(
            "{dead} messages were refused by their peers: `holdfast buffer dead list` shows them"
        )),
    }
    let links = sorted(&status["links"]).into_iter().map(|(id, link)| (format!("link {id}"), link));
    for (name, link) in links.chain([("the MQTT broker".to_owned(), &status["mqtt"])]) {
        let hint = link["taken_over"]["hint"].as_str();
        let times = link["taken_over"]["times"].as_u64().unwrap_or_default();
        notices.extend(hint.map(|hint| format!("{name}: {hint} ({times} times since the start)")));
    }
    for (id, source) in sorted(&status["sources"]) {
        notices.extend(source_notices(id, source));
    }
    notices.extend(ending("a peer's certificate", status["certificate_days_left"].as_i64()));
    for (id, server) in sorted(&status["servers"]) {
        let days_left = server["certificate_days_left"].as_i64().filter(|days| *days >= 0);
        notices.extend(ending(&format!("the certificate of server {id}"), days_left));
    }
    notices
}

/// Whether there is nowhere to send anything to: no table of a client is active.
pub fn waits_for_a_link(status: &Value) -> bool {
    let links = sorted(&status["links"]);
    status["links"].is_object() && links.iter().all(|(_, link)| link["state"] == "inactive")
}

/// The members of a table in the order in which people count.
pub fn sorted(table: &Value) -> Vec<(&str, &Value)> {
    let mut members: Vec<(&str, &Value)> =
        table.as_object().into_iter().flat_map(Map::iter).map(|(id, member)| (id.as_str(), member)).collect();
    members.sort_by(|one, other| natural_order(one.0, other.0));
    members
}

fn store(buffer: &Value) -> Option<String> {
    let why = || buffer["error"].as_str().map_or_else(String::new, |error| format!(": {error}"));
    match (buffer["store"].as_str(), buffer["state"].as_str()) {
        (Some("read-only"), _) => Some(format!("the store is read-only{}", why())),
        (Some("failing"), _) | (_, Some("failing")) => Some(format!("the store is failing{}", why())),
        (_, Some("full")) => {
            Some("the buffer is full: `when_full` says what becomes of further messages".to_owned())
        }
        _ => None,
    }
}

fn link_problems(name: &str, id: &str, link: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let error = || link["last_error"].as_str().map_or_else(String::new, |error| format!(": {error}"));
    match link["state"].as_str() {
        Some("up" | "inactive") | None => {}
        Some("disconnected") => {
            problems
                .push(format!("{name} was told to stay away: `holdfast client connect {id}` dials it again"));
        }
        Some(state) => {
            let retry = link["retry_in_s"]
                .as_f64()
                .map_or_else(String::new, |s| format!("; next try in {}", span(s)));
            problems.push(format!("{name} is {state}{}{retry}", error()));
        }
    }
    for key in ["held_back", "settings_rejected", "status_refused"] {
        problems.extend(link[key].as_str().map(|why| format!("{name}: {why}")));
    }
    if let Some(seq) = link["blocked_by"].as_u64() {
        problems
            .push(format!("{name}: its peer closes at message {seq}, `holdfast buffer peek {id}` shows it"));
    }
    problems
}

fn server_problems(id: &str, server: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(days) = server["certificate_days_left"].as_i64().filter(|days| *days < 0) {
        problems.push(format!(
            "the certificate of server {id} has expired {} ago",
            many_days(days.saturating_neg())
        ));
    }
    let error = server["certificate_error"].as_str();
    problems.extend(error.map(|error| format!("server {id}: the certificate cannot be renewed: {error}")));
    problems
}

fn source_notices(id: &str, source: &Value) -> Vec<String> {
    let count = |key: &str| source[key].as_u64().filter(|count| *count > 0);
    let why =
        source["last_refused"].as_str().map_or_else(String::new, |why| format!(", the last one since {why}"));
    let refused = count("refused").map(|count| format!("source {id} has refused {count} messages{why}"));
    let unmatched = count("unmatched").map(|count| {
        format!(
            "source {id} got {count} messages that mqtt.topics does not mean and did not store them: the session at the broker has subscriptions of an \
             earlier configuration; another client_id begins another session"
        )
    });
    refused.into_iter().chain(unmatched).collect()
}

fn ending(name: &str, days_left: Option<i64>) -> Option<String> {
    let days = days_left.filter(|days| *days <= RENEW_DAYS)?;
    Some(match days {
        ..0 => format!("{name} has expired {} ago", many_days(days.saturating_neg())),
        0 => format!("{name} expires within a day"),
        _ => format!("{name} expires in {}", many_days(days)),
    })
}

fn many_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// A time for people, to the second, in its two largest units: `1day 3h`.
pub fn span(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let words = humantime::format_duration(Duration::from_secs(whole)).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link(state: &str) -> Value {
        json!({ "state": state, "last_error": null, "retry_in_s": null })
    }

    #[test]
    fn an_agent_whose_links_are_up_is_well_and_one_with_a_link_down_is_not() {
        let well = json!({ "links": { "a": link("up"), "b": link("inactive") }, "mqtt": link("up"), "buffer": { "state": "holding", "store": "ok" } });
        assert_eq!((condition(&well), problems(&well).len()), (Condition::Well, 0));
        for state in ["down", "disconnected"] {
            let mut status = well.clone();
            status["links"]["a"]["state"] = state.into();
            assert_eq!(condition(&status), Condition::Degraded, "{state}");
            let mut status = well.clone();
            status["mqtt"]["state"] = state.into();
            assert_eq!(condition(&status), Condition::Degraded, "mqtt {state}");
        }
        let rejected = json!({ "configuration_rejected": "a:1:1: no" });
        assert_eq!(condition(&rejected), Condition::Degraded);
        assert_eq!(condition(&json!({})), Condition::Well);
    }

    #[test]
    fn each_problem_is_a_sentence_with_its_cause() {
        let status = json!({
            "links": {
                "lab10": { "state": "down", "last_error": "cannot dial ws://a", "retry_in_s": 61.5 },
                "lab2": { "state": "up", "held_back": "it proves nothing", "blocked_by": 7 },
                "lab3": { "state": "disconnected", "last_error": "x" },
            },
            "mqtt": { "state": "down", "last_error": null, "retry_in_s": null },
            "buffer": { "state": "failing", "store": "failing", "error": "no space" },
            "servers": { "s": { "certificate_days_left": -2, "certificate_error": "a.key: no" } },
        });
        assert_eq!(
            problems(&status),
            [
                "the store is failing: no space",
                "link lab2: it proves nothing",
                "link lab2: its peer closes at message 7, `holdfast buffer peek lab2` shows it",
                "link lab3 was told to stay away: `holdfast client connect lab3` dials it again",
                "link lab10 is down: cannot dial ws://a; next try in 1m 1s",
                "the MQTT broker is down",
                "the certificate of server s has expired 2 days ago",
                "server s: the certificate cannot be renewed: a.key: no",
            ]
        );
    }

    #[test]
    fn the_store_tells_how_it_is_in_one_way() {
        let of = |store: &str, state: &str| {
            problems(&json!({ "buffer": { "store": store, "state": state, "error": null } }))
        };
        assert_eq!(of("read-only", "failing"), ["the store is read-only"]);
        assert_eq!(of("failing", "failing"), ["the store is failing"]);
        assert!(of("ok", "full")[0].starts_with("the buffer is full"));
        assert!(of("ok", "holding").is_empty() && of("ok", "empty").is_empty());
    }

    #[test]
    fn an_agent_without_an_active_link_is_well_and_says_how_to_make_one() {
        let status = json!({ "links": { "ws_client_1": link("inactive") } });
        assert_eq!(condition(&status), Condition::Well);
        assert!(notices(&status)[0].contains("`holdfast client add wss://HOST/PATH`"));
        let off = json!({ "links": { "lab": { "state": "inactive", "url": "ws://lab" } } });
        assert!(notices(&off)[0].contains("`holdfast client enable lab`"));
        assert!(notices(&json!({ "links": { "a": link("inactive"), "b": link("down") } })).is_empty());
    }

    #[test]
    fn a_certificate_that_ends_soon_and_dead_letters_want_attention() {
        let of = |days: i64| notices(&json!({ "certificate_days_left": days }));
        assert_eq!(of(15), Vec::<String>::new());
        assert_eq!(of(14), ["a peer's certificate expires in 14 days"]);
        assert_eq!(of(1), ["a peer's certificate expires in 1 day"]);
        assert_eq!(of(0), ["a peer's certificate expires within a day"]);
        assert_eq!(of(-1), ["a peer's certificate has expired 1 day ago"]);
        assert!(notices(&json!({ "buffer": { "dead": 2 } }))[0].starts_with("2 messages were refused"));
    }
}
