//! What peers and people do as they please.

use std::time::Duration;

use holdfast::logic::agent::Event;
use holdfast::logic::port::{Refusal, RefusalKind};

use super::World;

impl World {
    pub(super) fn refusal(&mut self) -> Refusal {
        let retry_after = (self.seed.below(2) == 0).then(|| Duration::from_secs(self.seed.below(10)));
        let kind = match self.seed.below(3) {
            0 => RefusalKind::Retry,
            1 => RefusalKind::Unauthorized,
            _ => RefusalKind::Busy { retry_after },
        };
        Refusal { kind, error: "refused".to_owned() }
    }

    pub(super) fn close_code(&mut self) -> Option<u16> {
        [None, Some(1001), Some(1012), Some(1013)][usize::try_from(self.seed.below(4)).expect("small")]
    }

    pub(super) fn purge(&mut self) -> Result<(), String> {
        if self.agent.is_none() {
            return Ok(());
        }
        let outlet = usize::try_from(self.seed.below(self.disk.outlets() as u64)).expect("small");
        let (report, facts) = self.disk.purge(outlet);
        self.feed(Event::Disk(report, facts))
    }
}
