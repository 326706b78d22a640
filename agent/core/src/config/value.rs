//! Reads single values: durations, sizes, words, paths, secrets. The errors say what is wrong, not where.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::render;
use super::table::Reading;
use super::tree::{Entry, Kind, Node};

/// Milliseconds of a day.
pub(super) const DAY: u64 = 24 * 60 * 60 * 1000;

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

pub(super) fn string(node: &Node, _: &Reading) -> Result<String, String> {
    text(node).map(str::to_owned)
}

pub(super) fn boolean(node: &Node, _: &Reading) -> Result<bool, String> {
    node.kind.boolean().ok_or_else(|| "must be true or false".to_owned())
}

/// A list of strings.
pub(super) fn strings(node: &Node, _: &Reading) -> Result<Vec<String>, String> {
    let Kind::Array(nodes) = &node.kind else {
        return Err("must be a list of strings, such as [\"…\"]".to_owned());
    };
    nodes.iter().map(|node| text(node).map(str::to_owned)).collect()
}

/// A path; one from a text is relative to the folder of that text.
pub(super) fn path(node: &Node, reading: &Reading) -> Result<PathBuf, String> {
    match (text(node)?, node.place) {
        ("", _) => Err("must not be empty".to_owned()),
        (path, place) => Ok(reading.folder(place).join(path)),
    }
}

/// A whole number within these bounds.
pub(super) fn number<N>(bounds: RangeInclusive<u64>) -> impl Fn(&Node, &Reading) -> Result<N, String>
where
    N: TryFrom<u64>,
{
    move |node, _| {
        let found = node.kind.whole().filter(|value| bounds.contains(value));
        let found = found.and_then(|value| N::try_from(value).ok());
        found.ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// A duration such as `"250ms"`, `"20s"` or `"1m 30s"` within these bounds, in milliseconds.
pub(super) fn duration(
    bounds_ms: RangeInclusive<u64>,
) -> impl Fn(&Node, &Reading) -> Result<Duration, String> {
    duration_or(bounds_ms, false)
}

/// The same, where zero has a meaning of its own.
pub(super) fn duration_or_zero(
    bounds_ms: RangeInclusive<u64>,
) -> impl Fn(&Node, &Reading) -> Result<Duration, String> {
    duration_or(bounds_ms, true)
}

/// How long something may take: 10 ms to one day.
pub(super) fn timeout() -> impl Fn(&Node, &Reading) -> Result<Duration, String> {
    duration(10..=DAY)
}

/// A number of bytes, as an integer or with a unit, within these bounds.
pub(super) fn bytes(bounds: RangeInclusive<u64>) -> impl Fn(&Node, &Reading) -> Result<u64, String> {
    move |node, _| {
        let found = node.kind.whole().or_else(|| parse_bytes(node.kind.string()?));
        let found = found.ok_or("must be a size such as \"256MB\", \"64KiB\" or 65536")?;
        let (start, end) = (render::bytes(*bounds.start()), render::bytes(*bounds.end()));
        match (found < *bounds.start(), found > *bounds.end()) {
            (true, _) => Err(format!("{} is below {start}", render::bytes(found))),
            (_, true) => Err(format!("{} is above {end}", render::bytes(found))),
            (false, false) => Ok(found),
        }
    }
}

/// One of a few words.
pub(super) fn word<T: Copy, const N: usize>(
    words: [(&'static str, T); N],
) -> impl Fn(&Node, &Reading) -> Result<T, String> {
    move |node, _| {
        let found = node.kind.string().and_then(|text| words.iter().find(|(word, _)| *word == text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("must be {}", known.join(" or "))
        })
    }
}

/// A string, or a table that says where to find one.
pub(super) fn secret(node: &Node, reading: &Reading) -> Result<Secret, String> {
    const SHAPE: &str = "must be a string or exactly one of { file = … }, { credential = … }, { env = … }";
    if let Some(text) = node.kind.string() {
        return Ok(Secret::Plain(text.to_owned()));
    }
    let Some([Entry { key: source, node, .. }]) = node.kind.table() else {
        return Err(SHAPE.to_owned());
    };
    match source.as_str() {
        "file" => path(node, reading).map(Secret::File),
        "credential" => credential(text(node)?).map(Secret::Credential),
        "env" => variable(text(node)?).map(Secret::Env),
        _ => Err(SHAPE.to_owned()),
    }
}

/// An id: a letter or `_`, then letters, digits and `_`.
pub(super) fn id(node: &Node, _: &Reading) -> Result<String, String> {
    let id = text(node)?;
    let first = id.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let rest = id.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !first || !rest || id.len() > 64 {
        return Err(format!("`{id}` must be a letter or `_`, then letters, digits, `_`; 64 at most"));
    }
    Ok(id.to_owned())
}

/// The text of a string.
pub(super) fn text(node: &Node) -> Result<&str, String> {
    node.kind.string().ok_or_else(|| "must be a string".to_owned())
}

/// A string that is not empty and holds no control character.
pub(super) fn line(node: &Node, _: &Reading) -> Result<String, String> {
    let text = text(node)?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err("must not be empty or hold a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn duration_or(
    bounds_ms: RangeInclusive<u64>,
    zero: bool,
) -> impl Fn(&Node, &Reading) -> Result<Duration, String> {
    move |node, _| {
        const SHAPE: &str = "must be a duration such as \"250ms\", \"20s\" or \"1m 30s\"";
        let found = humantime::parse_duration(text(node).map_err(|_| SHAPE)?).map_err(|_| SHAPE)?;
        let (start, end) =
            (Duration::from_millis(*bounds_ms.start()), Duration::from_millis(*bounds_ms.end()));
        match (found < start, found > end) {
            (true, _) if zero && found.is_zero() => Ok(found),
            (true, _) => Err(format!("{} is below {}", render::duration(found), render::duration(start))),
            (_, true) => Err(format!("{} is above {}", render::duration(found), render::duration(end))),
            (false, false) => Ok(found),
        }
    }
}

pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)))?;
    let number = number.trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse::<u64>().ok()?.checked_mul(*unit)).flatten()
}

fn credential(name: &str) -> Result<String, String> {
    if name.is_empty()
        || name.starts_with('.')
        || name.contains(|letter: char| letter == '/' || letter.is_control())
    {
        return Err("the name of a credential must be a file name".to_owned());
    }
    Ok(name.to_owned())
}

fn variable(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("env must name an environment variable".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fault::Faults;
    use super::*;

    fn read<T>(text: String, read: impl Fn(&Node, &Reading) -> Result<T, String>) -> Result<T, String> {
        let node = Node { place: super::super::fault::Span::START, kind: Kind::String(text) };
        read(&node, &Reading { faults: &Faults::default(), files: &[] })
    }

    proptest! {
        #[test]
        fn every_size_is_read_back_as_it_is_written(size in prop_oneof![0..10_u64, 0..=u64::MAX, (0..1000_u64).prop_map(|size| size << 20)]) {
            prop_assert_eq!(read(render::bytes(size), bytes(0..=u64::MAX)), Ok(size));
        }

        #[test]
        fn every_duration_is_read_back_as_it_is_written(nanos in 0..=100_000 * DAY) {
            let span = Duration::from_nanos(nanos);
            prop_assert_eq!(read(render::duration(span), duration(0..=u64::MAX)), Ok(span));
        }
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        let cases = [
            ("256MB", Some(256_000_000)),
            ("256MiB", Some(268_435_456)),
            ("1 KB", Some(1000)),
            ("7B", Some(7)),
            ("7", None),
            ("MB", None),
            ("-1MB", None),
            ("+1MB", None),
            ("1.5GB", None),
            ("1mb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text.to_owned(), bytes(0..=u64::MAX)).ok(), expected, "{text}");
        }
    }
}
