//! `holdfast client list`: the clients of the configuration, and how the running agent's links are.

use std::process::ExitCode;

use holdfast_core::config::client::Client;
use serde_json::{Value, json};

use crate::cli::change::AgentArgs;
use crate::cli::status::text;
use crate::cli::table::{screen_width, table};
use crate::cli::{clean, print};

/// Lists the clients with their state
#[derive(clap::Args, Debug)]
#[command(after_help = "Without a running agent the states are not known.\n\n\
    Examples:\n  holdfast client list\n  holdfast client list --json | jq -r '.[] | select(.state != \"up\") | .id'")]
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
    let clients: Vec<Value> = config.clients.iter().map(|client| document(client, &status)).collect();
    let page =
        if args.json { format!("{:#}\n", Value::Array(clients)) } else { page(&clients, screen_width()) };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&page);
    Ok(ExitCode::SUCCESS)
}

fn document(client: &Client, status: &Value) -> Value {
    let link = &status["links"][client.id.to_lowercase()];
    json!({
        "id": client.id, "name": client.name, "active": client.active, "urls": client.shown_urls(),
        "state": link["state"], "since": link["since"], "unconfirmed": link["unconfirmed"],
        "last_error": link["last_error"],
    })
}

fn page(clients: &[Value], width: Option<usize>) -> String {
    let line = |client: &Value| {
        let state = match (client["state"].as_str(), client["active"].as_bool()) {
            (Some(state), _) => clean(state),
            (None, Some(false)) => "inactive".to_owned(),
            (None, _) => "unknown".to_owned(),
        };
        let name = client["name"].as_str().filter(|name| !name.is_empty()).map_or("-".to_owned(), clean);
        let urls: Vec<&str> =
            client["urls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let url = if urls.is_empty() { "-".to_owned() } else { clean(&urls.join(" ")) };
        let id = text(&client["id"]);
        vec![
            id,
            state,
            text(&client["since"]),
            text(&client["unconfirmed"]),
            url,
            name,
            text(&client["last_error"]),
        ]
    };
    table("ID,STATE,SINCE?,HELD,URL~,NAME?,LAST ERROR~", &clients.iter().map(line).collect::<Vec<_>>(), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_line_with_the_state_of_its_link_if_that_is_known() {
        let mut client = Client::of_index(0);
        client.id = "Cloud".to_owned();
        client.url = Some("wss://gw:s3cret@hub/".to_owned());
        let status = json!({ "links": { "cloud": { "state": "up", "unconfirmed": 3 } } });
        assert_eq!(
            page(&[document(&client, &status)], None),
            "ID     STATE  HELD  URL\nCloud  up     3     wss://gw:***@hub/\n"
        );
        assert_eq!(
            page(&[document(&client, &Value::Null)], None),
            "ID     STATE    URL\nCloud  unknown  wss://gw:***@hub/\n"
        );
        client.active = false;
        assert!(page(&[document(&client, &Value::Null)], None).contains("inactive"));
    }
}
