//! A page, or the files of a folder.

use std::path::Path;
use std::process::Command;

use crate::harness::{Agent, curl, scratch};

fn files(directory: &Path) -> Agent {
    let www = directory.join("www");
    std::fs::create_dir_all(www.join("css")).unwrap();
    for (name, text) in [
        ("www/index.html", "<h1>front</h1>"),
        ("www/css/index.html", "<h1>styles</h1>"),
        ("www/css/a.css", "p { color: red }"),
        ("www/.htpasswd", "secret"),
        ("secret", "secret"),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("../secret", www.join("leak")).unwrap();
    std::os::unix::fs::symlink("..", www.join("up")).unwrap();
    Agent::start_with(directory, "", "http = { files = \"www\" }")
}

#[test]
fn a_folder_is_shown_with_types_and_index_documents() {
    let directory = scratch();
    let agent = files(directory.path());
    let url = |path: &str| format!("http://{}{path}", agent.address);
    assert_eq!(curl(&[&url("/")]), (200, "<h1>front</h1>".to_owned()));
    assert_eq!(curl(&["--location", &url("/css")]), (200, "<h1>styles</h1>".to_owned()));
    let (status, head) = curl(&["--head", &url("/css/a.css")]);
    assert!(status == 200 && head.contains("content-type: text/css; charset=utf-8"), "{head}");
    assert!(
        head.contains("x-content-type-options: nosniff") && head.contains("content-length: 16"),
        "{head}"
    );
    assert_eq!(agent.post("/css/a.css", "1"), 1, "a path is a topic all the same");
    std::fs::remove_file(directory.path().join("www/css/index.html")).unwrap();
    assert_eq!(curl(&[&url("/css/")]).0, 404, "nothing is listed");
}

#[test]
fn no_path_leads_out_of_the_folder_or_to_a_hidden_file() {
    let directory = scratch();
    let agent = files(directory.path());
    for path in [
        "/../secret",
        "/css/../../secret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "/css/..%2f..%2fsecret",
        "/%252e%252e/secret",
        "//secret",
        "/leak",
        "/up/secret",
        "/.htpasswd",
        "/css/../.htpasswd",
        "/%2ehtpasswd",
        "/index.html%00.css",
    ] {
        let (status, body) = curl(&["--path-as-is", &format!("http://{}{path}", agent.address)]);
        assert!(
            matches!(status, 400 | 404) && !body.contains("\"secret\"") && body != "secret",
            "{path}: {status} {body}"
        );
    }
}

#[test]
fn a_download_is_resumed_and_one_that_did_not_change_is_not_repeated() {
    let directory = scratch();
    let agent = files(directory.path());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(directory.path().join("www/log.bin"), &bytes).unwrap();
    let (url, copy) = (format!("http://{}/log.bin", agent.address), directory.path().join("copy"));
    std::fs::write(&copy, &bytes[..1_234_567]).unwrap();
    let resumed = Command::new("curl")
        .args(["--silent", "--fail", "--max-time", "30", "--continue-at", "-", "--output"])
        .arg(&copy)
        .arg(&url)
        .status()
        .unwrap();
    assert!(resumed.success() && std::fs::read(&copy).unwrap() == bytes);
    let tag = directory.path().join("tag");
    let (tag, sink) = (tag.to_str().unwrap(), "/dev/null");
    assert_eq!(curl(&["--output", sink, "--etag-save", tag, &url]).0, 200);
    assert_eq!(curl(&["--output", sink, "--etag-compare", tag, &url]).0, 304);
    std::fs::write(directory.path().join("www/log.bin"), "new").unwrap();
    assert_eq!(curl(&["--etag-compare", tag, &url]), (200, "new".to_owned()));
    assert_eq!(curl(&["--range", "5-", &url]).0, 416);
}

#[test]
fn a_page_is_shown_as_it_is_at_that_moment() {
    let directory = scratch();
    let page = directory.path().join("page.html");
    std::fs::write(&page, "<p>one").unwrap();
    let agent = Agent::start_with(directory.path(), "", "http = { page = \"page.html\" }");
    let url = format!("http://{}/", agent.address);
    assert_eq!(curl(&[&url]), (200, "<p>one".to_owned()));
    std::fs::write(&page, "<p>two").unwrap();
    assert_eq!(curl(&[&url]), (200, "<p>two".to_owned()));
}

#[test]
fn a_folder_that_is_missing_ends_the_start_with_its_name() {
    let directory = scratch();
    let text = format!(
        "[agent]\ndata_dir = {:?}\n[[server]]\nbind = [\"127.0.0.1:0\"]\nhttp = {{ files = \"none\" }}\n",
        directory.path().join("data")
    );
    std::fs::write(directory.path().join("holdfast.toml"), text).unwrap();
    let mut process = Agent::launch(directory.path());
    process.said(&["cannot show", "none: no such file or directory"]);
    assert!(!process.exit().success());
    let check =
        Agent::command().arg("check").arg("--config").arg(directory.path().join("holdfast.toml")).output();
    let words = String::from_utf8_lossy(&check.unwrap().stderr).into_owned();
    assert!(words.contains("cannot find") && words.contains("none"), "{words}");
}
