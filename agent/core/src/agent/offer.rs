//! Messages that come in, and those that come in again.

use super::stop::Stop;
use super::{Action, Agent, act};
use crate::config::network::Remote;
use crate::ids::RequestId;
use crate::message::Message;
use crate::source::intake::{Answer, Draft, Refused};
use crate::time::Now;

impl Agent {
    /// A batch of a source.
    pub(crate) fn offered(
        &mut self,
        now: Now,
        request: RequestId,
        drafts: Vec<Draft>,
        from: Option<Remote>,
        out: &mut Vec<Action>,
    ) {
        if self.stop != Stop::Running {
            out.push(Action::Answer(request, Answer::Refused(Refused::Stopping)));
            return;
        }
        let mut changed = Vec::new();
        for device in drafts.iter().filter_map(|draft| draft.device.as_ref()) {
            if self.presence.heard(now, device, from) {
                changed.push(device.clone());
            }
        }
        let mut effects = Vec::new();
        self.buffer.offer(now, Some(request), drafts, from, &self.routes, &mut effects);
        act(effects, out);
        changed.iter().for_each(|device| self.notify(now, device, out));
    }

    /// Messages that were taken once: they go to one outlet, and say nothing about the presence of their devices.
    pub(crate) fn offered_again(
        &mut self,
        now: Now,
        request: RequestId,
        outlet: String,
        messages: Vec<Message>,
        out: &mut Vec<Action>,
    ) {
        let place = self.buffer.outlet_of(&outlet);
        let refused = match place {
            _ if self.stop != Stop::Running => Refused::Stopping,
            None => Refused::NoOutlet(outlet),
            Some(outlet) => {
                let mut effects = Vec::new();
                self.buffer.take_again(now, request, messages, outlet, &mut effects);
                return act(effects, out);
            }
        };
        out.push(Action::Answer(request, Answer::Refused(refused)));
    }
}
