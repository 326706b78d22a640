//! The programs among the recipes, as they stand.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Agent, Peer, Running, scratch, uplink, wait_until};

fn recipe(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("agent/doc/recipes").join(name).display().to_string()
}

#[test]
fn the_sensor_in_python_waits_for_its_agent_and_loses_nothing() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let mut agent = Agent::start(directory.path(), &uplink(&peer.url(), ""));
    let url = format!("http://{}/kitchen/temperature", agent.address);
    agent.terminate();
    let mut sensor =
        Running::start("sensor", Command::new("python3").args([&recipe("sensor.py"), &url, "5"]));
    sensor.said(&["no agent, again in 1 s"]);
    let text = std::fs::read_to_string(directory.path().join("holdfast.toml")).unwrap();
    let text = text.replace("127.0.0.1:0", &agent.address);
    std::fs::write(directory.path().join("holdfast.toml"), text).unwrap();
    agent.start_again();
    assert!(sensor.exit().success());
    sensor.said(&["stored as 5"]);
    wait_until("all of them arrive", || peer.lines().len() == 5);
}

#[test]
fn the_lines_of_the_shell_are_stored() {
    let directory = scratch();
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    let page = std::fs::read_to_string(recipe("../recipes.md")).unwrap();
    let (_, block) = page.split_once("```sh\n").unwrap();
    let lines = block.split("```").next().unwrap().replace("127.0.0.1:9998", &agent.address);
    let socket = format!("holdfast send --socket {}", agent.data().join("control.sock").display());
    let script = format!("read-meter() {{ seq 3; }}\n{}", lines.replace("holdfast send", &socket));
    let program = Agent::command().get_program().to_owned();
    let path =
        format!("{}:{}", Path::new(&program).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    let ran = shell.args(["-c", &script]).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "{\"stored\":1}stored 2..4\n");
}
