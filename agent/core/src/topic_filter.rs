//! Topic filters of those who read: `+` or `*` is one level, `#` or `**` at the end all that follow, and a `*` inside of a level
//! any letters of it.

/// A parsed topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter {
    levels: Vec<Level>,
    /// Whether anything may follow, nothing included (MQTT 3.1.1 §4.7.1.2).
    open: bool,
    /// Whether a wildcard at the beginning leaves out topics that begin with `$` (MQTT 3.1.1 §4.7.2).
    spares_dollar: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Any,
    /// The pieces around each `*`; one piece is the level itself.
    Pieces(Vec<String>),
}

impl TopicFilter {
    /// Reads a filter. The error says what is wrong with it.
    pub fn parse(filter: &str) -> Result<TopicFilter, String> {
        let wrong = || {
            format!(
                "{filter:?} is no topic filter: + or * stands for one level, # at the end for all that follow"
            )
        };
        let mut levels: Vec<&str> = filter.split('/').collect();
        let open = levels.pop_if(|last| matches!(*last, "#" | "**")).is_some();
        let levels = levels.into_iter().map(|level| match level {
            "+" | "*" => Ok(Level::Any),
            level if level.contains(['+', '#']) || level.contains("**") => Err(wrong()),
            level => Ok(Level::Pieces(level.split('*').map(str::to_owned).collect())),
        });
        match filter {
            "" => Err(wrong()),
            _ => Ok(TopicFilter { levels: levels.collect::<Result<_, _>>()?, open, spares_dollar: false }),
        }
    }

    /// Reads a filter as MQTT has it: `+` and `#` are the only wildcards. The error says what is wrong with it.
    pub fn mqtt(filter: &str) -> Result<TopicFilter, String> {
        let mut levels: Vec<&str> = filter.split('/').collect();
        let open = levels.pop_if(|last| *last == "#").is_some();
        if filter.is_empty() || levels.iter().any(|level| level.contains(['+', '#']) && *level != "+") {
            return Err(format!(
                "{filter:?} is no topic filter: + stands for one level, # at the end for all that follow"
            ));
        }
        let level =
            |level: &str| if level == "+" { Level::Any } else { Level::Pieces(vec![level.to_owned()]) };
        Ok(TopicFilter { levels: levels.into_iter().map(level).collect(), open, spares_dollar: true })
    }

    /// Whether it means every topic that the other one means; both are read by [`TopicFilter::mqtt`].
    pub fn covers(&self, other: &TopicFilter) -> bool {
        let (own, others) = (self.levels.len(), other.levels.len());
        let is_long_enough = if self.open { others >= own } else { others == own && !other.open };
        let spares = self.begins_with_wildcard() && other.names_dollar();
        is_long_enough
            && !spares
            && self.levels.iter().zip(&other.levels).all(|(own, other)| own.covers(other))
    }

    fn begins_with_wildcard(&self) -> bool {
        self.levels.first().is_none_or(|level| *level == Level::Any)
    }

    fn names_dollar(&self) -> bool {
        matches!(self.levels.first(), Some(Level::Pieces(pieces)) if pieces[0].starts_with('$'))
    }

    /// Whether it means this topic.
    pub fn matches(&self, topic: &str) -> bool {
        if self.spares_dollar && topic.starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let mut found = topic.split('/');
        let begins = self.levels.iter().all(|level| found.next().is_some_and(|text| level.matches(text)));
        begins && (self.open || found.next().is_none())
    }
}

impl Level {
    fn covers(&self, other: &Level) -> bool {
        *self == Level::Any || self == other
    }

    fn matches(&self, text: &str) -> bool {
        let Level::Pieces(pieces) = self else { return true };
        let Some((first, rest)) = pieces.split_first() else { return false };
        let Some((last, inner)) = rest.split_last() else { return text == first };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        for piece in inner {
            match text.split_once(piece.as_str()) {
                Some((_, behind)) => text = behind,
                None => return false,
            }
        }
        text.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_means_the_topics_that_it_describes_from_end_to_end() {
        let cases = [
            ("#", "a/b", true),
            ("**", "a", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("a/+", "a/b", true),
            ("a/*", "a/b/c", false),
            ("*/b", "a/b", true),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("a/t*", "a/temperature", true),
            ("a/t*e*e", "a/temperature", true),
            ("a/t*x*e", "a/temperature", false),
            ("a/*ture", "a/temperature", true),
            ("a/te*te", "a/te", false),
            ("a/x*", "a/temperature", false),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(TopicFilter::parse(filter).unwrap().matches(topic), expected, "{filter} and {topic}");
        }
    }

    #[test]
    fn a_filter_of_mqtt_has_no_other_wildcards_and_spares_the_topics_of_the_server() {
        let cases = [
            ("a/*", "a/b", false),
            ("a/*", "a/*", true),
            ("**", "a", false),
            ("a/+", "a/b", true),
            ("#", "a", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("a//b", "a//b", true),
            ("a/#", "a", true),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(TopicFilter::mqtt(filter).unwrap().matches(topic), expected, "{filter} and {topic}");
        }
        for filter in ["", "a/#/b", "a+", "a/b#", "#/a", "++"] {
            assert!(TopicFilter::mqtt(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn a_filter_covers_another_when_it_means_all_of_its_topics() {
        let texts = ["a", "+", "#", "a/#", "a/+", "+/b", "a/b", "+/#", "a/b/#", "$x", "$x/#", "+/+"];
        let topics = ["a", "b", "a/b", "a/c", "b/b", "a/b/c", "c/d/e", "$x", "$x/b"];
        for own in texts {
            for other in texts {
                let [own_filter, other_filter] = [own, other].map(|text| TopicFilter::mqtt(text).unwrap());
                let means_all =
                    topics.iter().all(|topic| !other_filter.matches(topic) || own_filter.matches(topic));
                // `#` and `+/#` mean the same; only the first is taken to cover the second.
                let expected = means_all && (own, other) != ("+/#", "#");
                assert_eq!(own_filter.covers(&other_filter), expected, "{own} and {other}");
            }
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for filter in ["", "a/#/b", "a+", "a/b#", "a/**/b", "x**"] {
            assert!(TopicFilter::parse(filter).unwrap_err().contains("is no topic filter"), "{filter}");
        }
    }
}
