//! How a new configuration is taken over while everything runs: what it does not change goes on as it was.

use super::stop::Stop;
use super::{Action, Agent, Setup};
use crate::logic::host::Host;
use crate::logic::time::Now;

impl Agent {
    /// Takes over another setup of the same agent. `changed` are the outlets of the links that must connect anew.
    pub(super) fn reconfigure(&mut self, now: Now, setup: Setup, changed: &[String], out: &mut Vec<Action>) {
        if self.stop != Stop::Running {
            return;
        }
        self.leave_prefix(&setup, out);
        self.presence.reconfigure(now.mono, setup.presence.clone());
        if setup.host != self.setup.host {
            self.host = Host::new(setup.host.interval, now.mono);
        }
        self.setup = setup;
        self.take_lines(now, changed, out);
        let Agent { buffer, setup, links, .. } = self;
        buffer.reconfigure(now.mono, setup.buffer, |link| {
            let line = &links[link];
            (!line.is_gone()).then(|| line.bounds(setup))
        });
    }

    /// Under another prefix nobody would take the old retained status back.
    fn leave_prefix(&mut self, setup: &Setup, out: &mut Vec<Action>) {
        let prefix = |setup: &Setup| setup.mqtt.as_ref().map(|mqtt| mqtt.prefix.clone());
        if prefix(setup) != prefix(&self.setup) {
            self.publish_farewell(out);
            self.applications.clear();
        }
    }
}
