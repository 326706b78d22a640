//! What the agent is told, and what it orders.

use std::collections::BTreeMap;

use super::command::{CommandError, LinkCommand};
use crate::config::network::Remote;
use crate::ids::{ConnectionId, EndpointId, LinkId, RequestId};
use crate::link::protocol::{LinkOrder, LinkReport};
use crate::message::Message;
use crate::observe::host::HostFacts;
use crate::observe::log_event::LogEvent;
use crate::observe::status::ServerStatus;
use crate::outlet::store_protocol::{StoreFacts, StoreOrder, StoreReport};
use crate::reload::{Proposal, ReloadError, Reloaded};
use crate::source::intake::{Answer, Draft};

/// A fact from the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A source hands over a batch and waits for the answer under this request.
    Offer {
        /// Names the answer.
        request: RequestId,
        /// At least one.
        drafts: Vec<Draft>,
        /// The machine that sent it, if one did.
        from: Option<Remote>,
    },
    /// Messages that were taken once come in again, with the time that they have.
    Reimport {
        /// Names the answer.
        request: RequestId,
        /// Name of the one outlet that they are for.
        outlet: String,
        /// At least one.
        messages: Vec<Message>,
    },
    /// A connection for a device opened.
    Connected(String),
    /// A connection for a device closed.
    Disconnected(String),
    /// The last will of a device was published.
    Departed(String),
    /// A connection's task reports.
    Link {
        /// Which link.
        link: LinkId,
        /// Which connection of it.
        conn: ConnectionId,
        /// What it reports.
        report: LinkReport,
    },
    /// The store's thread reports.
    Disk(StoreReport, StoreFacts),
    /// The store's thread has not carried its order out, and gets on with what has to be done before.
    StoreMoves,
    /// A look at the machine found this.
    Host(HostFacts),
    /// Somebody tells a client link something by hand.
    Command {
        /// Names the answer.
        request: RequestId,
        /// Id of the client, in any case of its letters.
        client: String,
        /// What.
        command: LinkCommand,
    },
    /// Somebody wants the configuration taken over as it is on the disk.
    Reload {
        /// Names the answer.
        request: RequestId,
    },
    /// The configuration was read for a request, and its listeners are bound. The error says why not.
    Prepared {
        /// Which request.
        request: RequestId,
        /// What it says.
        outcome: Result<Box<Proposal>, String>,
    },
    /// How each server is, by its id.
    Servers(BTreeMap<String, ServerStatus>),
    /// Why a configuration that was offered before the start is not in force.
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
        link: LinkId,
        /// Number of the new connection.
        conn: ConnectionId,
        /// Which of the link's endpoints.
        endpoint: EndpointId,
    },
    /// Drop the connection.
    HangUp {
        /// Which link.
        link: LinkId,
    },
    /// Tell the connection's task.
    Tell {
        /// Which link.
        link: LinkId,
        /// What.
        order: LinkOrder,
    },
    /// See how far the bytes of the connection have come, and tell before anything else.
    Look {
        /// Which link.
        link: LinkId,
        /// Which connection of it.
        conn: ConnectionId,
    },
    /// Read the configuration, bind what it needs, and tell as `Event::Prepared`.
    Prepare {
        /// For which request.
        request: RequestId,
    },
    /// Put in force what was prepared: its servers, and what it says beside the agent's own setup.
    TakeOver {
        /// For which request.
        request: RequestId,
    },
    /// Keep what was prepared for another life, which begins when this one has ended.
    Succeed {
        /// For which request.
        request: RequestId,
    },
    /// Tell the store's thread.
    Disk(StoreOrder),
    /// Look at the machine, and tell as `Event::Host` before anything else.
    LookAtHost,
    /// Drop what was kept for another life: the end is for good.
    DropSuccessor,
    /// Answer a batch.
    Answer(RequestId, Answer),
    /// Gives a batch back of which nothing was taken, since too much waits.
    GiveBack(RequestId, Vec<Draft>),
    /// Answer a command.
    ReplyToCommand {
        /// Which request.
        request: RequestId,
        /// The error says why the link does not obey.
        outcome: Result<(), CommandError>,
    },
    /// Answer a reload. What was prepared for it and is not taken over is dropped.
    ReplyToReload {
        /// Which request.
        request: RequestId,
        /// What was done. The error says why the configuration in force stays so.
        outcome: Result<Reloaded, ReloadError>,
    },
    /// Write a line to the log.
    Note(LogEvent),
    /// Stop, and start another life with the same configuration.
    StartAnew,
    /// Close the listeners and their connections.
    CloseSources,
    /// End.
    Exit,
}
