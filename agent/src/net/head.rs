//! The head of an HTTP answer, read as browsers and curl read it: old forms are taken, and so is a head that is large.
//!
//! hyper's client would read the same head, for it uses the same parser, but it writes names of fields in its own case, which old
//! servers do not know, and hides what tells TLS from HTTP.

use smol::io::{AsyncRead, AsyncReadExt};

/// Largest head, as in Chromium; of all heads together where informational ones come before the answer.
pub const HEAD_MAX: usize = 256 << 10;
/// Informational answers (RFC 9110 §15.2) before the one that counts.
const INFORMATIONAL_MAX: usize = 32;
const FIELDS_USUAL: usize = 64;
const FIELDS_MAX: usize = 4096;
const START: &[u8] = b"HTTP/1.";
const SWITCHING_PROTOCOLS: u16 = 101;

/// Status and fields of an answer.
#[derive(Debug, Default)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Words behind it; may be empty.
    pub reason: String,
    fields: Vec<(String, String)>,
}

/// Why there is no head.
#[derive(Debug)]
pub enum HeadError {
    /// The connection ended before it.
    Closed,
    /// The connection broke.
    Io(std::io::Error),
    /// The first byte of something else.
    NotHttp(u8),
    /// It begins as HTTP and goes on as something else.
    Malformed(httparse::Error),
    /// It is larger than it may be.
    TooLarge,
    /// Too many informational answers and no other.
    NoAnswer,
}

impl Head {
    /// Reads the answer that counts, in pieces of at most `piece` bytes; with 1 nothing behind it is read. The rest of the last
    /// piece comes with it.
    pub async fn read(
        stream: &mut (impl AsyncRead + Unpin),
        piece: usize,
    ) -> Result<(Head, Vec<u8>), HeadError> {
        let mut received = Received::default();
        let mut chunk = vec![0; piece];
        loop {
            let length = match stream.read(&mut chunk).await {
                Ok(0) => return Err(HeadError::Closed),
                Ok(length) => length,
                Err(error) => return Err(HeadError::Io(error)),
            };
            if let Some(head) = received.take(&chunk[..length])? {
                return Ok((head, received.bytes));
            }
        }
    }

    fn parse(bytes: &[u8]) -> Result<Head, httparse::Error> {
        let mut config = httparse::ParserConfig::default();
        config
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .ignore_invalid_headers_in_responses(true);
        let mut room = FIELDS_USUAL;
        loop {
            let mut fields = vec![httparse::EMPTY_HEADER; room];
            let mut response = httparse::Response::new(&mut fields);
            match config.parse_response(&mut response, bytes) {
                Err(httparse::Error::TooManyHeaders) if room < FIELDS_MAX => room *= 4,
                Err(error) => return Err(error),
                Ok(httparse::Status::Partial) => return Err(httparse::Error::NewLine),
                Ok(httparse::Status::Complete(_)) => {
                    let fields = response.headers.iter();
                    let text = |value| String::from_utf8_lossy(value).into_owned();
                    return Ok(Head {
                        status: response.code.unwrap_or_default(),
                        reason: response.reason.unwrap_or_default().to_owned(),
                        fields: fields
                            .map(|field| (field.name.to_owned(), unfolded(text(field.value))))
                            .collect(),
                    });
                }
            }
        }
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether the lists of all fields of this name have the token, in upper or lower case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// A folded value as one line (RFC 9112 §5.2).
fn unfolded(value: String) -> String {
    if !value.contains(['\r', '\n']) {
        return value;
    }
    value.split(['\r', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Bytes that have come so far.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// Where the search for the end goes on.
    searched: usize,
    /// Bytes of informational answers.
    dropped: usize,
    informational: usize,
}

impl Received {
    /// Takes a piece. The answer that counts, once it is there; behind it only what came after stays.
    fn take(&mut self, piece: &[u8]) -> Result<Option<Head>, HeadError> {
        self.bytes.extend_from_slice(piece);
        loop {
            self.check_start()?;
            let Some(length) = self.end() else { break };
            let head = Head::parse(&self.bytes[..length]).map_err(HeadError::Malformed)?;
            self.bytes.drain(..length);
            (self.searched, self.dropped) = (0, self.dropped + length);
            if !(100..200).contains(&head.status) || head.status == SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.informational += 1;
            if self.informational > INFORMATIONAL_MAX {
                return Err(HeadError::NoAnswer);
            }
        }
        if self.dropped + self.bytes.len() > HEAD_MAX { Err(HeadError::TooLarge) } else { Ok(None) }
    }

    /// Empty lines may stand in front (RFC 9112 §2.2).
    fn check_start(&mut self) -> Result<(), HeadError> {
        let blank = self.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.bytes.drain(..blank);
        match self.bytes.iter().zip(START).find(|(found, expected)| found != expected) {
            Some(_) => Err(HeadError::NotHttp(self.bytes[0])),
            None => Ok(()),
        }
    }

    /// Where the empty line ends, which ends the head; lines may end without a carriage return. Each byte is looked at once.
    fn end(&mut self) -> Option<usize> {
        while let Some(offset) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            let next = self.searched + offset + 1;
            match self.bytes[next..] {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                [] | [b'\r'] => return None,
                [..] => self.searched = next,
            }
        }
        self.searched = self.bytes.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Result<(Head, Vec<u8>), HeadError> {
        smol::block_on(Head::read(&mut &bytes[..], piece))
    }

    fn fields(count: usize) -> String {
        (0..count).map(|number| format!("X-{number}: y\r\n")).collect()
    }

    #[test]
    fn informational_answers_are_passed_over_and_what_follows_the_head_is_kept() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                    HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\ntail";
        for piece in [1, 7, 2048] {
            let (head, tail) = read(text.as_bytes(), piece).unwrap();
            assert_eq!((head.status, head.field("a")), (101, Some("b")));
            assert!(b"tail".starts_with(&tail), "{tail:?}");
        }
        assert_eq!(read(text.as_bytes(), 2048).unwrap().1, b"tail");
    }

    #[test]
    fn a_server_that_answers_with_informational_ones_for_ever_is_not_listened_to_for_ever() {
        let text = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
        assert!(matches!(read(text.as_bytes(), 2048), Err(HeadError::NoAnswer)));
    }

    #[test]
    fn forms_that_browsers_and_curl_take_are_taken() {
        let cases = [
            "HTTP/1.1 101\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.0 101 x\nUpgrade: websocket\n\n",
            "\r\nHTTP/1.1   101   Switching\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 x\r\nUpgrade : websocket\r\n\r\n",
            "HTTP/1.1 101 x\r\nUpgrade:\r\n websocket\r\n\r\n",
            "HTTP/1.1 101 x\r\nUpgrade: h2c,\r\n\t WebSocket\r\nX: y\r\n\r\n",
            "HTTP/1.1 101 x\r\nno colon\r\nb\u{e4}d: x\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Z\u{fc}rich\r\nX: \u{fc}\r\nupgrade:websocket\r\n\r\n",
            "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nUPGRADE: websocket\r\n\r\n",
        ];
        for text in cases {
            for piece in [1, 2048] {
                let (head, _) =
                    read(text.as_bytes(), piece).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
                assert!(head.status == 101 && head.has_token("Upgrade", "websocket"), "{text:?}: {head:?}");
            }
        }
    }

    #[test]
    fn many_fields_and_a_large_head_are_taken_up_to_a_bound() {
        let many = format!("HTTP/1.1 101 x\r\n{}A: b\r\n\r\n", fields(3000));
        assert_eq!(read(many.as_bytes(), 2048).unwrap().0.field("A"), Some("b"));
        let long = format!("HTTP/1.1 101 x\r\nB: {}\r\nA: b\r\n\r\n", "c".repeat(200_000));
        assert_eq!(read(long.as_bytes(), 2048).unwrap().0.field("A"), Some("b"));
        let endless = format!("HTTP/1.1 101 x\r\nB: {}", "c".repeat(HEAD_MAX));
        assert!(matches!(read(endless.as_bytes(), 2048), Err(HeadError::TooLarge)));
        let too_many = format!("HTTP/1.1 101 x\r\n{}\r\n", fields(5000));
        assert!(matches!(read(too_many.as_bytes(), 2048), Err(HeadError::Malformed(_))));
    }

    #[test]
    fn something_else_is_known_by_its_first_bytes() {
        assert!(matches!(read(b"SSH-2.0-OpenSSH_9.2", 4), Err(HeadError::NotHttp(b'S'))));
        assert!(matches!(read(b"\x15\x03\x01", 4), Err(HeadError::NotHttp(0x15))));
        assert!(matches!(read(b"HTTP/2 101 x\r\n\r\n", 4), Err(HeadError::NotHttp(b'H'))));
        assert!(matches!(read(b"HTTP/1.1 1x1 x\r\n\r\n", 4), Err(HeadError::Malformed(_))));
        assert!(matches!(read(b"HTTP/1.1 101 x\r\n", 4), Err(HeadError::Closed)));
    }
}
