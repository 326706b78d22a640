//! Which names are looked up, and in which order. The C library has no end of its own for a look-up, so few go on at a
//! time, a name is asked for once however many wait for it, and names that are known to be slow leave room for the others.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Look-ups that go on at a time.
pub const AT_A_TIME: usize = 2;
/// A look-up that takes longer is slow: its name server does not answer.
const SLOW: Duration = Duration::from_secs(2);
/// Names that are remembered to be slow.
const SLOW_NAMES: usize = 256;

/// The names that are asked for.
#[derive(Debug, Default)]
pub struct Lookups {
    /// In the order of asking.
    waiting: VecDeque<String>,
    running: Vec<String>,
    slow: BTreeSet<String>,
}

impl Lookups {
    /// Asks for a name, together with all who ask for it already.
    pub fn ask(&mut self, name: &str) {
        if !self.is_asked_for(name) {
            self.waiting.push_back(name.to_owned());
        }
    }

    /// Nobody asks for a name any more. A look-up that goes on cannot be ended.
    pub fn withdraw(&mut self, name: &str) {
        self.waiting.retain(|waiting| waiting != name);
    }

    /// Begins the next look-up if one more may go on. Slow names have one at a time between them.
    pub fn begin(&mut self) -> Option<String> {
        if self.running.len() >= AT_A_TIME {
            return None;
        }
        let is_slow = |name: &String| self.slow.contains(name);
        let slow_may_begin = !self.running.iter().any(is_slow);
        let next = self.waiting.iter().position(|name| slow_may_begin || !is_slow(name))?;
        let name = self.waiting.remove(next)?;
        self.running.push(name.clone());
        Some(name)
    }

    /// A look-up has ended after so long.
    pub fn end(&mut self, name: &str, took: Duration) {
        self.running.retain(|running| running != name);
        if took <= SLOW {
            self.slow.remove(name);
        } else if self.slow.len() < SLOW_NAMES {
            self.slow.insert(name.to_owned());
        }
    }

    /// A look-up could not begin for want of a thread. Returns whether another one goes on, after which it is begun.
    pub fn put_off(&mut self, name: &str) -> bool {
        self.running.retain(|running| running != name);
        let is_put_off = !self.running.is_empty();
        if is_put_off {
            self.waiting.push_front(name.to_owned());
        }
        is_put_off
    }

    fn is_asked_for(&self, name: &str) -> bool {
        self.waiting.iter().chain(&self.running).any(|other| other == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(20);
    const HUNG: Duration = Duration::from_secs(10);

    fn asked(names: &[&str]) -> Lookups {
        let mut lookups = Lookups::default();
        names.iter().for_each(|name| lookups.ask(name));
        lookups
    }

    fn begun(lookups: &mut Lookups) -> Vec<String> {
        std::iter::from_fn(|| lookups.begin()).collect()
    }

    #[test]
    fn names_are_looked_up_in_the_order_of_asking_two_at_a_time_and_each_once() {
        let mut lookups = asked(&["a", "b", "a", "c", "b", "d"]);
        assert_eq!(begun(&mut lookups), ["a", "b"]);
        lookups.ask("a");
        lookups.end("b", QUICK);
        assert_eq!(begun(&mut lookups), ["c"]);
        lookups.end("a", QUICK);
        lookups.ask("a");
        assert_eq!(begun(&mut lookups), ["d"]);
        lookups.end("c", QUICK);
        lookups.end("d", QUICK);
        assert_eq!(begun(&mut lookups), ["a"]);
    }

    #[test]
    fn a_name_that_nobody_waits_for_is_not_looked_up() {
        let mut lookups = asked(&["a", "b", "c", "d"]);
        begun(&mut lookups);
        lookups.withdraw("a");
        lookups.withdraw("c");
        assert_eq!(begun(&mut lookups), [""; 0], "the look-up of a goes on");
        lookups.end("a", QUICK);
        assert_eq!(begun(&mut lookups), ["d"]);
    }

    #[test]
    fn slow_names_leave_room_for_the_others() {
        let mut lookups = asked(&["a", "b"]);
        begun(&mut lookups);
        lookups.end("a", HUNG);
        lookups.end("b", HUNG);
        ["a", "b", "c", "d"].into_iter().for_each(|name| lookups.ask(name));
        assert_eq!(begun(&mut lookups), ["a", "c"]);
        lookups.end("c", QUICK);
        assert_eq!(begun(&mut lookups), ["d"]);
        lookups.end("d", QUICK);
        assert_eq!(begun(&mut lookups), [""; 0]);
        lookups.end("a", QUICK);
        lookups.ask("a");
        assert_eq!(begun(&mut lookups), ["b", "a"], "a has answered at once");
    }

    #[test]
    fn without_a_thread_a_name_waits_for_the_one_that_there_is() {
        let mut lookups = asked(&["a", "b", "c"]);
        begun(&mut lookups);
        assert!(lookups.put_off("b"));
        lookups.end("a", QUICK);
        assert_eq!(lookups.begin().as_deref(), Some("b"));
        assert!(!lookups.put_off("b"), "nothing goes on: it fails");
        assert_eq!(lookups.begin().as_deref(), Some("c"));
    }
}
