//! How messages leave: `uplink` is the WebSocket connection of a link, `mqtt` the connection to the broker.

pub mod mqtt;
pub mod probe;
pub mod uplink;
