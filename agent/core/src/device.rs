//! Devices: their presence, and since when.

pub mod presence;
