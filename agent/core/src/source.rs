//! The way in: access, limits of each sender, and the draft of a message until it has an outlet.

pub mod access;
pub mod broker_advice;
pub mod browser;
pub mod bucket;
pub mod coalesce;
pub mod content;
pub mod forwarded;
pub mod frame_pieces;
pub mod hostname;
pub mod inbox;
pub mod intake;
pub mod last;
pub mod malformed;
pub mod memory;
pub mod mqtt;
pub mod parts;
pub mod payload;
pub mod penalty;
pub mod subprotocol;
pub mod subscriber;
pub mod throttle;
