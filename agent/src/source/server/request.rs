//! Content of a request: its route and parameters, its body and its coding, and whether it fits the route's schema.

pub(super) mod batch;
pub(super) mod body;
pub(super) mod coding;
pub(super) mod length;
pub(super) mod one_shot;
pub(super) mod parameter;
pub mod path;
pub(super) mod validator;
