//! `holdfast source list`: the sources of the configuration, and how the running agent's links to them are.

use std::process::ExitCode;

use holdfast_core::config::source::Source;
use holdfast_core::config::{Config, shown_url};
use serde_json::{Value, json};

use crate::cli::change::AgentArgs;
use crate::cli::status::text;
use crate::cli::table::{screen_width, table};
use crate::cli::{clean, print};

/// Lists the sources with their state
#[derive(clap::Args, Debug)]
#[command(after_help = "Without a running agent the states are not known.\n\n\
    Examples:\n  holdfast source list\n  holdfast source list --json | jq -r '.[] | select(.state != \"up\") | .id'")]
pub struct Args {
    /// Print it in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: AgentArgs,
}

/// Prints the list. The error says what is wrong with the configuration.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.place.options.load()?;
    let status = args.place.status(&config)?.unwrap_or_default();
    let sources: Vec<Value> =
        config.sources.iter().map(|source| document(source, &config, &status)).collect();
    let page =
        if args.json { format!("{:#}\n", Value::Array(sources)) } else { page(&sources, screen_width()) };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&page);
    Ok(ExitCode::SUCCESS)
}

fn document(source: &Source, config: &Config, status: &Value) -> Value {
    let own = &status["sources"][source.id.to_lowercase()];
    let mqtt = source.mqtt().broker(config.mqtt.as_ref());
    json!({
        "id": source.id, "name": source.name, "active": source.active, "url": mqtt.url.as_deref().map(shown_url),
        "topics": mqtt.topics, "state": own["state"], "since": own["since"], "received": own["received"],
        "last_error": own["last_error"],
    })
}

fn page(sources: &[Value], width: Option<usize>) -> String {
    if sources.is_empty() {
        return "there is no [[source]] in the configuration\n".to_owned();
    }
    let line = |source: &Value| {
        let state = match (source["state"].as_str(), source["active"].as_bool()) {
            (Some(state), _) => clean(state),
            (None, Some(false)) => "inactive".to_owned(),
            (None, _) => "unknown".to_owned(),
        };
        let topics: Vec<&str> =
            source["topics"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        vec![
            text(&source["id"]),
            state,
            text(&source["since"]),
            text(&source["received"]),
            text(&source["url"]),
            clean(&topics.join(" ")),
            text(&source["last_error"]),
        ]
    };
    table(
        "ID,STATE,SINCE?,RECEIVED,URL~,TOPICS~,LAST ERROR~",
        &sources.iter().map(line).collect::<Vec<_>>(),
        width,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_line_with_the_state_of_its_link_if_that_is_known() {
        let source = json!({ "id": "z", "active": true, "url": "mqtt://h", "topics": ["a/+", "b"], "state": "up", "received": 3 });
        assert_eq!(
            page(&[source], None),
            "ID  STATE  RECEIVED  URL       TOPICS\nz   up     3         mqtt://h  a/+ b\n"
        );
        let source = json!({ "id": "z", "active": false, "url": "mqtt://h", "topics": ["a"] });
        assert!(page(&[source], None).contains("inactive"));
        assert!(page(&[], None).starts_with("there is no [[source]]"));
    }
}
