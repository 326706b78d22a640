//! How much is held, in words. A message that goes to two links is held twice and is one message: a sum of all links would tell
//! a number that nobody can do anything with.

use super::natural_order::natural_order;

/// Links that are told one by one.
const NAMED: usize = 3;

/// `40 messages for 2 links`, `40 messages for lab and 12 for cloud`; `nothing` where nothing is held. `links` are names and what is
/// held for each, `broker` what is held for the MQTT broker.
pub fn held_words(links: &[(&str, u64)], broker: u64) -> String {
    let mut holding: Vec<(&str, u64)> = links.iter().copied().filter(|(_, messages)| *messages > 0).collect();
    holding.sort_by(|one, other| natural_order(one.0, other.0));
    let mut parts = parts(&holding);
    if broker > 0 {
        parts.push((broker, "the broker".to_owned()));
    }
    let Some(((messages, name), rest)) = parts.split_first() else { return "nothing".to_owned() };
    let many = if *messages == 1 { "" } else { "s" };
    let mut words = format!("{messages} message{many} for {name}");
    for (index, (messages, name)) in rest.iter().enumerate() {
        let joint = if index + 1 == rest.len() { " and" } else { "," };
        words.push_str(&format!("{joint} {messages} for {name}"));
    }
    words
}

fn parts(holding: &[(&str, u64)]) -> Vec<(u64, String)> {
    let most = holding.iter().map(|(_, messages)| *messages).max().unwrap_or_default();
    let are_equal = holding.iter().all(|(_, messages)| *messages == most);
    match holding.len() {
        0 => Vec::new(),
        2.. if are_equal => vec![(most, format!("{} links", holding.len()))],
        1..=NAMED => holding.iter().map(|(name, messages)| (*messages, (*name).to_owned())).collect(),
        _ => {
            let (name, _) =
                holding.iter().find(|(_, messages)| *messages == most).copied().unwrap_or_default();
            vec![(most, format!("{name}, fewer for {} other links", holding.len() - 1))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_told_by_link_and_never_as_a_sum() {
        assert_eq!(held_words(&[], 0), "nothing");
        assert_eq!(held_words(&[("a", 0)], 0), "nothing");
        assert_eq!(held_words(&[("lab", 1), ("a", 0)], 0), "1 message for lab");
        assert_eq!(held_words(&[("a", 40), ("b", 40)], 0), "40 messages for 2 links");
        assert_eq!(held_words(&[("a", 40), ("b", 40)], 7), "40 messages for 2 links and 7 for the broker");
        assert_eq!(
            held_words(&[("link10", 40), ("link2", 12)], 0),
            "12 messages for link2 and 40 for link10"
        );
        assert_eq!(held_words(&[("a", 3), ("b", 2), ("c", 1)], 0), "3 messages for a, 2 for b and 1 for c");
        assert_eq!(
            held_words(&[("a", 3), ("b", 9), ("c", 1), ("d", 2)], 0),
            "9 messages for b, fewer for 3 other links"
        );
        assert_eq!(held_words(&[("a", 0)], 5), "5 messages for the broker");
    }
}
