//! Every decision of Holdfast. Facts come in, orders go out; there is no socket, no file, no clock, no log and no chance of its
//! own in here, and the dependencies of this crate have none to give. So each decision can be tested without a world around it,
//! and `tests/sim` lives thousands of lives of the whole agent, each from one seed.
//!
//! # The way of a message, from a POST to its confirmation
//!
//! 1. [`source`]: who may come in and how much ([`source::access`], [`source::throttle`]), what a failed login costs
//!    ([`source::penalty`]), what a packet of MQTT is answered with ([`source::mqtt`]), what a broker's packets become ([`source::subscriber`]). A request or a frame becomes a [`Draft`](source::intake::Draft), which waits for its
//!    [`Answer`](source::intake::Answer).
//! 2. [`agent`]: the whole agent as one state machine. It composes the links, the buffer and the presence, and hands a batch of
//!    drafts to an outlet of every link: each priority has one of its own there ([`outlet::lane`]).
//! 3. [`outlet`]: messages that are not confirmed yet ([`outlet::buffer`], [`outlet::queue`]). Confirmed within `commit_after`,
//!    they never touch the disk; older ones go to the store in groups ([`outlet::store_protocol`] is what is said to it and heard from
//!    it). [`outlet::sequence`] sees to it that no number is used twice, [`outlet::pending_acks`] to who is told `stored`, [`outlet::age`] to
//!    what is too old, by [`clocks`] that can be trusted.
//! 4. [`link`]: the life of one connection to the outside, with every deadline that watches it; [`link::backoff`] and
//!    [`link::endpoint`] say when and where to dial again, [`link::poison`] finds the message that a peer cannot bear. Links of all
//!    kinds live the same life, and speak the same words ([`link::protocol`]). [`link::post_queue`] is what an HTTP link posts and what it
//!    makes of the answers.
//! 5. The peer's confirmation comes back as a report, through the link to the outbox, and the message is forgotten.
//!
//! # Around it
//!
//! [`device`] knows which devices are there. [`observe`] tells people and machines how everything is: status, health, log lines, the
//! watchdog, the meter of the card. [`config`] turns a TOML text into one checked configuration or a list of faults with their
//! places, [`reload`] says how much has to give way for another one, and [`setup`] is what the agent is told of it. [`wire`] is how
//! envelopes look; the far end is a crate of its own, `holdfast-receiver`.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod agent;
pub mod cbor;
pub mod clocks;
pub mod config;
pub mod date;
pub mod descriptors;
pub mod device;
pub mod ids;
pub mod link;
pub mod message;
pub mod observe;
pub mod outlet;
pub mod reload;
pub mod seed;
pub mod setup;
pub mod source;
pub mod terminal;
pub mod time;
pub mod topic_filter;
pub mod wire;
