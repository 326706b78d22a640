//! The facts of the machine, which become a message at each interval.

use super::stop::Stop;
use super::{Action, Agent, act};
use crate::observe::host::HostFacts;
use crate::outlet::store_protocol::StoreOrder;
use crate::time::Now;

impl Agent {
    /// The machine was looked at.
    pub(crate) fn saw_host(&mut self, now: Now, facts: HostFacts, out: &mut Vec<Action>) {
        let due = self.host.saw(now.mono, facts);
        out.push(Action::Disk(StoreOrder::Measure));
        if !due || self.stop != Stop::Running {
            return;
        }
        let draft = self.host.draft(self.buffer.facts().free_bytes);
        let mut effects = Vec::new();
        self.buffer.offer(now, None, vec![draft], None, &self.routes, &mut effects);
        act(effects, out);
    }
}
