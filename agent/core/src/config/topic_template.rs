//! Topic templates of MQTT routes: topic filters with names, which topics they match, and what their names take.

use super::route::identifier;

/// A parsed template: `tele/{device}/+`; a last `#` matches all that follows, a last `{name...}` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(String),
    Name(String),
    /// `+`
    Any,
    /// `{name...}`
    Rest(String),
    /// `#`
    Open,
}

impl TopicTemplate {
    /// Reads a template. The error says what is wrong with it, without the template itself.
    pub fn parse(text: &str) -> Result<TopicTemplate, String> {
        if text.is_empty() || text.contains(char::is_control) {
            return Err("must not be empty or hold a control character".to_owned());
        }
        let levels = text.split('/').map(Level::parse).collect::<Result<Vec<_>, _>>()?;
        let inner = levels.split_last().map_or(&[][..], |(_, inner)| inner);
        if inner.iter().any(|level| matches!(level, Level::Rest(_) | Level::Open)) {
            return Err("must have `#` or `{name...}` at its end only".to_owned());
        }
        let template = TopicTemplate { levels };
        let names: Vec<&str> = template.names().collect();
        match names.iter().enumerate().find(|(index, name)| names[..*index].contains(*name)) {
            Some((_, name)) => Err(format!("has the name `{name}` twice")),
            None => Ok(template),
        }
    }

    /// The values that the names take, in the template's order, when it matches this topic. A name never takes an empty level. As in MQTT, `#`
    /// matches the level above too, and nothing but its own letters matches a topic that begins with `$` (3.1.1 §4.7).
    pub fn matches(&self, topic: &str) -> Option<Vec<(String, String)>> {
        if topic.starts_with('$') && !matches!(self.levels.first(), Some(Level::Literal(_))) {
            return None;
        }
        let mut rest = topic.split('/');
        let mut values = Vec::new();
        for level in &self.levels {
            match level {
                Level::Literal(literal) => rest.next().filter(|found| found == literal).map(drop)?,
                Level::Any => rest.next().map(drop)?,
                Level::Name(name) => {
                    let value = rest.next().filter(|value| !value.is_empty())?;
                    values.push((name.clone(), value.to_owned()));
                }
                Level::Rest(name) => {
                    let levels: Vec<&str> = rest.by_ref().collect();
                    let value = levels.join("/");
                    values.push((name.clone(), Some(value).filter(|value| !value.is_empty())?));
                }
                Level::Open => drop(rest.by_ref().count()),
            }
        }
        rest.next().is_none().then_some(values)
    }

    /// The topic filter of MQTT that matches what it matches, and topics with empty levels.
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Literal(literal) => literal.clone(),
            Level::Name(_) | Level::Any => "+".to_owned(),
            Level::Rest(_) | Level::Open => "#".to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// The names, in the template's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Name(name) | Level::Rest(name) => Some(name.as_str()),
            Level::Literal(_) | Level::Any | Level::Open => None,
        })
    }
}

impl Level {
    fn parse(text: &str) -> Result<Level, String> {
        match text {
            "+" => return Ok(Level::Any),
            "#" => return Ok(Level::Open),
            _ if text.contains(['+', '#']) => {
                return Err(format!("level `{text}` must be `+` or `#` alone, or have none of them"));
            }
            _ if !text.contains(['{', '}']) => return Ok(Level::Literal(text.to_owned())),
            _ => {}
        }
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let inner =
            inner.ok_or_else(|| format!("level `{text}` must be either plain text or one `{{name}}`"))?;
        match inner.strip_suffix("...") {
            Some(name) => Ok(Level::Rest(identifier(name)?.to_owned())),
            None => Ok(Level::Name(identifier(inner)?.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(template: &str, topic: &str) -> Option<String> {
        let values = TopicTemplate::parse(template).unwrap().matches(topic)?;
        Some(values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_topic_matches_only_the_templates_that_describe_all_of_it() {
        let cases = [
            ("tele/{device}/SENSOR", "tele/plug/SENSOR", Some("device=plug")),
            ("tele/{device}/SENSOR", "tele/plug/STATE", None),
            ("tele/{device}/SENSOR", "tele//SENSOR", None),
            ("tele/{device}/SENSOR", "/tele/plug/SENSOR", None),
            ("tele/+/SENSOR", "tele//SENSOR", Some("")),
            ("a/#", "a", Some("")),
            ("a/#", "a/b/c", Some("")),
            ("a/#", "ab", None),
            ("#", "a/b", Some("")),
            ("{a}/{rest...}", "1/2/3", Some("a=1 rest=2/3")),
            ("{a}/{rest...}", "1", None),
            ("{a}/{rest...}", "1/", None),
            ("/{a}", "/1", Some("a=1")),
            ("{a}", "1%2F2", Some("a=1%2F2")),
            ("#", "$SYS/x", None),
            ("+/x", "$SYS/x", None),
            ("{a}/x", "$SYS/x", None),
            ("$SYS/#", "$SYS/x", Some("")),
        ];
        for (template, topic, expected) in cases {
            assert_eq!(matched(template, topic).as_deref(), expected, "{template} and {topic}");
        }
    }

    #[test]
    fn a_wrong_template_is_refused_with_the_reason() {
        let cases = [
            ("", "must not be empty or hold a control character"),
            ("a\0", "must not be empty or hold a control character"),
            ("a/#/b", "must have `#` or `{name...}` at its end only"),
            ("{a...}/b", "must have `#` or `{name...}` at its end only"),
            ("a+", "level `a+` must be `+` or `#` alone, or have none of them"),
            ("x{a}", "level `x{a}` must be either plain text or one `{name}`"),
            ("{1a}", "`{1a}` is not a name: a letter or `_`, then letters, digits, `_`"),
            ("{a}/{a}", "has the name `a` twice"),
        ];
        for (template, expected) in cases {
            assert_eq!(TopicTemplate::parse(template), Err(expected.to_owned()), "{template}");
        }
    }
}
