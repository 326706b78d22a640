//! Meaning of a peer's end of a connection, read from its close frame or its HTTP status once and for all. Pure.

use std::time::Duration;

/// Words of a reason that speak of a login, in small letters.
const CREDENTIALS: [&str; 22] = [
    "auth",
    "authentication",
    "authorization",
    "authorisation",
    "authenticated",
    "authorized",
    "authorised",
    "unauthenticated",
    "unauthorized",
    "unauthorised",
    "credential",
    "credentials",
    "expired",
    "forbidden",
    "jwt",
    "login",
    "password",
    "permission",
    "permissions",
    "permitted",
    "token",
    "tokens",
];

/// What the end of a connection says about the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Nothing in particular: the connection broke, or was closed for a reason of the peer's own.
    Plain,
    /// 1012 and 1013: the peer wants to be left alone for a while.
    Restarting,
    /// An HTTP status such as 429 or 503: the peer asks for time.
    Busy {
        /// Its `Retry-After`, if it sent one.
        retry_after: Option<Duration>,
    },
    /// The peer does not, or not any longer, accept who we say that we are.
    Unauthorized,
    /// 1003 and 1007 (RFC 6455 §7.4.1): the peer cannot take something that it was sent.
    Message,
    /// 1009: something that it was sent is too large for it.
    TooLarge,
    /// MQTT 5.0 §3.14.2.1, 0x8E: another client of the same id took the session over.
    TakenOver,
    /// A broker has closed the connection and said nothing: MQTT 3.1.1 has no words for it.
    Unexplained,
}

/// What is said of a session that another client of the same id took over.
pub fn taken_over(id: &str) -> String {
    format!(
        "another client uses the id {id}: is this card a clone? give each agent an `id` of its own in [agent], or a `client_id`"
    )
}

/// What is said of a broker that has closed several connections in a row, each soon after it was made, and has not said why.
pub fn cut_short(id: &str) -> String {
    format!(
        "again and again, and without a reason: perhaps another client uses the id {id} (is this card a clone?), or the broker does not \
         take something that it is sent"
    )
}

impl Closing {
    /// By the code and the reason of a close frame.
    pub fn of(code: Option<u16>, reason: &str) -> Closing {
        match code {
            None => Closing::Plain,
            Some(1012 | 1013) => Closing::Restarting,
            // RFC 6455 §7.4.1; the IANA registry; what servers make of the HTTP statuses 401 and 403.
            Some(1008 | 3000 | 3003 | 4001 | 4003 | 4401 | 4403) => Closing::Unauthorized,
            Some(_) if speaks_of_credentials(reason) => Closing::Unauthorized,
            Some(1003 | 1007) => Closing::Message,
            Some(1009) => Closing::TooLarge,
            Some(_) => Closing::Plain,
        }
    }
}

/// A parser's "unexpected token" is none.
fn speaks_of_credentials(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    let words: Vec<&str> = reason.split(|letter: char| !letter.is_alphanumeric()).collect();
    let before = std::iter::once("").chain(words.iter().copied());
    before.zip(&words).any(|(before, word)| CREDENTIALS.contains(word) && before != "unexpected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_of_a_refused_login_are_one_and_the_message_has_no_part_in_it() {
        for code in [1008, 3000, 3003, 4001, 4003, 4401, 4403] {
            assert_eq!(Closing::of(Some(code), ""), Closing::Unauthorized, "{code}");
        }
        for reason in [
            "Token expired",
            "unauthorized",
            "403 Forbidden",
            "auth failed",
            "invalid credentials",
            "please login again",
            "no permission to publish",
            "jwt: signature",
        ] {
            for code in [1000, 1003, 1007, 1009, 1011, 4000, 4999] {
                assert_eq!(Closing::of(Some(code), reason), Closing::Unauthorized, "{code} {reason}");
            }
        }
    }

    #[test]
    fn a_message_can_be_the_reason_for_what_cannot_be_read_or_is_too_big() {
        let reasons = ["", "too big", "Unexpected token h in JSON at position 1", "no author", "tokenizer"];
        let codes = [(1003, Closing::Message), (1007, Closing::Message), (1009, Closing::TooLarge)];
        for ((code, closing), reason) in codes.into_iter().flat_map(|code| reasons.map(|r| (code, r))) {
            assert_eq!(Closing::of(Some(code), reason), closing, "{code} {reason}");
        }
    }

    #[test]
    fn all_else_says_nothing_of_messages() {
        for code in [None, Some(1000), Some(1001), Some(1002), Some(1006), Some(1011), Some(4000)] {
            assert_eq!(Closing::of(code, "so it is"), Closing::Plain);
        }
        for code in [1012, 1013] {
            assert_eq!(Closing::of(Some(code), "the token service restarts"), Closing::Restarting);
        }
    }
}
