//! The world: sockets, sled, MQTT, HTTP, signals. Turns bytes into events and orders into bytes, and decides nothing.

pub mod aside;
pub mod clock;
pub mod config_file;
pub mod control;
pub mod descriptors;
pub mod given;
pub mod host;
pub mod intake;
pub mod mqtt;
pub mod net;
pub mod pam;
pub mod password;
pub mod private;
pub mod probe;
pub mod receiver;
pub mod secret;
pub mod server;
pub mod shell;
pub mod store;
pub mod supervisor;
pub mod tls;
pub mod uplink;
