//! `holdfast server list`: the servers of the configuration.

use std::process::ExitCode;

use holdfast_core::config::server::Server;
use serde_json::{Value, json};

use crate::cli::options::Options;
use crate::cli::table::{screen_width, table};
use crate::cli::{clean, print};

const HEADS: &str = "ID,ACTIVE,TLS,ROUTES?,BIND~";

/// Lists the servers with their addresses
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  holdfast server list\n  holdfast server list --json | jq -r '.[].bind[]'"
)]
pub struct Args {
    /// Print it in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: Options,
}

/// Prints the list. The error says what is wrong with the configuration.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.options.load()?;
    let servers = &config.servers;
    let page = match args.json {
        true => format!("{:#}\n", servers.iter().map(document).collect::<Value>()),
        false => table(HEADS, &servers.iter().map(line).collect::<Vec<_>>(), screen_width()),
    };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&page);
    Ok(ExitCode::SUCCESS)
}

fn document(server: &Server) -> Value {
    let routes: Vec<&str> = server.routes.iter().map(|route| route.path.as_str()).collect();
    json!({
        "id": server.id,
        "name": server.name,
        "application": server.application,
        "active": server.active,
        "bind": server.bind,
        "tls": server.tls.is_some(),
        "routes": routes,
    })
}

fn line(server: &Server) -> Vec<String> {
    let word = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    vec![
        clean(&server.id),
        word(server.active),
        word(server.tls.is_some()),
        server.routes.len().to_string(),
        clean(&server.bind.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_line() {
        let lines = vec![line(&Server::of_index(0))];
        let expected =
            "ID           ACTIVE  TLS  ROUTES  BIND\nws_server_1  yes     no   0       127.0.0.1:9998\n";
        assert_eq!(table(HEADS, &lines, None), expected);
    }
}
