//! The state of everything, for people, machines and the supervisor.

pub mod health;
pub mod host;
pub mod meter;
pub mod notice;
pub mod status;
pub mod tap;
pub mod watch;
