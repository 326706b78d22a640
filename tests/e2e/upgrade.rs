//! Answers to the upgrade that are legal and not just 101: redirects by nginx, informational answers, old forms of a head.

use crate::harness::{Agent, Authority, Peer, Proxy, curl, numbered, scratch, uplink, wait_for_value};

fn moved(status: u16, location: &str) -> String {
    format!("location / {{\nreturn {status} {location};\n}}\n")
}

#[test]
fn a_link_goes_where_the_redirects_of_nginx_lead_and_delivers_there() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let locations = format!(
        "location = /ingest {{\nreturn 301 /next/;\n}}\nlocation = /next/ {{\nreturn 308 http://127.0.0.1:$server_port/last;\n}}\n\
         location = /last {{\nreturn 307 http://127.0.0.1:{}/in;\n}}\n",
        peer.port
    );
    let nginx = Proxy::serving(directory.path(), None, &locations);
    let agent = Agent::start(directory.path(), &uplink(&format!("WS://127.0.0.1:{}/ingest", nginx.port), ""));
    agent.post_all("/a", &numbered(20));
    agent.wait_until_delivered();
    wait_for_value(&numbered(20), || peer.lines());
}

#[test]
fn a_circle_of_redirects_and_one_to_another_host_without_tls_are_told() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let circle = Proxy::serving(directory.path(), None, &moved(302, "/again"));
    let url = format!("ws://127.0.0.1:{}/", circle.port);
    let agent = Agent::start(directory.path(), &uplink(&url, ""));
    agent.wait_until_down("the server redirects more than 3 times");
    let away = moved(302, &format!("http://localhost:{}/", peer.port));
    let away = Proxy::serving(directory.path(), None, &away);
    let other = scratch();
    let agent = Agent::start(other.path(), &uplink(&format!("ws://127.0.0.1:{}/", away.port), ""));
    let words = format!("HTTP 302 Found to http://localhost:{}/, which is not followed", peer.port);
    agent.wait_until_down(&words);
    agent.wait_until_down("it leads to another host without TLS");
}

#[test]
fn no_credentials_go_along_to_another_host() {
    let directory = scratch();
    let authority = Authority::new(directory.path(), "ours");
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let locations = format!(
        "if ($http_authorization) {{ return 403; }}\nif ($http_x_api_key) {{ return 403; }}\nlocation / {{\n\
         proxy_pass http://127.0.0.1:{};\nproxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection \"upgrade\";\n}}\n",
        peer.port
    );
    let other = Proxy::serving(directory.path(), Some(&authority.issue("127.0.0.1")), &locations);
    // Without the login nobody is sent on.
    let locations = format!(
        "if ($http_authorization = \"\") {{ return 401; }}\n{}",
        moved(307, &format!("https://127.0.0.1:{}/in", other.port))
    );
    let first = Proxy::serving(directory.path(), Some(&authority.issue("localhost")), &locations);
    let more = format!("tls = {{ ca = {:?} }}\nheaders = {{ x-api-key = \"k3y\" }}", authority.ca);
    let url = format!("wss://gw:s3cret@localhost:{}/", first.port);
    let agent = Agent::start(directory.path(), &uplink(&url, &more));
    agent.post_all("/a", &numbered(5));
    agent.wait_until_delivered();
    wait_for_value(&numbered(5), || peer.lines());
}

#[test]
fn a_server_that_answers_in_old_and_long_forms_after_a_100_continue_is_delivered_to() {
    let directory = scratch();
    let peer = Peer::python("echo_store", &directory.path().join("got"), &[]);
    let upstream = peer.port.to_string();
    let front = Peer::python("old_front", &directory.path().join("front"), &["--upstream", &upstream]);
    let agent = Agent::start(directory.path(), &uplink(&front.url(), ""));
    agent.post_all("/a", &numbered(20));
    agent.wait_until_delivered();
    wait_for_value(&numbered(20), || peer.lines());
}

#[test]
fn a_handshake_whose_upgrade_nginx_took_away_is_told_so_on_both_sides() {
    let (directory, other) = (scratch(), scratch());
    let server = Agent::start(directory.path(), "");
    let locations =
        format!("location / {{\nproxy_pass http://{};\nproxy_http_version 1.0;\n}}\n", server.address);
    let nginx = Proxy::serving(directory.path(), None, &locations);
    let fields = ["-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let url = format!("http://127.0.0.1:{}/a", nginx.port);
    let (status, body) =
        curl(&[&fields[..], &["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", &url]].concat());
    assert!(
        status == 426 && body.contains("a proxy in front of this server took it away"),
        "{status} {body}"
    );
    let agent = Agent::start(other.path(), &uplink(&format!("ws://127.0.0.1:{}/a", nginx.port), ""));
    agent.wait_until_down("the server answers HTTP 426 Upgrade Required");
}

#[test]
fn a_handshake_that_nginx_passes_on_in_http_1_0_is_told_so() {
    let directory = scratch();
    let server = Agent::start(directory.path(), "");
    let locations = format!(
        "location / {{\nproxy_pass http://{};\nproxy_http_version 1.0;\nproxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection upgrade;\n}}\n",
        server.address
    );
    let nginx = Proxy::serving(directory.path(), None, &locations);
    let url = format!("http://127.0.0.1:{}/a", nginx.port);
    let fields =
        ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Upgrade: websocket"];
    let fields = fields.iter().flat_map(|field| ["-H", field]);
    let (status, body) = curl(&fields.chain(["-H", "Connection: Upgrade", &url]).collect::<Vec<_>>());
    assert!(
        status == 426 && body.contains("needs HTTP/1.1") && body.contains("proxy_http_version 1.1"),
        "{status} {body}"
    );
}
