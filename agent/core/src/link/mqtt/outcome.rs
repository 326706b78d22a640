//! Outcome of a request to a broker: a code of MQTT 5.0 §2.4, in words.

use std::fmt;

use crate::source::mqtt::reason::words_of;

/// From this code on it is a failure.
const FAILURE: u8 = 0x80;
/// Longest words of a broker that are kept, in bytes.
const WORDS_BYTES: usize = 256;

/// A code of an answer, with what the broker says about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// From 0x80 on it is a failure.
    pub code: u8,
    /// The broker's words (Reason String).
    pub words: Option<String>,
}

impl Outcome {
    /// A code without words.
    pub fn of(code: u8) -> Outcome {
        Outcome { code, words: None }
    }

    /// A code with the words of the broker, which may be empty.
    pub fn told(code: u8, words: &str) -> Outcome {
        let words = words[..words.floor_char_boundary(WORDS_BYTES)].to_owned();
        Outcome { code, words: Some(words).filter(|words| !words.is_empty()) }
    }

    /// Whether it is a failure.
    pub fn is_failure(&self) -> bool {
        self.code >= FAILURE
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", words_of(self.code), self.code)?;
        self.words.as_ref().map_or(Ok(()), |words| write!(f, ", {words:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_in_words_with_those_of_the_broker() {
        assert_eq!(Outcome::of(0x87).to_string(), "not authorized (0x87)");
        assert_eq!(
            Outcome::told(0x95, "limit\n 100").to_string(),
            r#"packet too large (0x95), "limit\n 100""#
        );
        assert_eq!(Outcome::told(0x97, ""), Outcome::of(0x97));
        assert!(Outcome::told(0, &"ä".repeat(9999)).words.unwrap().len() <= WORDS_BYTES);
        assert!(!Outcome::of(0x10).is_failure() && Outcome::of(0x80).is_failure());
    }
}
