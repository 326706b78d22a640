//! `holdfast buffer info`: how the store stands.

use std::fmt::Write;
use std::process::ExitCode;

use holdfast_core::observe::held::held_words;
use holdfast_core::observe::problem::span;
use holdfast_core::outlet::inspect::Survey;
use holdfast_core::outlet::lane;
use serde_json::{Value, json};

use super::list;
use super::place::StorePath;
use super::record::many;
use crate::cli::status::size;
use crate::cli::table::screen_width;
use crate::cli::{clean, print};
use crate::os::clock;

/// Shows how the store stands: what it holds, what it takes, what is dead or damaged
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  holdfast buffer info\n  holdfast buffer info --json | jq .disk_bytes")]
pub struct Args {
    /// Print it in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whereabouts: StorePath,
}

/// Prints the survey. The error says why the store cannot be seen.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut place = args.whereabouts.read()?;
    let (survey, running) = (place.survey()?, place.is_running());
    let now_ns = clock::now().wall_ns;
    let text = match args.json {
        true => format!("{:#}\n", document(&survey, running, now_ns)?),
        false => page(&survey, running, now_ns, screen_width()),
    };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&text);
    Ok(ExitCode::SUCCESS)
}

/// The facts under their own names, and what is beside them.
fn document(survey: &Survey, running: bool, now_ns: u64) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(&survey.facts)?;
    let held = held(survey);
    let set_aside = survey.set_aside.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
    let more = json!({
        "dir": survey.dir,
        "running": running,
        "sessions": survey.sessions,
        "messages": held.messages,
        "bytes": held.bytes,
        "oldest_age_s": age_s(held.oldest_ns, now_ns),
        "dead_bytes": survey.dead_bytes,
        "damaged_kept": survey.damaged_kept.0,
        "damaged_kept_bytes": survey.damaged_kept.1,
        "set_aside": set_aside.collect::<Vec<_>>(),
        "outlets": list::document(survey),
    });
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.remove("held");
        if !running {
            // Both count from the start of an agent.
            document.remove("written_bytes");
            document.remove("syncs");
        }
        document.extend(more);
    }
    Ok(document)
}

fn page(survey: &Survey, running: bool, now_ns: u64, width: Option<usize>) -> String {
    let held = held(survey);
    let facts = &survey.facts;
    let user = if running { "in use by the running agent" } else { "no agent is running" };
    let mut page =
        format!("STORE    {}  {user}  started {}\n", clean(&survey.dir), many(survey.sessions, "time"));
    let _ = write!(page, "HELD     {}  {} in groups", words(survey), size(held.bytes));
    if let Some(age_s) = age_s(held.oldest_ns, now_ns) {
        let _ = write!(page, "  oldest {}", span(age_s));
    }
    let _ = write!(page, "\nDISK     {}", size(facts.disk_bytes));
    if let Some(free) = facts.free_bytes {
        let _ = write!(page, "  {} free", size(free));
    }
    if running {
        let _ = write!(page, "  written {} in {}", size(facts.written_bytes), many(facts.syncs, "sync"));
    }
    let _ = write!(page, "\nDEAD     {}  {}", many(facts.dead, "letter"), size(survey.dead_bytes));
    let (kept, kept_bytes) = survey.damaged_kept;
    let _ = writeln!(
        page,
        "\nDAMAGED  {}, {kept} of them kept  {}",
        many(facts.damaged, "value"),
        size(kept_bytes)
    );
    for (name, bytes) in &survey.set_aside {
        let _ = writeln!(page, "ASIDE    {}  {}", clean(name), size(*bytes));
    }
    page + "\n" + &list::page(survey, width)
}

/// What is held for which link: a message for two of them is one message.
fn words(survey: &Survey) -> String {
    let mut links: Vec<(&str, u64)> = Vec::new();
    let mut broker = 0;
    for (outlet, held) in survey.outlets.iter().zip(&survey.facts.held) {
        let (link, _) = lane::parse(&outlet.name);
        let Some(id) = lane::client(link) else {
            broker += held.messages;
            continue;
        };
        match links.iter_mut().find(|(known, _)| *known == id) {
            Some((_, messages)) => *messages += held.messages,
            None => links.push((id, held.messages)),
        }
    }
    clean(&held_words(&links, broker))
}

struct Sum {
    messages: u64,
    bytes: u64,
    oldest_ns: u64,
}

fn held(survey: &Survey) -> Sum {
    let held = &survey.facts.held;
    Sum {
        messages: held.iter().map(|held| held.messages).sum(),
        bytes: held.iter().map(|held| held.bytes).sum(),
        oldest_ns: held.iter().map(|held| held.oldest_ns).filter(|at| *at > 0).min().unwrap_or(0),
    }
}

fn age_s(oldest_ns: u64, now_ns: u64) -> Option<f64> {
    (oldest_ns > 0).then(|| (now_ns.saturating_sub(oldest_ns) / 1_000_000) as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::outlet::inspect::Outlet;
    use holdfast_core::outlet::store_protocol::{Held, StoreFacts};

    fn survey() -> Survey {
        let held = Held {
            range: Some((1, 9)),
            messages: 9,
            bytes: 1_500,
            oldest_ns: 5_000_000_000,
            ..Held::default()
        };
        let facts = StoreFacts { disk_bytes: 2_000_000, dead: 1, held: vec![held], ..StoreFacts::default() };
        Survey {
            dir: "/data".to_owned(),
            sessions: 3,
            outlets: vec![Outlet { name: "client:cloud".to_owned(), epoch: "01J".to_owned() }],
            facts,
            dead_bytes: 312,
            set_aside: vec![("store.damaged-1".to_owned(), 4_000)],
            ..Survey::default()
        }
    }

    #[test]
    fn the_page_has_a_line_for_each_thing_that_takes_room() {
        let page = page(&survey(), false, 65_000_000_000, None);
        let expected = "\
STORE    /data  no agent is running  started 3 times
HELD     9 messages for cloud  1.5 kB in groups  oldest 1m
DISK     2.0 MB
DEAD     1 letter  312 B
DAMAGED  0 values, 0 of them kept  0 B
ASIDE    store.damaged-1  4.0 kB
";
        assert!(page.starts_with(expected), "{page}");
        assert!(page.contains("client:cloud"), "{page}");
    }

    #[test]
    fn a_message_for_two_links_is_one_message_and_those_of_all_priorities_are_counted() {
        let named = |name: &str| Outlet { name: name.to_owned(), epoch: String::new() };
        let held = |messages| Held { messages, ..Held::default() };
        let outlets = ["client:cloud", "client:cloud/7", "client:lab", "mqtt"].map(named).into();
        let facts = StoreFacts { held: [3, 2, 5, 1].map(held).into(), ..StoreFacts::default() };
        let survey = Survey { outlets, facts, ..Survey::default() };
        assert_eq!(words(&survey), "5 messages for 2 links and 1 for the broker");
    }

    #[test]
    fn the_document_has_the_facts_of_the_store_under_their_own_names() {
        let document = document(&survey(), false, 65_000_000_000).unwrap();
        assert_eq!((&document["disk_bytes"], &document["messages"]), (&json!(2_000_000), &json!(9)));
        assert_eq!(document["oldest_age_s"], 60.0);
        assert_eq!(document["outlets"][0]["outlet"], "client:cloud");
        assert!(document.get("held").is_none() && document.get("syncs").is_none(), "{document}");
    }
}
