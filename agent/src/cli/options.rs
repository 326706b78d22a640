//! The options that choose and change the configuration, the same for every subcommand that reads it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use holdfast_core::config::{Config, ConfigFile, Overrides};

use crate::net::control;
use crate::runtime::config_file;

/// Which configuration, and what differs from it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Configuration file, /etc/holdfast/holdfast.toml by default if it is there; conf.d/*.toml beside it is read, too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Table of variables to use: [environment.NAME]
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Folder of the store and the state
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Url of the first client: ws://…, http://… or mqtt://…, with TLS wss://…, https://… or mqtts://…
    #[arg(long, value_name = "URL")]
    pub uplink: Option<String>,
    /// Url of the status broker: mqtt://… or mqtts://…
    #[arg(long, value_name = "URL")]
    pub mqtt: Option<String>,
}

/// The files of a configuration, and what could be made of them.
pub struct Found {
    /// The configuration in force, or as much of it as a wrong one gives: its data directory.
    pub config: Config,
    /// Its files, as far as they could be read.
    pub files: Vec<ConfigFile>,
    /// Everything that is wrong with it.
    pub faults: Vec<String>,
}

impl Options {
    /// Reads the configuration in force. The error holds every fault, one a line.
    pub fn load(&self) -> anyhow::Result<Config> {
        self.parse(&self.read()?)
    }

    /// Reads the files of the configuration, the main one first.
    pub fn read(&self) -> anyhow::Result<Vec<ConfigFile>> {
        config_file::read(self.config.as_deref())
    }

    /// Makes a configuration of its files. The error holds every fault, one a line.
    pub fn parse(&self, files: &[ConfigFile]) -> anyhow::Result<Config> {
        config_file::parse(files, &self.overrides())
    }

    /// Where the running agent is reached: `socket`, or what follows from the configuration, be it right or wrong. The error says
    /// that several agents may be meant.
    pub fn control_socket(&self, socket: Option<&Path>) -> anyhow::Result<PathBuf> {
        match socket {
            Some(socket) => Ok(socket.to_owned()),
            None => self.socket_of(None, &self.find()?.config),
        }
    }

    /// The same with a configuration that was read.
    pub fn socket_of(&self, socket: Option<&Path>, config: &Config) -> anyhow::Result<PathBuf> {
        match socket {
            Some(socket) => Ok(socket.to_owned()),
            None if self.data_dir.is_some() => Ok(config_file::control_socket(config)),
            None => locate(&config_file::control_sockets(config)),
        }
    }

    /// Reads the configuration, be it right or wrong. With a wrong one the defaults are in force, and the data directory that it
    /// names. The error says that not even those can be.
    pub fn find(&self) -> anyhow::Result<Found> {
        let files = self.read();
        let parsed = files.and_then(|files| Ok((self.parse(&files)?, files)));
        let error = match parsed {
            Ok((config, files)) => return Ok(Found { config, files, faults: Vec::new() }),
            Err(error) => error,
        };
        let files = self.read().unwrap_or_default();
        let faults = format!("{error:#}").lines().map(str::to_owned).collect();
        // Urls of the command line may be what is wrong.
        let overrides = Overrides { uplink: None, mqtt: None, ..self.overrides() };
        Ok(Found { config: config_file::salvage(&files, &overrides)?, files, faults })
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            uplink: self.uplink.clone(),
            mqtt: self.mqtt.clone(),
            data_dir: self.data_dir.clone(),
            environment: self.environment.clone(),
        }
    }
}

/// The socket where an agent answers; the first one where none does. Each comes with the data directory that leads there. The
/// error names the agents that answer.
fn locate(sockets: &[(PathBuf, PathBuf)]) -> anyhow::Result<PathBuf> {
    if let [(_, only)] = sockets {
        return Ok(only.clone());
    }
    let answers: Vec<_> = sockets
        .iter()
        .map(|(dir, socket)| (dir, socket, smol::block_on(control::is_running(socket))))
        .collect();
    let mut running = answers.iter().filter(|(.., answer)| *answer == Ok(true));
    // One that may not be asked says more than one that is not there.
    let closed = answers.iter().find(|(.., answer)| answer.is_err());
    match (running.next(), running.next()) {
        (None, _) => {
            let (_, socket, _) =
                closed.or(answers.first()).context("there is no place to look for an agent")?;
            Ok((*socket).clone())
        }
        (Some((_, one, _)), None) => Ok((*one).clone()),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(running);
            let dirs: Vec<String> =
                all.map(|(dir, ..)| format!("\n  --data-dir {}", dir.display())).collect();
            bail!("several agents run here; say which one is meant:{}", dirs.concat())
        }
    }
}
