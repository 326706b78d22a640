//! Pure decisions: facts in, orders out. No clock, no socket, no file, no log, no chance of its own.

pub mod accepts;
pub mod agent;
pub mod backoff;
pub mod buffer;
pub mod disk;
pub mod gather;
pub mod health;
pub mod host;
pub mod intake;
pub mod link;
pub mod notice;
pub mod numbers;
pub mod outbox;
pub mod port;
pub mod presence;
pub mod probe;
pub mod receiver;
pub mod reload;
pub mod seed;
pub mod setup;
pub mod status;
pub mod tap;
pub mod time;
pub mod watch;
