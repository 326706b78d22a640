//! Patterns with a known cost: the engine needs at most so many steps for each character, as many as it has states.

use regex_lite::{Regex, RegexBuilder};

use super::work::WORK_MAX;

/// Bytes of a compiled pattern. What is larger could match hardly more than a word.
const SIZE_MAX: usize = 256 * 1024;
/// Bytes of one state of the engine.
const STATE_BYTES: usize = 4 * size_of::<usize>();
/// Work of one state at one character.
const STEP: u64 = 3;
/// Work of a character beside that of the states.
const CHARACTER: u64 = 8;
/// Shorter strings than these should never be too long for a pattern.
const ORDINARY_CHARACTERS: u64 = 4096;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    /// Characters at the begin of a text at which the engine is in one state.
    fixed: u64,
    /// Work for each character behind those, at most.
    weight: u64,
}

impl Pattern {
    /// The dialect is that of ECMA-262 without looking around and without `\p`. The error says what is wrong.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let regex = compile(text, SIZE_MAX).map_err(|error| match compile(text, usize::MAX) {
            Ok(_) => format!(
                "it has more than {} states: shorten its repetitions, with `maxLength` in place of `{{1,9999}}`",
                SIZE_MAX / STATE_BYTES
            ),
            Err(_) => error,
        })?;
        let (fixed, rest) = split(text);
        let (fixed, states) = match states(rest) {
            Some(states) => (fixed, states),
            None => (0, states(text).unwrap_or(SIZE_MAX / STATE_BYTES)),
        };
        Ok(Pattern { regex, fixed, weight: CHARACTER + (states as u64 + 1) * STEP })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether it is found somewhere in a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Work to look for it in a text, at most.
    pub fn cost(&self, text: &str) -> u64 {
        let characters = text.chars().count() as u64 + 1;
        let fixed = characters.min(self.fixed);
        fixed * (CHARACTER + STEP)
            + (characters - fixed).saturating_mul(self.weight)
            + (text.len() + self.text().len()) as u64 / 8
    }

    /// Characters of the longest text in which it is looked for.
    pub fn characters_max(&self) -> u64 {
        WORK_MAX / self.weight
    }

    /// Whether ordinary strings may be too long for it.
    pub fn is_costly(&self) -> bool {
        self.characters_max() < ORDINARY_CHARACTERS
    }
}

fn compile(text: &str, size: usize) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(size).build().map_err(|error| error.to_string())
}

/// States of a compiled pattern: the engine tells its size only by what it refuses.
fn states(text: &str) -> Option<usize> {
    compile(text, SIZE_MAX).ok()?;
    let (mut low, mut high) = (0, SIZE_MAX / STATE_BYTES);
    while low < high {
        let middle = low.midpoint(high);
        match compile(text, middle * STATE_BYTES) {
            Ok(_) => high = middle,
            Err(_) => low = middle + 1,
        }
    }
    Some(low)
}

/// The characters of what stands at the begin of a pattern and has a fixed length, such as `^[0-9]{4}-`, and what follows: the
/// engine is in one state at a time there. What is not understood counts as variable.
fn split(pattern: &str) -> (u64, &str) {
    let Some(mut rest) = pattern.strip_prefix('^').filter(|rest| !has_alternatives(rest)) else {
        return (0, pattern);
    };
    let mut fixed = 0;
    while let Some((count, after)) = after_atom(rest).and_then(after_count) {
        (fixed, rest) = (fixed + count, after);
    }
    (fixed, rest)
}

/// Whether there is a `|` outside of all parentheses. Also true where that is not sure.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut is_class, mut letters) = (0_u32, false, pattern.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '[' if is_class => return true,
            '[' => is_class = true,
            ']' => is_class = false,
            '(' if !is_class => depth += 1,
            ')' if !is_class => depth = depth.saturating_sub(1),
            '|' if !is_class && depth == 0 => return true,
            _ => {}
        }
    }
    is_class
}

/// Rest behind one character or class of characters.
fn after_atom(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    match first {
        '\\' => {
            let escaped = text.chars().nth(1)?;
            let is_one = "dDwWsS".contains(escaped) || escaped.is_ascii_punctuation();
            is_one.then(|| &text[2..])
        }
        '[' => {
            let inner = text[1..].strip_prefix('^').unwrap_or(&text[1..]);
            let is_escaped = |at: usize| inner[..at].ends_with('\\');
            let end = inner.find([']', '['])?;
            let is_plain = end > 0 && inner[end..].starts_with(']') && !is_escaped(end);
            is_plain.then(|| &inner[end + 1..])
        }
        '(' | ')' | '|' | '*' | '+' | '?' | '{' | '}' | '^' | '$' | ']' => None,
        other => Some(&text[other.len_utf8()..]),
    }
}

/// A fixed count, or one if there is none, and what follows.
fn after_count(text: &str) -> Option<(u64, &str)> {
    let (count, after) = match text.strip_prefix('{') {
        Some(counted) => {
            let (count, after) = counted.split_once('}')?;
            (count.parse().ok().filter(|_| !count.starts_with('+'))?, after)
        }
        None => (1, text),
    };
    (!after.starts_with(['*', '+', '?', '{'])).then_some((count, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_fixed_length_at_the_begin_is_found() {
        let cases = [
            ("^[0-9a-f]{8}-[0-9a-f]{4}$", 13, "$"),
            (r"^\d{4}-\d{2}T(\.\d+)?Z$", 8, r"(\.\d+)?Z$"),
            ("^a{2}+b", 0, "a{2}+b"),
            ("^ab*c", 1, "b*c"),
            ("^a{2,3}b", 0, "a{2,3}b"),
            ("^a|b", 0, "^a|b"),
            ("^(a|b)", 0, "(a|b)"),
            ("^a[|]b", 3, ""),
            (r"^a\|b", 3, ""),
            ("^[[:alpha:]]a", 0, "^[[:alpha:]]a"),
            ("^[]a]b", 0, "[]a]b"),
            (r"^[a\]b]c", 0, r"[a\]b]c"),
            ("a{3}", 0, "a{3}"),
            (r"^\bä", 0, r"\bä"),
            ("^äb", 2, ""),
        ];
        for (pattern, fixed, rest) in cases {
            assert_eq!(split(pattern), (fixed, rest), "{pattern}");
        }
    }

    #[test]
    fn the_weight_grows_with_the_states_that_may_be_alive_together() {
        let weight = |text: &str| Pattern::new(text).unwrap().weight / STEP;
        assert!(weight("^[0-9a-f]{8}-[0-9a-f]{4}$") < 12);
        assert!((200..1500).contains(&weight("a{1,200}b")));
        assert!(weight("(a|aa){1,200}b") > 600);
        assert!(Pattern::new("(a|aa){1,200}b").unwrap().is_costly());
        let mail = Pattern::new(r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$").unwrap();
        assert!(!mail.is_costly(), "{}", mail.characters_max());
    }

    #[test]
    fn a_pattern_that_is_too_large_is_refused_with_what_helps() {
        assert!(Pattern::new("(a{1,1000}){1,1000}").unwrap_err().contains("`maxLength`"));
        assert!(!Pattern::new("(").unwrap_err().contains("states"));
    }
}
