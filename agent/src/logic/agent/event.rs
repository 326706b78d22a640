//! What the agent is told, and what it orders.

use super::Setup;
use crate::logic::disk::{DiskFacts, DiskOrder, DiskReport};
use crate::logic::host::HostFacts;
use crate::logic::intake::{Answer, Draft};
use crate::logic::notice::Notice;
use crate::logic::port::{LinkOrder, LinkReport};
use crate::message::Message;

/// A fact from the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A source hands over a batch and waits for the answer under this ticket.
    Offer {
        /// Names the answer.
        ticket: u64,
        /// At least one.
        drafts: Vec<Draft>,
    },
    /// Messages that were taken once come in again, with the time that they have.
    Again {
        /// Names the answer.
        ticket: u64,
        /// Name of the one outlet that they are for.
        outlet: String,
        /// At least one.
        messages: Vec<Message>,
    },
    /// A connection for a device opened.
    Connected(String),
    /// A connection for a device closed.
    Disconnected(String),
    /// A connection's task reports.
    Link {
        /// Which link.
        link: usize,
        /// Which connection of it.
        conn: u64,
        /// What it reports.
        report: LinkReport,
    },
    /// The store's thread reports.
    Disk(DiskReport, DiskFacts),
    /// The store's thread has not carried its order out, and gets on with what has to be done before.
    StoreMoves,
    /// A look at the machine found this.
    Host(HostFacts),
    /// Another configuration of the same agent is in force.
    Reconfigure {
        /// What the agent is made of.
        setup: Box<Setup>,
        /// Outlets of the links that must connect anew.
        changed: Vec<String>,
    },
    /// The old settings of a link, because its new ones did not prove themselves.
    WentBack {
        /// Which link.
        link: usize,
        /// What the agent is made of, with them.
        setup: Box<Setup>,
    },
    /// How each server is, as JSON by its name.
    Servers(serde_json::Value),
    /// Why a configuration that was offered is not in force; none when one was taken over.
    Rejected(Option<String>),
    /// Someone asked the agent to stop.
    Stop,
    /// A deadline has passed.
    Tick,
}

/// An order to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a connection; the one before is gone.
    Dial {
        /// Which link.
        link: usize,
        /// Number of the new connection.
        conn: u64,
        /// Which of the link's endpoints.
        endpoint: usize,
    },
    /// Drop the connection.
    HangUp {
        /// Which link.
        link: usize,
    },
    /// Tell the connection's task.
    Tell {
        /// Which link.
        link: usize,
        /// What.
        order: LinkOrder,
    },
    /// Give the link its old settings, and tell as `Event::WentBack`.
    GoBack {
        /// Which link.
        link: usize,
    },
    /// Tell the store's thread.
    Disk(DiskOrder),
    /// Look at the machine, and tell as `Event::Host` before anything else.
    LookAtHost,
    /// Answer a batch.
    Answer(u64, Answer),
    /// Write a line to the log.
    Note(Notice),
    /// Close the listeners and their connections.
    CloseSources,
    /// End.
    Exit,
}
