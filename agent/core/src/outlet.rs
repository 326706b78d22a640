//! Messages that are held: the queue of each outlet in memory, the orders to the disk, and every bound of both.

pub mod accepts;
pub mod age;
pub mod buffer;
pub mod disk;
pub mod disk_queue;
pub mod given;
pub mod lane;
pub mod look;
pub mod numbers;
pub mod outbox;
pub mod pace;
pub mod runs;
