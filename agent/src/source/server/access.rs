//! Caller, origin and name of a request: they must be right before it is looked at.

pub(super) mod account;
pub(super) mod forwarded;
pub(super) mod host;
pub(super) mod login;
pub(super) mod origin;
pub(super) mod peer;
