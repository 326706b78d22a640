//! The way from the sources to the loop: what a source task holds in its hand.

mod feed;
mod tally;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::agent::{LinkCommand, Query, Reply};
use holdfast_core::config::network::Remote;
use holdfast_core::message::Message;
use holdfast_core::observe::health::Health;
use holdfast_core::observe::status::Status;
use holdfast_core::outlet::inspect::{Change, StoreAnswer, StoreQuery};
use holdfast_core::reload::Reloaded;
use holdfast_core::source::intake::{Answer, Draft, Refused};
use holdfast_core::topic_filter::TopicFilter;
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;

pub use self::feed::{Delivery, Publisher, Subscription, downlink, feed};
pub use self::tally::Tally;

/// How many batches may wait for the loop; a source that finds it full waits.
const QUEUE: usize = 256;

/// Outcome of a batch: its answer, or all of it again when too much waits at this moment.
pub type Outcome = Result<Answer, Vec<Draft>>;

/// What a source says to the loop.
#[derive(Debug)]
pub enum Input {
    /// A batch, and where its answer goes.
    Offer {
        /// At least one.
        drafts: Vec<Draft>,
        /// The machine that sent it, if one did.
        from: Option<Remote>,
        /// Takes exactly one outcome.
        reply: Sender<Outcome>,
    },
    /// A connection that speaks for this device has opened.
    Connected(String),
    /// A connection that spoke for this device has closed.
    Disconnected(String),
    /// The last will of this device was published.
    Departed(String),
    /// Messages that were taken once come in again, for one outlet.
    Reimport {
        /// Its name.
        outlet: String,
        /// At least one.
        messages: Vec<Message>,
        /// Takes exactly one outcome.
        reply: Sender<Outcome>,
    },
    /// Asks to look into the store.
    StoreQuery(StoreQuery, Sender<Result<StoreAnswer, String>>),
    /// Asks to give up something in the store; the answer is how many messages.
    Change(Change, Sender<Result<u64, String>>),
    /// Asks how something is.
    Query(Query, Sender<Reply>),
    /// Asks to listen in on the topics of this filter.
    Tap {
        /// A topic filter of MQTT.
        filter: String,
        /// Takes the lines, or why there are none.
        reply: Sender<Result<Receiver<String>, String>>,
    },
    /// Asks for all that is accepted from here on and that any of these filters means.
    Subscribe(Vec<TopicFilter>, Sender<Result<Subscription, String>>),
    /// Asks for all from here on that may go to sensors.
    Downlink(Sender<Subscription>),
    /// Asks to take over the configuration as it is on the disk.
    Reload(Sender<Result<Reloaded, String>>),
    /// Tells a client link something by hand.
    Command {
        /// Id of the client.
        client: String,
        /// What.
        command: LinkCommand,
        /// Takes one answer: why it cannot be told.
        reply: Sender<Result<(), String>>,
    },
}

/// The sources' end; cloned freely.
#[derive(Debug, Clone)]
pub struct Intake {
    inputs: Sender<Input>,
    stopping: Receiver<Infallible>,
    /// Ends before the whole does, for a server that is replaced.
    own: Option<Receiver<Infallible>>,
    tally: Rc<Tally>,
}

/// The loop's end.
#[derive(Debug)]
pub struct SourceQueue {
    /// What the sources said.
    pub inputs: Receiver<Input>,
    /// Dropped when the sources must close.
    pub alive: Option<Sender<Infallible>>,
    /// What the sources refused by themselves.
    pub tally: Rc<Tally>,
}

/// Makes both ends.
pub fn channel() -> (Intake, SourceQueue) {
    let (inputs, received) = bounded(QUEUE);
    let (alive, stopping) = bounded(1);
    let tally = Rc::<Tally>::default();
    let intake = Intake { inputs, stopping, own: None, tally: Rc::clone(&tally) };
    (intake, SourceQueue { inputs: received, alive: Some(alive), tally })
}

impl Intake {
    /// An end for sources that must close with the others, or earlier: when what comes with it is dropped.
    pub fn branch(&self) -> (Intake, Sender<Infallible>) {
        let (alive, own) = bounded(1);
        (Intake { own: Some(own), ..self.clone() }, alive)
    }

    /// Hands over a batch that came from a machine and waits until all of it is stored, or refused.
    pub async fn offer(&self, drafts: Vec<Draft>, from: Option<Remote>) -> Answer {
        self.offer_or_take_back(drafts, from).await.unwrap_or(Answer::Refused(Refused::Busy))
    }

    /// The same, for a source that comes again with what was not taken since too much waits.
    pub async fn offer_or_take_back(&self, drafts: Vec<Draft>, from: Option<Remote>) -> Outcome {
        let (reply, outcome) = bounded(1);
        if self.inputs.send(Input::Offer { drafts, from, reply }).await.is_err() {
            return Ok(Answer::Refused(Refused::Stopping));
        }
        outcome.recv().await.unwrap_or(Ok(Answer::Refused(Refused::Stopping)))
    }

    /// Comes so many times again with what was not taken since too much waits, with a pause before each.
    pub async fn offer_again(
        &self,
        mut drafts: Vec<Draft>,
        from: Option<Remote>,
        pause: Duration,
        tries: u32,
    ) -> Answer {
        for _ in 0..tries {
            Timer::after(pause).await;
            match self.offer_or_take_back(drafts, from).await {
                Ok(answer) => return answer,
                Err(again) => drafts = again,
            }
        }
        Answer::Refused(Refused::Busy)
    }

    /// Hands over messages that were taken once, for one outlet, and waits until all of them are stored, or refused.
    pub async fn again(&self, outlet: String, messages: Vec<Message>) -> Answer {
        let (reply, outcome) = bounded(1);
        if self.inputs.send(Input::Reimport { outlet, messages, reply }).await.is_err() {
            return Answer::Refused(Refused::Stopping);
        }
        let outcome = outcome.recv().await.unwrap_or(Ok(Answer::Refused(Refused::Stopping)));
        outcome.unwrap_or(Answer::Refused(Refused::Busy))
    }

    /// Looks into the store. The error says why not.
    pub async fn look(&self, look: StoreQuery) -> Result<StoreAnswer, String> {
        self.ask(|reply| Input::StoreQuery(look, reply)).await
    }

    /// Gives up something in the store, and tells how many messages. The error says why not.
    pub async fn change(&self, change: Change) -> Result<u64, String> {
        self.ask(|reply| Input::Change(change, reply)).await
    }

    /// Tells that a connection for this device has opened. Every call needs one of [`Intake::disconnected`].
    pub async fn connected(&self, device: &str) {
        let _ = self.inputs.send(Input::Connected(device.to_owned())).await;
    }

    /// Tells that a connection for this device has closed.
    pub async fn disconnected(&self, device: &str) {
        let _ = self.inputs.send(Input::Disconnected(device.to_owned())).await;
    }

    /// Tells that the last will of this device was published.
    pub async fn departed(&self, device: &str) {
        let _ = self.inputs.send(Input::Departed(device.to_owned())).await;
    }

    /// The status, none when the agent is stopping.
    pub async fn status(&self) -> Option<Status> {
        match self.query(Query::Status).await? {
            Reply::Status(status) => Some(*status),
            Reply::Health(_) | Reply::Topics(_) | Reply::Last(_) => None,
        }
    }

    /// Whether the agent makes progress, none when it is stopping.
    pub async fn health(&self) -> Option<Health> {
        match self.query(Query::Health).await? {
            Reply::Health(health) => Some(health),
            Reply::Status(_) | Reply::Topics(_) | Reply::Last(_) => None,
        }
    }

    /// What is accepted from here on and meant by any of these filters, until the agent stops. The error says why not.
    pub async fn subscribe(&self, filters: Vec<TopicFilter>) -> Result<Subscription, String> {
        self.ask(|reply| Input::Subscribe(filters, reply)).await
    }

    /// What may go to sensors from here on, until the agent stops; none when it does.
    pub async fn downlink(&self) -> Option<Subscription> {
        let (reply, answer) = bounded(1);
        self.inputs.send(Input::Downlink(reply)).await.ok()?;
        answer.recv().await.ok()
    }

    /// The topics of this filter that were heard of lately, none when the agent is stopping.
    pub async fn topics(&self, filter: TopicFilter) -> Option<serde_json::Value> {
        match self.query(Query::Topics(filter)).await? {
            Reply::Topics(topics) => Some(topics),
            Reply::Status(_) | Reply::Health(_) | Reply::Last(_) => None,
        }
    }

    /// The last message of a topic. The error says that the agent is stopping.
    pub async fn last(&self, topic: String) -> Result<Option<Arc<Message>>, Refused> {
        match self.query(Query::Last(topic)).await {
            Some(Reply::Last(message)) => Ok(message),
            Some(Reply::Status(_) | Reply::Health(_) | Reply::Topics(_)) | None => Err(Refused::Stopping),
        }
    }

    async fn query(&self, query: Query) -> Option<Reply> {
        let (reply, answer) = bounded(1);
        self.inputs.send(Input::Query(query, reply)).await.ok()?;
        answer.recv().await.ok()
    }

    /// Takes over the configuration as it is on the disk. The error says why the one in force stays so.
    pub async fn reload(&self) -> Result<Reloaded, String> {
        self.ask(Input::Reload).await
    }

    /// Tells a client link to connect or to stay away. The error says why it cannot be told.
    pub async fn command(&self, client: String, command: LinkCommand) -> Result<(), String> {
        self.ask(|reply| Input::Command { client, command, reply }).await
    }

    /// Listens in: lines of JSON until the agent stops. The error says why not.
    pub async fn tap(&self, filter: &str) -> Result<Receiver<String>, String> {
        self.ask(|reply| Input::Tap { filter: filter.to_owned(), reply }).await
    }

    async fn ask<T>(&self, input: impl FnOnce(Sender<Result<T, String>>) -> Input) -> Result<T, String> {
        let (reply, answer) = bounded(1);
        let stopping = || Refused::Stopping.to_string();
        self.inputs.send(input(reply)).await.map_err(|_| stopping())?;
        answer.recv().await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Where a source counts what it refuses by itself.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Waits until the sources must close their connections.
    pub async fn stopping(&self) {
        let _ = match &self.own {
            Some(own) => or(own.recv(), self.stopping.recv()).await,
            None => self.stopping.recv().await,
        };
    }
}
