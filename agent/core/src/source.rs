//! What comes in: who may, how much, and what becomes of it before it has an outlet.

pub mod bucket;
pub mod gate;
pub mod gather;
pub mod inbox;
pub mod intake;
pub mod last;
pub mod payload;
pub mod penalty;
pub mod throttle;
