mod access;
mod files;
mod link_kind;
mod manual;
mod mqtt_server;
mod mqtt_source;
pub(super) mod record;
mod route;
mod schema;
mod source;

use super::*;

const FILE: &str = "/etc/holdfast/holdfast.toml";

fn env(name: &str) -> Option<String> {
    match name {
        "HOME_NET" => Some("10.0.0.1".to_owned()),
        "STAGE" => Some("plant".to_owned()),
        "OPEN" => Some("${HOME_NET}".to_owned()),
        _ => None,
    }
}

fn environment() -> Environment<'static> {
    Environment { host_name: "pi/4", data_dir: Path::new("/var/lib/holdfast"), env: &env }
}

fn parse_with(text: &str, overrides: &Overrides) -> Result<Config, Errors> {
    Config::parse(text, Path::new(FILE), overrides, &environment())
}

fn parse(text: &str) -> Config {
    parse_with(text, &Overrides::default()).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn errors_with(text: &str, overrides: &Overrides) -> Vec<String> {
    let errors = parse_with(text, overrides).map_or_else(|errors| errors.0, |_| Vec::new());
    errors.iter().map(|fault| fault.to_string().replace(FILE, "f")).collect()
}

fn check_errors(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(errors_with(text, &Overrides::default()), *expected, "{text}");
    }
}

#[test]
fn the_data_directory_of_a_wrong_text_is_found_by_its_table() {
    let salvage = |text: &str, overrides: &Overrides| {
        let files = [ConfigFile { path: FILE.into(), text: text.to_owned() }];
        Config::salvage(&files, overrides, &environment()).map(|config| config.agent.data_dir)
    };
    let found = |text: &str| salvage(text, &Overrides::default()).unwrap();
    let default = Path::new("/var/lib/holdfast");
    let wrong = "[[client]]\nnonsense = 1\nmessage = \"\"\"\ndata_dir = '/no'\n\"\"\"\n[agent]\n\"data_dir\" = \"/a\"\n";
    assert_eq!(found(wrong), Path::new("/a"));
    assert_eq!(found("agent = { id = 7, data_dir = \"/b\" }\n[x"), Path::new("/b"));
    assert_eq!(found("agent.data_dir = \"/${d}\"\nx = 1\n[variables]\nd = \"c\"\n"), Path::new("/c"));
    assert_eq!(found("[agent]\n# data_dir = \"/no\"\n[mqtt]\ndata_dir = \"/no\"\n"), default);
    assert_eq!(found("[agent]\ndata_dir = 7\n"), default);
    let there = Overrides { data_dir: Some("/there".into()), ..Overrides::default() };
    assert_eq!(salvage(wrong, &there).unwrap(), Path::new("/there"));
}

/// A text with something set in every table.
const RICH: &str = r#"
[agent]
id = "gw-17"
data_dir = "state"
environment = "plant"
[variables]
host = "cloud.example"
topic = "x"
[environment.plant]
topic = "plant"
[[client]]
id = "cloud"
name = "Plant \"cloud\"\n$${x}"
application = "plant-a"
url = "wss://${host}/ingest?a"
params = { line = { env = "LINE" } }
headers = { "x-api-key" = { file = "api-key" }, X-Other = { value = { credential = "other" }, description = "why" } }
subprotocols = ["mqtt", "v2.plant"]
origin = "https://panel.example"
proxy = { url = "socks5://proxy:1080", username = "u", password = { env = "PW" } }
auth = { basic = { username = "gw", password = { credential = "cloud" } } }
tls = { ca = "ca.pem", cert = "/cert.pem", key = "key.pem", server_name = "other.example" }
message = { env = "HELLO" }
inbound = { topic = "from/{client}/{application}", device = "{agent}", format = "json", encoding = "latin1", priority = 2, message_bytes = "1KB" }
ping = { interval = "0s", timeout = "1m 30s" }
reconnect = { active = false, interval = "5s", min = "2s", max = "1h", jitter = "full", stable_after = "0s" }
confirm = "ack"
framing = "envelope"
encoding = "cbor"
window = 7
buffer = { max_messages = 9, ttl = "2h", when_full = "drop-newest" }
replay = { max_rate = "200/s 64KB/s" }
connect_timeout = "1s"
confirm_timeout = "2s"
[[client]]
active = false
replay = { max_rate = "1MB/s", live_share = 0.25, order = "newest-first" }
auth = { bearer = { file = "/token" } }
confirm = "none"
message = [ { credential = "one" }, { file = "/two" } ]
[[client]]
urls = ["ws://a", "wss://b/x?y"]
balance = "round-robin"
prefer_after = "0s"
auth = { url = { username = "u", password = { file = "/pw" } } }
[[client]]
host = "::1"
port = 8080
path = "/ingest?line"
tls = true
[[client]]
host = "hub"
tls = { ca = "ca.pem" }
[[server]]
id = "sensors"
name = "Line 3"
description = "The pumps of line 3"
application = "plant-b"
active = false
bind = ["0.0.0.0:80", "[::1]:0", "localhost:9998", "unix:/run/x.sock"]
tls = { cert = "s.pem", key = "s.key", client_ca = "roots.pem" }
http = "empty"
auth = "basic"
users = [{ name = "pump", password_hash = { file = "pump.hash" } }, { name = "é", password = { env = "E" } }]
pam = { service = "login", groups = ["sensors"], confdir = "pam.d" }
allow = ["192.168.1.0/24", "fd00::/8", "10.0.0.7"]
deny = ["192.168.1.66"]
trusted_proxies = ["127.0.0.1", "10.0.0.0/8", "unix"]
allow_users = ["pump", "é"]
deny_users = ["guest"]
origins = ["https://panel.example:8443", "*", "file://", "null", "https://github.com/a/b", "esp32"]
hostnames = ["panel.example", "*.plant.example"]
unmatched = "refuse"
subscribe = "none"
limits = { connections_per_ip = 2, rate_per_client = "200/s burst 400", rate_per_user = "30/min", rate_per_ip = "1/h", connections = 3, message_bytes = "1MiB", handshake_timeout = "1s", idle_timeout = "2s" }
[[server.route]]
path = "/lines/{line}/{device}"
format = "json"
priority = 7
ttl = "90s"
topic = "${topic}/{line}/{device}"
device = "{line}-{application}"
query = [ { name = "unit", type = "string", required = true, repeating = false }, { name = "n", type = "number", repeating = true } ]
header = [ { name = "X-Batch", type = "boolean" } ]
schema = "reading.schema.json"
[[server.route]]
path = "/{rest...}"
format = "string"
subprotocols = ["ocpp1.6", "v2.plant"]
[[server.route]]
path = "/ask/{line}"
mode = "connection"
reply = { last = "lines/{line}/setpoint" }
[[server.route]]
path = "/version"
mode = "connection"
reply = { text = "1" }
[[server.route]]
path = "/recipe"
mode = "connection"
reply = { file = "recipe.json" }
[[server]]
bind = ["127.0.0.1:1"]
http = { files = "www", index = "main.html" }
[[server]]
bind = ["127.0.0.1:2"]
http = { page = "/page.html" }
[buffer]
max_bytes = "64MiB"
max_messages = 5
ttl = "30days"
when_full = "reject"
commit_after = "1s"
last_values = 0
[mqtt]
url = "mqtts://broker.example"
client_id = "c-{agent}"
username = "u"
password = { env = "PW" }
ca = "ca.pem"
prefix = "site/{agent}/x"
status_interval = "1m"
keep_alive = "1m"
reconnect = { max = "10s" }
[[source]]
id = "zigbee"
name = "Zigbee"
description = "what Zigbee2MQTT says"
active = false
topic = "z/{device}/{topic}"
device = "{agent}-{device}"
format = "json"
priority = 4
ttl = "90s"
schema = "reading.schema.json"
limits = { message_bytes = "1KB", rate = "10/s", inflight = 7 }
[source.mqtt]
url = "mqtts://${host}"
topics = ["zigbee2mqtt/{device}", "$share/g/tele/{device}/{rest...}"]
qos = 2
version = "5"
client_id = "z-{agent}"
username = "z"
password = { env = "PW" }
tls = { ca = "ca.pem" }
proxy = { url = "socks5://proxy:1080" }
keep_alive = "1m"
session_expiry = "1h"
retained = "all"
reconnect = { max = "10s" }
connect_timeout = "1s"
[[source]]
mqtt = { topics = ["x/#"], version = "3.1.1", retained = "none" }
[log]
format = "json"
level = "debug"
[presence]
offline_after = "1day"
max_devices = 3
"#;

#[test]
fn an_empty_text_gives_every_default() {
    let config = parse("");
    assert_eq!(config.agent.id, "pi-4");
    assert_eq!(config.agent.data_dir, Path::new("/var/lib/holdfast"));
    assert_eq!(config.clients, [client::Client { active: false, ..client::Client::of_index(0) }]);
    assert_eq!(config.servers, [server::Server::of_index(0)]);
    assert_eq!(config.buffer, buffer::Buffer::default());
    assert_eq!(config.mqtt, None);
    assert_eq!(config.presence, agent::Presence::default());
}

#[test]
fn three_lines_are_enough() {
    let config = parse("[[client]]\nurl = \"wss://cloud.example\"\n");
    assert_eq!(config.clients[0].url.as_deref(), Some("wss://cloud.example"));
    assert_eq!((config.clients[0].id.as_str(), config.clients[0].active), ("ws_client_1", true));
}

#[test]
fn every_key_is_read() {
    let config = parse(RICH);
    let cloud = &config.clients[0];
    assert_eq!(config.agent.data_dir, Path::new("/etc/holdfast/state"));
    assert_eq!(cloud.url.as_deref(), Some("wss://cloud.example/ingest?a"));
    assert_eq!(cloud.name, "Plant \"cloud\"\n${x}");
    assert_eq!(cloud.params["line"].value, Secret::Env("LINE".to_owned()));
    assert_eq!(cloud.headers["x-api-key"].value, Secret::File("/etc/holdfast/api-key".into()));
    let password = Secret::Credential("cloud".to_owned());
    assert_eq!(cloud.auth, client::Auth::Basic { username: "gw".to_owned(), password });
    assert_eq!(cloud.tls.cert.as_deref(), Some(Path::new("/cert.pem")));
    assert_eq!(cloud.ping.timeout.as_secs(), 90);
    assert_eq!((cloud.confirm, cloud.window), (client::Confirm::Ack, 7));
    assert_eq!(config.clients[1].id, "ws_client_2");
    assert_eq!(config.servers[0].limits.message_bytes, 1 << 20);
    assert_eq!(config.servers[0].routes[0].topic.as_deref(), Some("plant/{line}/{device}"));
    assert_eq!(config.servers[0].routes[1].format, Some(crate::message::Format::Text));
    assert_eq!(config.buffer.max_bytes, 64 << 20);
    assert_eq!(config.servers[0].routes[0].device.as_deref(), Some("{line}-plant-b"));
    assert_eq!(config.clients[2].endpoints(), ["ws://a", "wss://b/x?y"]);
    assert_eq!(config.clients[3].endpoints(), ["wss://[::1]:8080/ingest?line"]);
    assert_eq!(config.clients[4].endpoints(), ["wss://hub"]);
    let mqtt = config.mqtt.unwrap();
    assert_eq!((mqtt.prefix.as_str(), mqtt.client_id.as_str()), ("site/gw-17/x", "c-gw-17"));
    assert_eq!(mqtt.tls.ca, [Path::new("/etc/holdfast/ca.pem")]);
}

#[test]
fn what_is_rendered_reads_back_as_the_same_configuration() {
    for text in [RICH, "", "[[client]]\nurl = \"ws://h\"\n", "[mqtt]\nurl = \"mqtt://h\""] {
        let config = parse(text);
        let rendered = config.render(&environment());
        assert_eq!(parse(&rendered), config, "{rendered}");
        assert_eq!(parse(&rendered).render(&environment()), rendered);
    }
}

#[test]
fn only_what_differs_from_the_default_is_marked() {
    let rendered = parse("[buffer]\nmax_messages = 5\n[[client]]\nurl = \"ws://h\"").render(&environment());
    let marked: Vec<&str> = rendered.lines().filter(|line| line.ends_with("# set")).collect();
    assert_eq!(marked, ["url = \"ws://h\"  # set", "max_messages = 5  # set"]);
}

#[test]
fn no_plain_secret_is_rendered_or_debugged() {
    let config = parse(
        "[[client]]\nurl = \"wss://gw:s3cret@h/x\"\nmessage = \"s3cret\"\nparams = { a = \"s3cret\" }\nheaders = { b = \"s3cret\" }\n\
         [[client]]\nurl = \"wss://h/token/s3cret\"\nauth = { bearer = \"s3cret\" }\n\
         [[client]]\nurl = \"wss://h\"\nauth = { basic = { username = \"u\", password = \"s3cret\" } }\n\
         [mqtt]\nurl = \"mqtt://u:s3cret@h\"\n",
    );
    let rendered = config.render(&environment());
    assert!(rendered.contains("wss://gw:***@h/x"), "{rendered}");
    for shown in [rendered, format!("{config:?}"), format!("{:?}", config.clients)] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn what_is_wrong_with_the_address_of_a_client_is_told() {
    let cases: [(&str, &[&str]); 15] = [
        (
            "url = 'ws://a'\nurls = ['ws://b']",
            &["f:3:8: client.urls: only one of url, urls and host may be given"],
        ),
        ("urls = []", &["f:2:8: client.urls: must hold 1 to 16 urls"]),
        (
            "urls = ['ws://u:s3cret@a', 'ftp://b']",
            &[
                "f:2:8: client.urls: number 2 must be a url that starts with ws://, wss://, http://, https://, mqtt:// or mqtts://",
            ],
        ),
        ("urls = ['ws://a', 'ws://a']", &["f:2:8: client.urls: number 2 is there twice"]),
        ("url = 'ws://a'\nport = 1", &["f:3:8: client.port: needs `host`; a url holds it already"]),
        ("host = 'a b'", &["f:2:8: client.host: must be the name or the address of a host"]),
        (
            "host = 'a'\npath = 'x'",
            &["f:3:8: client.path: must be a path, a query or both: \"/ingest?line=3\""],
        ),
        (
            "host = 'a'\npath = '/a b'",
            &["f:3:8: client.path: holds what cannot stand in a url; percent-encode it"],
        ),
        ("url = 'ws://a'\ntls = true", &["f:3:7: client.tls: needs a wss:// url"]),
        ("url = 'wss://a'\ntls = false", &["f:3:7: client.tls: is false, but a wss:// url speaks TLS"]),
        (
            "url = 'ws://a'\nproxy = { url = 'http://u:p@b' }",
            &["f:3:17: client.proxy.url: must not hold a user; use `username` and `password`"],
        ),
        (
            "url = 'ws://a'\ninbound = { topic = 'a/{x}' }",
            &["f:3:21: client.inbound.topic: has no value for `x`, only for client, agent, application"],
        ),
        (
            "url = 'ws://a'\ninbound = { topic = 'a', encoding = 'big6' }",
            &[
                "f:3:37: client.inbound.encoding: must be a label of the WHATWG Encoding Standard, such as utf-8 or shift_jis",
            ],
        ),
        (
            "url = 'ws://a'\nsubprotocols = ['a b']",
            &["f:3:16: client.subprotocols: `a b` is no name of a subprotocol"],
        ),
        (
            "url = 'ws://a'\ninbound = { topic = '{application}' }",
            &["f:3:11: client.inbound: names `{application}`, but the client has none"],
        ),
    ];
    for (text, expected) in cases {
        check_errors(&[(&format!("[[client]]\n{text}"), expected)]);
    }
}

#[test]
fn there_are_no_more_applications_than_the_broker_is_told_of() {
    let clients = |last: u32| -> String {
        (1..=last).map(|n| format!("[[client]]\nurl = 'ws://a'\napplication = 'p{n}'\n")).collect()
    };
    let more = clients(32) + "[[client]]\nurl = 'ws://a'\n";
    check_errors(&[(&more, &["f:96:15: client[31].application: there are more than 31 of them"])]);
    assert_eq!(parse(&clients(31)).clients.len(), 31);
}

#[test]
fn the_url_of_the_command_line_takes_the_place_of_every_other_address() {
    let overrides = Overrides { uplink: Some("ws://other".to_owned()), ..Overrides::default() };
    for text in ["urls = ['ws://a']", "host = 'a'\nport = 1\nparameters = '/x'", "url = 'ws://a'"] {
        let config = parse_with(&format!("[[client]]\n{text}"), &overrides).unwrap();
        assert_eq!(config.clients[0].endpoints(), ["ws://other"]);
    }
}

#[test]
fn a_key_under_its_old_name_is_read_and_told() {
    let config = parse("[[client]]\nhost = 'a'\nparameters = '/x'");
    assert_eq!(config.clients[0].endpoints(), ["ws://a/x"]);
    let told: Vec<String> = config.deprecated.iter().map(|old| old.to_string().replace(FILE, "f")).collect();
    assert_eq!(told, ["f:3:1: client.parameters: is called `path`; the old name is still read"]);
    assert_eq!(parse(&config.render(&environment())).deprecated, []);
    check_errors(&[(
        "[[client]]\nhost = 'a'\npath = '/y'\nparameters = '/x'",
        &["f:4:1: client.parameters: is the old name of `path`, which is there as well: remove it"],
    )]);
}

#[test]
fn the_user_of_a_brokers_url_becomes_its_user_and_password() {
    let mqtt = parse("[mqtt]\nurl = \"mqtt://u%40x:p%3Aw@h:1\"\n").mqtt.unwrap();
    assert_eq!(mqtt.url, "mqtt://h:1");
    assert_eq!(mqtt.username.as_deref(), Some("u@x"));
    assert_eq!(mqtt.password, Some(Secret::Plain("p:w".to_owned())));
}

#[test]
fn the_environment_wins_over_the_variables_and_they_over_the_process() {
    let text = |chosen: &str| {
        format!(
            "[agent]\n{chosen}\nid = \"${{A}}-${{B}}-${{HOME_NET}}\"\n[variables]\nA = 1\nB = \"${{HOME_NET}}\"\n\
             [environment.plant]\nA = true\n[environment.lab]\nA = \"lab\"\nHOME_NET = \"net\"\n"
        )
    };
    let id = |chosen: &str, environment: Option<&str>| {
        let environment = environment.map(str::to_owned);
        parse_with(&text(chosen), &Overrides { environment, ..Overrides::default() }).unwrap().agent.id
    };
    assert_eq!(id("", None), "1-10.0.0.1-10.0.0.1");
    assert_eq!(id("environment = \"${STAGE}\"", None), "true-10.0.0.1-10.0.0.1");
    assert_eq!(id("environment = \"plant\"", Some("lab")), "lab-10.0.0.1-net");
}

#[test]
fn what_a_name_expands_to_is_not_expanded_again() {
    assert_eq!(parse("[[client]]\nactive = false\nname = \"${OPEN}\"").clients[0].name, "${HOME_NET}");
}

#[test]
fn the_command_line_wins_over_the_text() {
    let overrides = Overrides {
        uplink: Some("ws://other:1/".to_owned()),
        mqtt: Some("mqtt://other".to_owned()),
        data_dir: Some("here".into()),
        environment: None,
    };
    let text = "[agent]\ndata_dir = \"/x\"\n[[client]]\nid = \"a\"\nactive = false\n[[client]]\nid = \"b\"\nactive = false\n\
                [mqtt]\nurl = \"mqtt://own\"\nprefix = \"p\"";
    for (text, id) in [(text, "a"), ("", "ws_client_1")] {
        let config = parse_with(text, &overrides).unwrap();
        assert_eq!(config.clients[0].id, id);
        assert_eq!(
            (config.clients[0].active, config.clients[0].url.as_deref()),
            (true, Some("ws://other:1/"))
        );
        assert_eq!(config.mqtt.unwrap().url, "mqtt://other");
        assert_eq!(config.agent.data_dir, Path::new("here"));
    }
}

#[test]
fn faults_of_the_command_line_name_their_option() {
    let overrides = Overrides {
        uplink: Some("ftp://h".to_owned()),
        mqtt: Some("ws://h".to_owned()),
        data_dir: Some("".into()),
        environment: Some("lab".to_owned()),
    };
    let expected = [
        "--data-dir: agent.data_dir: must not be empty",
        "--environment: agent.environment: there is no table [environment.lab]",
        "--mqtt: mqtt.url: must be a url that starts with mqtt:// or mqtts://",
        "--uplink: client.url: must be a url that starts with ws://, wss://, http://, https://, mqtt:// or mqtts://",
    ];
    assert_eq!(errors_with("", &overrides), expected);
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_text() {
    let text = "[buffer]\nmax_bytes = 1\nwhen_ful = 2\n[agent]\nid = \"a/b\"\n\
                [[client]]\nid = \"é\"\n[[client]]\nurl = \"ws://h\"\nreconnect = { min = \"5s\", max = \"1s\" }\n";
    let expected = [
        "f:2:13: buffer.max_bytes: 1B is below 8MB",
        "f:3:1: buffer.when_ful: unknown key; did you mean `when_full`?",
        "f:5:6: agent.id: must have 1 to 128 bytes and no `/`, `+`, `#`, brace or control character",
        "f:6:1: client[0].url: is missing; an active client needs one",
        "f:7:6: client[0].id: `é` must be a letter or `_`, then letters, digits, `_`; 64 at most",
        "f:10:33: client[1].reconnect.max: 1s is below min (5s)",
    ];
    assert_eq!(errors_with(text, &Overrides::default()), expected);
}

#[test]
fn columns_count_characters_and_lines_count_from_one() {
    check_errors(&[(
        "# é\n[[client]]\nurl='ws://h'\nping = { \"ü\" = 1, timeout = 1 }",
        &[
            "f:4:10: client.ping.\"ü\": unknown key",
            "f:4:29: client.ping.timeout: must be a duration such as \"250ms\", \"20s\" or \"1m 30s\"",
        ],
    )]);
}

#[test]
fn faults_of_the_syntax_are_reported_alone() {
    check_errors(&[
        ("[agent]\nid = \nx = 1", &["f:2:6: string values must be quoted, expected literal string"]),
        ("[agent]\nid = 'a'\nid = 'b'\n", &["f:3:1: duplicate key"]),
    ]);
}

#[test]
fn unknown_keys_are_refused_at_their_place() {
    check_errors(&[
        ("[agnt]\nid = 'a'", &["f:1:2: agnt: unknown key; did you mean `agent`?"]),
        ("[agent]\nenviroment = 'a'", &["f:2:1: agent.enviroment: unknown key; did you mean `environment`?"]),
        ("[variable]\na = 1", &["f:1:2: variable: unknown key; did you mean `variables`?"]),
        ("zzzzzzzz = 1", &["f:1:1: zzzzzzzz: unknown key"]),
        ("[[rule]]\nto = []", &["f:1:3: rule: not supported by this version"]),
        ("[buffer]\nttl = '1ms'", &["f:2:7: buffer.ttl: 1ms is below 1s"]),
        (
            "[[client]]\nurl='ws://h'\nping = { intervall = '2s' }",
            &["f:3:10: client.ping.intervall: unknown key; did you mean `interval`?"],
        ),
        (
            "[[client]]\nactive=false\nbalance = 'x'\nreconect = {}",
            &[
                "f:3:11: client.balance: must be \"failover\" or \"round-robin\"",
                "f:4:1: client.reconect: unknown key; did you mean `reconnect`?",
            ],
        ),
    ]);
}

#[test]
fn wrong_types_are_refused() {
    check_errors(&[
        ("agent = 1", &["f:1:9: agent: must be a table"]),
        ("[client]\nurl = 'ws://h'", &["f:1:1: client: must be a list of tables: write `[[client]]`"]),
        ("client = [1]", &["f:1:11: client: must be a table"]),
        ("[agent]\nid = 1", &["f:2:6: agent.id: must be a string"]),
        (
            "[buffer]\nmax_messages = -1",
            &["f:2:16: buffer.max_messages: must be a whole number from 0 to 1000000000000"],
        ),
        (
            "[buffer]\nmax_bytes = '1TB'",
            &["f:2:13: buffer.max_bytes: must be a size such as \"256MB\", \"64KiB\" or 65536"],
        ),
        (
            "[buffer]\nmax_bytes = '99999999999GB'",
            &["f:2:13: buffer.max_bytes: must be a size such as \"256MB\", \"64KiB\" or 65536"],
        ),
        (
            "[buffer]\ncommit_after = 250",
            &["f:2:16: buffer.commit_after: must be a duration such as \"250ms\", \"20s\" or \"1m 30s\""],
        ),
        ("[buffer]\ncommit_after = '2h'", &["f:2:16: buffer.commit_after: 2h is above 1m"]),
        (
            "[buffer]\nwhen_full = 'drop'",
            &["f:2:13: buffer.when_full: must be \"drop-oldest\" or \"drop-newest\" or \"reject\""],
        ),
        (
            "[presence]\nmax_devices = 1.5",
            &["f:2:15: presence.max_devices: must be a whole number from 1 to 1000000"],
        ),
    ]);
}

#[test]
fn wrong_variables_are_refused() {
    check_errors(&[
        (
            "[agent]\nid = '${NO}'",
            &[
                "f:2:6: agent.id: `${NO}` is in neither [environment.…], [variables] nor the process environment",
            ],
        ),
        (
            "[variables]\na = '${b}'\nb = 'x'",
            &[
                "f:2:5: variables.a: `${b}` is in neither [environment.…], [variables] nor the process environment",
            ],
        ),
        ("[variables]\na = []", &["f:2:5: variables.a: must be a string"]),
        (
            "environment = 'x'",
            &["f:1:15: environment: must be a table; `environment` in [agent] chooses one"],
        ),
        ("[agent]\nenvironment = 'x'", &["f:2:15: agent.environment: there is no table [environment.x]"]),
        ("[agent]\nenvironment = 1", &["f:2:15: agent.environment: must be a string"]),
    ]);
}

#[test]
fn a_wrong_replay_is_refused() {
    let head = "[[client]]\nurl = 'wss://h'\n";
    let cases: &[(&str, &[&str])] = &[
        (
            "replay = { max_rate = '5' }",
            &[
                "f:3:23: client.replay.max_rate: must be a rate such as \"200/s\", \"64KB/s\" or \"200/s 64KB/s\"",
            ],
        ),
        (
            "replay = { live_share = 1.5 }",
            &["f:3:25: client.replay.live_share: must be a number from 0.0 to 1.0"],
        ),
        (
            "framing = 'envelope'\nconfirm = 'ack'\nreplay = { live_share = 0.5 }",
            &[
                "f:5:10: client.replay: sends out of order, but with confirm = \"ack\" a number stands for all before it; use \
                 live_share = 0.0 and order = \"fifo\", or confirm = \"pong\"",
            ],
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(errors_with(&format!("{head}{line}"), &Overrides::default()), *expected, "{line}");
    }
}

#[test]
fn wrong_clients_are_refused() {
    let head = "[[client]]\nurl = 'wss://h'\n";
    let cases: &[(&str, &[&str])] = &[
        ("confirm = 'ack'", &["f:3:11: client.confirm: \"ack\" needs framing = \"envelope\""]),
        ("reconnect = { jitter = 'none' }", &["f:3:24: client.reconnect.jitter: must be \"full\""]),
        ("reconnect = { min = '10m' }", &["f:3:21: client.reconnect.min: 10m is above max (5m)"]),
        ("window = 0", &["f:3:10: client.window: must be a whole number from 1 to 100000"]),
        ("ping = { interval = '1ms' }", &["f:3:21: client.ping.interval: 1ms is below 10ms"]),
        ("tls = { cert = 'a' }", &["f:3:16: client.tls.cert: needs `key` too"]),
        ("tls = { key = 'a' }", &["f:3:15: client.tls.key: needs `cert` too"]),
        ("tls = { ca = [] }", &["f:3:14: client.tls.ca: must be a path, or a list of such"]),
        ("tls = { ca = [1] }", &["f:3:14: client.tls.ca: must be a path, or a list of such"]),
        (
            "tls = { pin = 'sha256/AAAA' }",
            &[
                "f:3:15: client.tls.pin: must be \"sha256/\" and the base64 of the SHA-256 hash of a public key (44 letters)",
            ],
        ),
        ("tls = { server_name = 'a b' }", &["f:3:23: client.tls.server_name: must be the name of a host"]),
        (
            "auth = 'basic'",
            &["f:3:8: client.auth: must be \"none\", { basic = … }, { bearer = … } or { url = … }"],
        ),
        ("auth = {}", &["f:3:8: client.auth: must have exactly one of basic, bearer, url"]),
        (
            "auth = { basic = { username = 'a:b' } }",
            &[
                "f:3:18: client.auth.basic.password: is missing",
                "f:3:31: client.auth.basic.username: must not hold a `:`",
            ],
        ),
        (
            "auth = { bearer = { file = 'a', env = 'b' } }",
            &[
                "f:3:19: client.auth.bearer: must be a string or exactly one of { file = … }, { credential = … }, { env = … }",
            ],
        ),
        (
            "auth = { bearer = { credential = '../x' } }",
            &["f:3:19: client.auth.bearer: the name of a credential must be a file name"],
        ),
        ("headers = { 'a b' = 'x' }", &["f:3:21: client.headers.\"a b\": is no name of a header field"]),
        (
            "headers = { Upgrade = 'x' }",
            &["f:3:23: client.headers.Upgrade: belongs to the handshake and cannot be set"],
        ),
        ("headers = { a = \"x\\n\" }", &["f:3:17: client.headers.a: must not hold a control character"]),
        ("headers = { a = 'x', A = 'y' }", &["f:3:11: client.headers: has `a` twice; case does not count"]),
        (
            "auth = { bearer = 'x' }\nheaders = { Authorization = 'y' }",
            &[
                "f:3:8: client.auth: only one of auth, a user in the url and an authorization header may be given",
            ],
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(errors_with(&format!("{head}{line}"), &Overrides::default()), *expected, "{line}");
    }
    check_errors(&[
        (
            "[[client]]\nurl = 'ws://gw:s3cret@a b'",
            &["f:2:7: client.url: holds a character that must be percent-encoded"],
        ),
        ("[[client]]\nurl = 'ws://h'\ntls = { ca = 'a' }", &["f:3:7: client.tls: needs a wss:// url"]),
        (
            "[[client]]\nid='A'\nactive=false\n[[client]]\nid='a'\nactive=false",
            &["f:5:4: client[1].id: `a` is taken by f:2:4; case does not count"],
        ),
    ]);
}

#[test]
fn wrong_servers_are_refused() {
    let cases: &[(&str, &[&str])] = &[
        ("bind = '127.0.0.1:1'", &["f:2:8: server.bind: must be a list of strings, such as [\"…\"]"]),
        ("bind = []", &["f:2:8: server.bind: must name at least one address"]),
        (
            "bind = ['9998']",
            &[
                "f:2:8: server.bind: `9998` must be ADDRESS:PORT, such as 127.0.0.1:9998 or [::1]:9998, or unix:/PATH",
            ],
        ),
        ("bind = ['h:1', 'h:1']", &["f:2:8: server.bind: `h:1` is named twice"]),
        (
            "http = { page = 'x', files = 'y' }",
            &[
                "f:2:8: server.http: must be \"status\" or \"empty\" or { page = … } or { files = …, index = … }",
            ],
        ),
        (
            "http = { files = 'y', index = '../x' }",
            &["f:2:8: server.http: `../x` must be the name of a file, without a folder or a leading dot"],
        ),
        (
            "origins = [\"a\\nb\"]",
            &[
                "f:2:11: server.origins: `a\\nb` must be what the header `Origin` says, such as https://panel.example, file:// or null, or *",
            ],
        ),
        (
            "hostnames = ['panel.example:80']",
            &[
                "f:2:13: server.hostnames: `panel.example:80` must be a host name without a port, such as panel.example or *.plant.example",
            ],
        ),
        (
            "[[server.route]]\npath = '/a'\nsubprotocols = ['holdfast.v1']",
            &[
                "f:4:16: server.route.subprotocols: `holdfast.v1` promises acknowledgements, which no server gives",
            ],
        ),
        ("tls = { cert = 'a' }", &["f:2:7: server.tls.key: is missing"]),
        ("limits = { message_bytes = '1GB' }", &["f:2:28: server.limits.message_bytes: 1GB is above 16MiB"]),
        ("[[server.route]]\nformat = 'json'", &["f:2:1: server.route.path: is missing"]),
        ("[[server.route]]\npath = 'a'", &["f:3:8: server.route.path: must start with `/`"]),
        (
            "[[server.route]]\npath = '/{a}'\ntopic = 'x/{b}'",
            &["f:4:9: server.route.topic: the path has no name `b`"],
        ),
        (
            "[[server.route]]\npath = '/{a}'\ndevice = '{b}'",
            &["f:4:10: server.route.device: the path has no name `b`"],
        ),
        (
            "[[server.route]]\npath = '/{a}'\ntopic = '/{a}'",
            &["f:4:9: server.route.topic: must have no empty level and no wildcard (`+`, `#`)"],
        ),
        (
            "[[server]]\nid = 'ws_server_1'\nbind = ['h:1']",
            &["f:3:6: server[1].id: `ws_server_1` is taken by f:1:1; case does not count"],
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(errors_with(&format!("[[server]]\n{line}"), &Overrides::default()), *expected, "{line}");
    }
    check_errors(&[(
        "[[server]]\nbind = ['h:1', 'h:0']\n[[server]]\nbind = ['h:0', 'h:1']",
        &["f:4:8: server[1].bind: another server binds h:1, in f:2:8"],
    )]);
}

#[test]
fn a_wrong_format_or_level_of_the_log_is_refused() {
    let cases: &[(&str, &[&str])] = &[
        ("[log]\nformat = 'xml'", &["f:2:10: log.format: must be \"text\" or \"json\""]),
        (
            "[log]\nlevel = 'trace'",
            &["f:2:9: log.level: must be \"error\" or \"warn\" or \"info\" or \"debug\""],
        ),
    ];
    check_errors(cases);
    assert_eq!(parse("[log]\nlevel = 'warn'").log.level.name(), "warn");
    assert_eq!(
        (logging::LogFormat::named("json"), logging::LogFormat::named("xml")),
        (Some(logging::LogFormat::Json), None)
    );
}

#[test]
fn wrong_brokers_are_refused() {
    let cases: &[(&str, &[&str])] = &[
        ("[mqtt]\nprefix = 'x'", &["f:1:1: mqtt.url: is missing"]),
        ("[mqtt]\nurl = 'mqtt://h/x'", &["f:2:7: mqtt.url: must end after the host and port"]),
        ("[mqtt]\nurl = 'mqtt://h'\nca = 'x'", &["f:3:6: mqtt.ca: needs an mqtts:// url"]),
        (
            "[mqtt]\nurl = 'mqtt://h'\nprefix = 'a/#'",
            &["f:3:10: mqtt.prefix: must not hold a wildcard (`+`, `#`)"],
        ),
        ("[mqtt]\nurl = 'mqtt://h'\nprefix = 'a/'", &["f:3:10: mqtt.prefix: must not start or end with `/`"]),
        (
            "[mqtt]\nurl = 'mqtt://h'\nprefix = '{agnet}'",
            &[
                "f:3:10: mqtt.prefix: must not be empty, hold a control character or a name other than {agent}",
            ],
        ),
        ("[mqtt]\nurl = 'mqtt://h'\npassword = 'x'", &["f:3:12: mqtt.password: needs `username` too"]),
        (
            "[mqtt]\nurl = 'mqtt://u:p@h'\nusername = 'x'",
            &["f:3:12: mqtt.username: must not be given twice; the url has a user"],
        ),
        ("[mqtt]\nurl = 'mqtt://h'\nkeep_alive = '1ms'", &["f:3:14: mqtt.keep_alive: 1ms is below 1s"]),
    ];
    check_errors(cases);
}

#[test]
fn the_sample_configuration_works_and_its_comments_name_real_keys() {
    let sample = include_str!("../../../../systemd/holdfast.toml");
    let used: Vec<&str> = sample.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(used.is_empty(), "{used:?}");
    assert!(!parse(sample).clients[0].active, "nothing is dialled before a link is configured");

    let uncommented: Vec<&str> =
        sample.lines().map(|line| line.strip_prefix("#> ").unwrap_or(line)).collect();
    let all = parse(&uncommented.join("\n"));
    assert!(all.mqtt.is_some() && !all.servers[0].routes.is_empty());
}

#[test]
fn a_pin_is_read_as_openssl_and_as_curl_write_it_and_shown_in_one_form() {
    let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let text = format!(
        "[[client]]\nurl = 'wss://h'\ntls = {{ pin = ['sha256/{hash}', 'sha256//{hash}'], ca = ['/a', '/b'] }}\n"
    );
    let config = parse(&text);
    let tls = &config.clients[0].tls;
    assert_eq!((tls.pin[0].to_string(), tls.pin[1]), (format!("sha256/{hash}"), tls.pin[0]));
    assert_eq!(tls.ca, [Path::new("/a"), Path::new("/b")]);
}
