//! Requests that came through a proxy.

use std::path::Path;

use holdfast_core::config::{Config, Environment, Overrides};

use super::*;

const PROXIED: &str = "trusted_proxies = ['127.0.0.1']\n";

/// A server with these lines beside its address.
fn server(lines: &str) -> Server {
    let environment = Environment { host_name: "gw", data_dir: Path::new("/d"), env: &|_| None };
    let text = format!("[[server]]\nid = 'sensors'\nbind = ['127.0.0.1:0']\n{lines}");
    let config = Config::parse(&text, Path::new("/t"), &Overrides::default(), &environment).unwrap();
    config.servers[0].clone()
}

async fn post_for(bench: &Bench, caller: &str) -> (u16, String) {
    bench.ask("POST", "/a", &format!("x-forwarded-for: {caller}\r\n"), "1").await
}

/// One request on a connection that stays open. Returns the status.
async fn one_more(stream: &mut TcpStream, caller: &str) -> u16 {
    let request =
        format!("POST /a HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {caller}\r\ncontent-length: 1\r\n\r\n1");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut part = [0; 1024];
        let bytes = stream.read(&mut part).await.unwrap();
        assert!(bytes > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..bytes]);
    }
    split(&String::from_utf8(answer).unwrap()).0
}

#[test]
fn callers_of_one_connection_are_told_apart_request_by_request() {
    with(
        server(&format!("{PROXIED}limits = {{ rate_per_ip = '1/h', rate_per_client = '1/h' }}")),
        async |bench| {
            let mut stream = bench.connect().await;
            let mut found = Vec::new();
            for caller in
                ["203.0.113.1", "203.0.113.1", "203.0.113.2", "9.9.9.9, 203.0.113.2", "_x", "unknown"]
            {
                found.push(one_more(&mut stream, caller).await);
            }
            assert_eq!(found, [200, 429, 200, 429, 200, 429], "those of whom nothing is known are one");
        },
    );
    with(server("limits = { rate_per_ip = '1/h' }"), async |bench| {
        assert_eq!(post_for(&bench, "203.0.113.1").await.0, 200);
        assert_eq!(post_for(&bench, "203.0.113.2").await.0, 429, "nobody is trusted: both are the peer");
    });
}

#[test]
fn callers_are_let_in_by_their_own_addresses_and_the_proxy_needs_no_entry() {
    with(server(&format!("{PROXIED}allow = ['203.0.113.0/24']\ndeny = ['203.0.113.66']")), async |bench| {
        assert_eq!(post_for(&bench, "203.0.113.1").await.0, 200);
        for other in ["203.0.113.66", "198.51.100.1", "203.0.113.1, unknown", "nonsense", "127.0.0.1"] {
            let (status, error) = post_for(&bench, other).await;
            assert!(status == 403 && error.contains("`allow` and `deny`"), "{other}: {error}");
        }
        assert_eq!(bench.post("/a", "1").await.0, 403, "its own requests do");
    });
}

#[test]
fn a_caller_behind_a_proxy_has_so_many_web_sockets_and_another_one_has_its_own() {
    with(server(&format!("{PROXIED}limits = {{ connections_per_ip = 1 }}")), async |bench| {
        let open = async |caller: &str| {
            let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            let head = format!(
                "GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n{key}forwarded: for={caller}\r\n\r\n"
            );
            let mut stream = bench.connect().await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            (String::from_utf8_lossy(&answer[9..]).into_owned(), stream)
        };
        let (status, first) = open("203.0.113.1").await;
        assert_eq!(status, "101");
        assert_eq!(open("203.0.113.1").await.0, "503");
        let (status, _other) = open("203.0.113.2").await;
        assert_eq!(status, "101");
        drop(first);
        while open("203.0.113.1").await.0 != "101" {
            smol::future::yield_now().await;
        }
    });
}

#[test]
fn the_name_that_a_caller_has_asked_for_counts_as_a_trusted_proxy_says_it() {
    let ask = async |bench: &Bench, header: &str| bench.ask("POST", "/a", header, "1").await.0;
    with(server(&format!("{PROXIED}hostnames = ['panel.example']")), async |bench| {
        let by = |host: &str| format!("x-forwarded-for: 203.0.113.1\r\nx-forwarded-host: {host}\r\n");
        assert_eq!(ask(&bench, &by("panel.example")).await, 200);
        assert_eq!(ask(&bench, &by("evil.example")).await, 421);
        assert_eq!(ask(&bench, "forwarded: for=203.0.113.1;host=evil.example\r\n").await, 421);
        assert_eq!(ask(&bench, &by("a b")).await, 400);
        // The page of the name that was asked for, over TLS up to the proxy.
        let page = |scheme: &str| {
            format!(
                "{}x-forwarded-proto: https\r\norigin: {scheme}://panel.example\r\nuser-agent: Mozilla/5.0\r\n",
                by("panel.example")
            )
        };
        assert_eq!(ask(&bench, &page("https")).await, 200);
        assert_eq!(ask(&bench, &page("http")).await, 403, "it came unencrypted");
    });
    with(server(""), async |bench| {
        assert_eq!(ask(&bench, "x-forwarded-host: evil.example\r\n").await, 200, "nobody says so who counts");
    });
}

#[test]
fn nothing_that_came_through_a_proxy_is_local() {
    let signs = [
        "forwarded: for=127.0.0.1\r\n",
        "forwarded: for=\"[::1]\"\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-for:\r\n",
        "x-real-ip: 127.0.0.1\r\n",
        "via: 1.1 nginx\r\n",
        "x-forwarded-proto: https\r\n",
        "connection: upgrade\r\n",
    ];
    for lines in ["", PROXIED, "trusted_proxies = ['0.0.0.0/0', 'unix']"] {
        with(server(lines), async |bench| {
            assert_eq!(bench.ask("GET", "/api/topics", "", "").await.0, 200);
            for sign in signs {
                let (status, error) = bench.ask("GET", "/api/topics", sign, "").await;
                assert!(status == 403 && error.contains("this machine only"), "{lines} {sign}: {error}");
                let remedy = "trusted_proxies = [\\\"127.0.0.1\\\"] in [[server]] sensors";
                assert_eq!(error.contains(remedy), lines.is_empty(), "{lines} {sign}: {error}");
            }
            for head in
                ["HTTP/1.0\r\nhost: 127.0.0.1\r\n", "HTTP/1.1\r\nconnection: close\r\nhost: 203.0.113.9\r\n"]
            {
                let (status, error) = split(&bench.raw(&format!("GET /api/topics {head}\r\n")).await);
                assert!(status == 403 && error.contains("this machine only"), "{head}: {error}");
            }
            let (status, error) = bench.ask("GET", "/subscribe", "x-forwarded-for: ::1\r\n", "").await;
            assert!(status == 403 && error.contains("this machine only"), "{error}");
        });
    }
}

#[test]
fn behind_a_unix_socket_a_proxy_is_told_from_a_program_and_its_names_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let mut both = server("trusted_proxies = ['unix']\nlimits = { rate_per_ip = '1/h' }\n");
    both.bind.push(format!("unix:{}", path.display()));
    with(both, async |_bench| {
        let ask = async |headers: &str| {
            let stream = smol::net::unix::UnixStream::connect(&path).await.unwrap();
            split(&talk(stream, &request("POST", "/a", headers, "1")).await).0
        };
        let callers = ["203.0.113.1", "203.0.113.1", "203.0.113.2"];
        let mut found = Vec::new();
        for caller in callers {
            found.push(ask(&format!("x-forwarded-for: {caller}\r\n")).await);
        }
        assert_eq!(found, [200, 429, 200]);
        assert_eq!(ask("x-forwarded-for: 203.0.113.3\r\nx-forwarded-host: evil.example\r\n").await, 421);
        assert_eq!(ask("").await, 200);
    });
}
