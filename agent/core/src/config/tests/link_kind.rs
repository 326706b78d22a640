//! Settings that a client may have where its url says the protocol.

use std::time::Duration;

use super::*;
use crate::config::batch::Batch;
use crate::config::client::{BodyEncoding, Compression, Elements};
use crate::config::link_kind::LinkKind;

#[test]
fn the_url_says_what_a_link_speaks() {
    for (url, kind) in [
        ("ws://a", LinkKind::WebSocket),
        ("WSS://a", LinkKind::WebSocket),
        ("http://a/in", LinkKind::Http),
        ("HTTPS://a/in?x=1", LinkKind::Http),
        ("mqtt://a", LinkKind::Mqtt),
        ("mqtts://u:p@a:1/", LinkKind::Mqtt),
    ] {
        assert_eq!(parse(&format!("[[client]]\nurl = '{url}'")).clients[0].kind(), kind, "{url}");
    }
    assert_eq!(parse("[[client]]\nhost = 'a'\ntls = true").clients[0].kind(), LinkKind::WebSocket);
}

#[test]
fn an_http_link_sends_lines_unless_it_is_told_otherwise() {
    let client = |text: &str| parse(&format!("[[client]]\nurl = 'https://a'\n{text}")).clients.remove(0);
    let own = client("");
    assert_eq!((own.encoding, own.batch), (BodyEncoding::Ndjson, Batch::default()));
    assert_eq!((own.compression, own.elements), (Compression::None, Elements::Messages));
    let own = client(
        "encoding = 'cbor'\ncompression = 'gzip'\nelements = 'payloads'\nbatch = { messages = 9, bytes = '5KB', after = '2s' }",
    );
    assert_eq!(own.batch, Batch { messages: 9, bytes: 5000, after: Duration::from_secs(2) });
    assert_eq!((own.encoding, own.compression), (BodyEncoding::Cbor, Compression::Gzip));
    assert_eq!(own.elements, Elements::Payloads);
    assert_eq!(parse("[[client]]\nurl = 'ws://a'").clients[0].encoding, BodyEncoding::Json);
}

#[test]
fn keys_of_another_kind_of_link_are_refused_with_what_to_use() {
    let cases: &[(&str, &str)] = &[
        (
            "url = 'http://a'\nping = { interval = '5s' }",
            "f:3:8: client.ping: means nothing with an http:// or https:// url: nothing is pinged; `confirm_timeout` bounds the wait for an answer",
        ),
        (
            "url = 'http://a'\nframing = 'envelope'",
            "f:3:11: client.framing: means nothing with an http:// or https:// url: `encoding`, `elements` and `batch` say what is sent",
        ),
        (
            "url = 'http://a'\nconfirm = 'none'",
            "f:3:11: client.confirm: means nothing with an http:// or https:// url: each 2xx answer confirms its batch",
        ),
        (
            "url = 'http://a'\nmessage = 'hello'",
            "f:3:11: client.message: means nothing with an http:// or https:// url: the first request is a batch; a login belongs into `auth` or `headers`",
        ),
        ("url = 'ws://a'\nbatch = { messages = 9 }", "f:3:9: client.batch: needs an http:// or https:// url"),
        (
            "url = 'ws://a'\ncompression = 'gzip'",
            "f:3:15: client.compression: needs an http:// or https:// url",
        ),
        (
            "url = 'ws://a'\nelements = 'payloads'",
            "f:3:12: client.elements: needs an http:// or https:// url",
        ),
        (
            "url = 'ws://a'\nencoding = 'ndjson'",
            "f:3:12: client.encoding: \"ndjson\" needs an http:// or https:// url; use \"json\" or \"cbor\"",
        ),
        ("url = 'http://a'\ntls = true", "f:3:7: client.tls: needs an https:// url"),
        (
            "urls = ['http://a', 'ws://b']",
            "f:2:8: client.urls: must all be http:// or https://, as the first is; one is ws://",
        ),
        ("url = 'ws://a'\nqos = 1", "f:3:7: client.qos: needs an mqtt:// or mqtts:// url"),
        ("url = 'http://a'\ntopic = 'a'", "f:3:9: client.topic: needs an mqtt:// or mqtts:// url"),
        ("url = 'mqtt://a'\nqos = 2", "f:3:7: client.qos: must be a whole number from 0 to 1"),
        (
            "url = 'mqtt://a'\nconfirm = 'pong'",
            "f:3:11: client.confirm: means nothing with an mqtt:// or mqtts:// url: each PUBACK confirms its message, unless qos = 0",
        ),
        ("url = 'mqtt://a'\nbatch = {}", "f:3:9: client.batch: needs an http:// or https:// url"),
        (
            "url = 'mqtt://a/in'",
            "f:2:7: client.url: must end behind host and port; `topic` says where messages go",
        ),
        (
            "url = 'mqtt://a'\nauth = { bearer = 'x' }",
            "f:3:8: client.auth: must be { basic = … } with an mqtt:// or mqtts:// url",
        ),
        (
            "url = 'mqtt://a'\ntopic = 'a/{x}'",
            "f:3:9: client.topic: has no value for `x`, only for topic, device, client, agent",
        ),
        (
            "url = 'mqtt://a'\ntopic = 'a/+'",
            "f:3:9: client.topic: must be a topic without a wildcard (`+`, `#`)",
        ),
        (
            "url = 'http://a'\nheaders = { content-encoding = 'br' }",
            "f:3:11: client.headers: must not hold content-encoding: `compression` sets it",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors_with(&format!("[[client]]\n{text}"), &Overrides::default()), [*expected], "{text}");
    }
}

#[test]
fn what_an_http_client_says_is_rendered_and_nothing_else() {
    let config = parse("[[client]]\nurl = 'http://a'\ncompression = 'gzip'");
    let env = |_: &str| None;
    let environment = Environment { host_name: "gw", data_dir: Path::new("/d"), env: &env };
    let text = config.render(&environment);
    let client = text.split("[[client]]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(
        client.contains("compression = \"gzip\"") && client.contains("encoding = \"ndjson\""),
        "{client}"
    );
    for key in ["\nconfirm ", "\nframing", "\nping", "\nmessage", "\nsubprotocols", "\nframe_bytes"] {
        assert!(!client.contains(key), "{key}: {client}");
    }
    assert_eq!(parse(&text).clients, config.clients);
}
