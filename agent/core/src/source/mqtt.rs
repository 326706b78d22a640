//! MQTT 3.1.1 and 5.0 as a server speaks it to sensors, and as a client speaks it to a broker: packets as values, and every decision about them.
//! PUBACK and PUBREC mean `stored`.

pub mod downlink;
pub mod from_broker;
pub mod grant;
pub mod greeting;
pub mod packet;
mod properties;
pub mod read;
pub mod reason;
pub mod session;
pub mod sessions;
pub mod to_broker;
pub mod write;

#[cfg(test)]
mod tests;
