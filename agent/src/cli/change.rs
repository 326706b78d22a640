//! What the commands share that look at or change one table of the configuration file: they write it only if it stays sound,
//! and have the running agent take it over.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use holdfast_core::config::edit::{self, Kind};
use holdfast_core::config::{Config, ConfigFile, implied, toml_string};
use hyper::Method;
use serde_json::{Value, json};

use super::options::Options;
use super::table::screen_width;
use super::{hanging, print, reload, status};
use crate::net::control;
use crate::runtime::config_file::{self, NewPassword, Rewrite};

/// Which configuration, and which agent.
#[derive(clap::Args, Debug)]
pub struct AgentArgs {
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Which configuration.
    #[command(flatten)]
    pub options: Options,
}

/// One table of it.
#[derive(clap::Args, Debug)]
pub struct Target {
    /// Its id
    id: String,
    #[command(flatten)]
    place: AgentArgs,
}

/// Which way `active` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toggle {
    /// To true.
    Enable,
    /// To false.
    Disable,
}

/// A change of the file.
pub struct Change<'a> {
    /// Where.
    pub place: &'a AgentArgs,
    /// What was done, for people: `added`.
    pub done: &'static str,
    /// The table that is changed, in whichever file has it; one that is added goes into the main file.
    pub table: Option<(Kind, &'a str)>,
}

/// The file as it shall be.
pub struct Edited {
    /// Its text.
    pub text: String,
    /// What it names and is not in it.
    pub password: Option<NewPassword>,
    /// What becomes of something else by it, a sentence each.
    pub notes: Vec<String>,
}

impl From<String> for Edited {
    fn from(text: String) -> Edited {
        Edited { text, password: None, notes: Vec::new() }
    }
}

/// Makes the text of a file another one; the files of the configuration as they are may matter for it.
pub type Edit<'a> = &'a mut dyn FnMut(&str, &[ConfigFile]) -> Result<Edited, String>;

impl AgentArgs {
    /// The file of the configuration.
    pub fn file(&self) -> &Path {
        self.options.config.as_deref().unwrap_or(Path::new(config_file::DEFAULT_FILE))
    }

    /// The status of the running agent, none if none is running.
    pub fn status(&self, config: &Config) -> anyhow::Result<Option<Value>> {
        let socket = self.socket_of(config)?;
        smol::block_on(async {
            if !control::is_running(&socket).await.map_err(anyhow::Error::msg)? {
                return Ok(None);
            }
            status::ask(&socket, None).await.map(Some)
        })
    }

    /// Whether messages may be held: an agent runs, or one has left a store that is not known to be empty.
    pub fn may_hold(&self, files: &[ConfigFile]) -> bool {
        let Ok(config) = self.options.parse(files) else { return true };
        let runs = || !matches!(self.status(&config), Ok(None));
        runs() || config_file::may_have_store(&config)
    }

    fn socket_of(&self, config: &Config) -> anyhow::Result<PathBuf> {
        self.options.socket_of(self.socket.as_deref(), config)
    }
}

impl Target {
    /// Removes the table.
    pub fn remove(&self, kind: Kind) -> anyhow::Result<ExitCode> {
        let change = Change { place: &self.place, done: "removed", table: Some((kind, &self.id)) };
        let held = if kind == Kind::Client { self.held() } else { 0 };
        let outlet = self.outlet();
        let mut remove = |text: &str, files: &[ConfigFile]| {
            let text = edit::remove(text, kind, &self.id)?;
            let notes = implied::after_removal(files, kind, &outlet, held);
            Ok(Edited { notes, ..Edited::from(text) })
        };
        change.make(&mut remove, &|_| self.named(kind))
    }

    /// Messages that the running agent holds for this client; none where none answers.
    fn held(&self) -> u64 {
        let asked = self.place.options.load().and_then(|config| self.place.status(&config));
        let status = asked.ok().flatten().unwrap_or_default();
        status["links"][self.id.to_lowercase()]["unconfirmed"].as_u64().unwrap_or_default()
    }

    /// Name of its place in the buffer.
    fn outlet(&self) -> String {
        let config = self.place.options.load().ok();
        let clients = config.iter().flat_map(|config| &config.clients);
        let mut its = clients.filter(|client| client.id.eq_ignore_ascii_case(&self.id));
        its.next().map_or(self.id.clone(), |client| client.outlet_name().to_owned())
    }

    /// Sets `active`.
    pub fn toggle(&self, kind: Kind, toggle: Toggle) -> anyhow::Result<ExitCode> {
        let (done, value) = match toggle {
            Toggle::Enable => ("enabled", "true"),
            Toggle::Disable => ("disabled", "false"),
        };
        let change = Change { place: &self.place, done, table: Some((kind, &self.id)) };
        let mut set =
            |text: &str, _: &[ConfigFile]| edit::set(text, kind, &self.id, "active", value).map(Edited::from);
        change.make(&mut set, &|_| self.named(kind))
    }

    fn named(&self, kind: Kind) -> String {
        format!("{} {}", kind.key(), self.id)
    }
}

impl Change<'_> {
    /// Changes the file by `edit` and has the running agent take it over; `named` says of its new text what was changed. The error
    /// says why nothing has changed, or why the agent does not take the file.
    pub fn make(&self, edit: Edit<'_>, named: &dyn Fn(&str) -> String) -> anyhow::Result<ExitCode> {
        let options = &self.place.options;
        let main = Rewrite::begin(self.place.file())?;
        let mut files = config_file::read_around(self.place.file(), main.text())?;
        let old = options.parse(&files);
        // What is wrong with the files already is told with its place.
        let fault =
            |error: anyhow::Error| old.as_ref().err().map_or(error, |fault| anyhow::anyhow!("{fault:#}"));
        let (number, beside) = self.find(&files).map_err(fault)?;
        let file = files[number].path.clone();
        let cannot = || format!("nothing has changed in {}", file.display());
        let before = beside.as_ref().unwrap_or(&main).text();
        let edited = edit(before, &files).map_err(anyhow::Error::msg).map_err(fault).with_context(cannot)?;
        let old = old.ok();
        let Edited { text, password, notes } = edited;
        files[number].text.clone_from(&text);
        let config = options.parse(&files).with_context(cannot)?;
        if let Some(password) = &password {
            password.write(&config.agent.data_dir).with_context(cannot)?;
        }
        // The main file is kept from others until the one beside it is written.
        let committed = match beside {
            Some(beside) => beside.commit(&text),
            None => main.commit(&text),
        };
        let committed = committed.with_context(cannot);
        if let (Err(_), Some(password)) = (&committed, &password) {
            password.remove();
        }
        committed?;
        let mut told = format!("{} {} in {}\n", self.done, named(&text), file.display());
        if let Some(password) = password {
            told.push_str(&format!("its password is in {}, for its owner only\n", password.path().display()));
        }
        notes.iter().for_each(|note| told.push_str(&hanging("", 0, note, screen_width())));
        // Whoever closes the pipe early has seen enough.
        let _ = print(&told);
        let _ = print(&format!("{}\n", self.have_it_taken_over(&config)?));
        self.remove_passwords(old.as_ref(), &config);
        Ok(ExitCode::SUCCESS)
    }

    /// Takes away what `client add` has written for this table, once nobody reads it any more.
    fn remove_passwords(&self, before: Option<&Config>, after: &Config) {
        let (Some(before), Some((_, id))) = (before, self.table) else { return };
        for path in config_file::passwords_left(self.place.file(), id, before, after) {
            let _ = print(&match std::fs::remove_file(&path) {
                Ok(()) => format!("removed its password in {}\n", path.display()),
                Err(error) => format!("cannot remove its password in {}: {error}\n", path.display()),
            });
        }
    }

    /// The number of the file to change, and its lock if it is not the main one.
    fn find(&self, files: &[ConfigFile]) -> anyhow::Result<(usize, Option<Rewrite>)> {
        let Some((kind, id)) = self.table else { return Ok((0, None)) };
        let number = edit::find_file(files, kind, id).map_err(anyhow::Error::msg)?;
        let beside = (number > 0).then(|| Rewrite::begin(&files[number].path)).transpose()?;
        Ok((number, beside))
    }

    fn have_it_taken_over(&self, config: &Config) -> anyhow::Result<String> {
        let socket = self.place.socket_of(config)?;
        let asked = smol::block_on(async {
            if !control::is_running(&socket).await? {
                return Ok(None);
            }
            control::request(&socket, Method::POST, "/api/reload", None, Vec::new()).await.map(Some)
        });
        let Some((code, body)) = asked.map_err(anyhow::Error::msg)? else {
            return Ok("no agent is running; the next start takes it".to_owned());
        };
        let answer: Value = serde_json::from_slice(&body).context("cannot read the agent's answer")?;
        if code != 200 {
            let error = answer["error"].as_str().unwrap_or("it does not say why");
            bail!("the running agent keeps the configuration that it has: {error}");
        }
        Ok(reload::words(&answer))
    }
}

/// Prints a table in force, and what the running agent says of it.
pub fn show(place: &AgentArgs, kind: Kind, id: &str, in_json: bool) -> anyhow::Result<ExitCode> {
    let files = place.options.read()?;
    let config = place.options.parse(&files)?;
    // One that is there by default stands in no file.
    let file = edit::find_file(&files, kind, id).ok().map(|number| files[number].path.display().to_string());
    let table = config_file::shown_table(&config, kind, id)
        .with_context(|| format!("there is no {} {id}, only {}", kind.key(), config.ids(kind).join(", ")))?;
    let status = place.status(&config)?.unwrap_or_default();
    let all = match kind {
        Kind::Client => &status["links"],
        Kind::Server => &status["servers"],
        Kind::Source => &status["sources"],
    };
    let mut named = all.as_object().into_iter().flatten();
    let state =
        named.find(|(known, _)| known.eq_ignore_ascii_case(id)).map_or(&Value::Null, |(_, state)| state);
    let page = if in_json {
        let document: toml::Table = table.parse().context("cannot read the rendered table")?;
        let first = document.get(kind.key()).and_then(|tables| tables.get(0));
        format!("{:#}\n", json!({ "configuration": first, "file": file, "status": state }))
    } else {
        let facts = state.as_object().into_iter().flatten();
        let facts = facts.filter(|(_, value)| !value.is_null() && !value.is_object());
        let width = screen_width();
        let mut lines: Vec<String> = facts
            .map(|(name, value)| {
                hanging("# ", 2, &format!("{name}: {}", status::text(value)), width).replace("\n  ", "\n#   ")
            })
            .collect();
        lines.extend(
            differs(&config, kind, id, state)
                .map(|words| hanging("# ", 2, words, width).replace("\n  ", "\n# ")),
        );
        let gap = if lines.is_empty() { "" } else { "\n" };
        let from = file.map_or_else(String::new, |file| format!("# from {file}\n"));
        format!("{from}{table}{gap}{}", lines.concat())
    };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&page);
    Ok(ExitCode::SUCCESS)
}

/// Says so where the running agent has another `active` than the files.
fn differs(config: &Config, kind: Kind, id: &str, state: &Value) -> Option<&'static str> {
    let client = config.clients.iter().find(|client| client.id.eq_ignore_ascii_case(id));
    let is_active = client.filter(|_| kind == Kind::Client)?.active;
    match (is_active, state["state"].as_str()?) {
        (false, "inactive") => None,
        (true, "inactive") => {
            Some("the running agent has it inactive: `holdfast reload` has it take over the files")
        }
        (false, _) => Some(
            "the running agent has it active, by an option of its start such as --uplink or by files that have changed since: \
             `holdfast reload` has it take over the files",
        ),
        (true, _) => None,
    }
}

/// Reads `KEY=VALUE` of the command line; a value that is no TOML becomes a string.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    let (key, value) = (key.trim(), value.trim());
    let bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if key.is_empty() || !key.chars().all(bare) {
        return Err(format!("`{key}` is no key of a table"));
    }
    let is_toml = value.parse::<toml::Value>().is_ok();
    Ok((key.to_owned(), if is_toml { value.to_owned() } else { toml_string(value) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_toml_or_a_string() {
        let set = |text: &str| assignment(text).map(|(key, value)| format!("{key} = {value}"));
        assert_eq!(set("window=7"), Ok("window = 7".to_owned()));
        assert_eq!(set("confirm=ack"), Ok("confirm = \"ack\"".to_owned()));
        assert_eq!(set("ping = { interval = \"5s\" }"), Ok("ping = { interval = \"5s\" }".to_owned()));
        assert_eq!(set("name=a \"b\""), Ok("name = \"a \\\"b\\\"\"".to_owned()));
        assert!(set("window").is_err());
        assert!(set("a.b=1").is_err());
    }
}
