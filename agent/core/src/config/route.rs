//! Path templates: which paths they match, what their names take, and how those values go into topics.

use percent_encoding::percent_decode_str;

/// A parsed path template: `/lines/{line}/sensors/{device}`; a last `{name...}` takes the rest of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
}

impl Template {
    /// Reads a template. The error says what is wrong with it, without the template itself.
    pub fn parse(text: &str) -> Result<Template, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("must start with `/`".to_owned());
        };
        let pieces: Vec<&str> = path.split('/').collect();
        if pieces.len() > 1 && pieces.contains(&"") {
            return Err("has an empty segment".to_owned());
        }
        let segments = pieces.into_iter().map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        let template = Template { segments };
        template.check_rest()?;
        template.check_unique()?;
        Ok(template)
    }

    /// The values that the names take, in the template's order, when it matches this path (without its query).
    ///
    /// Segments are percent-decoded one by one. A name never takes an empty segment, one with an encoded `/` or a
    /// control character in it, or one that is not UTF-8.
    pub fn matches(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut rest = path.strip_prefix('/')?.split('/');
        let mut values = Vec::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => {
                    decode(rest.next()?).filter(|found| found == literal).map(drop)?
                }
                Segment::Name(name) => values.push((name.clone(), value(rest.next()?)?)),
                Segment::Rest(name) => {
                    let pieces = rest.by_ref().map(value).collect::<Option<Vec<_>>>()?;
                    values.push((name.clone(), Some(pieces).filter(|pieces| !pieces.is_empty())?.join("/")));
                }
            }
        }
        rest.next().is_none().then_some(values)
    }

    /// The names, in the template's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    fn check_rest(&self) -> Result<(), String> {
        let inner = self.segments.split_last().map_or(&[][..], |(_, inner)| inner);
        let early = inner.iter().find(|segment| matches!(segment, Segment::Rest(_)));
        match early.and_then(Segment::name) {
            Some(name) => Err(format!("`{{{name}...}}` must be the last segment")),
            None => Ok(()),
        }
    }

    fn check_unique(&self) -> Result<(), String> {
        let mut seen = Vec::new();
        for name in self.names() {
            if seen.contains(&name) {
                return Err(format!("has the name `{name}` twice"));
            }
            seen.push(name);
        }
        Ok(())
    }
}

/// Replaces each `{name}` by its value, once; a name without a value stays as it stands.
pub fn expand(text: &str, values: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('{') {
        out.push_str(before);
        let found = tail.split_once('}').and_then(|(name, after)| {
            values.iter().find(|(known, _)| known == name).map(|(_, value)| (value, after))
        });
        match found {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The names that [`expand`] looks for in this text. The error says what is wrong with its braces.
pub fn names_in(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let inner = rest[at..].strip_prefix('{').ok_or("has a `}` without a `{`")?;
        let (name, after) = inner.split_once('}').ok_or("has a `{` without a `}`")?;
        names.push(identifier(name)?);
        rest = after;
    }
    Ok(names)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Name(String),
    Rest(String),
}

impl Segment {
    fn parse(text: &str) -> Result<Segment, String> {
        if !text.contains(['{', '}']) {
            return Ok(Segment::Literal(text.to_owned()));
        }
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let inner =
            inner.ok_or_else(|| format!("segment `{text}` must be either plain text or one `{{name}}`"))?;
        match inner.strip_suffix("...") {
            Some(name) => Ok(Segment::Rest(identifier(name)?.to_owned())),
            None => Ok(Segment::Name(identifier(inner)?.to_owned())),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Name(name) | Segment::Rest(name) => Some(name),
        }
    }
}

pub(super) fn identifier(name: &str) -> Result<&str, String> {
    let first = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let rest = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if first && rest {
        return Ok(name);
    }
    Err(format!("`{{{name}}}` is not a name: a letter or `_`, then letters, digits, `_`"))
}

fn decode(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(|text| text.into_owned())
}

fn value(segment: &str) -> Option<String> {
    decode(segment).filter(|text| {
        !text.is_empty() && !text.contains(|letter: char| letter == '/' || letter.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(template: &str, path: &str) -> Option<String> {
        let values = Template::parse(template).unwrap().matches(path)?;
        Some(values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_path_matches_only_the_templates_that_describe_all_of_it() {
        let cases = [
            ("/", "/", Some("")),
            ("/", "/a", None),
            ("/", "", None),
            ("/a/b", "/a/b", Some("")),
            ("/a/b", "/a/b/", None),
            ("/a/b", "/a", None),
            ("/a/b", "/A/b", None),
            ("/a/{b}/c", "/a/x/c", Some("b=x")),
            ("/a/{b}/c", "/a/x/d", None),
            ("/a/{b}/c", "/a//c", None),
            ("/{a}/{b}", "/1/2", Some("a=1 b=2")),
            ("/{a}", "/", None),
            ("/{a}/{rest...}", "/1/2/3", Some("a=1 rest=2/3")),
            ("/{a}/{rest...}", "/1", None),
            ("/{a}/{rest...}", "/1/", None),
            ("/{a}/{rest...}", "/1/2//3", None),
            ("/{rest...}", "/1", Some("rest=1")),
        ];
        for (template, path, expected) in cases {
            assert_eq!(matched(template, path).as_deref(), expected, "{template} and {path}");
        }
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        let cases = [
            ("/a b/{c}", "/a%20b/%C3%A9", Some("c=é")),
            ("/{c}", "/50%25", Some("c=50%")),
            ("/{c}", "/a%2Fb", None),
            ("/{c}", "/a%00b", None),
            ("/{c}", "/%FF", None),
            ("/{c...}", "/a/b%2Fc", None),
            ("/{c}", "/a+b", Some("c=a+b")),
        ];
        for (template, path, expected) in cases {
            assert_eq!(matched(template, path).as_deref(), expected, "{template} and {path}");
        }
    }

    #[test]
    fn a_wrong_template_is_refused_with_the_reason() {
        let cases = [
            ("a/b", "must start with `/`"),
            ("", "must start with `/`"),
            ("/a//b", "has an empty segment"),
            ("/a/", "has an empty segment"),
            ("/x{a}", "segment `x{a}` must be either plain text or one `{name}`"),
            ("/{a", "segment `{a` must be either plain text or one `{name}`"),
            ("/{}", "`{}` is not a name: a letter or `_`, then letters, digits, `_`"),
            ("/{1a}", "`{1a}` is not a name: a letter or `_`, then letters, digits, `_`"),
            ("/{a}{b}", "`{a}{b}` is not a name: a letter or `_`, then letters, digits, `_`"),
            ("/{a}/{a}", "has the name `a` twice"),
            ("/{a}/{a...}", "has the name `a` twice"),
            ("/{a...}/b", "`{a...}` must be the last segment"),
        ];
        for (template, expected) in cases {
            assert_eq!(Template::parse(template), Err(expected.to_owned()), "{template}");
        }
    }

    #[test]
    fn values_take_the_place_of_their_names_and_are_not_expanded_again() {
        let values = [("a".to_owned(), "{b}".to_owned()), ("b".to_owned(), "2".to_owned())];
        let cases = [
            ("x/{a}/{b}", "x/{b}/2"),
            ("{b}{b}", "22"),
            ("{c}/{b}", "{c}/2"),
            ("{{b}", "{2"),
            ("{b", "{b"),
            ("}", "}"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &values), expected, "{text}");
        }
    }

    #[test]
    fn the_names_of_a_text_are_found_and_wrong_braces_are_refused() {
        assert_eq!(names_in("x/{a}-{b_1}"), Ok(vec!["a", "b_1"]));
        assert_eq!(names_in("plain"), Ok(vec![]));
        assert_eq!(names_in("a}"), Err("has a `}` without a `{`".to_owned()));
        assert_eq!(names_in("{a"), Err("has a `{` without a `}`".to_owned()));
        assert!(names_in("{a...}").is_err());
    }
}
