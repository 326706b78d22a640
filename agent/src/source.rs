//! How messages come in: `intake` is the way to the loop, `server` the listeners that sensors connect to.

pub mod broker;
pub mod intake;
pub mod server;
