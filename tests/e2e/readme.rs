//! The commands of the README, as they stand, and the configurations of all pages.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Agent, python, scratch};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Waits for the last message, and ends what runs.
const END: &str = r#"
for try in $(seq 3000); do grep -qx 1000 output && break; sleep 0.01; done
kill $(jobs -p); wait
"#;

fn read(page: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The blocks of a page behind a fence, each with the line above it.
fn blocks<'t>(text: &'t str, fence: &str) -> Vec<(&'t str, &'t str)> {
    let fence = format!("\n{fence}\n");
    let starts = text.match_indices(&fence).map(|(at, _)| at);
    let block = |at: usize| {
        let above = text[..at].rsplit('\n').next().unwrap_or_default();
        let rest = &text[at + fence.len()..];
        (above, rest.split("```").next().unwrap_or_default())
    };
    starts.map(block).collect()
}

/// Everything is pasted into one terminal, whose network has nothing but loopback: so the ports of the README are free.
#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let text = read("README.md");
    let shown = blocks(&text, "```sh").into_iter().filter(|(above, _)| *above == "<!-- run -->");
    let lines: Vec<&str> = shown.flat_map(|(_, block)| block.lines()).collect();
    let script = format!("set -m\nip link set lo up\n{}\n{END}", lines.join("\n"));
    let directory = scratch();
    let output = directory.path().join("output");
    std::fs::write(directory.path().join("script"), script).unwrap();
    let file = std::fs::File::create(&output).unwrap();
    let binary = Path::new(Agent::command().get_program()).parent().expect("it lies somewhere").to_owned();
    let path = format!("{}:{}:/usr/sbin:/sbin", binary.display(), std::env::var("PATH").unwrap());
    let mut terminal = Command::new("unshare");
    terminal.args(["--user", "--map-root-user", "--net", "bash", "script"]).current_dir(directory.path());
    terminal.env("PATH", path).env("RUST_LOG", "info").stdin(Stdio::null());
    let ended = terminal.stdout(file.try_clone().unwrap()).stderr(file).status().expect("unshare runs");
    let said = std::fs::read_to_string(&output).unwrap();
    assert!(ended.success(), "{said}");
    for answer in lines.iter().filter_map(|line| line.split_once("# {")) {
        assert!(said.contains(&format!("{{{}", answer.1)), "{said}");
    }
    assert!(said.contains("{\"t\":21.5}\n"), "the first message arrives: {said}");
    let numbers: Vec<&str> = said.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!(numbers, (1..=1000).map(|number| number.to_string()).collect::<Vec<_>>(), "{said}");
    assert!(said.contains("1000 messages"), "the status says what is held: {said}");
}

#[test]
fn the_configurations_of_all_pages_are_sound_and_hold_to_the_schema() {
    let directory = scratch();
    let mut files = Vec::new();
    let mut pages = vec!["README.md".to_owned()];
    let listing = std::fs::read_dir(Path::new(ROOT).join("agent/doc")).unwrap();
    let names = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    pages.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("agent/doc/{name}")));
    for page in &pages {
        for (_, block) in blocks(&read(page), "```toml") {
            let file = directory.path().join(format!("{}-{}.toml", page.replace('/', "-"), files.len()));
            std::fs::write(&file, block).unwrap();
            files.push(file);
        }
    }
    assert!(files.len() > 4, "only {files:?}");
    // The sample as it is shipped, and with every example in it taken.
    let sample = read("systemd/holdfast.toml");
    for (name, text) in [("sample.toml", sample.clone()), ("every-key.toml", sample.replace("#> ", ""))] {
        std::fs::write(directory.path().join(name), text).unwrap();
        files.push(directory.path().join(name));
    }
    for file in &files {
        let checked = Agent::command().arg("check").arg("--config").arg(file).output().unwrap();
        let is_every_key = file.ends_with("every-key.toml");
        assert!(checked.status.success() || is_every_key, "{}: {checked:?}", file.display());
    }
    let schema = Path::new(ROOT).join("agent/doc/holdfast.schema.json");
    let validated = python("by_schema").arg(&schema).args(&files).output().unwrap();
    assert!(validated.status.success(), "{validated:?}");
    let wrong = directory.path().join("wrong.toml");
    let text = "[[client]]\nurl = \"ws://h\"\nwindwo = 7\nconfirm = \"pon\"\n[buffer]\nttl = \"soon\"\n[[server.route]]\n";
    std::fs::write(&wrong, text.replace("[[server.route]]", "[[server]]\n[[server.route]]")).unwrap();
    let refused = python("by_schema").arg(&schema).arg(&wrong).output().unwrap();
    let words = String::from_utf8(refused.stdout).unwrap();
    let places = ["windwo", "$.client[0].confirm", "$.buffer.ttl", "'path' is a required property"];
    assert!(places.iter().all(|place| words.contains(place)) && words.lines().count() == 4, "{words}");
}
