//! Everything that the agent can log as a warning or an error has an entry in the page about troubleshooting, and no entry is
//! about words that nobody says.

use std::collections::BTreeSet;
use std::path::Path;

use super::assert_none;
use super::source::{Source, sources};

const PAGE: &str = "agent/doc/troubleshooting.md";
/// Stands for what differs from line to line, in the page and in what is compared with it.
const ANYTHING: char = '…';
/// A heading with fewer letters that are certain would be about everything.
const LETTERS_MIN: usize = 9;
const LOG_EVENT: &str = "agent/core/src/observe/log_event.rs";

/// Calls that log a sentence made elsewhere: the end of their file's name, the literal, and the headings of what they may say.
const PASSED_ON: &[(&str, &str, &[&str])] = &[
    (
        "cli/run.rs",
        "{warning}",
        &[
            "…: … is a secret that everybody on this machine can read: chmod o-rwx …",
            "… can be read by everybody on this machine and holds secrets (…): chmod o-rwx …, or give each a file of its own, { file = \"…\" }",
        ],
    ),
    (
        "descriptors.rs",
        "{warning}",
        &[
            "limits.connections of all servers and … links may need … descriptors, and there are … (LimitNOFILE= of the unit, or ulimit -Hn): callers have to wait when they are used up",
        ],
    ),
    (
        "private.rs",
        "{fault}",
        &[
            "others can write into …, and it has …, which is not the agent's; give the agent a directory of its own (agent.data_dir), or close this one (chmod go-w …)",
        ],
    ),
    ("certificate.rs", "{warning} (server {server})", CERTIFICATE),
    ("certificate.rs", "{warning} (server {})", CERTIFICATE),
    ("store/recovery.rs", "{fault}", FAULT),
    (
        "worker/names.rs",
        "{repair}",
        &["files of the agent were removed from …; they were made anew with all that was held"],
    ),
    ("worker/waiting.rs", "{self.about(file.name, &error}", WRITE),
    ("worker/waiting.rs", "{self.about(\"meter\", &error}", WRITE),
    ("worker/waiting.rs", "{error}", FAULT),
    (
        "store/worker.rs",
        "{error}",
        &[
            "… holds another store than at the start: start the agent again",
            "files of the agent are being removed from …",
            "cannot make the files in … anew: …",
        ],
    ),
    ("store/worker.rs", "{self.about(file.name, &error}", WRITE),
    ("store/worker.rs", "{self.about(\"damaged\", &error}", WRITE),
    ("store/worker.rs", "{fault}", FAULT),
    (
        "store/worker.rs",
        "{repair}",
        &[
            "…; … values were read from its log, …",
            "… damaged values of the store were replaced by gaps",
            "… was removed to make room for a repair",
            "… was damaged; it is … now",
        ],
    ),
];
const CERTIFICATE: &[&str] =
    &["the certificate … has expired on …", "the certificate … is not valid before …: …"];
/// `cannot VERB …/store: …` is what makes a store fail.
const FAULT: &[&str] = &["store failing error=…"];
const WRITE: &[&str] = &["cannot write …: …"];

const HOW: &str = "each needs an entry in agent/doc/troubleshooting.md: a heading `### `, then the message in backquotes with `…` in place \
                   of what differs, then what it means and what to do. Several messages may share an entry: put a heading for each \
                   above it. A call that only passes a sentence on is named in PASSED_ON of tests/tidy/messages.rs, with the headings \
                   of what it may say.";

/// A message as a pattern, and where it is made.
#[derive(Debug)]
struct Logged {
    place: String,
    text: String,
    pattern: String,
}

#[test]
fn every_warning_and_error_has_an_entry_in_the_page_about_troubleshooting() {
    let headings = headings();
    let mut missing = Vec::new();
    for Logged { place, text, pattern } in logged() {
        let is_known =
            letters(&pattern) >= LETTERS_MIN && headings.iter().any(|heading| is_like(heading, &pattern));
        if !is_known && !is_passed_on(&place, &text) {
            missing.push(format!("{place}: `{pattern}`"));
        }
    }
    assert!(
        missing.is_empty(),
        "{} messages without an entry:\n{}\n\n{HOW}",
        missing.len(),
        missing.join("\n")
    );
}

#[test]
fn every_entry_of_the_page_is_about_words_that_somebody_says() {
    let files = ["agent/src", "agent/core/src"].map(sources);
    let said: Vec<String> = files
        .iter()
        .flatten()
        .flat_map(|file| literals(code(file)))
        .map(|(_, text)| pattern(&text))
        .collect();
    let headings = headings();
    assert!(headings.len() > 40, "only {} entries were found", headings.len());
    let is_said = |heading: &&String| said.iter().any(|pattern| is_like(heading, pattern));
    let stale = headings.iter().filter(|heading| !is_said(heading));
    assert_none(&stale.map(|heading| format!("{PAGE}: nothing says `{heading}`")).collect::<Vec<_>>());
    let wide = headings.iter().filter(|heading| letters(heading) < LETTERS_MIN);
    assert_none(&wide.map(|heading| format!("{PAGE}: `{heading}` could be anything")).collect::<Vec<_>>());
}

#[test]
fn what_is_passed_on_is_logged_and_has_its_entries() {
    let (headings, logged) = (headings(), logged());
    let mut broken = Vec::new();
    for (file, text, entries) in PASSED_ON {
        if !logged.iter().any(|logged| is_at(&logged.place, file) && logged.text == *text) {
            broken.push(format!("PASSED_ON: {file} does not log `{text}`"));
        }
        let missing = entries.iter().filter(|entry| !headings.iter().any(|heading| heading == *entry));
        broken.extend(missing.map(|entry| format!("{PAGE}: no entry `{entry}` for {file}")));
    }
    assert_none(&broken);
}

/// Parts of the agent whose refusals end its start or lose a link. Callers of servers are told theirs, and so are people theirs.
const PARTS: [&str; 6] = [
    "agent/src/net",
    "agent/src/os",
    "agent/src/outlet",
    "agent/src/runtime",
    "agent/src/runtime.rs",
    "agent/src/store.rs",
];

/// Such a refusal is logged as the cause in another message, or is the last word of a start that fails.
#[test]
fn every_refusal_has_an_entry_in_the_page_about_troubleshooting() {
    let headings = headings();
    let files = PARTS.iter().flat_map(|part| sources(part));
    let refusals: Vec<(String, String)> = files
        .flat_map(|file| {
            let texts = literals(code(&file)).into_iter().map(|(_, text)| text);
            let cannot = texts.filter(|text| text.starts_with("cannot ")).map(|text| pattern(&text));
            // Where even the verb differs, its own text has an entry.
            let sure = cannot.filter(|pattern| letters(pattern) >= LETTERS_MIN);
            sure.map(|pattern| (file.path.clone(), pattern)).collect::<Vec<_>>()
        })
        .collect();
    assert!(refusals.len() > 30, "only {} refusals were found", refusals.len());
    // Text in front of a cause is followed by it.
    let is_known = |text: &str| {
        let with_cause = format!("{text}: …");
        headings.iter().any(|heading| is_like(heading, text) || is_like(heading, &with_cause))
    };
    let missing = refusals.iter().filter(|(_, text)| !is_known(text));
    let missing: Vec<String> = missing.map(|(path, text)| format!("{path}: `{text}`")).collect();
    assert!(
        missing.is_empty(),
        "{} refusals without an entry:\n{}\n\n{HOW}",
        missing.len(),
        missing.join("\n")
    );
}

/// The headings of the page: what stands in backquotes on lines with three `#`.
fn headings() -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE));
    let page = page.expect("the page can be read");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    headings.map(str::to_owned).collect()
}

/// Everything that is logged as a warning or an error, and what may be.
fn logged() -> Vec<Logged> {
    let files = sources("agent/src");
    let mut all: Vec<Logged> = files.iter().flat_map(calls).collect();
    // Decisions of the agent are logged by one call; `events` has all that it may log.
    all.retain(|logged| logged.text != "{log_event}");
    all.extend(events());
    assert!(all.len() > 50, "only {} messages were found", all.len());
    all
}

/// Calls of the log's macros in a file.
fn calls(file: &Source) -> Vec<Logged> {
    let code = code(file);
    let literals = literals(code);
    let macros = ["log::warn!(", "log::error!(", "log::log!("];
    let starts = macros.iter().flat_map(|name| code.match_indices(name)).map(|(at, _)| at);
    let in_words =
        |at: &usize| literals.iter().any(|(start, text)| (*start..start + text.len()).contains(at));
    let calls = starts.filter(|at| !in_words(at)).map(|at| {
        let number = code[..at].matches('\n').count() + 1;
        // The name of an event is a fact, and stands in front of the words.
        let is_fact = |start: usize| code[..start].trim_end().ends_with('=');
        let words = literals.iter().find(|(start, _)| *start > at && !is_fact(*start));
        let (_, text) = words.expect("a call of the log has words");
        let text = if text == "{}" { text_of_argument(&code[at..]) } else { text.clone() };
        Logged { place: format!("{}:{number}", file.path), pattern: pattern(&text), text }
    });
    calls.collect()
}

/// `{error}` of a call whose words are only an argument.
fn text_of_argument(call: &str) -> String {
    let argument = call.split_once("\"{}\", ").map_or("", |(_, rest)| rest);
    let argument = argument.split([';', '\n']).next().unwrap_or_default();
    format!("{{{}}}", argument.trim_end_matches([',', ')']))
}

/// Messages of the agent about its decisions, where they are louder than information.
fn events() -> Vec<Logged> {
    let files = sources(LOG_EVENT);
    let code = code(&files[0]);
    let (_, levels) = code.split_once("fn level(").expect("each event has a level");
    let (levels, words) = levels.split_once("impl fmt::Display").expect("each event has words");
    let loud = loud(levels);
    assert!(loud.len() > 3, "only {loud:?} are loud");
    let mut found = Vec::new();
    let arms: Vec<usize> = words.match_indices("LogEvent::").map(|(at, _)| at).chain([words.len()]).collect();
    for arm in arms.windows(2) {
        let arm = &words[arm[0]..arm[1]];
        let name = variant(arm).expect("it begins with one");
        if loud.contains(name) {
            let place = format!("{LOG_EVENT}: {name}");
            let words = literals(arm).into_iter().map(|(_, text)| text);
            let words = words.map(|text| Logged { place: place.clone(), pattern: pattern(&text), text });
            found.extend(words.filter(|logged| letters(&logged.pattern) > 0));
        }
    }
    found
}

/// The events of which an arm of `fn level` says that they may be warnings or errors.
fn loud(levels: &str) -> BTreeSet<&str> {
    let parts: Vec<&str> = levels.split("=>").collect();
    let mut loud = BTreeSet::new();
    for pair in parts.windows(2) {
        // Text between two arrows ends the one arm and begins the next.
        let begins = pair[0].find("LogEvent::").map_or("", |at| &pair[0][at..]);
        let ends = pair[1].split("LogEvent::").next().unwrap_or_default();
        if ends.contains("Level::Warn") || ends.contains("Level::Error") {
            loud.extend(begins.match_indices("LogEvent::").filter_map(|(at, _)| variant(&begins[at..])));
        }
    }
    loud
}

fn variant(text: &str) -> Option<&str> {
    let name = text.strip_prefix("LogEvent::")?;
    name.split(|letter: char| !letter.is_alphanumeric()).next()
}

fn is_passed_on(place: &str, text: &str) -> bool {
    PASSED_ON.iter().any(|(file, passed, _)| is_at(place, file) && text == *passed)
}

/// Whether a place is in the file whose name ends so.
fn is_at(place: &str, file: &str) -> bool {
    place.split(':').next().is_some_and(|path| path.ends_with(file))
}

/// The text of a file in front of its tests.
fn code(file: &Source) -> &str {
    let lines = file.text.split_inclusive('\n').take(file.code_length());
    &file.text[..lines.map(str::len).sum()]
}

/// A format string with `…` in place of its arguments.
fn pattern(text: &str) -> String {
    let mut pattern = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '}' if letters.peek() == Some(&letter) => pattern.extend(letters.next()),
            '{' => {
                letters.by_ref().find(|letter| *letter == '}');
                pattern.push(ANYTHING);
            }
            letter => pattern.push(letter),
        }
    }
    pattern
}

fn letters(pattern: &str) -> usize {
    pattern.chars().filter(|letter| letter.is_alphabetic()).count()
}

/// Whether a message is one that the heading is about: `…` of the heading stands for anything.
fn is_like(heading: &str, message: &str) -> bool {
    let mut parts = heading.split(ANYTHING);
    let Some(mut rest) = message.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    rest.is_empty() || (heading.ends_with(ANYTHING) && last.is_empty())
}

/// The string literals of code as they are read, with their places; what continues on the next line is one.
fn literals(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(letter) = code[at..].chars().next() {
        let rest = &code[at..];
        at += match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest.starts_with("r#\"") => {
                let text = rest[3..].split("\"#").next().unwrap_or_default();
                found.push((at, text.to_owned()));
                text.len() + 5
            }
            '"' => {
                let (text, length) = literal(&rest[1..]);
                found.push((at, text));
                length + 1
            }
            '\'' => character(rest),
            letter => letter.len_utf8(),
        };
    }
    found
}

/// A literal behind its first quote, and its length with the last one.
fn literal(code: &str) -> (String, usize) {
    let mut text = String::new();
    let mut letters = code.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, at + 1),
            '\\' => match letters.next() {
                Some((_, '\n')) => while letters.next_if(|(_, letter)| letter.is_whitespace()).is_some() {},
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped)) => text.push(escaped),
                None => {}
            },
            letter => text.push(letter),
        }
    }
    (text, code.len())
}

/// The length of a character's literal, or of the quote of a lifetime.
fn character(code: &str) -> usize {
    let mut letters = code[1..].char_indices();
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = 1 + at + escaped.len_utf8();
            from + code[from..].find('\'').map_or(0, |end| end + 1)
        }
        (Some(_), Some((at, '\''))) => 1 + at + 1,
        _ => 1,
    }
}

#[test]
fn a_heading_is_about_a_message_if_all_of_it_is_there_in_order() {
    assert!(is_like("link lost … error=…", &pattern("link lost {link} retry_in={} error={error:?}")));
    assert!(is_like("buffer full", "buffer full") && !is_like("buffer full", "buffer full: dropped"));
    assert!(is_like("… openings were cut off…", "… openings were cut off; with care (…)"));
    assert!(!is_like("link lost … never", "link lost … for ever"));
}

#[test]
fn literals_are_told_from_comments_characters_and_lifetimes() {
    let code = "fn a<'a>(x: &'a str) { // \"no\"\n let q = '\"'; let e = '\\''; b(\"one \\\n     \\\"two\\\"\", r#\"{\"x\"}\"#); }";
    let texts: Vec<String> = literals(code).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one \"two\"", "{\"x\"}"]);
    assert_eq!(pattern("{{a}} {b:?} c{}"), "{a} … c…");
}

#[test]
fn events_are_loud_when_an_arm_of_their_level_may_be() {
    let levels = "match self { LogEvent::A(_) => Level::Error, LogEvent::B { .. } | LogEvent::C(true) => Level::Warn,\n\
                  LogEvent::D { .. } => if x { Level::Warn } else { Level::Info }, LogEvent::E => Level::Info }";
    assert_eq!(loud(levels).into_iter().collect::<Vec<_>>(), ["A", "B", "C", "D"]);
}
