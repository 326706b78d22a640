//! Holdfast: a device agent that holds WebSocket links and messages fast.
//!
//! From the moment a sender is told `stored`, its message reaches the peer at least once and in order, within the bounds
//! of the configuration; what is dropped at a bound is counted, reported and announced to the peer. This page says where
//! in the code each part of that sentence is kept.
//!
//! # The one rule
//!
//! [`logic`] decides and never touches the world; [`io`] touches the world and never decides. Everything that happens
//! becomes an [`Event`](logic::agent::Event), every answer of the agent is an [`Action`](logic::agent::Action), and the
//! loop in [`io::shell`] is all that lies between. So every decision can be tested without a socket, a disk or a clock,
//! and `tests/sim` does that with thousands of simulated lives, each from one seed.
//!
//! Dependencies run one way: [`cli`], then [`io`], then [`logic`], then [`wire`], [`message`] and [`config`]. The parts of
//! [`io`] do not know each other; they meet in the loop.
//!
//! # The way of a message, in reading order
//!
//! 1. [`config`]: a TOML text becomes one checked [`Config`](config::Config), or a list of faults with their places. One
//!    file for each table.
//! 2. [`message`]: what flows. Its number in an outlet never changes and is never used twice.
//! 3. [`io::server`]: a request or a frame becomes a [`Draft`](logic::intake::Draft) and waits in [`io::intake`] for its
//!    [`Answer`](logic::intake::Answer). Before that, [`logic::gate`] says who may come in, and how much
//!    ([`logic::throttle`]); a login that fails costs what [`logic::penalty`] says.
//! 4. [`logic::agent`]: the whole agent as one state machine. It composes the links, the buffer and the presence, and a
//!    batch of drafts goes to an outlet of every link: each priority has one of its own there ([`logic::lane`]).
//! 5. [`logic::buffer`] and [`logic::outbox`]: messages that are not confirmed yet. What a link confirms within
//!    `commit_after` is forgotten there and never written; what is older goes to the store in groups.
//!    [`logic::numbers`] sees to it that no number is used twice, [`logic::accepts`] who is to be told `stored`.
//!    What is too old is given up ([`logic::age`]), measured by clocks that can be trusted ([`logic::clocks`]).
//! 6. [`io::store`]: the one thread that touches the disk. Its orders and reports are in [`logic::disk`], and wait in
//!    [`logic::disk_queue`]. Whatever it
//!    finds there at the start, it ends with an open store and says what it gave up.
//! 7. [`logic::link`]: the life of one link, with every deadline that watches it; [`logic::backoff`] says when to dial
//!    again. WebSocket links and the MQTT link live the same life.
//! 8. [`io::uplink`]: one connection, from the name to the last close frame. It carries out what [`logic::port`] orders and
//!    reports what it sees. [`wire`] is how envelopes look; [`io::net`] and [`io::tls`] make the connection, and
//!    [`logic::lookup`] says which name is resolved next.
//! 9. The peer's confirmation comes back as a report, through the link to the outbox, and the message is forgotten. What was
//!    held while the link was down goes at its own [`logic::pace`], and a message that the peer cannot bear is found with
//!    [`logic::caution`].
//!
//! # What is told
//!
//! [`logic::presence`] knows which devices are there, [`logic::status`] puts everything into one JSON, [`io::mqtt`]
//! publishes it with a Last Will on the same topic, and [`io::control`] gives it to `holdfast status`. [`logic::notice`] is
//! the log: one line for each change of state. [`logic::host`] says when the machine is looked at, [`logic::health`] whether
//! the agent makes progress, [`logic::meter`] how much the card is written, [`logic::watch`] what the service supervisor
//! hears of it. [`logic::tap`] shows whoever listens in what the events and actions of the loop are.
//!
//! # What is changed and tried
//!
//! [`logic::reload`] compares a new configuration with the one in force. The agent says how much has to give way for it, and
//! tries new settings of a client against the last ones that proved themselves; the loop reads and binds what it needs, takes it
//! over, or starts another life with it. `holdfast test` goes the same way as a dial of the agent, whose
//! [`io::net::Stage`] keeps what was found at each step, and [`logic::probe`] says what to do about the one that failed.
//!
//! # What is held, for people
//!
//! `holdfast buffer` asks the store itself: [`logic::look`] is what may be asked, the loop passes it on, and the store's thread
//! answers between two orders of the agent, a page at a time. What people give up there, the agent learns as a report.
//! A directory without an agent is read by the same code, in [`io::store::stopped`].
//!
//! # What messages must look like
//!
//! `holdfast_schema` is a crate of its own, which knows nothing of the agent: a JSON Schema is compiled once and asked of each
//! message of its route.
//!
//! # The other end
//!
//! `holdfast receive` is the reference receiver: [`logic::receiver`] decides what is new, what came twice and what is
//! missing, [`io::receiver`] listens, stores and acknowledges.
//!
//! # Threads
//!
//! The main thread holds all sockets and makes all decisions. Beside it runs the store, so that a slow sync cannot delay a
//! ping, with one that waits for its syncs, so that it goes on reading, and what async-io (one) and sled (seven) start by
//! themselves. Threads that live only as long as there is work for them: at most two that resolve names ([`io::net`]), one that
//! reads the files a server shows ([`io::aside`]), and one that hashes the password of a login. Nothing else, whatever happens
//! outside: the pool of the crate `blocking` is never used. Every queue between them has a bound.

mod cbor;
pub mod cli;
pub mod config;
mod date;
pub mod io;
pub mod logic;
pub mod message;
pub mod wire;
