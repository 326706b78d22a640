//! What an MQTT broker means by its answers: for a publication, for a connection, and for the next one. And what a message has with it. Pure.

use std::time::Duration;

pub mod flights;
pub mod outcome;
pub mod read_back;
pub mod terms;

use self::outcome::Outcome;
use self::terms::Terms;

use crate::config::mqtt::MqttVersion;
use crate::link::closing::{self, Closing};
use crate::link::dial_error::DialError;
use crate::link::protocol::Refusal;
use crate::message::{Clock, Message};
use crate::source::mqtt::from_broker::ConnAck;
use crate::source::mqtt::packet::{QoS, Version};
use crate::time::Now;
use crate::wire::write::rfc3339;

/// Versions that are tried, in this order. `spoken` is the one that the broker understood last.
pub fn versions(wanted: MqttVersion, spoken: Option<Version>) -> &'static [Version] {
    match (wanted, spoken) {
        (MqttVersion::Five, _) | (MqttVersion::Auto, Some(Version::V5)) => &[Version::V5],
        (MqttVersion::ThreeOneOne, _) | (MqttVersion::Auto, Some(Version::V311)) => &[Version::V311],
        (MqttVersion::Auto, None) => &[Version::V5, Version::V311],
    }
}

/// Whether messages can be confirmed under these terms, if they are to be (`qos` of the link).
pub fn check(terms: &Terms, qos: u8) -> Result<(), Refusal> {
    if qos > 0 && terms.qos == QoS::AtMostOnce {
        let error = "the broker acknowledges nothing (it takes QoS 0 only), so nothing would be confirmed: set `qos = 0` if messages may \
                     be lost on the way";
        return Err(Refusal::new(DialError::Settings, error));
    }
    Ok(())
}

/// How long a broker is to hold a message, in seconds (MQTT 5.0 §3.3.2.3.3): what is left of the `ttl` of the link, or of its own. Its time
/// was corrected before it was sent.
pub fn expiry_s(ttl: Option<Duration>, message: &Message, now: &Now) -> Option<u32> {
    let own = message.ttl_s.map(|seconds| Duration::from_secs(seconds.into()));
    let ttl = own.into_iter().chain(ttl).min()?;
    let age_ns = if message.boot == now.boot {
        now.up_ns.saturating_sub(message.up_ns)
    } else {
        now.wall_ns.saturating_sub(message.time_ns)
    };
    let left = ttl.saturating_sub(Duration::from_nanos(age_ns)).as_secs();
    Some(u32::try_from(left).unwrap_or(u32::MAX).max(1))
}

/// User properties by which a receiver knows a message that comes twice, and when it came to the agent.
pub fn user_properties(epoch: &str, seq: u64, message: &Message) -> Vec<(String, String)> {
    let time = rfc3339(message.time_ns).to_string();
    let mut properties = vec![("epoch", epoch.to_owned()), ("seq", seq.to_string()), ("time", time)];
    if message.clock == Clock::Unsynced {
        properties.push(("clock", "unsynced".to_owned()));
    }
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What becomes of a publication that was answered (MQTT 5.0 §3.4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The broker has it.
    Taken,
    /// The broker does not take this one, for something that lies in the message.
    Refused,
    /// The broker ends no connection by it, but nothing more is worth sending on this one.
    Ends(Closing),
}

/// What becomes of a publication with this outcome.
pub fn verdict(outcome: &Outcome) -> Verdict {
    match outcome.code {
        0..0x80 => Verdict::Taken,
        // Topic name invalid, packet too large, payload format invalid.
        0x90 | 0x95 | 0x99 => Verdict::Refused,
        0x86 | 0x87 | 0x8a | 0x8c => Verdict::Ends(Closing::Unauthorized),
        // Busy, packet identifier in use, message rate too high, quota exceeded.
        0x89 | 0x91 | 0x96 | 0x97 => Verdict::Ends(Closing::Busy { retry_after: None }),
        // It says nothing of the reason: the message may be the reason, or the broker.
        _ => Verdict::Ends(Closing::Message),
    }
}

/// What a broker means by ending a connection with this outcome, in words too. `id` is the client's.
pub fn closing(outcome: &Outcome, id: &str) -> (Closing, String) {
    let closing = match outcome.code {
        0x8e => return (Closing::TakenOver, closing::taken_over(id)),
        0x86 | 0x87 | 0x8a | 0x8c => Closing::Unauthorized,
        0x89 | 0x96 | 0x97 | 0x9f => Closing::Busy { retry_after: None },
        0x8b => Closing::Restarting,
        0x95 => Closing::TooLarge,
        0x90 | 0x94 | 0x99 => Closing::Message,
        _ => Closing::Plain,
    };
    (closing, format!("the broker ends the connection: {outcome}{}", remedy(outcome)))
}

/// Whether a broker that answers so may speak another version.
pub fn may_speak_another(answer: &ConnAck) -> bool {
    // 1 is what one of 3.1.1 says (§3.2.2.3).
    matches!(answer.code, 0x01 | 0x81 | 0x82 | 0x84)
}

fn remedy(outcome: &Outcome) -> &'static str {
    match outcome.code {
        0x9a => "; set `retain = false`",
        0x9b => "; set `qos = 0`",
        0x9c | 0x9d => "; put the address of the other one into `url`",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Boot, Format};

    fn message() -> Message {
        Message {
            id: 1,
            time_ns: 1_000_000_000_000_000_001,
            clock: Clock::Synced,
            boot: Boot(1),
            up_ns: 5_000_000_000,
            topic: "a".to_owned(),
            device: None,
            source: "test".into(),
            format: Format::Text,
            payload: Vec::new(),
            attributes: Vec::new(),
            ttl_s: None,
        }
    }

    #[test]
    fn version_5_is_tried_first_until_it_is_known_what_the_broker_speaks() {
        use Version::{V5, V311};
        assert_eq!(versions(MqttVersion::Auto, None), [V5, V311]);
        assert_eq!(versions(MqttVersion::Auto, Some(V311)), [V311]);
        assert_eq!(versions(MqttVersion::Auto, Some(V5)), [V5]);
        assert_eq!(versions(MqttVersion::Five, Some(V311)), [V5]);
        assert_eq!(versions(MqttVersion::ThreeOneOne, None), [V311]);
    }

    #[test]
    fn a_broker_that_acknowledges_nothing_gets_no_message_that_is_to_be_confirmed() {
        let terms = Terms { qos: QoS::AtMostOnce, ..Terms::of(Version::V5) };
        assert!(check(&terms, 1).unwrap_err().error.contains("qos = 0"));
        assert_eq!((check(&terms, 0), check(&Terms::of(Version::V5), 1)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_message_has_the_rest_of_its_time_to_live_at_the_broker() {
        let now = |boot, up_s: u64, wall_s: u64| Now {
            mono: crate::time::Time::default(),
            wall_ns: 1_000_000_000_000_000_001 + wall_s * 1_000_000_000,
            clock: Clock::Synced,
            boot: Boot(boot),
            up_ns: up_s * 1_000_000_000,
        };
        let left = |now: Now| expiry_s(Some(Duration::from_secs(60)), &message(), &now).unwrap();
        assert_eq!(left(now(1, 15, 40)), 50, "by the clock that nobody sets");
        assert_eq!(left(now(2, 1, 20)), 40, "after a start of the machine");
        assert_eq!(left(now(1, 500, 0)), 1, "0 would be: at once");
        let own = Message { ttl_s: Some(20), ..message() };
        assert_eq!(
            expiry_s(Some(Duration::from_secs(60)), &own, &now(1, 15, 0)),
            Some(10),
            "the smaller counts"
        );
        assert_eq!(
            (expiry_s(None, &own, &now(1, 5, 0)), expiry_s(None, &message(), &now(1, 5, 0))),
            (Some(20), None)
        );
    }

    #[test]
    fn a_message_has_its_number_and_its_time_with_it() {
        let told = user_properties("01J", 7, &message());
        let told: Vec<String> = told.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(told, ["epoch=01J", "seq=7", "time=2001-09-09T01:46:40.000000001Z"]);
        let unsynced = Message { clock: Clock::Unsynced, ..message() };
        assert_eq!(user_properties("01J", 7, &unsynced)[3], ("clock".to_owned(), "unsynced".to_owned()));
    }

    #[test]
    fn a_publication_is_held_for_what_may_pass_and_looked_into_for_what_lies_in_it() {
        let busy = Closing::Busy { retry_after: None };
        let verdicts = [
            (0x00, Verdict::Taken),
            (0x10, Verdict::Taken),
            (0x80, Verdict::Ends(Closing::Message)),
            (0x83, Verdict::Ends(Closing::Message)),
            (0x87, Verdict::Ends(Closing::Unauthorized)),
            (0x90, Verdict::Refused),
            (0x95, Verdict::Refused),
            (0x97, Verdict::Ends(busy)),
            (0x99, Verdict::Refused),
            (0xff, Verdict::Ends(Closing::Message)),
        ];
        for (code, expected) in verdicts {
            assert_eq!(verdict(&Outcome::of(code)), expected, "{code:#x}");
        }
    }

    #[test]
    fn the_end_of_a_session_that_was_taken_over_asks_for_a_clone() {
        let (means, words) = closing(&Outcome::of(0x8e), "holdfast-raspberrypi");
        assert_eq!(means, Closing::TakenOver);
        assert!(words.starts_with("another client uses the id holdfast-raspberrypi: is this card a clone?"));
        for (code, expected) in [
            (0x00, Closing::Plain),
            (0x8b, Closing::Restarting),
            (0x87, Closing::Unauthorized),
            (0x95, Closing::TooLarge),
            (0x97, Closing::Busy { retry_after: None }),
            (0x99, Closing::Message),
            (0x9a, Closing::Plain),
        ] {
            assert_eq!(closing(&Outcome::of(code), "a").0, expected, "{code:#x}");
        }
    }
}
