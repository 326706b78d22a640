//! Bound on the cost of a check. It is counted in steps, not in time: the same message has the same answer on every machine and under
//! every load.

use std::cell::{Cell, RefCell};

use serde_json::Value;

use super::Violation;

/// Work of one check; a unit is five nanoseconds of a desktop's processor at most.
pub const WORK_MAX: u64 = 4_000_000;

const TOO_MUCH: &str =
    "takes too much work to be checked: send it in smaller messages, or simplify the schema";

/// Work that was spent on a check. The first fault stays: what hides a violation (`not`, `anyOf`, `if`) does not hide it.
#[derive(Debug, Default)]
pub struct Work {
    spent: Cell<u64>,
    fault: RefCell<Option<String>>,
}

impl Work {
    /// Spends some, if as much is left.
    pub fn spend(&self, units: u64) -> Result<(), Violation> {
        self.spend_or(units, || TOO_MUCH.to_owned())
    }

    /// The same with other words for what is too much.
    pub fn spend_or(&self, units: u64, words: impl FnOnce() -> String) -> Result<(), Violation> {
        let spent = self.spent.get().saturating_add(units);
        if spent > WORK_MAX || self.fault.borrow().is_some() {
            return self.fail(words());
        }
        self.spent.set(spent);
        Ok(())
    }

    /// Gives the check up.
    pub fn fail<T>(&self, error: String) -> Result<T, Violation> {
        let error = self.fault.borrow_mut().get_or_insert(error).clone();
        Err(Violation { pointer: String::new(), error })
    }

    /// Work so far.
    pub fn spent(&self) -> u64 {
        self.spent.get()
    }

    /// The result of a check that has come to this one.
    pub fn verdict(&self, found: Result<(), Violation>) -> Result<(), Violation> {
        match self.fault.take() {
            None => found,
            Some(error) => Err(match found {
                Err(violation) if violation.error == error => violation,
                _ => Violation { pointer: String::new(), error },
            }),
        }
    }
}

/// Work to write a value down.
pub fn size(value: &Value) -> u64 {
    let text = |text: &str| 4 + text.len() as u64 / 2;
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 20,
        Value::String(string) => text(string),
        Value::Array(items) => 4 + items.iter().map(size).sum::<u64>(),
        Value::Object(members) => {
            4 + members.iter().map(|(name, member)| 20 + text(name) + size(member)).sum::<u64>()
        }
    }
}
