//! Bodies as programs that we did not write code them, and requests of devices that know only GET.

use crate::harness::{Agent, Peer, curl, python, scratch, uplink, wait_for};

const ROUTES: &str = r#"
[[server.route]]
path = "/batch/{device}"
batch = true
[[server.route]]
path = "/form/{device}"
format = "json"
[[server.route]]
path = "/get/{device}"
methods = ["GET"]
query = [ { name = "t", type = "number" } ]
"#;

/// An agent, and a peer that keeps what is delivered.
fn start(directory: &std::path::Path) -> (Agent, Peer) {
    let peer = Peer::python("echo_store", &directory.join("got"), &[]);
    let agent = Agent::start_of(directory, "id = \"gw\"\n", &format!("{ROUTES}{}", uplink(&peer.url(), "")));
    (agent, peer)
}

#[test]
fn what_pythons_library_codes_reaches_the_peer_as_it_was_before() {
    let directory = scratch();
    let (agent, peer) = start(directory.path());
    let output = python("poster").args(["--url", &format!("http://{}/a", agent.address)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: Vec<&str> = said.lines().collect();
    assert!(said[..7].iter().all(|line| line.starts_with("200 ")), "{said:?}");
    assert!(said[6].ends_with(r#"{"stored":[7,8]}"#), "{said:?}");
    assert!(said[7].starts_with("415 gzip, deflate, identity ") && said[7].contains("`zstd`"), "{said:?}");
    assert!(said[8].starts_with("413 ") && said[8].contains("the decoded body"), "{said:?}");
    let expected = [
        r#"{"coded": "gzip"}"#,
        r#"{"coded": "zlib"}"#,
        r#"{"coded": "bare"}"#,
        r#"{"coded": "both"}"#,
        r#"{"coded": "utf-16"}"#,
        "21 °C",
        r#"{"line":1}"#,
        r#"{"line":2}"#,
    ];
    wait_for("all are delivered", || (peer.lines() == expected).then_some(()));
}

#[test]
fn curl_posts_a_batch_and_a_form_and_gets_a_message_across_but_no_parts() {
    let directory = scratch();
    let (agent, peer) = start(directory.path());
    let url = |path: &str| format!("http://{}{path}", agent.address);
    assert_eq!(curl(&["-d", r#"[{"n":1},[2]]"#, &url("/batch/a")]), (200, r#"{"stored":[1,2]}"#.to_owned()));
    assert_eq!(curl(&["-d", "t=21.5", "--data-urlencode", "unit=°C", &url("/form/a")]).0, 200);
    assert_eq!(curl(&["-d", "t=21.5", &url("/other")]).0, 200);
    assert_eq!(curl(&["-G", "-d", "t=21.5", "-d", "hum=40", &url("/get/a")]).0, 200);
    let (status, error) = curl(&["-F", "t=21.5", &url("/other")]);
    assert!(
        status == 415 && error.contains("multipart/form-data") && error.contains("--data-binary"),
        "{error}"
    );
    let (status, error) = curl(&[&url("/other?t=1")]);
    assert!(status == 405 && error.contains("`methods`"), "{error}");
    assert_eq!(curl(&["-A", "Mozilla/5.0 (X11)", &url("/get/a?t=1")]).0, 403, "it may be a browser");
    let expected = [r#"{"n":1}"#, "[2]", r#"{"t":"21.5","unit":"°C"}"#, "t=21.5", r#"{"hum":"40","t":21.5}"#];
    wait_for("all are delivered", || (peer.lines() == expected).then_some(()));
}
