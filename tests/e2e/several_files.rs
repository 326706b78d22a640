//! A configuration of several files: the main one and `conf.d/*.toml` beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::harness::{Agent, Peer, numbered, scratch, uplink, wait_until};

fn ask(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Agent::command();
    command.args(arguments).arg("--config").arg(directory.join("holdfast.toml"));
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn table(id: &str, url: &str) -> String {
    uplink(url, "").replace("\"cloud\"", &format!("\"{id}\""))
}

#[test]
fn a_file_that_is_laid_beside_the_main_one_brings_a_link_and_commands_change_it_there() {
    let directory = scratch();
    let (main, beside) = (directory.path().join("holdfast.toml"), directory.path().join("conf.d"));
    let cloud = Peer::python("echo_store", &directory.path().join("cloud"), &[]);
    let lab = Peer::python("echo_store", &directory.path().join("lab"), &[]);
    std::fs::create_dir(&beside).unwrap();
    let agent = Agent::start(directory.path(), &uplink(&cloud.url(), ""));
    agent.wait_until_up();
    let file = beside.join("50-lab.toml");
    std::fs::write(&file, format!("# Of the lab.\n{}", table("lab", &lab.url()))).unwrap();
    assert!(ask(directory.path(), &["reload"]).status.success());
    agent.wait_for_fact("/links/lab/state", "up");
    agent.post_all("/a", &numbered(5));
    agent.wait_until_delivered();
    wait_until("the lab has them, too", || lab.lines() == numbered(5));
    let before = std::fs::read_to_string(&main).unwrap();
    let checked = told(&ask(directory.path(), &["check"]));
    let from = format!("# from {}\n# from {}\n", main.display(), file.display());
    assert!(checked.contains(&from), "{checked}");
    let shown = told(&ask(directory.path(), &["client", "show", "lab"]));
    assert!(shown.starts_with(&format!("# from {}\n[[client]]\nid = \"lab\"", file.display())), "{shown}");
    let disabled = told(&ask(directory.path(), &["client", "disable", "lab"]));
    assert!(disabled.contains(&format!("disabled client lab in {}", file.display())), "{disabled}");
    agent.wait_for_fact("/links/lab/state", "inactive");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# Of the lab.\n") && text.contains("active = false"), "{text}");
    let added =
        told(&ask(directory.path(), &["client", "add", "ws://127.0.0.1:1/", "--set", "active=false"]));
    assert!(added.contains(&format!("added client ws_client_2 in {}", main.display())), "{added}");
    assert!(ask(directory.path(), &["client", "remove", "WS_CLIENT_2"]).status.success());
    assert!(ask(directory.path(), &["client", "remove", "lab"]).status.success());
    wait_until("it is gone", || agent.fact("/links/lab") == Value::Null);
    assert_eq!(std::fs::read_to_string(&main).unwrap().trim_end(), before.trim_end());
    assert_eq!(agent.fact("/links/cloud/reconnects"), 0);
}

#[test]
fn what_two_files_disagree_about_is_refused_with_both_and_what_is_in_force_stays() {
    let directory = scratch();
    let beside = directory.path().join("conf.d");
    let agent = Agent::start(directory.path(), &uplink("ws://127.0.0.1:1/", ""));
    std::fs::create_dir(&beside).unwrap();
    let cases = [
        (
            table("CLOUD", "ws://h"),
            ["conf.d/x.toml:2:6: client[1].id: `CLOUD` is taken by ", "holdfast.toml:10:6"],
        ),
        ("[agent]\n".to_owned(), ["conf.d/x.toml:1:2: agent: stands in ", "holdfast.toml:1:2 as well"]),
        ("[[client]]\nurl = 'ws://h'\n".to_owned(), ["conf.d/x.toml:1:1: client[1].id: is missing", ""]),
        ("[[client]\n".to_owned(), ["conf.d/x.toml:1:", ""]),
    ];
    for (text, words) in cases {
        std::fs::write(beside.join("x.toml"), text).unwrap();
        for command in ["check", "reload"] {
            let refused = ask(directory.path(), &[command]);
            let told = told(&refused);
            assert!(
                !refused.status.success() && words.iter().all(|word| told.contains(word)),
                "{command}: {told}"
            );
        }
    }
    assert_eq!(agent.fact("/session"), 1);
    let secret = format!("{}auth = {{ bearer = \"s3cret\" }}\n", table("lab", "ws://h"));
    std::fs::write(beside.join("x.toml"), secret).unwrap();
    std::fs::set_permissions(beside.join("x.toml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let warned = told(&ask(directory.path(), &["check"]));
    assert!(
        warned.contains("conf.d/x.toml can be read by everybody on this machine and holds secrets"),
        "{warned}"
    );
    assert!(!warned.contains("s3cret"), "{warned}");
}
