//! Links and servers over TLS.

use crate::harness::{Agent, Authority, Peer, Proxy, curl, numbered, scratch, uplink, wait_for_value};

fn trusting(authority: &Authority) -> String {
    format!("tls = {{ ca = {:?} }}", authority.ca)
}

#[test]
fn a_link_through_nginx_delivers_over_tls_when_the_authority_is_ours() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let proxy = Proxy::start(directory.path(), &authority.issue("localhost"), peer.port);
    let url = format!("wss://localhost:{}/ingest", proxy.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &trusting(&authority)));
    let all = numbered(100);
    agent.post_all("/a", &all);
    agent.wait_until_delivered();
    wait_for_value(&all, || peer.lines());
    assert!(agent.fact("/certificate_days_left").as_i64().is_some_and(|days| days > 0));
}

#[test]
fn a_certificate_from_another_authority_is_refused_and_the_status_says_why() {
    let directory = scratch();
    let (ours, theirs) =
        (Authority::new(directory.path(), "ours"), Authority::new(directory.path(), "theirs"));
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let proxy = Proxy::start(directory.path(), &theirs.issue("localhost"), peer.port);
    let url = format!("wss://localhost:{}/ingest", proxy.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &trusting(&ours)));
    agent.post("/a", "held");
    agent.wait_until_down("the server's certificate comes from an unknown issuer");
    agent.process.said(&["WARN", "link down cloud", "unknown issuer"]);
    assert_eq!((agent.fact("/links/cloud/unconfirmed"), peer.lines().len()), (1.into(), 0));
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_told_as_a_matter_of_the_clock_and_tried_again() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let serve = |port: u16, from: i32| {
        let files = authority.issue_for("localhost", from, 2100);
        let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
        Peer::receiver_at(port, &directory.path().join("got"), &["--tls-cert", cert, "--tls-key", key])
    };
    let mut early = serve(0, 2090);
    let url = format!("wss://localhost:{}/", early.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &trusting(&authority)));
    agent.wait_until_down("not valid yet, but from 2090-01-01 on: this machine's clock is");
    early.process.terminate();
    let _peer = serve(early.port, 2000);
    agent.wait_until_up();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let files = authority.issue("elsewhere.example");
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    let peer = Peer::receiver(&directory.path().join("got"), &["--tls-cert", cert, "--tls-key", key]);
    let url = format!("wss://localhost:{}/", peer.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &trusting(&authority)));
    agent.wait_until_down("elsewhere.example");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_as_such() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let authority = Authority::new(directory.path(), "ours");
    let url = format!("wss://127.0.0.1:{}/", peer.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &trusting(&authority)));
    agent.wait_until_down("TLS");
}

#[test]
fn sensors_can_post_over_https() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let files = authority.issue("localhost");
    let tls = format!("tls = {{ cert = {:?}, key = {:?} }}", files.cert, files.key);
    let agent = Agent::start_with(directory.path(), "", &tls);
    let port = agent.address.rsplit(':').next().unwrap();
    let (status, body) = curl(&[
        "--cacert",
        authority.ca.to_str().unwrap(),
        "-d",
        "21.5",
        &format!("https://localhost:{port}/kitchen/temperature"),
    ]);
    assert_eq!(status, 200, "{body}");
}
