//! Commands that people give a link: to connect now, or to stay away. None outlives the agent.

use std::fmt;

use super::stop::{GOING_AWAY, Stop};
use super::{Action, Agent};
use crate::source::intake::Refused;
use crate::time::Now;

/// What a client link is told by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkCommand {
    /// Dial now, whatever the back-off says.
    Connect,
    /// Say goodbye and stay away.
    Disconnect,
}

/// Why a link does not obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The agent is stopping.
    Stopping,
    /// There is no client of this id.
    NoClient(String),
    /// The configuration does not let this client dial.
    Inactive(String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Stopping => Refused::Stopping.fmt(f),
            CommandError::NoClient(id) => write!(f, "there is no client {id}"),
            CommandError::Inactive(id) => {
                write!(
                    f,
                    "client {id} is not active in the configuration: `holdfast client enable {id}` makes it so"
                )
            }
        }
    }
}

impl Agent {
    /// Tells the client with this id, in any case of its letters.
    pub(crate) fn command(
        &mut self,
        now: Now,
        client: &str,
        command: LinkCommand,
        out: &mut Vec<Action>,
    ) -> Result<(), CommandError> {
        if self.stop != Stop::Running {
            return Err(CommandError::Stopping);
        }
        let is_its = |line: &super::LinkContext| line.is_client() && line.id.eq_ignore_ascii_case(client);
        let link = self.links.first(is_its);
        let link = link.ok_or_else(|| CommandError::NoClient(client.to_owned()))?;
        let line = &mut self.links[link];
        if !line.link.is_active() {
            return Err(CommandError::Inactive(line.id.clone()));
        }
        match command {
            LinkCommand::Connect => line.link.connect(now.mono),
            LinkCommand::Disconnect => {
                let mut effects = Vec::new();
                line.link.disconnect(now.mono, GOING_AWAY, &mut effects);
                self.go_down(link);
                self.apply(now, link, effects, out);
            }
        }
        Ok(())
    }
}
