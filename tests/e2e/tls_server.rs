//! The certificate of a server: what is wrong with it is told, and a renewed one is taken while the agent runs.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Agent, Authority, Files, curl, scratch, wait_until};

fn tls(files: &Files) -> String {
    format!("tls = {{ cert = {:?}, key = {:?} }}\n", files.cert, files.key)
}

/// Why an agent does not start with these lines of its server.
fn refusal(directory: &Path, lines: &str) -> String {
    let data = directory.join("data");
    let text = format!(
        "[agent]\ndata_dir = {data:?}\n[[server]]\nid = \"sensors\"\nbind = [\"127.0.0.1:0\"]\n{lines}"
    );
    std::fs::write(directory.join("holdfast.toml"), text).unwrap();
    let mut process = Agent::launch(directory);
    assert!(!process.exit().success(), "it ran");
    process.said(&["holdfast: cannot", "(server sensors)"])
}

/// What `holdfast check` says of the configuration in this directory.
fn check(directory: &Path) -> String {
    let file = directory.join("holdfast.toml");
    let check = Agent::command().arg("check").arg("--config").arg(file).output().unwrap();
    String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned()
}

/// Whether a request comes through for who trusts this authority.
fn is_served(agent: &Agent, authority: &Authority) -> bool {
    let port = agent.address.rsplit(':').next().unwrap();
    let ca = authority.ca.to_str().unwrap();
    let url = format!("https://localhost:{port}/a");
    let mut command = std::process::Command::new("curl");
    command.args(["--silent", "--fail", "--max-time", "30", "--cacert", ca, "-d", "1", &url]);
    command.output().expect("curl is installed").status.success()
}

fn server_fact(agent: &Agent, name: &str) -> Value {
    let asked = agent.ask(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&asked.stdout).unwrap_or_else(|_| panic!("{asked:?}"));
    status["servers"]["sensors"][name].clone()
}

/// Puts other files in the place of these.
fn replace(old: &Files, new: &Files) {
    for (old, new) in [(&old.cert, &new.cert), (&old.key, &new.key)] {
        let fresh = old.with_extension("new");
        std::fs::copy(new, &fresh).and_then(|_| std::fs::rename(&fresh, old)).unwrap();
    }
}

#[test]
fn plain_http_is_told_that_tls_is_spoken() {
    let directory = scratch();
    let files = Authority::new(directory.path(), "ours").issue("localhost");
    let agent = Agent::start_with(directory.path(), "", &tls(&files));
    let (status, error) = curl(&["-d", "1", &format!("http://{}/a", agent.address)]);
    assert!(status == 400 && error.contains("use https:// or wss://"), "{error}");
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_at_the_start_and_by_a_check() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let (one, other) = (authority.issue("localhost"), authority.issue("other"));
    let missing = directory.path().join("missing.pem");
    let with = |cert: &Path, key: &Path| format!("tls = {{ cert = {cert:?}, key = {key:?} }}\n");
    let cases = [
        (with(&missing, &one.key), "missing.pem: no such file or directory"),
        (with(&one.key, &one.key), "localhost.key: it holds no PEM certificate"),
        (with(&one.cert, &one.cert), "localhost.pem: it holds no PEM private key"),
        (with(&one.cert, &other.key), "other.key: the key belongs to another certificate"),
        (with(directory.path(), &one.key), "is a directory"),
    ];
    for (lines, words) in cases {
        let refusal = refusal(directory.path(), &lines);
        assert!(refusal.contains(words), "{refusal}");
        let told = check(directory.path());
        assert!(told.contains("server sensors") && told.contains("warning"), "{told}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_warned_of_and_served() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let files = authority.issue_for("localhost", 2000, 2001);
    let agent = Agent::start_with(directory.path(), "", &tls(&files));
    agent.process.said(&["WARN", "localhost.pem has expired on 2001-01-01", "sensors"]);
    assert!(check(directory.path()).contains("warning: server sensors: the certificate"));
    let port = agent.address.rsplit(':').next().unwrap();
    assert_eq!(curl(&["--insecure", "-d", "1", &format!("https://localhost:{port}/a")]).0, 200);
    assert!(server_fact(&agent, "certificate_days_left").as_i64().is_some_and(|days| days < 0));
    let early = scratch();
    let files = authority.issue_for("early", 2090, 2100);
    let agent = Agent::start_with(early.path(), "", &tls(&files));
    agent.process.said(&["WARN", "early.pem is not valid before 2090-01-01"]);
}

#[test]
fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let directory = scratch();
    let elsewhere = scratch();
    let (ours, theirs) =
        (Authority::new(directory.path(), "ours"), Authority::new(elsewhere.path(), "theirs"));
    let (files, renewed) = (ours.issue("localhost"), theirs.issue("localhost"));
    let agent = Agent::start_with(directory.path(), "", &tls(&files));
    assert!(is_served(&agent, &ours) && !is_served(&agent, &theirs));
    replace(&files, &renewed);
    wait_until("the renewed certificate is served", || is_served(&agent, &theirs));
    agent.process.said(&["INFO", "certificate renewed server=sensors days_left="]);
    assert_eq!(agent.process.count(&["certificate renewed"]), 1);

    std::fs::write(&files.key, "nonsense").unwrap();
    wait_until("the fault is told", || {
        assert!(is_served(&agent, &theirs), "the one in force stays");
        server_fact(&agent, "certificate_error").as_str().is_some_and(|fault| fault.contains("localhost.key"))
    });
    agent.process.said(&["ERROR", "cannot renew the certificate, the one in force stays", "localhost.key"]);
    replace(&files, &renewed);
    wait_until("all is well again", || {
        is_served(&agent, &theirs) && server_fact(&agent, "certificate_error").is_null()
    });
    assert_eq!(agent.process.count(&["cannot renew the certificate"]), 1);
}
