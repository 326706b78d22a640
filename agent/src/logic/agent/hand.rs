//! What somebody tells a link by hand: to connect now, or to stay away. Neither outlives the agent.

use super::stop::{GOING_AWAY, Stop};
use super::{Action, Agent};
use crate::logic::intake::Refused;
use crate::logic::time::Now;

/// What a client link is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// Dial now, whatever the back-off says.
    Connect,
    /// Say goodbye and stay away.
    Disconnect,
}

impl Agent {
    /// Tells the client with this id, in any case of its letters. The error says why it cannot be told.
    pub fn tell_by_hand(
        &mut self,
        now: Now,
        client: &str,
        hand: Hand,
        out: &mut Vec<Action>,
    ) -> Result<(), String> {
        if self.stop != Stop::Running {
            return Err(Refused::Stopping.to_string());
        }
        let link =
            self.links.iter().position(|line| line.is_client() && line.id.eq_ignore_ascii_case(client));
        let link = link.ok_or_else(|| format!("there is no client {client}"))?;
        let line = &mut self.links[link];
        if !line.link.is_active() {
            return Err(format!("client {} is not active in the configuration", line.id));
        }
        match hand {
            Hand::Connect => line.link.connect(now.mono),
            Hand::Disconnect => {
                let mut effects = Vec::new();
                line.link.disconnect(now.mono, GOING_AWAY, &mut effects);
                self.go_down(link);
                self.apply(now, link, effects, out);
            }
        }
        Ok(())
    }
}
