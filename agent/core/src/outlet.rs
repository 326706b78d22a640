//! Messages that are held: the queue of each outlet in memory, the orders to the disk, and every bound of both.

pub mod age;
pub mod buffer;
pub mod given;
pub mod inspect;
pub mod lane;
pub mod order_queue;
pub mod pending_acks;
pub mod queue;
pub mod range_set;
pub mod replay_limiter;
pub mod sequence;
pub mod store_protocol;
