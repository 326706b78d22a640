//! The orders that wait in front of the disk: its thread gets a few at a time, so that its own queue never overflows however
//! many outlets there are, and what somebody waits for overtakes the rest.

use std::collections::VecDeque;
use std::mem::discriminant;

use crate::ids::OutletId;
use crate::outlet::store_protocol::{StoreOrder, StoreOrderKind, StoreReport};

/// How many orders of a kind the disk's thread has at the same time: one to carry out, and the next.
const OF_A_KIND: usize = 2;
/// How many orders it has at the same time: those of two kinds, and the messages.
pub const AT_ONCE: usize = 2 * OF_A_KIND + 1;

/// Orders that wait for the disk's thread, and how many it has.
#[derive(Debug, Default)]
pub struct OrderQueue {
    waiting: VecDeque<StoreOrder>,
    messages: usize,
    /// What no sync holds up.
    quick: usize,
    slow: usize,
    /// Outlets of which it sets a message aside.
    setting_aside: VecDeque<OutletId>,
}

impl OrderQueue {
    /// Takes an order in. Messages go in front, since their senders wait; a small file takes the place of its older version.
    pub fn push(&mut self, order: StoreOrder) {
        match order {
            StoreOrder::Append { .. } => self.waiting.push_front(order),
            StoreOrder::SavePresence(_) | StoreOrder::SaveClocks(_) | StoreOrder::Measure => {
                let kind = discriminant(&order);
                match self.waiting.iter_mut().find(|other| discriminant(*other) == kind) {
                    Some(older) => *older = order,
                    None => self.waiting.push_back(order),
                }
            }
            StoreOrder::Close => {
                // Nobody sends any more what would be read.
                self.waiting.retain(|order| !matches!(order, StoreOrder::Read { .. } | StoreOrder::Measure));
                self.waiting.push_back(order);
            }
            StoreOrder::Read { .. }
            | StoreOrder::Forget { .. }
            | StoreOrder::DropOldest { .. }
            | StoreOrder::Expire { .. }
            | StoreOrder::SetAside { .. }
            | StoreOrder::SaveNumbers(_)
            | StoreOrder::Reopen
            | StoreOrder::Widen { .. } => self.waiting.push_back(order),
        }
    }

    /// The next order for the disk's thread, if it may have one more. The last one comes alone.
    pub fn give(&mut self) -> Option<StoreOrder> {
        let may_go = |order: &StoreOrder| match order {
            StoreOrder::Append { .. } => self.messages == 0,
            StoreOrder::Measure => self.quick < OF_A_KIND,
            StoreOrder::Read { outlet, .. } => self.quick < OF_A_KIND && !self.sets_aside(*outlet),
            StoreOrder::Close => self.waiting.len() == 1 && self.messages + self.quick + self.slow == 0,
            StoreOrder::Forget { .. }
            | StoreOrder::DropOldest { .. }
            | StoreOrder::Expire { .. }
            | StoreOrder::SetAside { .. }
            | StoreOrder::SaveNumbers(_)
            | StoreOrder::SavePresence(_)
            | StoreOrder::SaveClocks(_)
            | StoreOrder::Reopen
            | StoreOrder::Widen { .. } => self.slow < OF_A_KIND,
        };
        let at = self.waiting.iter().position(may_go)?;
        let order = self.waiting.remove(at)?;
        if let StoreOrder::SetAside { outlet, .. } = order {
            self.setting_aside.push_back(outlet);
        }
        *match order {
            StoreOrder::Append { .. } => &mut self.messages,
            StoreOrder::Read { .. } | StoreOrder::Measure => &mut self.quick,
            StoreOrder::Forget { .. }
            | StoreOrder::DropOldest { .. }
            | StoreOrder::Expire { .. }
            | StoreOrder::SetAside { .. }
            | StoreOrder::SaveNumbers(_)
            | StoreOrder::SavePresence(_)
            | StoreOrder::SaveClocks(_)
            | StoreOrder::Widen { .. }
            | StoreOrder::Reopen
            | StoreOrder::Close => &mut self.slow,
        } += 1;
        Some(order)
    }

    /// Takes note of a report of the disk's thread.
    pub fn reported(&mut self, report: &StoreReport) {
        if let StoreReport::SetAside { .. } | StoreReport::Failed { order: StoreOrderKind::SetAside, .. } =
            report
        {
            self.setting_aside.pop_front();
        }
        let count = match report {
            StoreReport::Purged { .. } | StoreReport::LetterDropped | StoreReport::Repaired { .. } => return,
            StoreReport::Appended | StoreReport::Failed { order: StoreOrderKind::Append, .. } => {
                &mut self.messages
            }
            StoreReport::Read { .. }
            | StoreReport::Measured
            | StoreReport::Failed { order: StoreOrderKind::Read | StoreOrderKind::Measure, .. } => {
                &mut self.quick
            }
            StoreReport::Forgot
            | StoreReport::Dropped { .. }
            | StoreReport::Expired { .. }
            | StoreReport::SetAside { .. }
            | StoreReport::NumbersSaved
            | StoreReport::PresenceSaved
            | StoreReport::ClocksSaved
            | StoreReport::Widened
            | StoreReport::Reopened
            | StoreReport::Failed { .. }
            | StoreReport::Closed => &mut self.slow,
        };
        *count = count.saturating_sub(1);
    }

    /// Whether a message of an outlet is still to be set aside: read before that, it would be sent once more.
    fn sets_aside(&self, outlet: OutletId) -> bool {
        let is_its =
            |order: &StoreOrder| matches!(order, StoreOrder::SetAside { outlet: own, .. } if *own == outlet);
        self.setting_aside.contains(&outlet) || self.waiting.iter().any(is_its)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::store_protocol::Sequences;

    fn read(token: u64) -> StoreOrder {
        StoreOrder::Read { outlet: OutletId(0), from: 1, falling: false, max_bytes: 1, token }
    }

    fn append() -> StoreOrder {
        StoreOrder::Append { parts: Vec::new() }
    }

    fn queue(orders: impl IntoIterator<Item = StoreOrder>) -> OrderQueue {
        let mut queue = OrderQueue::default();
        orders.into_iter().for_each(|order| queue.push(order));
        queue
    }

    fn drain(mut queue: OrderQueue) -> Vec<StoreOrder> {
        let mut given = Vec::new();
        while let Some(order) = queue.give() {
            given.push(order);
            let reports = [StoreReport::Measured, StoreReport::Forgot, StoreReport::Appended];
            reports.iter().for_each(|report| queue.reported(report));
        }
        given
    }

    #[test]
    fn the_thread_has_a_few_orders_at_a_time_and_the_rest_waits_without_failing() {
        let mut queue = queue((0..1000).map(read));
        assert_eq!([queue.give(), queue.give(), queue.give()], [Some(read(0)), Some(read(1)), None]);
        let letter = StoreReport::LetterDropped;
        queue.reported(&letter);
        assert_eq!(queue.give(), None, "that was no order of the agent's");
        queue.reported(&StoreReport::Measured);
        assert_eq!([queue.give(), queue.give()], [Some(read(2)), None]);
    }

    #[test]
    fn what_is_read_and_what_is_synced_do_not_wait_for_each_other() {
        let save = |session| StoreOrder::SaveNumbers(Sequences { session, ..Sequences::default() });
        let mut queue = queue([save(1), save(2), save(3), read(1), read(2), read(3), append()]);
        let given: Vec<StoreOrder> = std::iter::from_fn(|| queue.give()).collect();
        assert_eq!(given, [append(), save(1), save(2), read(1), read(2)]);
        assert_eq!(given.len(), AT_ONCE);
        queue.reported(&StoreReport::NumbersSaved);
        assert_eq!([queue.give(), queue.give()], [Some(save(3)), None]);
    }

    #[test]
    fn nothing_is_read_of_an_outlet_before_its_message_is_set_aside() {
        let aside =
            StoreOrder::SetAside { outlet: OutletId(0), seq: 7, reason: String::new(), message: None };
        let mut queue = queue([aside.clone(), read(1)]);
        assert_eq!([queue.give(), queue.give()], [Some(aside), None]);
        queue.reported(&StoreReport::SetAside { outlet: OutletId(0), seq: 7, found: true });
        assert_eq!(queue.give(), Some(read(1)));
    }

    #[test]
    fn messages_overtake_what_nobody_waits_for() {
        let numbers = StoreOrder::SaveNumbers(Sequences::default());
        assert_eq!(drain(queue([numbers.clone(), read(1), append()])), [append(), numbers, read(1)]);
    }

    #[test]
    fn a_burst_of_saving_writes_the_last_version_once() {
        let presence = |byte| StoreOrder::SavePresence(vec![byte]);
        let clocks = StoreOrder::SaveClocks(vec![7]);
        let burst = [presence(1), clocks.clone(), StoreOrder::Measure, presence(2), StoreOrder::Measure];
        assert_eq!(drain(queue(burst)), [presence(2), clocks, StoreOrder::Measure]);
    }

    #[test]
    fn the_end_comes_last_and_alone() {
        let mut queue = queue([read(1), StoreOrder::Measure, append(), StoreOrder::Close]);
        assert_eq!([queue.give(), queue.give()], [Some(append()), None]);
        queue.reported(&StoreReport::Appended);
        assert_eq!(queue.give(), Some(StoreOrder::Close));
    }
}
