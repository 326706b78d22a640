//! `holdfast client add`: a new link, made from a url.

use std::process::ExitCode;

use anyhow::bail;
use holdfast_core::config::edit::{self, Kind};
use holdfast_core::config::{ConfigFile, LinkUrl, Login, implied, link_of_url, toml_string};

use crate::cli::change::{AgentArgs, Change, Edited, assignment};
use crate::runtime::config_file::NewPassword;

/// Adds a client to the configuration file
#[derive(clap::Args, Debug)]
#[command(
    after_help = "A user in the url becomes auth = { basic = … } of the new table, and the password goes into a file \
    beside the configuration, ID.password, which only the agent can read. A value of --set is TOML, or taken \
    as a string where it is none. The first client gets what was held while there was none: if it has an id of its \
    own, outlet = \"ws_client_1\" says so in its table.\n\n\
    Examples:\n  holdfast client add wss://hub.example/ingest --id cloud\n  \
    holdfast client add ws://10.0.0.7:8080/in --set confirm=none --set 'ping={ interval = \"5s\" }'\n  \
    holdfast client add wss://hub.example/ --set 'auth={ bearer = { file = \"/etc/holdfast/token\" } }'"
)]
pub struct Args {
    /// Where to connect to: ws://…, wss://…, http://…, https://…, mqtt://… or mqtts://…, with user, password, path and query if there are any
    url: String,
    /// Its id; ws_client_N by default
    #[arg(long)]
    id: Option<String>,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// A description for people
    #[arg(long)]
    description: Option<String>,
    /// Set active = false
    #[arg(long)]
    inactive: bool,
    /// Set any other key of the table
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    place: AgentArgs,
}

/// Adds the table. The error says what would be wrong with it; nothing has changed then.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut pairs = Vec::new();
    for (key, value) in [("id", &args.id), ("name", &args.name), ("description", &args.description)] {
        pairs.extend(value.as_ref().map(|value| (key.to_owned(), toml_string(value))));
    }
    if args.inactive {
        pairs.push(("active".to_owned(), "false".to_owned()));
    }
    let LinkUrl { url, login } =
        link_of_url(&args.url).map_err(|error| anyhow::anyhow!("the url {error}"))?;
    pairs.push(("url".to_owned(), toml_string(&url)));
    for (key, value) in &args.set {
        if pairs.iter().any(|(known, _)| known == key) || (key == "auth" && login.is_some()) {
            bail!("--set {key}: it is set already, by another option or by the url");
        }
        pairs.push((key.clone(), value.clone()));
    }
    let change = Change { place: &args.place, done: "added", table: None };
    let mut add = |text: &str, files: &[ConfigFile]| {
        let takes_over = takes_over(args, files);
        let mut pairs = pairs.clone();
        pairs.extend(takes_over.then(|| ("outlet".to_owned(), toml_string(&implied::client()))));
        let edited = edited(args, text, &pairs, login.as_ref())?;
        let notes = takes_over.then(|| {
            format!(
                "what was held while there was no client goes to it: {}",
                implied::hand_over(&implied::client())
            )
        });
        Ok(Edited { notes: notes.into_iter().collect(), ..edited })
    };
    change.make(&mut add, &|text| format!("client {}", edit::last_id(text, Kind::Client)))
}

/// Whether the new client is the first one and has an id of its own, while something may be held under that of the link which was
/// there without any.
fn takes_over(args: &Args, files: &[ConfigFile]) -> bool {
    let has_own_id = args.id.as_ref().is_some_and(|id| !id.eq_ignore_ascii_case(&implied::client()));
    let is_told = args.set.iter().any(|(key, _)| key == "outlet");
    has_own_id && !is_told && implied::is_in_force(files, Kind::Client) && args.place.may_hold(files)
}

/// The text with the new table, which names the file of its password.
fn edited(
    args: &Args,
    text: &str,
    pairs: &[(String, String)],
    login: Option<&Login>,
) -> Result<Edited, String> {
    let Some(login) = login else { return edit::add(text, Kind::Client, pairs).map(Edited::from) };
    let id = args.id.clone().map_or_else(|| edit::next_id(text, Kind::Client), Ok)?;
    let password = match login.password.as_str() {
        "" => None,
        password => Some(NewPassword::beside(args.place.file(), &id, password)?),
    };
    let value = password
        .as_ref()
        .map_or(toml_string(""), |password| format!("{{ file = {} }}", toml_string(&password.name())));
    let mut pairs = pairs.to_vec();
    let behind_url = pairs.iter().position(|(key, _)| key == "url").map_or(0, |place| place + 1);
    pairs.insert(behind_url, ("auth".to_owned(), login.auth(&value)));
    let text = edit::add(text, Kind::Client, &pairs)?;
    Ok(Edited { password, ..Edited::from(text) })
}
