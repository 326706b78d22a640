//! Sensors and people behind nginx, in front of the server.

use std::path::Path;

use crate::harness::{Agent, Proxy, curl, free_port, scratch, uplink, wait_until};

const LOGIN: &str = "auth = \"basic\"\nusers = [{ name = \"pump\", password = \"a\" }]\n";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]\n";
/// A name for what nginx is told; the caller comes at its own address of loopback.
const SAYS_ADDRESS: &str = "proxy_set_header X-Forwarded-For $remote_addr;\n";
const KEEPS_LIST: &str = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n";

/// An nginx that holds its connections to the agent open, for all of its callers.
fn nginx(directory: &Path, agent: &Agent, lines: &str) -> Proxy {
    let locations = format!(
        "location / {{\nproxy_pass http://{};\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n{lines}}}\n",
        agent.address
    );
    Proxy::serving(directory, None, &locations)
}

/// What an attempt from an address of loopback gets.
fn from(address: &str, login: &str, url: &str) -> u16 {
    curl(&["--interface", address, "-d", "1", "-u", login, url]).0
}

/// So many wrong logins at once, until they have to wait.
fn guess(address: &str, url: &str) {
    std::thread::scope(|scope| {
        for number in 0..6 {
            let login = format!("pump:guess-{number}");
            scope.spawn(move || from(address, &login, url));
        }
    });
    wait_until("the guesser has to wait", || from(address, "pump:other", url) == 429);
}

#[test]
fn wrong_logins_of_one_caller_behind_a_proxy_hold_up_no_other_one() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", &format!("{LOGIN}{TRUSTED}"));
    let proxy = nginx(directory.path(), &agent, KEEPS_LIST);
    let url = format!("http://127.0.0.1:{}/a", proxy.port);
    guess("127.0.0.66", &url);
    assert_eq!(from("127.0.0.66", "pump:a", &url), 429, "also with the right one");
    assert_eq!(from("127.0.0.7", "pump:a", &url), 200);
    let pretend =
        |header: &str| curl(&["--interface", "127.0.0.66", "-H", header, "-d", "1", "-u", "pump:a", &url]).0;
    assert_eq!(pretend("X-Forwarded-For: 127.0.0.7"), 429, "its own word does not count");
    agent.process.said(&["login failed", "from=127.0.0.66"]);
    // nginx passes `Forwarded` on as it comes: it makes a caller unknown, never another one.
    pretend("Forwarded: for=127.0.0.7");
    agent.process.said(&["proxy server=sensors from=127.0.0.1", "name different callers"]);
}

#[test]
fn behind_caddy_and_apache_as_the_documentation_has_them_each_caller_is_its_own() {
    let directory = scratch();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/agent/doc/reverse-proxies.md"))
        .unwrap();
    let block = |language: &str| {
        let (_, behind) = page.split_once(&format!("```{language}\n")).unwrap();
        behind.split("```").next().unwrap().to_owned()
    };
    let agent = Agent::start_with(directory.path(), "", &format!("{LOGIN}{TRUSTED}"));
    let lines = |language| block(language).replace("127.0.0.1:9998", &agent.address);
    let modules = ["headers", "proxy", "proxy_http"];
    let proxies = [
        ("127.0.0.66", Proxy::caddy(directory.path(), &lines("caddy"))),
        ("127.0.0.67", Proxy::apache(directory.path(), &modules, &lines("apache"))),
    ];
    for (guesser, proxy) in proxies {
        let url = format!("http://127.0.0.1:{}/a", proxy.port);
        guess(guesser, &url);
        for header in ["X-Forwarded-For: 127.0.0.7", "Forwarded: for=127.0.0.7"] {
            let (status, _) = curl(&["--interface", guesser, "-H", header, "-d", "1", "-u", "pump:a", &url]);
            assert_eq!(status, 429, "its own word does not count: {header}");
        }
        assert_eq!(from("127.0.0.7", "pump:a", &url), 200);
        agent.process.said(&["login failed", &format!("from={guesser}")]);
        let (status, error) = curl(&["-u", "pump:a", &format!("http://127.0.0.1:{}/api/topics", proxy.port)]);
        assert!(status == 403 && error.contains("/api is open to this machine only"), "{status} {error}");
        let far = directory.path().join(guesser);
        std::fs::create_dir(&far).unwrap();
        let other = Agent::start(&far, &uplink(&format!("ws://pump:a@127.0.0.1:{}/b", proxy.port), ""));
        other.post("/x", "1");
        other.wait_until_delivered();
        assert_eq!(
            curl(&["-H", "Host: other.example", "-u", "pump:a", &url]).0,
            421,
            "the name is passed on"
        );
    }
}

#[test]
fn without_trust_all_callers_behind_a_proxy_are_one_and_the_log_says_what_helps() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", LOGIN);
    let proxy = nginx(directory.path(), &agent, SAYS_ADDRESS);
    let url = format!("http://127.0.0.1:{}/a", proxy.port);
    guess("127.0.0.66", &url);
    assert_eq!(from("127.0.0.7", "pump:a", &url), 429);
    let remedy = "trusted_proxies = [\"127.0.0.1\"] in [[server]] sensors";
    agent.process.said(&["WARN", "proxy server=sensors from=127.0.0.1", remedy]);
    assert_eq!(agent.process.count(&["proxy server="]), 1, "once");
}

#[test]
fn what_is_for_this_machine_is_not_reached_through_a_proxy() {
    let directory = scratch();
    let socket = directory.path().join("s.sock");
    for trusted in ["", "trusted_proxies = [\"127.0.0.1\", \"unix\"]\n"] {
        let bind = format!(
            "[[server]]\nid = \"other\"\nbind = [\"unix:{}\", \"127.0.0.1:{}\"]\n",
            socket.display(),
            free_port()
        );
        let agent = Agent::start_with(directory.path(), &format!("{bind}{trusted}"), trusted);
        agent.process.said(&["listening server=other url=unix:"]);
        let direct = curl(&[&format!("http://{}/api/topics", agent.address)]);
        assert_eq!(direct.0, 200, "{}", direct.1);
        let bare = format!("location / {{\nproxy_pass http://{};\n}}\n", agent.address);
        let of_socket = format!("location / {{\nproxy_pass http://unix:{}:;\n}}\n", socket.display());
        for proxy in [
            nginx(directory.path(), &agent, SAYS_ADDRESS),
            nginx(directory.path(), &agent, "proxy_set_header Forwarded \"for=$remote_addr\";\n"),
            nginx(directory.path(), &agent, "proxy_set_header X-Real-IP $remote_addr;\n"),
            Proxy::serving(directory.path(), None, &bare),
            Proxy::serving(directory.path(), None, &of_socket),
        ] {
            let url = |path: &str| format!("http://127.0.0.1:{}{path}", proxy.port);
            let (status, error) = curl(&[&url("/api/topics")]);
            assert!(status == 403 && error.contains("/api is open to this machine only"), "{status} {error}");
            assert!(!trusted.is_empty() || error.contains("trusted_proxies = ["), "{error}");
            assert_eq!(curl(&["-d", "1", &url("/a")]).0, 200, "messages are");
        }
    }
}
