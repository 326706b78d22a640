//! The way of one connection's batches to the agent: offered in their order, and again while the loop is busy, ahead of what came later.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use holdfast_core::config::network::Remote;
use holdfast_core::source::intake::{Answer, Draft, Refused};
use smol::future::pending;

use crate::source::intake::{Intake, Outcome};

/// Weight of the batches that may wait for their answers; nothing more is read meanwhile.
pub const IN_FLIGHT_BYTES: usize = 1 << 20;
/// Pause before a batch that found the loop busy is offered again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often it is: for half a minute.
const BUSY_TRIES: u32 = 600;
/// Outcome of a batch without messages.
const NOTHING: Answer = Answer::Stored { first: 1, last: 0 };

/// Way of a connection's batches to the agent.
pub struct Offering {
    intake: Intake,
    remote: Remote,
    busy: Rc<Cell<u32>>,
}

impl Offering {
    /// For a connection from here.
    pub fn new(intake: Intake, remote: Remote) -> Offering {
        Offering { intake, remote, busy: Rc::default() }
    }

    /// Batches that found the loop busy and are not yet offered again. What came later must not pass them.
    pub fn busy(&self) -> &Cell<u32> {
        &self.busy
    }

    /// Offers the messages of a batch, unless it is refused before.
    pub fn offer<B>(
        &self,
        batch: B,
        drafts: Result<Vec<Draft>, Refused>,
    ) -> impl Future<Output = (B, Outcome)> + use<B> {
        let (intake, busy, remote) = (self.intake.clone(), self.busy.clone(), self.remote);
        async move {
            let drafts = match drafts {
                Err(refused) => return (batch, Ok(Answer::Refused(refused))),
                Ok(drafts) if drafts.is_empty() => return (batch, Ok(NOTHING)),
                Ok(drafts) => drafts,
            };
            let outcome = intake.offer_or_take_back(drafts, Some(remote)).await;
            if outcome.is_err() {
                busy.set(busy.get() + 1);
            }
            (batch, outcome)
        }
    }

    /// The answer that an outcome comes to: what found the loop busy is offered again.
    pub async fn settle(&self, outcome: Outcome) -> Answer {
        let drafts = match outcome {
            Ok(answer) => return answer,
            Err(drafts) => drafts,
        };
        let answer = self.intake.offer_again(drafts, Some(self.remote), BUSY_PAUSE, BUSY_TRIES).await;
        self.busy.set(self.busy.get() - 1);
        answer
    }
}

/// The next batch that has its outcome, in the order of the offers.
pub async fn next<B>(offers: &mut FuturesOrdered<impl Future<Output = (B, Outcome)>>) -> (B, Outcome) {
    match offers.next().await {
        Some(answered) => answered,
        None => pending().await,
    }
}
