//! The state of everything, for people, machines and the supervisor.

pub mod doctor;
pub mod exposition;
pub mod health;
pub mod host;
pub mod log_event;
pub mod meter;
pub mod status;
pub mod tap;
pub mod watchdog;
