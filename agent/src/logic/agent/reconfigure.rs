//! How a new configuration is taken over while everything runs: what it does not change goes on as it was.

use super::stop::{GOING_AWAY, Stop};
use super::{Action, Agent, Line, Setup};
use crate::logic::host::Host;
use crate::logic::port::{LinkOrder, Publication};
use crate::logic::status;
use crate::logic::time::Now;

impl Agent {
    /// Takes over a setup with the same outlets. `changed` tells which links must connect anew: they say goodbye, and what
    /// they had in flight is sent again.
    pub(super) fn reconfigure(&mut self, now: Now, setup: Setup, changed: &[bool], out: &mut Vec<Action>) {
        if self.stop != Stop::Running {
            return;
        }
        self.leave_prefix(&setup, out);
        self.buffer.reconfigure(now.mono, setup.buffer, |link| setup.bounds_of(link));
        self.presence.reconfigure(now.mono, setup.presence.clone());
        if setup.host != self.setup.host {
            self.host = Host::new(setup.host.interval, now.mono);
        }
        let clients = setup.links.iter().map(|own| (own.rule.clone(), Line::of_client(own, now)));
        let mqtt = setup.mqtt.iter().map(|own| (own.rule.clone(), Line::of_broker(own, now)));
        let fresh: Vec<_> = clients.chain(mqtt).collect();
        self.setup = setup;
        for (link, (rule, fresh)) in fresh.into_iter().enumerate() {
            if !changed.get(link).is_some_and(|changed| *changed) {
                continue;
            }
            let line = &mut self.links[link];
            (line.window, line.hello) = (fresh.window, fresh.hello);
            (line.replay, line.pace, line.caution) = (fresh.replay, fresh.pace, fresh.caution);
            line.refused_as.clear();
            self.begin_trial(now, link);
            let line = &mut self.links[link];
            let mut effects = Vec::new();
            line.link.reconfigure(now.mono, rule, GOING_AWAY, &mut effects);
            self.go_down(link);
            self.apply(now, link, effects, out);
        }
    }

    /// Under another prefix nobody would take the old retained status back.
    fn leave_prefix(&mut self, setup: &Setup, out: &mut Vec<Action>) {
        let (Some(link), Some(old)) = (self.mqtt_line().filter(|_| self.mqtt_is_up()), &self.setup.mqtt)
        else {
            return;
        };
        if setup.mqtt.as_ref().is_none_or(|new| new.prefix != old.prefix) {
            let topic = format!("{}/status", old.prefix);
            let payload = status::last_words(self, "stopped");
            out.push(Action::Tell { link, order: LinkOrder::Publish(Publication { topic, payload }) });
        }
    }
}
