//! How the agent and its devices are, as mosquitto tells it.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::harness::{Agent, Authority, Broker, Peer, Running, scratch, uplink, wait_until};

const STATUS: &str = "holdfast/gw/status";
const PUMP: &str = "holdfast/gw/devices/pump/status";
const FAN: &str = "holdfast/gw/devices/fan/status";

/// `[mqtt]` with a broker that is tried again soon, and devices that are soon missed.
fn tables(url: &str, more: &str) -> String {
    format!(
        "[mqtt]\nurl = \"{url}\"\nreconnect = {{ min = \"20ms\", max = \"200ms\" }}\n{more}\n\
         [presence]\noffline_after = \"300ms\"\n"
    )
}

/// A WebSocket of a device that stays open and says nothing.
fn silent_device(agent: &Agent, device: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&agent.address).unwrap();
    let request = format!(
        "GET /{device} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

#[test]
fn a_killed_agent_is_told_as_lost_by_its_last_will_with_its_session() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let mut agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    let online = broker.wait_for(STATUS, &json!({ "state": "online" }));
    let session = online["session"].as_u64().unwrap();
    agent.kill();
    broker.wait_for(STATUS, &json!({ "state": "offline", "reason": "lost", "session": session }));
    agent.start_again();
    broker.wait_for(STATUS, &json!({ "state": "online", "session": session + 1 }));
}

#[test]
fn a_configuration_that_was_rejected_before_the_start_is_told() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let (file, rejected) = (directory.path().join("holdfast.toml"), directory.path().join("rejected"));
    let own =
        format!("[agent]\nid = \"gw\"\ndata_dir = {:?}\n", directory.path().join("data").to_str().unwrap());
    let server = "[[server]]\nbind = [\"127.0.0.1:0\"]\n";
    std::fs::write(&file, own + server + &tables(&broker.url(), "")).unwrap();
    std::fs::write(&rejected, "holdfast.toml:3: unknown key\n").unwrap();
    let mut command = Agent::command();
    command.arg("run").arg("--config").arg(&file).arg("--rejected").arg(&rejected);
    let _agent = Running::start("agent", &mut command);
    broker.wait_for(STATUS, &json!({ "configuration_rejected": "holdfast.toml:3: unknown key" }));
}

#[test]
fn a_broker_that_is_configured_later_is_told_and_one_that_is_not_any_more_is_told_goodbye() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let link = uplink(&peer.url(), "");
    let agent = Agent::start(directory.path(), &link);
    agent.wait_until_up();
    agent.configure(&(link.clone() + &tables(&broker.url(), "")));
    assert!(agent.ask(&["reload"]).status.success());
    broker.wait_for(STATUS, &json!({ "state": "online", "session": 1 }));
    agent.http().store("/pump", "one");
    broker.wait_for(PUMP, &json!({ "status": "online" }));
    agent.configure(&link);
    assert!(agent.ask(&["reload"]).status.success());
    broker.wait_for(STATUS, &json!({ "state": "offline", "reason": "stopped", "session": 1 }));
    wait_until("it is gone", || agent.fact("/mqtt").is_null());
    assert_eq!((agent.fact("/session"), agent.fact("/links/cloud/reconnects")), (1.into(), 0.into()));
}

#[test]
fn each_application_has_a_topic_of_its_own_until_no_link_belongs_to_it() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let link = |application: &str| uplink(&peer.url(), &format!("application = \"{application}\""));
    let tables = tables(&broker.url(), "");
    let mut agent = Agent::start(directory.path(), &(link("plant-a") + &tables));
    let topic = |name: &str| format!("holdfast/gw/applications/{name}/status");
    let up = json!({ "state": "online", "application": "plant-a", "links_up": 1 });
    let told = broker.wait_for(&topic("plant-a"), &up);
    assert_eq!(told["links"]["cloud"]["state"], "up", "{told}");
    agent.configure(&(link("plant-b") + &tables));
    assert!(agent.ask(&["reload"]).status.success());
    broker.wait_for(&topic("plant-b"), &json!({ "state": "online", "links_up": 1 }));
    wait_until("nothing speaks of it", || broker.retained(&topic("plant-a"), &[]).is_none());
    assert!(agent.terminate().success());
    broker.wait_for(&topic("plant-b"), &json!({ "state": "offline", "reason": "stopped" }));
}

#[test]
fn a_stopped_agent_says_so_itself_and_its_will_stays_silent() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let mut agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    let online = broker.wait_for(STATUS, &json!({ "state": "online" }));
    assert!(agent.terminate().success());
    let expected = json!({ "state": "offline", "reason": "stopped", "session": online["session"] });
    broker.wait_for(STATUS, &expected);
}

#[test]
fn a_link_that_changes_is_told_at_once() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let mut peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let tables = uplink(&peer.url(), "") + &tables(&broker.url(), "status_interval = \"1h\"");
    let _agent = Agent::start(directory.path(), &tables);
    let links = |state: &str| {
        broker.retained(STATUS, &[]).is_some_and(|status| status["links"]["cloud"]["state"] == state)
    };
    wait_until("the link is told as up", || links("up"));
    peer.process.kill();
    wait_until("the link is told as down", || links("down"));
}

#[test]
fn a_device_is_online_while_it_is_heard_and_offline_when_it_falls_silent() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    agent.post("/pump/pressure", "1");
    broker.wait_for(PUMP, &json!({ "status": "offline", "reason": "silent" }));
    agent.post("/pump/pressure", "2");
    let sensor = silent_device(&agent, "pump");
    broker.wait_for(PUMP, &json!({ "status": "online" }));
    drop(sensor);
    broker.wait_for(PUMP, &json!({ "status": "offline", "reason": "silent" }));
}

#[test]
fn a_silent_device_stays_online_while_its_connection_is_open() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    agent.post("/pump/pressure", "1");
    broker.wait_for(PUMP, &json!({ "status": "offline" }));
    let _sensor = silent_device(&agent, "pump");
    broker.wait_for(PUMP, &json!({ "status": "online", "reason": "connected" }));
    agent.post("/fan/speed", "1");
    broker.wait_for(FAN, &json!({ "status": "offline" }));
    broker.wait_for(PUMP, &json!({ "status": "online" }));
}

#[test]
fn a_handshake_without_a_message_makes_no_device() {
    let directory = scratch();
    let broker = Broker::start(directory.path());
    let agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    let _ghosts: Vec<_> = (0..20).map(|number| silent_device(&agent, &format!("ghost{number}"))).collect();
    agent.post("/fan/speed", "1");
    broker.wait_for(FAN, &json!({ "status": "online" }));
    let devices = agent.status()["devices"].as_object().cloned().unwrap_or_default();
    assert_eq!(devices.keys().collect::<Vec<_>>(), ["fan"]);
    assert_eq!(agent.fact("/devices_total"), json!({ "online": 1, "offline": 0 }));
}

#[test]
fn what_is_known_of_devices_survives_the_agent_and_a_broker_that_forgets() {
    let directory = scratch();
    let mut broker = Broker::start(directory.path());
    let mut agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    let sensor = silent_device(&agent, "pump");
    agent.post("/pump/pressure", "1");
    agent.post("/fan/speed", "1");
    broker.wait_for(PUMP, &json!({ "status": "online" }));
    let silent = broker.wait_for(FAN, &json!({ "status": "offline" }));
    broker.forget_everything();
    broker.wait_for(STATUS, &json!({ "state": "online" }));
    broker.wait_for(PUMP, &json!({ "status": "online" }));
    broker.wait_for(FAN, &silent);
    assert!(agent.terminate().success());
    drop(sensor);
    broker.forget_everything();
    agent.start_again();
    broker.wait_for(FAN, &silent);
    broker.wait_for(PUMP, &json!({ "status": "offline" }));
}

#[test]
fn news_of_a_device_that_come_while_the_broker_is_away_arrive_when_it_is_back() {
    let directory = scratch();
    let mut broker = Broker::start(directory.path());
    let agent = Agent::start(directory.path(), &tables(&broker.url(), ""));
    broker.wait_for(STATUS, &json!({ "state": "online" }));
    broker.kill();
    agent.wait_for_fact("/mqtt/state", "down");
    let _sensor = silent_device(&agent, "pump");
    agent.post("/pump/pressure", "1");
    broker.forget_everything();
    broker.wait_for(PUMP, &json!({ "status": "online" }));
}

#[test]
fn a_wrong_password_is_the_reason_in_the_status_and_is_not_shown() {
    let directory = scratch();
    let broker = Broker::with_password(directory.path(), "gw", "right");
    let more = "username = \"gw\"\npassword = \"wr0ng-one\"";
    let agent = Agent::start(directory.path(), &tables(&broker.url(), more));
    wait_until("the reason is told", || {
        let error = agent.fact("/mqtt/last_error");
        error
            .as_str()
            .is_some_and(|error| error.contains("user name or password") || error.contains("not authorized"))
    });
    let log = agent.process.lines().join("\n") + &agent.status().to_string();
    assert!(!log.contains("wr0ng-one"), "{log}");
}

#[test]
fn the_right_password_is_read_from_its_file() {
    let directory = scratch();
    let broker = Broker::with_password(directory.path(), "gw", "right");
    std::fs::write(directory.path().join("password"), "right\n").unwrap();
    let more = "username = \"gw\"\npassword = { file = \"password\" }";
    let agent = Agent::start(directory.path(), &tables(&broker.url(), more));
    agent.wait_for_fact("/mqtt/state", "up");
    let found = broker.retained(STATUS, &["-u", "gw", "-P", "right"]);
    wait_until("the status is there", || {
        found.is_some() || broker.retained(STATUS, &["-u", "gw", "-P", "right"]).is_some()
    });
}

#[test]
fn a_broker_that_speaks_tls_is_trusted_through_our_own_authority() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let broker = Broker::with_tls(directory.path(), &authority.issue("localhost"));
    let url = format!("mqtts://localhost:{}", broker.port);
    let agent = Agent::start(directory.path(), &tables(&url, &format!("ca = {:?}", authority.ca)));
    agent.wait_for_fact("/mqtt/state", "up");
    let more = ["-h", "localhost", "--cafile", authority.ca.to_str().unwrap()];
    wait_until("the status is there", || {
        broker.retained(STATUS, &more).is_some_and(|status| status["state"] == "online")
    });
}

#[test]
fn a_broker_of_another_authority_is_refused() {
    let directory = scratch();
    let (ours, theirs) =
        (Authority::new(directory.path(), "ours"), Authority::new(directory.path(), "theirs"));
    let broker = Broker::with_tls(directory.path(), &theirs.issue("localhost"));
    let url = format!("mqtts://localhost:{}", broker.port);
    let agent = Agent::start(directory.path(), &tables(&url, &format!("ca = {:?}", ours.ca)));
    wait_until("the reason is told", || {
        agent.fact("/mqtt/last_error").as_str().is_some_and(|error| error.contains("unknown issuer"))
    });
}
