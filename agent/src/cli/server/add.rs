//! `holdfast server add`: a new listener.

use std::process::ExitCode;

use anyhow::bail;
use holdfast_core::config::edit::{self, Kind};
use holdfast_core::config::{ConfigFile, implied, toml_string};

use crate::cli::change::{AgentArgs, Change, Edited, assignment};

/// Adds a server to the configuration file
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The server on 127.0.0.1:9998 that is there without any [[server]] is kept beside the first one, in a table of \
    its own, unless that one listens there, too. A value of --set is TOML, or taken as a string where it is none.\n\n\
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
    let mut add = |text: &str, files: &[ConfigFile]| added(args, text, files, &pairs);
    change.make(&mut add, &|text| format!("server {}", edit::last_id(text, Kind::Server)))
}

/// The text with the new table, and with one for the server that was there without any.
fn added(
    args: &Args,
    text: &str,
    files: &[ConfigFile],
    pairs: &[(String, String)],
) -> Result<Edited, String> {
    if !implied::is_in_force(files, Kind::Server) {
        return edit::add(text, Kind::Server, pairs).map(Edited::from);
    }
    let address = implied::address();
    let is_shut = args.set.iter().any(|(key, value)| key == "active" && value == "false");
    if implied::is_covered_by(&args.bind) && !is_shut {
        let note = format!("it takes the place of the server that is there without any, on {address}");
        return edit::add(text, Kind::Server, pairs)
            .map(|text| Edited { notes: vec![note], ..Edited::from(text) });
    }
    let (id, kept) = implied::server_to_keep(args.id.as_deref());
    let text = edit::add(text, Kind::Server, &kept)?;
    let text = edit::add(&text, Kind::Server, pairs)?;
    let note = format!(
        "the server on {address}, which is there without any, stays as {id}; `holdfast server remove {id}` closes it"
    );
    Ok(Edited { notes: vec![note], ..Edited::from(text) })
}
