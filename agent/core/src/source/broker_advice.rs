//! What a broker tells of itself means for messages that it holds while the agent is away. Pure.

/// Topics under which brokers tell of themselves.
pub const TOPICS: [&str; 2] = [VERSION, DROPPED];
const VERSION: &str = "$SYS/broker/version";
/// Messages that mosquitto gave up at its bounds.
const DROPPED: &str = "$SYS/broker/publish/messages/dropped";

/// Advice for whoever relies on this broker; `told` has topics and payloads.
pub fn advice(told: &[(String, String)]) -> String {
    let of = |topic: &str| told.iter().find(|(known, _)| known == topic).map(|(_, text)| text.trim());
    let Some(version) = of(VERSION) else {
        return "it does not tell of itself; what it holds while the agent is away has the bounds that its configuration says".to_owned();
    };
    if !version.to_lowercase().contains("mosquitto") {
        return format!(
            "{version}; what it holds while the agent is away has the bounds that its configuration says"
        );
    }
    let dropped = of(DROPPED).and_then(|text| text.parse::<u64>().ok()).filter(|dropped| *dropped > 0);
    let dropped = dropped
        .map_or_else(String::new, |dropped| format!("; it has dropped {dropped} messages since its start"));
    format!(
        "{version}{dropped}; warning: what it acknowledges is not safe: unless its configuration says otherwise it holds 1000 messages for an agent that is away \
         (max_queued_messages), in memory alone or saved each half hour (persistence, autosave_interval)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> String {
        let pairs: Vec<_> =
            pairs.iter().map(|(topic, text)| ((*topic).to_owned(), (*text).to_owned())).collect();
        advice(&pairs)
    }

    #[test]
    fn mosquitto_is_warned_of_with_what_it_has_dropped() {
        let words = told(&[(VERSION, "mosquitto version 2.0.18"), (DROPPED, "12")]);
        assert!(words.starts_with("mosquitto version 2.0.18; it has dropped 12 messages"), "{words}");
        assert!(words.contains("max_queued_messages") && words.contains("autosave_interval"), "{words}");
        let words = told(&[(VERSION, "mosquitto version 2.0.18"), (DROPPED, "0")]);
        assert!(!words.contains("dropped"), "{words}");
    }

    #[test]
    fn another_broker_is_named_and_one_that_is_silent_is_not() {
        assert!(told(&[(VERSION, "EMQX 5")]).starts_with("EMQX 5; "));
        assert!(told(&[]).starts_with("it does not tell of itself"));
    }
}
