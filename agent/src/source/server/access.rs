//! Who asks, from where and under which name: what must be right before a request is looked at.

pub(super) mod account;
pub(super) mod forwarded;
pub(super) mod host;
pub(super) mod login;
pub(super) mod origin;
pub(super) mod peer;
