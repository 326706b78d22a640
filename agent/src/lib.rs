//! Holdfast: a device agent that holds WebSocket links and messages fast.
//!
//! From the moment a sender is told `stored`, its message reaches the peer at least once and in order, within the bounds
//! of the configuration; what is dropped at a bound is counted, reported and announced to the peer. This page says where
//! in the code each part of that sentence is kept.
//!
//! # The one rule
//!
//! [`holdfast_core`] decides and cannot touch the world, since it is a crate whose dependencies have no world to give; this crate
//! touches the world and never decides. Everything that happens becomes an [`Event`](holdfast_core::agent::Event), every answer
//! of the agent is an [`Action`](holdfast_core::agent::Action), and the loop in [`runtime`] is all that lies between.
//!
//! # The rooms
//!
//! [`source`] is how messages come in, [`outlet`] how they leave, [`store`] where they wait on the disk. They do not know each
//! other: they meet in [`runtime`]. Below them lie [`net`], which makes connections, and [`os`], what the machine gives. Above all
//! is [`cli`], the commands. Dependencies run one way, and a test keeps it so.
//!
//! # The way of a message, from a POST to its confirmation
//!
//! 1. [`runtime::config_file`] reads the files that [`holdfast_core::config`] makes one checked configuration of.
//! 2. [`source::server`]: a request, a frame or a packet becomes a draft and waits in [`source::intake`] for its answer. `holdfast_schema`, a crate
//!    that knows nothing of the agent, says whether it looks as its route wants it. [`source::broker`] fetches messages in the place of
//!    waiting for them.
//! 3. [`runtime`]: the loop hands it to the agent. The page of [`holdfast_core`] goes on from here: to which outlets it goes,
//!    when it is safe, what is sent when.
//! 4. [`store`]: the one thread that touches the disk. Whatever it finds there at the start, it ends with an open store and
//!    says what it gave up. `holdfast buffer` asks it for what is held; a directory without an agent is read by the same code, in
//!    [`store::stopped`].
//! 5. [`outlet::uplink`]: one connection, from the name to the last close frame; [`outlet::http`] for a link that posts. [`net`] and
//!    [`net::tls`] make it. It carries out what [`holdfast_core::link::protocol`] orders and reports what it sees: in the end, the
//!    peer's confirmation.
//!
//! # What is told
//!
//! [`outlet::mqtt`] publishes the status with a Last Will on the same topic, [`net::control`] gives it to `holdfast status`, and
//! [`os::supervisor`] tells the service supervisor.
//!
//! # The other end
//!
//! `holdfast receive` is the reference receiver of [`holdfast_receiver`], the far end: its `state` decides what is new, what came twice
//! and what is missing, its `reference` listens, stores and acknowledges.
//!
//! # Threads
//!
//! The main thread holds all sockets and makes all decisions. Beside it runs the store, so that a slow sync cannot delay a
//! ping, with one that waits for its syncs, so that it goes on reading, and what async-io (one) and sled (seven) start by
//! themselves. Threads that live only as long as there is work for them: at most two that resolve names ([`net`]), one that
//! reads the files a server shows ([`os::aside`]), and one that hashes the password of a login. Nothing else, whatever happens
//! outside: the pool of the crate `blocking` is never used. Every queue between them has a bound.

pub mod cli;
pub mod net;
pub mod os;
pub mod outlet;
pub mod runtime;
pub mod source;
pub mod store;
