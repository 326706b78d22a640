//! Links through proxies that we did not write: tinyproxy for CONNECT, microsocks for SOCKS5.

use std::path::Path;
use std::process::Command;

use crate::harness::{
    Agent, Authority, Peer, Proxy, Running, free_port, numbered, scratch, uplink, wait_for, wait_for_value,
};

const LOGIN: &str = ", username = \"gw\", password = { file = \"proxy-password\" }";

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Waits until somebody listens on this port of loopback.
fn listens(process: Running, port: u16) -> Running {
    wait_for("the proxy listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    process
}

/// An HTTP proxy that allows CONNECT to every port.
fn tinyproxy(directory: &Path, more: &str) -> (Running, u16) {
    let port = free_port();
    let conf = directory.join("tinyproxy.conf");
    let text =
        format!("Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nLogLevel Connect\n{more}\n");
    std::fs::write(&conf, text).unwrap();
    let process = Running::start("tinyproxy", command("tinyproxy").arg("-d").arg("-c").arg(conf));
    (listens(process, port), port)
}

fn microsocks(login: &[&str]) -> (Running, u16) {
    let port = free_port();
    let mut command = command("microsocks");
    command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(login);
    (listens(Running::start("microsocks", &mut command), port), port)
}

fn delivers(directory: &Path, tables: &str, peer: &Peer) -> Agent {
    let agent = Agent::start(directory, tables);
    agent.post_all("/a", &numbered(20));
    agent.wait_until_delivered();
    wait_for_value(&numbered(20), || peer.lines());
    agent
}

#[test]
fn a_link_through_an_http_proxy_with_a_password_delivers_and_the_password_is_in_no_log() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let (proxy, port) = tinyproxy(directory.path(), "BasicAuth gw s3cretword");
    std::fs::write(directory.path().join("proxy-password"), "s3cretword\n").unwrap();
    let table = format!("proxy = {{ url = \"http://127.0.0.1:{port}\"{LOGIN} }}");
    let agent = delivers(directory.path(), &uplink(&peer.url(), &table), &peer);
    proxy.said(&["CONNECT", &format!("127.0.0.1:{}", peer.port)]);
    agent.process.said(&["link up cloud", "through the proxy"]);
    let log = agent.process.lines().join("\n") + &agent.status().to_string();
    assert!(!log.contains("s3cretword"), "{log}");
}

#[test]
fn tls_goes_through_the_proxy_to_the_server_whose_name_is_verified() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let nginx = Proxy::start(directory.path(), &authority.issue("localhost"), peer.port);
    let (_proxy, port) = tinyproxy(directory.path(), "");
    let more =
        format!("tls = {{ ca = {:?} }}\nproxy = {{ url = \"http://localhost:{port}\" }}", authority.ca);
    let url = format!("wss://localhost:{}/ingest", nginx.port);
    let agent = delivers(directory.path(), &uplink(&url, &more), &peer);
    assert!(agent.fact("/certificate_days_left").as_i64().is_some_and(|days| days > 0));
}

#[test]
fn a_wrong_password_for_the_proxy_is_told_and_a_rotated_one_is_taken_at_the_next_try() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let (_proxy, port) = tinyproxy(directory.path(), "BasicAuth gw right");
    let password = directory.path().join("proxy-password");
    std::fs::write(&password, "wrong\n").unwrap();
    let table = format!("proxy = {{ url = \"http://127.0.0.1:{port}\"{LOGIN} }}");
    let agent = Agent::start(directory.path(), &uplink(&peer.url(), &table));
    agent.post("/a", "m-0");
    agent.wait_until_down("the proxy refuses user and password");
    std::fs::write(&password, "right\n").unwrap();
    wait_for_value(&numbered(1), || peer.lines());
}

#[test]
fn a_link_through_a_socks_proxy_with_a_password_delivers_and_the_proxy_looks_the_name_up() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let (_proxy, port) = microsocks(&["-u", "gw", "-P", "pw"]);
    std::fs::write(directory.path().join("proxy-password"), "pw\n").unwrap();
    let table = format!("proxy = {{ url = \"socks5://127.0.0.1:{port}\"{LOGIN} }}");
    let url = format!("ws://localhost:{}/ingest", peer.port);
    let agent = delivers(directory.path(), &uplink(&url, &table), &peer);
    agent.process.said(&["link up cloud", "localhost", "through the proxy"]);
}

#[test]
fn what_a_socks_proxy_cannot_reach_and_whom_it_does_not_know_is_told() {
    let directory = scratch();
    let (_proxy, port) = microsocks(&[]);
    let nobody = format!("ws://127.0.0.1:{}/", free_port());
    let table = format!("proxy = {{ url = \"socks5://127.0.0.1:{port}\" }}");
    let agent = Agent::start(directory.path(), &uplink(&nobody, &table));
    agent.wait_until_down("the proxy cannot reach the server: connection refused");
    drop(agent);
    let (_proxy, port) = microsocks(&["-u", "gw", "-P", "pw"]);
    let table = format!("proxy = {{ url = \"socks5://127.0.0.1:{port}\" }}");
    let second = scratch();
    let agent = Agent::start(second.path(), &uplink(&nobody, &table));
    agent.wait_until_down("the proxy asks for user and password");
}

#[test]
fn the_proxy_is_a_step_of_the_test_of_a_connection() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let (_proxy, port) = tinyproxy(directory.path(), "BasicAuth gw right");
    let config = directory.path().join("holdfast.toml");
    let test = |password: &str| {
        let login = format!(", username = \"gw\", password = \"{password}\"");
        let table = format!("proxy = {{ url = \"http://127.0.0.1:{port}\"{login} }}");
        std::fs::write(&config, uplink(&peer.url(), &table)).unwrap();
        let output = Agent::command().args(["test", "--config"]).arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, page) = test("right");
    assert!(code == Some(0) && page.contains("proxy           ok"), "{page}");
    let (code, page) = test("wrong");
    assert!(
        code == Some(1)
            && page.contains("proxy           failed")
            && page.contains("refuses user and password"),
        "{page}"
    );
    assert!(page.contains("check `username` and `password` of `proxy`"), "{page}");
}
