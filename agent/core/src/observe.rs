//! The state of everything, for people, machines and the supervisor.

pub mod doctor;
pub mod exposition;
pub mod health;
pub mod held;
pub mod host;
pub mod log_event;
pub mod meter;
pub mod natural_order;
pub mod problem;
pub mod status;
pub mod tap;
pub mod watchdog;
