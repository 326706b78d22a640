//! What a publication of a test shows, which the broker should pass back to its sender. An access rule or a limit may drop it without a
//! word: version 3.1.1 has no way to say so, and the agent would count it as delivered. Pure.

use super::outcome::Outcome;
use crate::link::dial_error::{DialError, PublishFault};
use crate::link::protocol::Refusal;
use crate::source::mqtt::packet::Version;

/// Bytes of a publication that a broker should take: those of a status with many links.
pub const USUAL_BYTES: usize = 4096;
/// Room of a packet for what is not payload: topic and properties.
const REST_BYTES: usize = 256;

/// What was seen of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Spoken with the broker.
    pub version: Version,
    /// Where it was published.
    pub topic: String,
    /// Bytes of its payload.
    pub bytes: usize,
    /// Answer to the subscription.
    pub subscribed: Outcome,
    /// Its PUBACK, if it was to come and came.
    pub acknowledged: Option<Outcome>,
    /// Whether a PUBACK should come.
    pub is_acknowledged: bool,
    /// Whether it came back.
    pub came_back: bool,
}

/// Bytes of a payload for a broker that takes packets of this size.
pub fn payload_bytes(packet_bytes: Option<u32>) -> usize {
    let most = packet_bytes.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    USUAL_BYTES.min(most.saturating_sub(REST_BYTES)).max(1)
}

impl ReadBack {
    /// Whether a second one that is small should be tried, to tell a limit from an access rule.
    pub fn wants_a_smaller_one(&self) -> bool {
        !self.came_back && !self.subscribed.is_failure() && !self.is_refused()
    }

    /// What this shows, in words. `smaller_came_back` tells of the small one.
    pub fn result(&self, smaller_came_back: bool) -> Result<String, Refusal> {
        let (topic, bytes) = (&self.topic, self.bytes);
        let fault = |fault, error: String| Err(Refusal::new(DialError::NotPublished(fault), error));
        if let Some(outcome) = self.acknowledged.as_ref().filter(|_| self.is_refused()) {
            let error = format!("the broker refuses a message of {bytes} bytes on {topic:?}: {outcome}");
            return fault(
                match outcome.code {
                    0x87 => PublishFault::Unauthorized,
                    0x95 => PublishFault::TooLarge,
                    _ => PublishFault::Other,
                },
                error,
            );
        }
        if self.came_back {
            return Ok(format!("a message of {bytes} bytes on {topic:?} came back"));
        }
        if smaller_came_back {
            return fault(
                PublishFault::TooLarge,
                format!(
                    "a message of {bytes} bytes on {topic:?} is dropped without a word, and a small one is not"
                ),
            );
        }
        if self.is_acknowledged && self.acknowledged.is_none() {
            return fault(
                PublishFault::Other,
                format!("the broker does not acknowledge a message on {topic:?}"),
            );
        }
        let refused = &self.subscribed;
        match (refused.is_failure(), self.version, self.is_acknowledged) {
            (true, ..) => Ok(format!(
                "published on {topic:?}, and not read back: the broker does not let this user subscribe to it ({refused})"
            )),
            // A broker of 5.0 would have said that it refuses it.
            (false, Version::V5, true) => Ok(format!(
                "acknowledged on {topic:?}, and not read back: this user may not read it, as it seems"
            )),
            (false, Version::V5 | Version::V311, _) => {
                let did = if self.is_acknowledged { "acknowledged" } else { "taken" };
                fault(
                    PublishFault::Dropped,
                    format!("a message on {topic:?} was {did}, and did not come back"),
                )
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.acknowledged.as_ref().is_some_and(Outcome::is_failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: Version) -> ReadBack {
        ReadBack {
            version,
            topic: "a/test".to_owned(),
            bytes: 4096,
            subscribed: Outcome::of(1),
            acknowledged: Some(Outcome::of(0)),
            is_acknowledged: true,
            came_back: false,
        }
    }

    #[test]
    fn what_comes_back_proves_that_nothing_is_dropped() {
        let good = ReadBack { came_back: true, ..seen(Version::V311) };
        assert_eq!(good.result(false), Ok("a message of 4096 bytes on \"a/test\" came back".to_owned()));
        assert!(!good.wants_a_smaller_one());
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_broker() {
        let refused = ReadBack { acknowledged: Some(Outcome::of(0x87)), ..seen(Version::V5) };
        let refusal = refused.result(false).unwrap_err();
        assert!(
            refusal.cause == DialError::NotPublished(PublishFault::Unauthorized)
                && refusal.error.contains("not authorized")
        );
        let large = ReadBack { acknowledged: Some(Outcome::of(0x95)), ..seen(Version::V5) };
        let refusal = large.result(false).unwrap_err();
        assert!(
            refusal.cause == DialError::NotPublished(PublishFault::TooLarge)
                && refusal.error.contains("too large")
        );
        assert!(!large.wants_a_smaller_one());
    }

    #[test]
    fn a_limit_is_told_apart_from_an_access_rule() {
        let dropped = seen(Version::V311);
        assert!(dropped.wants_a_smaller_one());
        assert!(dropped.result(true).unwrap_err().error.contains("and a small one is not"));
        assert!(dropped.result(false).unwrap_err().error.contains("did not come back"));
        assert!(seen(Version::V5).result(true).is_err(), "a limit that is not told");
    }

    #[test]
    fn who_may_not_read_is_told_so_and_is_well() {
        let deaf = ReadBack { subscribed: Outcome::of(0x80), ..seen(Version::V311) };
        assert!(deaf.result(false).unwrap().contains("does not let this user subscribe"));
        assert!(seen(Version::V5).result(false).unwrap().contains("may not read it"));
        let silent = ReadBack { acknowledged: None, ..deaf };
        assert!(silent.result(false).unwrap_err().error.contains("does not acknowledge"));
        let unproven = ReadBack { acknowledged: None, is_acknowledged: false, ..seen(Version::V5) };
        assert!(unproven.result(false).unwrap_err().error.contains("was taken, and did not come back"));
    }

    #[test]
    fn a_limit_that_the_broker_tells_is_kept() {
        assert_eq!((payload_bytes(None), payload_bytes(Some(1 << 20))), (4096, 4096));
        assert_eq!((payload_bytes(Some(1000)), payload_bytes(Some(20))), (744, 1));
    }
}
