//! Refusals of the sources themselves, counted for the status.

use std::cell::RefCell;
use std::collections::BTreeMap;

use holdfast_core::observe::status::Violations;

/// Messages that broke the schema of a route, by server and route. There are no more of them than the configuration has.
#[derive(Debug, Default)]
pub struct Tally(RefCell<BTreeMap<(String, String), u64>>);

impl Tally {
    /// One more.
    pub fn add(&self, server: &str, route: &str) {
        *self.0.borrow_mut().entry((server.to_owned(), route.to_owned())).or_default() += 1;
    }

    /// All of them.
    pub fn shown(&self) -> Vec<Violations> {
        let own = |((server, route), count): (&(String, String), &u64)| Violations {
            server: server.clone(),
            route: route.clone(),
            count: *count,
        };
        self.0.borrow().iter().map(own).collect()
    }
}
