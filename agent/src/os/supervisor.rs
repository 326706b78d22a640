//! The service supervisor: systemd's sd_notify(3) protocol, and the journal behind stderr. Without either, nothing is done.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use holdfast_core::agent::Agent;
use holdfast_core::observe::watchdog::{Notify, Watchdog};
use holdfast_core::time::Time;
use sd_notify::NotifyState;

use crate::os::clock;

/// The supervisor, if `NOTIFY_SOCKET` names one.
#[derive(Debug)]
pub struct Supervisor(Option<Watchdog>);

impl Supervisor {
    /// Whoever started the agent.
    pub fn from_environment() -> Self {
        let named = std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| !name.is_empty());
        Supervisor(named.then(|| Watchdog::new(sd_notify::watchdog_enabled(), clock::now().mono)))
    }

    /// Keeps it patient while the store is opened, in this thread or in another: so much more time is asked for.
    pub fn patience(&self) -> impl Fn(Duration) + Send + use<> {
        let (is_there, is_watching) = match &self.0 {
            Some(watch) => (true, watch.deadline().is_some()),
            None => (false, false),
        };
        move |more| {
            let more = NotifyState::ExtendTimeoutUsec(u32::try_from(more.as_micros()).unwrap_or(u32::MAX));
            let states = [more, NotifyState::Watchdog];
            if is_there {
                tell(if is_watching { &states } else { &states[..1] });
            }
        }
    }

    /// The agent serves.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The agent takes over another configuration; [`Supervisor::ready`] ends it.
    pub fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The agent was asked to stop.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// When the watchdog must be fed, if there is one.
    pub fn deadline(&self) -> Option<Time> {
        self.0.as_ref()?.deadline()
    }

    /// Tells what is due.
    pub fn look_at(&mut self, agent: &Agent) {
        let now = clock::now();
        let Some(watch) = self.0.as_mut().filter(|watch| watch.is_due(now.mono)) else { return };
        let health = agent.health(now);
        let was_hungry = watch.is_hungry();
        let words = watch.look(now.mono, &health, agent.headline());
        if watch.is_hungry() && !was_hungry {
            log::error!("the watchdog is not fed: {}", health.stuck.join(", "));
        }
        let states: Vec<NotifyState<'_>> = words.iter().map(state).collect();
        if !states.is_empty() {
            self.tell(&states);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if self.0.is_some() {
            tell(states);
        }
    }
}

/// A supervisor that does not listen finds out by its watchdog.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("cannot tell the supervisor: {error}");
    }
}

/// Whether stderr is the journal, as `JOURNAL_STREAM` says (systemd.exec(5)): it takes levels, and has its own time stamps.
pub fn logs_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = rustix::io::dup(rustix::stdio::stderr()).map(std::fs::File::from);
    let facts = stderr.and_then(|stderr| stderr.metadata().map_err(|_| rustix::io::Errno::BADF));
    facts.is_ok_and(|facts| stream == format!("{}:{}", facts.dev(), facts.ino()))
}

fn state(word: &Notify) -> NotifyState<'_> {
    match word {
        Notify::Alive => NotifyState::Watchdog,
        Notify::Status(line) => NotifyState::Status(line),
    }
}
