//! Names, origins and subprotocols, tried with what is there in the field: curl, Python, nginx and a browser.

use std::path::Path;
use std::process::Command;

use crate::harness::{Agent, curl, python, scratch};

const PUMP: &str = "[[server.route]]\npath = \"/pump/{on}\"\nmode = \"connection\"\n";

/// Result of a page in a headless browser, when `evil.example` has come to lead to this machine.
fn browse(directory: &Path, url: &str) -> String {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]);
    command.arg("--host-resolver-rules=MAP evil.example 127.0.0.1, MAP gw.test 127.0.0.1");
    command.arg(format!("--user-data-dir={}", directory.join("profile").display()));
    let output =
        command.args(["--virtual-time-budget=5000", "--dump-dom", url]).output().expect("chromium runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_page_whose_name_is_made_to_point_here_reads_nothing() {
    let directory = scratch();
    let agent = Agent::start_with(directory.path(), "", "hostnames = [\"gw.test\"]\n");
    let port = agent.address.rsplit_once(':').unwrap().1;
    let page = browse(directory.path(), &format!("http://evil.example:{port}/api/status"));
    assert!(page.contains("evil.example is no name of this gateway"), "{page}");
    let page = browse(directory.path(), &format!("http://gw.test:{port}/api/status"));
    assert!(page.contains("\"state\":\"online\""), "{page}");
    let url = |path: &str| format!("http://{}{path}", agent.address);
    for path in ["/", "/metrics", "/healthz", "/api/topics", "/api/tap", "/kitchen"] {
        assert_eq!(curl(&["-H", "Host: evil.example", &url(path)]).0, 421, "{path}");
    }
    agent.process.said(&["name denied", "host=evil.example", "hostnames = [\"evil.example\"]"]);
    assert_eq!(agent.process.count(&["name denied"]), 1, "once");
}

#[test]
fn an_image_on_another_page_sets_no_pump_and_a_program_does() {
    let directory = scratch();
    let agent = Agent::start_of(directory.path(), "id = \"gw\"\n", PUMP);
    let file = directory.path().join("page.html");
    let url = format!("http://{}/pump/1", agent.address);
    let page = format!("<title>no</title><img src=\"{url}\" onerror=\"document.title = 'asked'\">");
    std::fs::write(&file, page).unwrap();
    let shown = browse(directory.path(), &format!("file://{}", file.display()));
    assert!(shown.contains("<title>asked</title>"), "{shown}");
    agent.wait_for_fact("/servers/sensors/denied_origins", 1);
    agent.wait_for_fact("/buffer/accepted", 0);
    assert_eq!(curl(&["-H", "User-Agent: Mozilla/5.0", &url]).0, 403);
    assert_eq!(curl(&["-H", "User-Agent:", &url]).0, 403, "nothing is no permission");
    assert_eq!(curl(&[&url]).0, 200);
    assert_eq!(curl(&["-X", "POST", "-d", "", "-H", "User-Agent: Mozilla/5.0", &url]).0, 200);
}

const READING: &str = r#"
hostnames = ["gw.test"]
http = { page = "own.html" }
[[server.route]]
path = "/get/{device}"
methods = ["GET"]
[[server]]
id = "other"
bind = ["127.0.0.1:0"]
hostnames = ["gw.test"]
http = { page = "other.html" }
"#;

#[test]
fn a_reading_comes_by_get_from_a_device_and_from_a_page_of_the_server_but_not_from_another_page() {
    let directory = scratch();
    let (own, other) = (directory.path().join("own.html"), directory.path().join("other.html"));
    let asks = |url: &str| {
        format!(
            "<title>no</title><img src=\"{url}\" onerror=\"document.title = 'none'\"><script>fetch(\"{url}\", {{ mode: \
             \"no-cors\" }}).then(r => document.title += r.status, e => document.title += e.name);</script>"
        )
    };
    std::fs::write(&own, asks("/get/own?t=1")).unwrap();
    std::fs::write(&other, "").unwrap();
    let agent = Agent::start_of(directory.path(), "id = \"gw\"\n", READING);
    let (_, port) = agent.address.rsplit_once(':').unwrap();
    let foreign = agent.process.read("the other server listens", |line| {
        let (_, url) = line.split_once("listening server=other url=")?;
        Some(url.trim().rsplit_once(':')?.1.to_owned())
    });
    for (host, accepted, denied) in [("127.0.0.1", 2, 2), ("gw.test", 4, 4)] {
        browse(directory.path(), &format!("http://{host}:{port}/"));
        agent.wait_for_fact("/buffer/accepted", accepted);
        std::fs::write(&other, asks(&format!("http://{host}:{port}/get/other?t=1"))).unwrap();
        browse(directory.path(), &format!("http://{host}:{foreign}/"));
        agent.wait_for_fact("/servers/sensors/denied_origins", denied);
        agent.wait_for_fact("/buffer/accepted", accepted);
    }
    let url = format!("http://{}/get/esp?t=1", agent.address);
    assert_eq!(curl(&["-H", "User-Agent:", "-H", "Accept:", &url]).0, 200, "an ESP says nothing of itself");
    let (status, error) = curl(&["-A", "Mozilla/5.0", "-e", "http://evil.example/page", &url]);
    assert!(
        status == 403 && error.contains("http://evil.example") && error.contains("/get/{device}"),
        "{error}"
    );
}

#[test]
fn a_client_that_offers_subprotocols_gets_the_one_of_the_route_or_the_first() {
    let directory = scratch();
    let route = "[[server.route]]\npath = \"/ocpp/{device}\"\nsubprotocols = [\"ocpp1.6\"]\n";
    let agent = Agent::start_of(directory.path(), "id = \"gw\"\n", route);
    let spoken = |path: &str, offered: &str| {
        let url = format!("ws://{}{path}", agent.address);
        let output = python("offer").args(["--url", &url, "--offer", offered]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(spoken("/a", "v2.plant,v1.plant"), "v2.plant");
    assert_eq!(spoken("/ocpp/1", "ocpp2.0.1,ocpp1.6"), "ocpp1.6");
    assert_eq!(spoken("/ocpp/1", "other"), "None");
}
