//! Topic filters of those who read: `+` or `*` is one level, `#` or `**` at the end all that follow, and a `*` inside of a level
//! any letters of it.

/// A parsed topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter {
    levels: Vec<Level>,
    /// Whether anything may follow, nothing included (MQTT 3.1.1 §4.7.1.2).
    open: bool,
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
            _ => Ok(TopicFilter { levels: levels.collect::<Result<_, _>>()?, open }),
        }
    }

    /// Whether it means this topic.
    pub fn matches(&self, topic: &str) -> bool {
        let mut found = topic.split('/');
        let begins = self.levels.iter().all(|level| found.next().is_some_and(|text| level.matches(text)));
        begins && (self.open || found.next().is_none())
    }
}

impl Level {
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
    fn what_is_no_filter_is_refused() {
        for filter in ["", "a/#/b", "a+", "a/b#", "a/**/b", "x**"] {
            assert!(TopicFilter::parse(filter).unwrap_err().contains("is no topic filter"), "{filter}");
        }
    }
}
