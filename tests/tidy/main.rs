//! Rules of the house that a machine can read. Each test names every place that breaks its rule.

mod messages;
mod pages;
mod source;

use std::path::Path;

use source::{Source, code_of, sources};

/// Lines of a file without its tests.
const LINES_MAX: usize = 600;

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} places:\n{}", broken.len(), broken.join("\n"));
}

/// Places in the code (not the comments, not the tests) of files below `folder` where one of the words stands.
fn places(folder: &str, words: &[&str]) -> Vec<String> {
    let files = sources(folder);
    assert!(!files.is_empty(), "there is nothing below {folder}");
    files.iter().flat_map(|file| file.code_with(words)).collect()
}

#[test]
fn decisions_never_touch_the_world() {
    let world = [
        "async",
        "await",
        "smol",
        "std::fs",
        "std::io",
        "std::thread",
        "std::env",
        "std::process",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "Instant",
        "SystemTime::now",
        "log::",
        "fastrand",
        "HashMap",
        "HashSet",
        "println!",
        "eprintln!",
    ];
    for pure in ["agent/core/src", "agent/receiver/src/state.rs", "agent/schema/src"] {
        let touched = places(pure, &world);
        // Frames are written into memory by this trait.
        let frame = "agent/core/src/wire/write.rs:";
        let is_in_memory =
            |place: &&String| place.starts_with(frame) && place.ends_with("use std::io::Write;");
        let others: Vec<String> = touched.iter().filter(|place| !is_in_memory(place)).cloned().collect();
        assert_none(&others);
    }
}

/// What the crates of the decisions may depend on: none of it has a socket, a file, a clock or a thread to give.
const PURE: [&str; 14] = [
    "base64",
    "encoding_rs",
    "humantime",
    "ipnet",
    "percent-encoding",
    "regex-lite",
    "serde",
    "serde_bytes",
    "serde_cbor",
    "serde_json",
    "strsim",
    "time",
    "toml",
    "toml_edit",
];

#[test]
fn crates_of_decisions_depend_on_nothing_that_touches_the_world() {
    for manifest in ["agent/core/Cargo.toml", "agent/schema/Cargo.toml"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest));
        let text = text.expect("it can be read");
        let (_, rest) = text.split_once("\n[dependencies]\n").expect("it has dependencies");
        let names = rest.lines().take_while(|line| !line.starts_with('['));
        let names: Vec<&str> = names.filter_map(|line| line.split_once(" =")).map(|(name, _)| name).collect();
        assert!(!names.is_empty(), "{manifest} names none");
        let others: Vec<String> = names
            .iter()
            .filter(|name| !PURE.contains(name))
            .map(|name| format!("{manifest}: {name}"))
            .collect();
        assert_none(&others);
    }
}

/// The one file that has nothing but the words of a library to go by: sled quotes errors of the kernel in its own.
const BY_WORDS: &str = "agent/src/store/backend.rs";

#[test]
fn no_decision_looks_at_the_words_of_an_error() {
    let names = ["error", "cause", "fault", "words", "reason", "to_string()", "refusal"];
    let ways = [".contains(", ".starts_with(", ".ends_with(", ".find(", " == \"", " != \"", ".as_str() {"];
    let looks: Vec<String> =
        names.iter().flat_map(|name| ways.iter().map(move |way| format!("{name}{way}"))).collect();
    let looks: Vec<&str> = looks.iter().map(String::as_str).collect();
    let broken = places("agent", &looks).into_iter().filter(|place| !place.starts_with(BY_WORDS));
    assert_none(&broken.collect::<Vec<_>>());
}

#[test]
fn code_outside_tests_never_unwraps() {
    assert_none(&places("agent", &[".unwrap()", "unreachable!", "todo!", "unimplemented!", "dbg!"]));
}

#[test]
fn nothing_is_left_for_later() {
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["HA", "CK"]].map(|parts| parts.concat());
    let broken = sources("agent").into_iter().chain(sources("tests"));
    let broken: Vec<String> = broken
        .flat_map(|file| words.iter().flat_map(|word| file.lines_with(word)).collect::<Vec<_>>())
        .collect();
    assert_none(&broken);
}

#[test]
fn no_test_is_ignored() {
    let attribute = ["#[", "ignore"].concat();
    let files = sources("agent").into_iter().chain(sources("tests"));
    assert_none(&files.flat_map(|file| file.lines_with(&attribute)).collect::<Vec<_>>());
}

#[test]
fn no_code_names_a_place_of_one_machine() {
    let folders = ["/work/", "/root/", "/home/", "/tmp/"];
    let files = sources("agent").into_iter().chain(sources("tests/e2e")).chain(sources("tests/sim"));
    let broken: Vec<String> = files.flat_map(|file| file.code_with(&folders)).collect();
    assert_none(&broken);
}

#[test]
fn dependencies_run_one_way() {
    let rooms =
        ["crate::agent", "crate::device", "crate::link", "crate::observe", "crate::outlet", "crate::source"];
    let above = |more: &[&'static str]| [&rooms, more].concat();
    let upward = [
        ("agent/core/src/message.rs", above(&["crate::config", "crate::wire"])),
        ("agent/core/src/config", above(&["crate::wire"])),
        ("agent/core/src/wire", above(&[])),
    ];
    assert_none(&upward.iter().flat_map(|(folder, words)| places(folder, words)).collect::<Vec<_>>());
}

/// The rooms of the program, and the rooms that each may use beside its own. `cli` and `runtime` are where the others meet.
const ROOMS: [(&str, &[&str]); 7] = [
    ("os", &[]),
    ("net", &["os"]),
    ("source", &["net", "os"]),
    ("outlet", &["net", "os"]),
    ("store", &["os"]),
    ("runtime", &["net", "os", "outlet", "source", "store"]),
    ("cli", &["net", "os", "outlet", "runtime", "source", "store"]),
];

#[test]
fn rooms_of_the_program_meet_in_the_runtime_and_nowhere_else() {
    let mut broken = Vec::new();
    for file in sources("agent/src") {
        let room = file.room();
        if matches!(room, "lib" | "main") {
            continue;
        }
        match ROOMS.iter().find(|(name, _)| *name == room) {
            None => broken.push(format!("{}: {room} is not among the rooms", file.path)),
            Some((_, below)) => broken.extend(strangers(&file, room, below)),
        }
    }
    assert_none(&broken);
}

/// The gateway is the other end of what the receiver speaks.
#[test]
fn nothing_but_its_command_knows_the_receiver() {
    let folders = ["agent/core/src", "agent/schema/src", "agent/src"];
    let named = folders.iter().flat_map(|folder| places(folder, &["holdfast_receiver"]));
    assert_none(&named.filter(|place| !place.starts_with("agent/src/cli/receive.rs:")).collect::<Vec<_>>());
}

/// Uses of rooms that this one may not know.
fn strangers(file: &Source, room: &str, below: &[&str]) -> Vec<String> {
    let is_strange =
        |name: &str| name != room && !below.contains(&name) && ROOMS.iter().any(|(other, _)| *other == name);
    file.code()
        .filter(|(_, line)| line.split("crate::").skip(1).any(|rest| is_strange(first_word(rest))))
        .map(|(number, line)| file.place(number, line))
        .collect()
}

fn first_word(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// Each would start threads of the `blocking` crate, which has as many as it is asked for and spins when there can be no more.
#[test]
fn nothing_is_done_on_threads_that_nobody_counts() {
    let words = [
        "unblock",
        "blocking::",
        "net::resolve(",
        "ToSocketAddrs",
        "smol::fs",
        "smol::process",
        "smol::spawn",
    ];
    let resolver = "agent/src/net/resolver.rs";
    let folders = ["agent/src", "agent/receiver/src"];
    let broken = folders.iter().flat_map(|folder| places(folder, &words)).filter(|place| {
        // The resolver is where it belongs, and its users name it in full.
        !place.starts_with(resolver) && !place.contains("net::resolve(host, port)")
    });
    assert_none(&broken.collect::<Vec<_>>());
    // A name in the place of an address would be looked up there.
    let connects = places("agent/src", &["TcpStream::connect(", "TcpListener::bind(", "UdpSocket::bind("]);
    let broken =
        connects.into_iter().filter(|place| !place.contains("(address)") && !place.contains("(args.listen)"));
    assert_none(&broken.filter(|place| !place.contains("(\"127.0.0.1\", *port)")).collect::<Vec<_>>());
}

/// The one file that calls a C library which is found at run time.
const UNSAFE: &str = "agent/src/os/pam.rs";

#[test]
fn no_file_but_one_has_unsafe_code() {
    let words = ["unsafe", "unsafe_code"];
    let broken = sources("agent").into_iter().filter(|file| file.path != UNSAFE);
    assert_none(&broken.flat_map(|file| file.code_with(&words)).collect::<Vec<_>>());
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    assert!(manifest.expect("it can be read").contains("\nunsafe_code = \"deny\"\n"));
}

#[test]
fn files_are_short_enough_to_be_read() {
    let files = sources("agent").into_iter().chain(sources("tests"));
    let long = files.map(|file| (file.code_length(), file.path)).filter(|(length, _)| *length > LINES_MAX);
    assert_none(&long.map(|(length, path)| format!("{path}: {length} lines")).collect::<Vec<_>>());
}

#[test]
fn names_of_tests_are_sentences() {
    let mut count = 0;
    let mut broken = Vec::new();
    for file in sources("agent").into_iter().chain(sources("tests")) {
        for name in file.tests() {
            count += 1;
            if name.split('_').count() < 3 || name.starts_with("test_") {
                broken.push(format!("{}: {name}", file.path));
            }
        }
    }
    assert_none(&broken);
    assert!(count > 200, "only {count} tests were found");
}

#[test]
fn every_file_says_first_what_it_owns() {
    let silent = sources("agent").into_iter().filter(|file| file.code_length() > 0);
    let silent = silent.filter(|file| !file.text.starts_with("//!"));
    assert_none(&silent.map(|file| file.path).collect::<Vec<_>>());
}

#[test]
fn words_that_say_nothing_name_nothing() {
    let banned = ["manager", "handler", "helper", "util", "utils", "common", "service", "process"];
    let files = sources("agent").into_iter();
    let named = files.filter(|file| {
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        stem.split('_').any(|word| banned.contains(&word))
    });
    assert_none(&named.map(|file| file.path).collect::<Vec<_>>());
    assert_none(&places("agent", &["fn get_", "Manager", "Handler", "Helper"]));
}

/// Names that nobody guesses who knows MQTT, WebSocket and databases; each has had a better one since.
const PRIVATE: [&str; 41] = [
    "Accepts",
    "Again",
    "Blind",
    "Block",
    "Caller",
    "Caution",
    "DiskFacts",
    "DiskOrder",
    "DiskReport",
    "Done",
    "Feed",
    "Flying",
    "Gate",
    "Gather",
    "Glob",
    "Guest",
    "Hold",
    "Judge",
    "Letter",
    "Loudness",
    "Miss",
    "News",
    "Notice",
    "Numbers",
    "Outbox",
    "Outtake",
    "Problem",
    "Runs",
    "Said",
    "Seat",
    "Shelf",
    "Sight",
    "Site",
    "Spout",
    "Surroundings",
    "Suspect",
    "Tail",
    "Tray",
    "WentBack",
    "Whereabouts",
    "Word",
];

#[test]
fn no_type_has_a_private_name_again() {
    let kinds = ["struct", "enum", "trait", "type"];
    let named = |file: &Source| {
        let words =
            file.text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ' ');
        let is_private = |words: &str| {
            let mut words = words.split(' ').skip_while(|word| !kinds.contains(word)).skip(1);
            words.next().filter(|name| PRIVATE.contains(name)).map(str::to_owned)
        };
        words.filter_map(is_private).map(|name| format!("{}: {name}", file.path)).collect::<Vec<_>>()
    };
    assert_none(&sources("agent").iter().flat_map(named).collect::<Vec<_>>());
}

#[test]
fn a_line_of_code_is_told_from_words_about_it() {
    assert_eq!(code_of("let a = 1; // smol"), "let a = 1; ");
    assert_eq!(code_of("/// async"), "");
    assert_eq!(code_of("let url = \"ws://x\"; // y"), "let url = \"ws://x\"; ");
}
