//! Those who listen in on a running agent: each has a bounded queue, and loses lines, counted, when it does not keep up.

use holdfast_core::agent::{Action, Agent, Event};
use holdfast_core::observe::tap::Tap;
use serde_json::json;
use smol::channel::{Receiver, Sender, TrySendError, bounded};

/// How many may listen at a time.
const LISTENERS_MAX: usize = 8;
/// Lines that may wait for one of them.
const LINES: usize = 512;

/// Everybody who listens.
#[derive(Debug, Default)]
pub struct Listeners(Vec<Listener>);

#[derive(Debug)]
struct Listener {
    tap: Tap,
    lines: Sender<String>,
    missed: u64,
}

impl Listeners {
    /// Takes in another one. The error says that there are too many, or what is wrong with the filter.
    pub fn add(&mut self, filter: &str) -> Result<Receiver<String>, String> {
        self.0.retain(|listener| !listener.lines.is_closed());
        if self.0.len() == LISTENERS_MAX {
            return Err(format!("{LISTENERS_MAX} others listen already"));
        }
        let tap = Tap::new(filter)?;
        let (lines, read) = bounded(LINES);
        self.0.push(Listener { tap, lines, missed: 0 });
        Ok(read)
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows what comes in.
    pub fn event(&mut self, event: &Event) {
        for listener in &mut self.0 {
            let Listener { tap, lines, missed } = listener;
            tap.event(event, &mut |line| say(lines, missed, &line));
        }
    }

    /// Shows what was decided.
    pub fn actions(&mut self, agent: &Agent, actions: &[Action]) {
        let confirmed = agent.confirmed();
        for listener in &mut self.0 {
            let Listener { tap, lines, missed } = listener;
            let mut show = |line| say(lines, missed, &line);
            actions
                .iter()
                .for_each(|action| tap.action(action, |link| agent.name(link).to_owned(), &mut show));
            tap.confirmed(&confirmed, |link| agent.name(link).to_owned(), &mut show);
        }
        self.0.retain(|listener| !listener.lines.is_closed());
    }

    /// Sends all of them away.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

fn say(lines: &Sender<String>, missed: &mut u64, line: &serde_json::Value) {
    if *missed > 0 && lines.try_send(json!({ "missed": *missed }).to_string()).is_ok() {
        *missed = 0;
    }
    if let Err(TrySendError::Full(_)) = lines.try_send(line.to_string()) {
        *missed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_keep_up_loses_lines_and_is_told_how_many() {
        let (lines, read) = bounded(2);
        let mut missed = 0;
        for number in 0..5 {
            say(&lines, &mut missed, &json!(number));
        }
        assert_eq!((read.try_recv().unwrap(), read.try_recv().unwrap()), ("0".to_owned(), "1".to_owned()));
        say(&lines, &mut missed, &json!(5));
        assert_eq!(
            (read.try_recv().unwrap(), read.try_recv().unwrap()),
            ("{\"missed\":3}".to_owned(), "5".to_owned())
        );
    }

    #[test]
    fn only_so_many_may_listen_and_a_place_that_is_left_is_free_again() {
        let mut listeners = Listeners::default();
        let mut reading: Vec<_> = (0..LISTENERS_MAX).map(|_| listeners.add("#").unwrap()).collect();
        assert!(listeners.add("#").unwrap_err().contains("others listen already"));
        reading.pop();
        assert!(listeners.add("#").is_ok());
    }
}
