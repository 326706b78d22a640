//! Devices: which are there, and since when.

pub mod presence;
