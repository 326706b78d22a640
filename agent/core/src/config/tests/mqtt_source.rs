//! `[[source]]` with the topics of a broker.

use super::*;

const START: &str = "[agent]\nid = \"gw\"\n";

fn faults(text: &str) -> Vec<String> {
    let text = format!("{START}{text}");
    match Config::parse(&text, Path::new("c.toml"), &Overrides::default(), &environment()) {
        Ok(_) => Vec::new(),
        Err(Errors(faults)) => {
            faults.into_iter().map(|fault| format!("{}: {}", fault.key, fault.what)).collect()
        }
    }
}

fn source(keys: &str, mqtt: &str) -> String {
    format!("[[source]]\nid = \"s\"\n{keys}\n[source.mqtt]\n{mqtt}\n")
}

#[test]
fn a_source_needs_a_kind_and_those_that_are_not_built_are_named() {
    let told = faults("[[source]]\nexec = { command = [\"x\"] }\n");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().any(|fault| fault.starts_with("source: says nothing of where its messages are")),
        "{told:?}"
    );
    assert!(told.contains(&"source.exec: not supported by this version".to_owned()), "{told:?}");
}

#[test]
fn faults_of_a_source_have_their_place_and_the_remedy() {
    let url = "url = \"mqtt://h\"\n";
    let cases = [
        (source("", "topics = [\"a\"]"), "source.mqtt.url: is missing, and there is no [mqtt]"),
        (source("", url), "source.mqtt.topics: is missing"),
        (source("", &format!("{url}topics = []")), "source.mqtt.topics: must name a topic filter"),
        (source("", &format!("{url}topics = [\"a/#/b\"]")), "source.mqtt.topics: `a/#/b` must have `#`"),
        (source("", &format!("{url}topics = [\"a+\"]")), "source.mqtt.topics: `a+` level `a+` must be"),
        (
            source("", &format!("{url}topics = [\"a/+\", \"a/{{x}}\"]")),
            "source.mqtt.topics: has the topic filter `a/+` twice",
        ),
        (
            source("", &format!("{url}topics = [\"$share/a\"]")),
            "source.mqtt.topics: `$share/a` must be $share/GROUP/FILTER",
        ),
        (
            source("topic = \"x/{y}\"", &format!("{url}topics = [\"a/{{y}}\", \"b\"]")),
            "source.topic: has no value for `y`, only for topic, source, agent",
        ),
        (
            source("device = \"{y}\"", &format!("{url}topics = [\"b\"]")),
            "source.device: has no value for `y`",
        ),
        (
            source("topic = \"a/#\"", &format!("{url}topics = [\"b\"]")),
            "source.topic: must have no empty level and no wildcard",
        ),
        (
            source("", &format!("{url}topics = [\"b\"]\nversion = \"4\"")),
            "source.mqtt.version: must be \"5\" or \"3.1.1\"",
        ),
        (
            source("", &format!("{url}topics = [\"b\"]\nversion = \"3.1.1\"\nsession_expiry = \"1h\"")),
            "source.mqtt.session_expiry: needs version = \"5\"",
        ),
        (
            source("", &format!("{url}topics = [\"b\"]\ntls = {{ ca = \"x\" }}")),
            "source.mqtt.tls: needs an mqtts:// url",
        ),
        (
            source("schema = \"s\"\nformat = \"text\"", &format!("{url}topics = [\"b\"]")),
            "source.schema: needs format = \"json\"",
        ),
        (
            source("", "url = \"http://h\"\ntopics = [\"b\"]"),
            "source.mqtt.url: must be a url that starts with mqtt://",
        ),
    ];
    for (text, expected) in cases {
        let told = faults(&text);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{expected}: {told:?}");
    }
}

#[test]
fn two_connections_with_one_client_id_at_one_broker_are_refused() {
    let other = |id: &str, url: &str, client_id: &str| {
        format!(
            "[[source]]\nid = \"{id}\"\nmqtt = {{ url = \"{url}\", topics = [\"a\"], client_id = \"{client_id}\" }}\n"
        )
    };
    let broker = "[mqtt]\nurl = \"mqtt://localhost\"\n";
    let client = "[[client]]\nid = \"c\"\nurl = \"mqtt://localhost:1883\"\n";
    let cases = [
        (format!("{broker}{}", other("s", "mqtt://127.0.0.1:1883", "holdfast-gw")), Some("[mqtt]")),
        (format!("{client}{}", other("s", "mqtt://[::1]", "holdfast-{agent}-c")), Some("client c")),
        (
            format!("{}{}", other("s", "mqtt://h", "x"), other("t", "mqtt://H:1883", "x")),
            Some("the source in c.toml:5:"),
        ),
        (format!("{}{}", other("s", "mqtt://h", "x"), other("t", "mqtts://h", "x")), None),
        (
            format!("{broker}[[source]]\nmqtt = {{ topics = [\"a\"], client_id = \"holdfast-gw\" }}\n"),
            Some("[mqtt]"),
        ),
        (format!("{broker}{client}[[source]]\nid = \"c\"\nmqtt = {{ topics = [\"a\"] }}\n"), None),
        (format!("{}{}", other("s", "mqtt://h", "x"), other("S", "mqtt://h", "y")), Some("`S` is taken")),
    ];
    for (text, expected) in cases {
        let told = faults(&text);
        match expected {
            None => assert!(told.is_empty(), "{text}: {told:?}"),
            Some(expected) => assert!(told.len() == 1 && told[0].contains(expected), "{expected}: {told:?}"),
        }
    }
}

#[test]
fn without_a_url_the_broker_of_mqtt_is_meant_with_its_login() {
    let text = "[mqtt]\nurl = \"mqtts://u:p@h\"\nca = \"ca.pem\"\n[[source]]\nmqtt = { topics = [\"a\"] }\n\
                [[source]]\nid = \"own\"\nmqtt = { topics = [\"a\"], username = \"v\" }\n";
    let config = parse(text);
    let of = |index: usize| config.sources[index].mqtt().broker(config.mqtt.as_ref());
    let broker = of(0);
    assert_eq!(broker.url.as_deref(), Some("mqtts://h"));
    assert_eq!(
        (broker.username.as_deref(), broker.password),
        (Some("u"), Some(Secret::Plain("p".to_owned())))
    );
    assert_eq!(broker.tls.ca.len(), 1);
    assert_eq!((of(1).username.as_deref(), of(1).password), (Some("v"), None));
}

#[test]
fn the_password_of_a_source_is_shown_to_nobody_and_said_to_stand_in_the_text() {
    let text = "[[source]]\nid = \"z\"\nmqtt = { url = \"mqtt://u:s3cret@h\", topics = [\"a\"] }\n";
    let config = parse(text);
    let shown = config.render(&environment());
    assert!(!shown.contains("s3cret") && shown.contains("password = \"***\"  # set"), "{shown}");
    let plain: Vec<String> = config.plain_secrets().iter().map(ToString::to_string).collect();
    assert_eq!(plain, ["source z: mqtt.password"]);
    let own = config.render_table(edit::Kind::Source, "Z", &environment()).unwrap();
    assert!(
        own.starts_with("[[source]]\nid = \"z\"") && own.contains("[source.mqtt]\nurl = \"mqtt://h\""),
        "{own}"
    );
}
