//! What sources refuse by themselves, counted for the status.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Messages that broke the schema of a route, by server and route. There are no more of them than the configuration has.
#[derive(Debug, Default)]
pub struct Tally(RefCell<BTreeMap<(String, String), u64>>);

impl Tally {
    /// One more.
    pub fn add(&self, server: &str, route: &str) {
        *self.0.borrow_mut().entry((server.to_owned(), route.to_owned())).or_default() += 1;
    }

    /// All of them: `[{"server":…,"route":…,"count":…}]`.
    pub fn shown(&self) -> Value {
        let all = self.0.borrow();
        all.iter()
            .map(|((server, route), count)| json!({ "server": server, "route": route, "count": count }))
            .collect()
    }
}
