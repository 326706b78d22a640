//! Services of a server beside taking messages: the API, pages and files, metrics, and the messages of others.

pub(super) mod api;
pub(super) mod buffer;
pub(super) mod consumer;
pub(super) mod files;
pub(super) mod media;
pub(super) mod metrics;
pub(super) mod subscribe;
