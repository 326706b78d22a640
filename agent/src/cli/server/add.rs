//! `holdfast server add`: a new listener.

use std::process::ExitCode;

use anyhow::bail;
use holdfast_core::config::edit::{self, Kind};
use holdfast_core::config::toml_string;

use crate::cli::change::{AgentArgs, Change, Edited, assignment};

/// Adds a server to the configuration file
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The server on 127.0.0.1:9998 that is there without any [[server]] is not there with one. A value of \
    --set is TOML, or taken as a string where it is none.\n\n\
    Examples:\n  holdfast server add 0.0.0.0:9998 --id sensors\n  \
    holdfast server add 0.0.0.0:9443 --set 'tls={ cert = \"/etc/holdfast/cert.pem\", key = \"/etc/holdfast/key.pem\" }'"
)]
pub struct Args {
    /// Where to listen: ADDRESS:PORT
    #[arg(required = true)]
    bind: Vec<String>,
    /// Its id; ws_server_N by default
    #[arg(long)]
    id: Option<String>,
    /// Set any other key of the table
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    place: AgentArgs,
}

/// Adds the table. The error says what would be wrong with it; nothing has changed then.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut pairs: Vec<_> = args.id.iter().map(|id| ("id".to_owned(), toml_string(id))).collect();
    let bind: Vec<String> = args.bind.iter().map(|address| toml_string(address)).collect();
    pairs.push(("bind".to_owned(), format!("[{}]", bind.join(", "))));
    for (key, value) in &args.set {
        if pairs.iter().any(|(known, _)| known == key) {
            bail!("--set {key}: it is set already, by another option");
        }
        pairs.push((key.clone(), value.clone()));
    }
    let change = Change { place: &args.place, done: "added", table: None };
    change.make(&mut |text| edit::add(text, Kind::Server, &pairs).map(Edited::from), &|text| {
        format!("server {}", edit::last_id(text, Kind::Server))
    })
}
