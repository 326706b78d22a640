//! What subscribers hear, and what those are told who ask for the last value of a topic.

use holdfast_core::agent::{Query, Reply};

use super::World;

impl World {
    /// Each message is shown once and in order, and is the last one of its topic then.
    pub(super) fn listen(&mut self) -> Result<(), String> {
        let now = self.clock();
        let Some(agent) = &self.agent else { return Ok(()) };
        let news = agent.news();
        for message in news {
            if self.shown.last().is_some_and(|before| *before >= message.id) {
                return Err(format!("subscribers were shown {} out of its turn", message.id));
            }
            self.shown.insert(message.id);
        }
        let newest = |topic: &str| news.iter().rfind(|message| message.topic == topic);
        for message in news {
            let last = agent.answer(now, &Query::Last(message.topic.clone()));
            if last != Reply::Last(newest(&message.topic).cloned()) {
                return Err(format!("the last value of {} is {last:?}", message.topic));
            }
        }
        self.tally.shown += news.len() as u64;
        Ok(())
    }

    /// What is answered as stored was shown to subscribers before.
    pub(super) fn check_shown(&self, first: u64, last: u64) -> Result<(), String> {
        match (first..=last).find(|id| !self.shown.contains(id)) {
            Some(id) => Err(format!("message {id} was stored and no subscriber was shown it")),
            None => Ok(()),
        }
    }
}
