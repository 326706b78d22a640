//! Where the messages are: in the running agent if it answers, else in the directory that it left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_core::cbor;
use holdfast_core::config::Config;
use holdfast_core::message::{Entry, Message};
use holdfast_core::outlet::inspect::{
    Change, Checked, Damage, DeadLetter, Reimport, StoreAnswer, StoreQuery, Survey,
};
use holdfast_core::outlet::lane;
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::options::Options;
use crate::net::control;
use crate::store::stopped::{Mended, Reading, Stopped};

/// Pause before what found the agent busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// How the agent or its directory is found.
#[derive(clap::Args, Debug)]
pub struct StorePath {
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Where the messages are.
pub enum StoreAccess {
    /// In the running agent.
    Running(Agent),
    /// In a directory that is only read.
    Reading(Box<Reading>),
    /// In a directory that is changed.
    Mended(Box<Mended>),
}

/// The running agent.
#[derive(Clone)]
pub struct Agent {
    socket: PathBuf,
}

impl StorePath {
    /// The running agent, or the directory to be read.
    pub fn read(&self) -> anyhow::Result<StoreAccess> {
        match self.agent()? {
            Some(agent) => Ok(StoreAccess::Running(agent)),
            None => {
                let config = self.options.find()?.config;
                let stopped = Stopped::lock(&config.agent.data_dir, &outlets(&config))?;
                let reading = stopped.read().map_err(anyhow::Error::msg)?;
                Ok(StoreAccess::Reading(Box::new(reading)))
            }
        }
    }

    /// The running agent, or the directory to be changed, which is repaired first if it must be.
    pub fn change(&self) -> anyhow::Result<StoreAccess> {
        match self.agent()? {
            Some(agent) => Ok(StoreAccess::Running(agent)),
            None => Ok(StoreAccess::Mended(Box::new(self.mend()?))),
        }
    }

    /// The directory to be changed.
    pub fn mend(&self) -> anyhow::Result<Mended> {
        let config = self.options.load()?;
        let stopped = Stopped::lock(&config.agent.data_dir, &outlets(&config))?;
        stopped.mend().map_err(anyhow::Error::msg)
    }

    /// The outlet that somebody means: for the id of a client whose place in the buffer has another name, that place.
    pub fn meant(&self, named: Option<&str>) -> Option<String> {
        let config = self.options.find().ok().map(|found| found.config);
        let place = |named: &str| {
            let mut clients = config.iter().flat_map(|config| &config.clients);
            let its = clients.find(|client| client.id.eq_ignore_ascii_case(named))?;
            Some(lane::of_client(its.outlet.as_deref()?))
        };
        named.map(|named| place(named).unwrap_or_else(|| named.to_owned()))
    }

    /// The running agent, none if there is none. Whoever names a socket means a running one.
    pub fn agent(&self) -> anyhow::Result<Option<Agent>> {
        let socket = self.options.control_socket(self.socket.as_deref())?;
        let answers = || smol::block_on(control::is_running(&socket)).map_err(anyhow::Error::msg);
        let running = self.socket.is_some() || answers()?;
        Ok(running.then_some(Agent { socket }))
    }

    /// The running agent; the error says that it is needed.
    pub fn needed_agent(&self, what: &str) -> anyhow::Result<Agent> {
        let socket = self.options.control_socket(self.socket.as_deref())?;
        let missing = || format!("no agent is running at {}, and only it can {what}", socket.display());
        self.agent()?.with_context(missing)
    }
}

fn outlets(config: &Config) -> Vec<String> {
    let clients = config.clients.iter().map(|client| lane::of_client(client.outlet_name()));
    clients.chain(config.mqtt.iter().map(|_| "mqtt".to_owned())).collect()
}

impl StoreAccess {
    /// One look.
    pub fn look(&mut self, look: &StoreQuery) -> anyhow::Result<StoreAnswer> {
        match self {
            StoreAccess::Running(agent) => agent.ask("look", look),
            StoreAccess::Reading(reading) => reading.look(look).map_err(anyhow::Error::msg),
            StoreAccess::Mended(mended) => mended.look(look).map_err(anyhow::Error::msg),
        }
    }

    /// Gives something up. Tells how many messages.
    pub fn change(&mut self, change: &Change) -> anyhow::Result<u64> {
        match self {
            StoreAccess::Running(agent) => agent.ask("change", change),
            StoreAccess::Reading(_) => bail!("the store is open to be read only"),
            StoreAccess::Mended(mended) => mended.change(change).map_err(anyhow::Error::msg),
        }
    }

    /// Whether it is the running agent.
    pub fn is_running(&self) -> bool {
        matches!(self, StoreAccess::Running(_))
    }

    /// What was found to be damaged in a directory when it was opened to be read.
    pub fn damage(&self) -> &[Damage] {
        match self {
            StoreAccess::Reading(reading) => reading.damage(),
            StoreAccess::Running(_) | StoreAccess::Mended(_) => &[],
        }
    }

    /// Whether the groups can be looked at.
    pub fn is_readable(&self) -> bool {
        match self {
            StoreAccess::Reading(reading) => reading.is_readable(),
            StoreAccess::Running(_) | StoreAccess::Mended(_) => true,
        }
    }

    /// How everything stands.
    pub fn survey(&mut self) -> anyhow::Result<Survey> {
        match self.look(&StoreQuery::Survey)? {
            StoreAnswer::Survey(survey) => Ok(survey),
            other => bail!(odd(&other)),
        }
    }

    /// Shows every entry of an outlet from a number on, until `show` says that it was enough.
    pub fn entries(
        &mut self,
        outlet: &str,
        from: u64,
        mut show: impl FnMut(Entry) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut next = Some(from);
        while let Some(from) = next {
            match self.look(&StoreQuery::Entries { outlet: outlet.to_owned(), from })? {
                StoreAnswer::Entries { entries, next: following } => {
                    for entry in entries {
                        if !show(entry)? {
                            return Ok(());
                        }
                    }
                    next = following;
                }
                other => bail!(odd(&other)),
            }
        }
        Ok(())
    }

    /// Checks one page of groups, or the files.
    pub fn check(&mut self, look: &StoreQuery) -> anyhow::Result<Checked> {
        match self.look(look)? {
            StoreAnswer::Checked(checked) => Ok(checked),
            other => bail!(odd(&other)),
        }
    }

    /// All dead letters, with their numbers; none for one that cannot be read.
    pub fn letters(&mut self) -> anyhow::Result<Vec<(u64, Option<DeadLetter>)>> {
        let mut all = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            match self.look(&StoreQuery::Letters { from })? {
                StoreAnswer::Letters { letters, next: following } => {
                    all.extend(letters);
                    next = following;
                }
                other => bail!(odd(&other)),
            }
        }
        Ok(all)
    }
}

fn odd(seen: &StoreAnswer) -> String {
    let kind = match seen {
        StoreAnswer::Survey(_) => "a survey",
        StoreAnswer::Entries { .. } => "entries",
        StoreAnswer::Checked(_) => "a check",
        StoreAnswer::Letters { .. } => "letters",
    };
    format!("the agent answered with {kind}, which nobody asked for: is it of another version?")
}

impl Agent {
    /// Hands over messages of one outlet and waits until they are stored, trying again while the agent is busy.
    pub fn again(&self, outlet: &str, messages: Vec<Message>, timeout: Duration) -> anyhow::Result<()> {
        let body = serde_cbor::to_vec(&Reimport { outlet: outlet.to_owned(), messages })?;
        let mut left = timeout;
        loop {
            let (status, answer) = self.post("again", body.clone())?;
            match status {
                200 => return Ok(()),
                429 if !left.is_zero() => {
                    std::thread::sleep(BUSY_PAUSE.min(left));
                    left = left.saturating_sub(BUSY_PAUSE);
                }
                _ => bail!(refusal(status, &answer)),
            }
        }
    }

    fn ask<T: DeserializeOwned>(&self, path: &str, question: &impl Serialize) -> anyhow::Result<T> {
        let (status, answer) = self.post(path, serde_cbor::to_vec(question)?)?;
        match status {
            200 => cbor::read(&answer).context("cannot read the agent's answer"),
            _ => bail!(refusal(status, &answer)),
        }
    }

    fn post(&self, path: &str, body: Vec<u8>) -> anyhow::Result<(u16, Vec<u8>)> {
        let path = format!("/api/buffer/{path}");
        let asked = control::request(&self.socket, Method::POST, &path, Some("application/cbor"), body);
        smol::block_on(asked).map_err(anyhow::Error::msg)
    }
}

/// The agent's words.
fn refusal(status: u16, answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    match serde_json::from_str::<Value>(&text) {
        Ok(json) if json["error"].is_string() => json["error"].as_str().unwrap_or_default().to_owned(),
        Ok(_) | Err(_) => format!("the agent answered {status}: {}", text.trim()),
    }
}

/// The name of the outlet that is meant: its whole name, or the id of its client.
pub fn outlet(survey: &Survey, meant: &str) -> anyhow::Result<String> {
    let names: Vec<&str> = survey.outlets.iter().map(|outlet| outlet.name.as_str()).collect();
    let client = lane::of_client(meant);
    let found =
        names.iter().find(|name| **name == meant).or_else(|| names.iter().find(|name| **name == client));
    match found {
        Some(name) => Ok((*name).to_owned()),
        None if names.is_empty() => bail!("there is no outlet {meant}; there is none at all"),
        None => bail!("there is no outlet {meant}, only {}", names.join(", ")),
    }
}

/// The outlets that are meant: the one that is named, or all.
pub fn outlets_meant(survey: &Survey, meant: Option<&str>) -> anyhow::Result<Vec<String>> {
    match meant {
        Some(meant) => Ok(vec![outlet(survey, meant)?]),
        None => Ok(survey.outlets.iter().map(|outlet| outlet.name.clone()).collect()),
    }
}

/// The words of a path in errors.
pub fn named(path: Option<&Path>) -> String {
    path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::outlet::inspect::Outlet;

    #[test]
    fn an_outlet_is_meant_by_its_name_or_by_the_id_of_its_client() {
        let outlet_of = |name: &str| Outlet { name: name.to_owned(), epoch: String::new() };
        let survey =
            Survey { outlets: vec![outlet_of("client:cloud"), outlet_of("mqtt")], ..Survey::default() };
        assert_eq!(outlet(&survey, "client:cloud").unwrap(), "client:cloud");
        assert_eq!(outlet(&survey, "Cloud").unwrap(), "client:cloud");
        assert_eq!(outlet(&survey, "mqtt").unwrap(), "mqtt");
        let error = outlet(&survey, "hub").unwrap_err().to_string();
        assert_eq!(error, "there is no outlet hub, only client:cloud, mqtt");
        assert_eq!(outlets_meant(&survey, None).unwrap().len(), 2);
    }
}
