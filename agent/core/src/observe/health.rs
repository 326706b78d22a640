//! Whether the agent makes progress. A link that is down is not a fault of the agent: what it can't deliver it holds.

use std::time::Duration;

use crate::agent::Agent;
use crate::outlet::buffer::StoreState;
use crate::time::Time;

/// The store owes an answer for so long, and for as long again as it takes to recover at a megabyte a second: it hangs in the
/// disk.
const STORE_SILENCE: Duration = Duration::from_secs(45);
/// Something that was due is late by so much: the loop does not get to it.
const LATENESS: Duration = Duration::from_secs(10);

/// Obstacles to the progress of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Troubles that only a new start can mend, a sentence each: the watchdog must not be fed.
    pub stuck: Vec<String>,
    /// Trouble that is tried again until it is mended, such as a full disk; messages are refused meanwhile.
    pub failing: Option<String>,
}

impl Health {
    pub(crate) fn of(agent: &Agent, now: Time) -> Health {
        let silent = agent.buffer.owed_since().map(|since| now.since(since));
        let recovery = Duration::from_secs(agent.buffer.facts().disk_bytes / 1_000_000);
        let silent = silent.filter(|silent| *silent >= STORE_SILENCE + recovery);
        let silent = silent.map(|silent| format!("the store has not answered for {} s", silent.as_secs()));
        let late = agent.deadline().map(|due| now.since(due)).filter(|late| *late >= LATENESS);
        let late = late.map(|late| format!("the loop is {} s late", late.as_secs()));
        Health {
            stuck: silent.into_iter().chain(late).collect(),
            failing: agent.buffer.failure().map(|error| match agent.buffer.store() {
                StoreState::ReadOnly => format!("the store is read-only: {error}"),
                StoreState::Ok | StoreState::Failing => format!("the store is failing: {error}"),
            }),
        }
    }

    /// Whether messages are taken and move on.
    pub fn is_good(&self) -> bool {
        self.stuck.is_empty() && self.failing.is_none()
    }

    /// Everything that is wrong.
    pub fn reasons(&self) -> impl Iterator<Item = &String> {
        self.stuck.iter().chain(&self.failing)
    }
}
