//! A server that speaks MQTT, as it is configured.

use super::*;
use crate::config::server::Protocol;

#[test]
fn an_mqtt_server_has_a_name_and_a_port_of_its_own_and_takes_topic_filters_with_names() {
    let text = "[[server]]\nprotocol = 'mqtt'\nlimits = { inflight = 5 }\n[[server.route]]\npath = 'tele/{device}/+'\n\
                topic = 'plugs/{device}'\n";
    let config = parse(text);
    let server = &config.servers[0];
    assert_eq!(
        (server.id.as_str(), server.bind.as_slice()),
        ("mqtt_server_1", &["127.0.0.1:1883".to_owned()][..])
    );
    assert_eq!((server.protocol, server.limits.inflight), (Protocol::Mqtt, 5));
    assert_eq!(server.routes[0].path, "tele/{device}/+");
    let shown = config.render(&Environment { host_name: "h", data_dir: Path::new("d"), env: &|_| None });
    assert!(shown.contains("bind = [\"127.0.0.1:1883\"]\n"), "it is the default there: {shown}");
}

#[test]
fn what_mqtt_has_no_use_for_is_refused_with_its_place() {
    const OF_NO_USE: &str = "is of no use with protocol = \"mqtt\"";
    for (line, key) in [("http = 'status'", "http"), ("subscribe = 'all'", "subscribe")] {
        let faults = errors_with(&format!("[[server]]\nprotocol = 'mqtt'\n{line}"), &Overrides::default());
        assert!(
            faults.len() == 1 && faults[0].ends_with(&format!("server.{key}: {OF_NO_USE}")),
            "{faults:?}"
        );
    }
    for line in ["methods = ['POST']", "batch = true", "query = [{ name = 'a' }]", "subprotocols = ['a']"] {
        let text = format!("[[server]]\nprotocol = 'mqtt'\n[[server.route]]\npath = 'a/#'\n{line}");
        let faults = errors_with(&text, &Overrides::default());
        assert!(faults.len() == 1 && faults[0].ends_with(OF_NO_USE), "{faults:?}");
    }
    let others = [
        ("protocol = 'amqp'", "must be \"http\" or \"mqtt\""),
        (
            "protocol = 'mqtt'\nauth = 'url'\nusers = [{ name = 'a', password = 'b' }]",
            "CONNECT has name and password",
        ),
        ("protocol = 'mqtt'\n[[server.route]]\npath = 'a/#/b'", "at its end only"),
        ("protocol = 'mqtt'\n[[server.route]]\npath = 'a/{b}'\ntopic = '{c}'", "the path has no name `c`"),
        ("[[server.route]]\npath = 'a/{b}'", "must start with `/`"),
        ("may_subscribe = ['a']", "needs protocol = \"mqtt\"; WebSockets have `subscribe`"),
        ("protocol = 'mqtt'\nmay_subscribe = ['a/#/b']", "# at the end for all that follow"),
        (
            "protocol = 'mqtt'\nmay_subscribe = ['a/{device}']",
            "has no value for `device`, only for client, user",
        ),
        ("protocol = 'mqtt'\nmay_subscribe = ['{user}/#']", "nobody has a name with auth = \"anonymous\""),
        (
            "auth = 'basic'\nusers = [{ name = 'a', password = 'b', may_subscribe = ['a'] }]",
            "which needs protocol = \"mqtt\"",
        ),
        ("limits = { inflight = 0 }", "must be a whole number from 1 to 65535"),
    ];
    for (lines, expected) in others {
        let faults = errors_with(&format!("[[server]]\n{lines}"), &Overrides::default());
        assert!(faults.len() == 1 && faults[0].ends_with(expected), "{faults:?}");
    }
}
