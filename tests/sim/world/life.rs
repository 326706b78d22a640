//! The lives of the agent: it starts, it stops, it crashes, and one day nothing goes wrong any more.

use holdfast_core::agent::{Agent, Event, Setup};

use super::judge::check_given;
use super::{Pending, SECOND, World};

impl World {
    pub(super) fn start(&mut self) -> Result<(), String> {
        let now = self.clock();
        let proven = match self.successor.take() {
            Some((setup, proven)) => {
                self.setup = setup;
                proven
            }
            None => {
                // Routes come and go with the configuration, and what they left in a lane is delivered all the same.
                self.setup.priorities = if self.seed.below(2) == 0 { vec![0] } else { vec![0, 7] };
                // The configuration may have changed while nobody ran.
                if !self.healed && self.seed.below(4) == 0 {
                    self.shuffle();
                }
                Vec::new()
            }
        };
        self.mend(&proven);
        self.setup.new_epochs = self.new_epochs();
        let (seed, run) = (self.seed.draw(), self.seed.draw());
        let setup = Setup { seed, run, proven, ..self.setup.clone() };
        self.begin_life(&setup);
        self.shown.clear();
        let opened = self.disk.opened(setup.outlets(), &self.given);
        let is_clean = opened.numbers.as_ref().is_none_or(|numbers| numbers.clean);
        self.ended_open |= !is_clean;
        let before = opened.given.clone().filter(|_| !is_clean);
        self.volatile = opened.facts.read_only.is_some();
        let agent = self.agent.insert(Agent::new(setup, &opened, now));
        check_given(before.as_ref(), &agent.given())
    }

    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.healed = true;
        self.disk.failing = 0;
        self.disk.short = false;
        // A peer may come to echo.
        self.peers.iter_mut().for_each(|peer| peer.mute = false);
        self.get_well();
        if self.agent.is_none() {
            self.after(SECOND, Pending::Start);
        }
        // Where nothing but poison is left, only another message shows what it is.
        for hours in 1..=4 {
            self.at(self.now + hours * 3600 * SECOND, Pending::Offer);
        }
        self.call_all()
    }

    pub(super) fn crash(&mut self, power_cut: bool) {
        if self.healed || self.agent.is_none() {
            return;
        }
        self.tally.crashes += 1;
        self.disk.crash(power_cut, &mut self.seed);
        if power_cut {
            self.reboot();
            self.given.clear();
        }
        self.power_cut |= power_cut;
        self.requests.clear();
        self.successor = None;
        self.gone();
    }

    /// The agent has ended in order.
    pub(super) fn exit(&mut self) -> Result<(), String> {
        self.disk.crash(false, &mut self.seed);
        self.gone();
        match self.requests.first() {
            Some(request) => Err(format!("the agent ended without an answer to request {request}")),
            None => Ok(()),
        }
    }

    pub(super) fn stop(&mut self) -> Result<(), String> {
        if self.agent.is_none() || self.healed {
            return Ok(());
        }
        self.stopping_since.get_or_insert(self.now);
        self.feed(Event::Stop)
    }

    fn gone(&mut self) {
        self.note_unremoved();
        self.agent = None;
        self.life += 1;
        self.unechoed.clear();
        self.offers.clear();
        self.stopping_since = None;
        self.called = false;
        self.conns.iter_mut().for_each(|conn| *conn = None);
        self.after(3 * SECOND, Pending::Start);
        // Also one that is over since the disk got well has a successor.
        if self.healed {
            self.after(5 * SECOND, Pending::CallAll);
        }
    }
}
