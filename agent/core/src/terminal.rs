//! Text from outside as a terminal may see it: what it would obey, or what turns the order of letters around, is shown as an
//! escape sequence.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with an escape of JSON (as `\u202e`) for every letter that a terminal must not get: controls (C0, DEL, C1), line
/// separators, and what changes the direction of a text or cannot be seen. JSON stays the same JSON, for it reads them back.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_but(text, |_| false)
}

/// The same of several lines, which stay lines.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    escaped_but(text, |letter| letter == '\n')
}

/// The same of a page that was made for a terminal of parts that are escaped: its lines and its own colours stay.
pub fn escaped_page(text: &str) -> Cow<'_, str> {
    escaped_but(text, |letter| matches!(letter, '\n' | '\x1b'))
}

/// Whether a terminal must not get this letter as it is.
pub fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9), and its deprecated kin.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // Letters without width that no script needs, and annotations.
            | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns of a terminal that a text takes: letters of East Asia and pictures take two.
pub fn columns(text: &str) -> usize {
    text.chars().map(|letter| if is_wide(letter) { 2 } else { 1 }).sum()
}

/// The text if it takes no more than so many columns, else its beginning with an ellipsis behind.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if columns(text) <= most {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for letter in text.chars() {
        shown.push(letter);
        if columns(&shown) >= most {
            shown.pop();
            break;
        }
    }
    Cow::Owned(if most == 0 { shown } else { shown + "…" })
}

/// The text in lines of at most so many columns, all but the first indented. It is broken between words, and a word that is
/// too long where the line ends.
pub fn wrapped(text: &str, most: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let is_fresh = line.trim().is_empty();
        if !is_fresh && columns(&line) + 1 + columns(word) > most {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if !is_fresh {
            line.push(' ');
        }
        for letter in word.chars() {
            let full = columns(&line) + if is_wide(letter) { 2 } else { 1 } > most;
            if full && !line.trim().is_empty() {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

/// Wide and full-width letters, roughly: blocks of Unicode (UAX #11), not single letters.
fn is_wide(letter: char) -> bool {
    matches!(letter,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}')
}

fn escaped_but(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hides = |letter: char| is_unsafe(letter) && !stays(letter);
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\n' if hides(letter) => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            letter if hides(letter) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
            letter => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_and_everything_else_stays() {
        let cases = [
            ("plain, größer, 温度, שלום, 👩‍🔧", "plain, größer, 温度, שלום, 👩‍🔧"),
            ("\x1b[2J\x07", "\\u001b[2J\\u0007"),
            ("a\nb\tc\rd\x7f", "a\\nb\\tc\\rd\\u007f"),
            ("\u{9b}31m\u{85}", "\\u009b31m\\u0085"),
            ("photo_\u{202e}gnp.exe", "photo_\\u202egnp.exe"),
            ("\u{2066}a\u{2069}\u{200f}\u{61c}\u{feff}", "\\u2066a\\u2069\\u200f\\u061c\\ufeff"),
            ("\u{e0041}", "\\udb40\\udc41"),
        ];
        for (text, expected) in cases {
            assert_eq!(escaped(text), expected);
        }
        assert_eq!(escaped_lines("a\nb\x1b"), "a\nb\\u001b");
        assert_eq!(escaped_page("\x1b[31ma\x1b[0m\n\u{202e}"), "\x1b[31ma\x1b[0m\n\\u202e");
    }

    #[test]
    fn a_text_is_cut_and_wrapped_by_the_columns_that_it_takes() {
        assert_eq!((columns("größer"), columns("温度"), columns("")), (6, 4, 0));
        assert_eq!((cut("kitchen", 7).as_ref(), cut("kitchen", 6).as_ref()), ("kitchen", "kitch…"));
        assert_eq!((cut("温度計", 5).as_ref(), cut("温度計", 4).as_ref()), ("温度…", "温…"));
        assert_eq!((cut("ab", 1).as_ref(), cut("ab", 0).as_ref()), ("…", ""));
        assert_eq!(wrapped("a link is down", 9, 2), ["a link is", "  down"]);
        assert_eq!(
            wrapped("cannot dial wss://a.very.long.name", 12, 2),
            ["cannot dial", "  wss://a.ve", "  ry.long.na", "  me"]
        );
        assert_eq!(wrapped("", 9, 2), [""]);
        assert_eq!(wrapped("a", 0, 0), ["a"]);
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}31m \u{e0041} \n", "b": [1, "\u{7f}"] });
        let text = escaped_lines(&format!("{value:#}")).into_owned();
        assert!(!text.contains(|letter| is_unsafe(letter) && letter != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
