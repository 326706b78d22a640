//! What is held: the queue of each outlet in memory, what is said to the disk, and everything that bounds it.

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
