//! The log for programs, and what is written to it.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Running, curl, free_port, scratch, uplink, wait_for, wait_until};

/// Lines that it has logged; each must be an object.
fn objects(process: &Running) -> Vec<Value> {
    let object = |line: &String| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let has = |name: &str| object[name].is_string();
        assert!(has("time") && has("level") && has("message"), "{line}");
        object
    };
    process.lines().iter().map(object).collect()
}

fn event(process: &Running, name: &str) -> Value {
    wait_for(&format!("{name} is logged"), || {
        objects(process).into_iter().find(|object| object["event"] == name)
    })
}

fn configuration(directory: &Path, tables: &str) {
    let data = directory.join("data");
    let text =
        format!("[agent]\nid = \"gw\"\ndata_dir = {data:?}\n[[server]]\nbind = [\"127.0.0.1:0\"]\n{tables}");
    std::fs::write(directory.join("holdfast.toml"), text).unwrap();
}

fn run(directory: &Path, more: &[&str]) -> Running {
    let mut command = Agent::command();
    command.env_remove("RUST_LOG").arg("run").arg("--config").arg(directory.join("holdfast.toml")).args(more);
    Running::start("agent", &mut command)
}

#[test]
fn on_demand_each_line_is_an_object_with_the_facts_of_its_event_and_a_lost_link_is_a_warning() {
    let directory = scratch();
    configuration(directory.path(), &uplink(&format!("ws://127.0.0.1:{}/", free_port()), ""));
    let mut agent = run(directory.path(), &["--log-format", "json"]);
    let down = event(&agent, "link_down");
    assert_eq!((&down["level"], &down["link"]), (&"warn".into(), &"cloud".into()));
    assert_eq!(down["because"], "back-off");
    assert!(down["retry_in_s"].is_number() && down["error"].as_str().unwrap().contains("connection refused"));
    assert_eq!(event(&agent, "started")["agent"], "gw");
    assert!(agent.terminate().success());
    assert_eq!(objects(&agent).last().unwrap()["signal"], "Term");
}

#[test]
fn the_table_of_the_log_is_obeyed_at_the_start_at_a_reload_and_at_the_end() {
    let directory = scratch();
    let json = "[log]\nformat = \"json\"\n";
    configuration(directory.path(), json);
    let agent = run(directory.path(), &[]);
    event(&agent, "listening");
    configuration(directory.path(), "[log]\nlevel = \"error\"\n[mtqq]\n");
    agent.signal(Signal::HUP);
    let refused = event(&agent, "reload_refused");
    assert!(refused["error"].as_str().unwrap().contains("mtqq"), "{refused}");
    configuration(directory.path(), "[log]\nlevel = \"error\"\n");
    agent.signal(Signal::HUP);
    event(&agent, "reload");
    drop(agent);
    configuration(directory.path(), "[log]\nformat = \"json\"\n[agent]\n");
    let mut wrong = run(directory.path(), &["--log-format", "json"]);
    assert!(!wrong.last_words().is_empty());
    assert_eq!(objects(&wrong)[0]["level"], "error");
}

#[test]
fn a_reload_that_is_refused_is_logged_however_it_was_asked_for() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), "");
    agent.configure("[mtqq]\n");
    let told = |times: usize| {
        wait_until("the refusal is logged", || {
            agent.process.count(&["ERROR", "cannot reload", "mtqq"]) == times
        });
    };
    agent.process.signal(Signal::HUP);
    told(1);
    let socket = agent.data().join("control.sock");
    let (status, _) =
        curl(&["--unix-socket", socket.to_str().unwrap(), "-X", "POST", "http://localhost/api/reload"]);
    assert_eq!(status, 422);
    told(2);
    // By the file alone it is not to be known where the agent is.
    let mut reload = Agent::command();
    reload.arg("reload").arg("--config").arg(directory.path().join("holdfast.toml"));
    let asked = reload.arg("--data-dir").arg(agent.data()).output().unwrap();
    assert!(!asked.status.success() && String::from_utf8_lossy(&asked.stderr).contains("mtqq"), "{asked:?}");
    told(3);
}
