//! Messages that come in again: they go to one outlet, and say nothing about the presence of their devices.

use super::stop::Stop;
use super::{Action, Agent, act};
use crate::ids::RequestId;
use crate::message::Message;
use crate::source::intake::{Answer, Refused};
use crate::time::Now;

impl Agent {
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
