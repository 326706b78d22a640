//! A configuration of several files.

use super::*;

const MAIN: &str = "/etc/holdfast/holdfast.toml";

/// Files beside the main one by their names in `conf.d`.
fn files(main: &str, beside: &[(&str, &str)]) -> Vec<ConfigFile> {
    let beside =
        beside.iter().map(|(name, text)| (format!("/etc/holdfast/conf.d/{name}"), (*text).to_owned()));
    let all = std::iter::once((MAIN.to_owned(), main.to_owned())).chain(beside);
    all.map(|(path, text)| ConfigFile { path: path.into(), text }).collect()
}

fn joined(main: &str, beside: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let parsed = Config::parse_all(&files(main, beside), &Overrides::default(), &environment());
    let short = |fault: &Fault| fault.to_string().replace("/etc/holdfast/", "");
    parsed.map_err(|Errors(faults)| faults.iter().map(short).collect())
}

#[test]
fn lists_of_tables_go_on_from_file_to_file() {
    let main = "[agent]\nid = 'gw'\n[variables]\nhost = 'hub'\n[[client]]\nurl = 'ws://a'";
    let lab = "[[client]]\nid = 'lab'\nurl = 'wss://${host}'\ntls = { ca = 'lab.pem' }";
    let more = "[[client]]\nid = 'more'\nurl = 'ws://c'\n[[server]]\nid = 's'\n[[server.route]]\npath = '/x'\n[buffer]\nttl = '1h'";
    let config = joined(main, &[("10-lab.toml", lab), ("20.toml", more)]).unwrap();
    assert_eq!(config.ids(edit::Kind::Client), ["ws_client_1", "lab", "more"]);
    assert_eq!(config.clients[1].endpoints(), ["wss://hub"]);
    assert_eq!(config.clients[1].tls.ca, [Path::new("/etc/holdfast/conf.d/lab.pem")]);
    assert_eq!(config.servers[0].routes.len(), 1);
    assert_eq!(config.buffer.ttl.as_secs(), 3600);
    assert_eq!(joined("", &[]).unwrap(), parse(""));
}

#[test]
fn every_fault_names_the_file_that_it_stands_in() {
    let beside =
        [("a.toml", "[[client]]\nid = 'a'\nurl = 'ws://a'\nwindwo = 1"), ("b.toml", "\n[buffer]\nttl = 1")];
    assert_eq!(
        joined("[agent]\nid = 1", &beside).unwrap_err(),
        [
            "holdfast.toml:2:6: agent.id: must be a string",
            "conf.d/a.toml:4:1: client.windwo: unknown key; did you mean `window`?",
            "conf.d/b.toml:3:7: buffer.ttl: must be a duration such as \"250ms\", \"20s\" or \"1m 30s\"",
        ]
    );
    let faults = joined("", &[("a.toml", "[agent"), ("b.toml", "{ \"agent\": { \"id\": 1 },\n \"x\": 2 }")])
        .unwrap_err();
    assert!(faults.len() == 2 && faults[0].starts_with("conf.d/a.toml:1:"), "{faults:?}");
    assert!(faults[1].starts_with("conf.d/b.toml:1:1: this is JSON"), "{faults:?}");
    let faults = joined("[agent", &[("a.toml", "= 1")]).unwrap_err();
    assert!(
        faults[0].starts_with("holdfast.toml:1:") && faults.last().unwrap().starts_with("conf.d/a.toml:1:1:")
    );
}

#[test]
fn what_may_stand_only_once_is_refused_with_both_places() {
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "[agent]\nid = 'a'",
            "\n[agent]\nclock_file = '/c'",
            &[
                "conf.d/x.toml:2:2: agent: stands in holdfast.toml:1:2 as well; only lists of tables, such as [[client]], may stand in several files",
            ],
        ),
        (
            "[[client]]\nid = 'a'\nurl = 'ws://a'",
            "[[client]]\nid = 'A'\nurl = 'ws://b'",
            &["conf.d/x.toml:2:6: client[1].id: `A` is taken by holdfast.toml:2:6; case does not count"],
        ),
        (
            "[[client]]\nurl = 'ws://a'",
            "[[client]]\nurl = 'ws://b'",
            &[
                "conf.d/x.toml:1:1: client[1].id: is missing: a table in conf.d needs one that no other file can change",
            ],
        ),
        (
            "[[server]]\nbind = ['h:1']",
            "[[server]]\nid = 'b'\nbind = ['h:1']",
            &["conf.d/x.toml:3:8: server[1].bind: another server binds h:1, in holdfast.toml:2:8"],
        ),
        (
            "[[server]]",
            "[server]\nbind = ['h:1']",
            &["conf.d/x.toml:1:2: server: must be a list of tables: write `[[server]]`"],
        ),
    ];
    for (main, beside, expected) in cases {
        assert_eq!(joined(main, &[("x.toml", beside)]).unwrap_err(), expected, "{beside}");
    }
}

#[test]
fn a_plain_secret_is_told_of_the_file_that_holds_it() {
    let client = |id: &str, token: &str| {
        format!("[[client]]\nid = '{id}'\nurl = 'ws://a'\nauth = {{ bearer = '{token}' }}")
    };
    let main = format!("{}\n[variables]\nt = 's'\n", client("a", "x"));
    let (plain, expanded) = (client("b", "y"), client("c", "${t}"));
    let beside = [
        ("b.toml", plain.as_str()),
        ("c.toml", expanded.as_str()),
        ("d.toml", "[mqtt]\nurl = 'mqtt://u:p@h'"),
    ];
    let (files, config) = (files(&main, &beside), joined(&main, &beside).unwrap());
    let told: Vec<String> = files
        .iter()
        .map(|file| {
            let plain = config.plain_secrets();
            let here = plain.iter().filter(|secret| secret.stands_in(file, &files));
            here.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        })
        .collect();
    assert_eq!(
        told,
        ["client a: auth, client c: auth", "client b: auth", "client c: auth", "mqtt: password"]
    );
}
