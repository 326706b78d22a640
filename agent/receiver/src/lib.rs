//! The receiving side of the subprotocol `holdfast.v1`.
//!
//! [`state`] decides, without a world around it: what is new, what came twice, what was announced as missing, what is lost, and up to
//! which number to acknowledge. [`reference`] is a receiver around it: it listens, stores and acknowledges, and can misbehave so that
//! a sender can be tested. The gateway needs neither: it is the other end.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod reference;
pub mod state;
