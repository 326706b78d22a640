//! What senders are told, and when: the truth, once, and soon, whatever the disk does.

use holdfast_core::ids::RequestId;
use holdfast_core::source::intake::{Answer, Refused};

use super::{MS, Pending, SECOND, World};
use crate::disk::Mood;

/// A sender is answered within this in every state of the disk: a silent one is noticed after 30 s, and its sender may have
/// come a moment before that.
const ANSWER_WITHIN: u64 = 45 * SECOND;

impl World {
    pub(super) fn answered(&mut self, request: RequestId, answer: &Answer) -> Result<(), String> {
        let payloads = self.offers.remove(&request).ok_or(format!("request {request} was answered twice"))?;
        if *answer == Answer::Refused(Refused::Full) && !self.bounded {
            return Err(format!("request {request} was refused without a bound"));
        }
        let Answer::Stored { first, last } = answer else { return Ok(()) };
        if last - first + 1 != payloads.len() as u64 {
            return Err(format!("{} messages were stored as {first} to {last}", payloads.len()));
        }
        if let Some(id) = (*first..=*last).find(|id| !self.ids.insert(*id)) {
            return Err(format!("id {id} was used twice"));
        }
        self.check_shown(*first, *last)?;
        self.check_safe(*last, &payloads)?;
        self.tally.stored += payloads.len() as u64;
        self.stored.extend(payloads);
        Ok(())
    }

    /// Nobody waits for ever.
    pub(super) fn check_answers_in_time(&self) -> Result<(), String> {
        let late = |payloads: &Vec<Vec<u8>>| {
            payloads.first().is_some_and(|first| self.now - self.came[first] > ANSWER_WITHIN)
        };
        match self.offers.iter().find(|(_, payloads)| late(payloads)) {
            Some((request, _)) => Err(format!("request {request} is not answered in time")),
            None => Ok(()),
        }
    }

    pub(super) fn change_mood(&mut self) {
        if self.healed {
            return;
        }
        match self.disk.mood {
            Mood::Well => {
                let hangs = self.seed.below(2) == 0;
                self.disk.mood = if hangs { Mood::Hung } else { Mood::ReadOnly };
                self.tally.sick += 1;
            }
            Mood::ReadOnly | Mood::Hung => self.get_well(),
        }
    }

    pub(super) fn get_well(&mut self) {
        self.disk.mood = Mood::Well;
        for _ in 0..self.disk.orders() {
            self.after(5 * MS, Pending::Disk);
        }
    }
}
