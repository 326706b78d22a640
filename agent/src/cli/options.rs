//! The options that choose and change the configuration, the same for every subcommand that reads it.

use std::path::{Path, PathBuf};

use holdfast_core::config::{Config, ConfigFile, Overrides};

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

    /// Where the running agent is reached: `socket`, or what follows from the configuration.
    pub fn control_socket(&self, socket: Option<&Path>) -> anyhow::Result<PathBuf> {
        match socket {
            Some(socket) => Ok(socket.to_owned()),
            None => Ok(config_file::control_socket(&self.load()?)),
        }
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
