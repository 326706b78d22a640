//! Words for a caller whose request cannot be read: the fault, its place, and the remedy. Pure.

use std::time::Duration;

use crate::terminal;

/// Most bytes of a line that is shown.
const SHOWN: usize = 80;
/// Most header fields of a request; hyper takes no more.
const FIELDS: usize = 100;

/// Why the head of a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault<'a> {
    /// It breaks the grammar, in the words of the library that reads it.
    Grammar(&'a str),
    /// It is longer than so many bytes, or has too many fields.
    TooLarge(usize),
    /// It is of another version of HTTP.
    Http2,
    /// The caller ended before it was complete.
    Ended,
    /// It was not complete within this.
    Late(Duration),
}

/// Status and words for a caller. `head` is what came, as far as it is still there.
pub fn explain(fault: Fault<'_>, head: &[u8], server: &str) -> (u16, String) {
    if let Some(words) = another_protocol(head, server) {
        return (400, words);
    }
    match fault {
        Fault::Grammar(words) => (400, grammar(words, head)),
        Fault::TooLarge(limit) => too_large(limit, head),
        Fault::Http2 => (505, "HTTP/2 is not spoken here: use HTTP/1.1 (curl --http1.1)".to_owned()),
        Fault::Ended => {
            (400, "the request ended within its head: an empty line (CR LF CR LF) must end it".to_owned())
        }
        Fault::Late(within) => {
            let error = format!(
                "the head of the request was not complete within {} s (limits.handshake_timeout of [[server]] {server}): an \
                 empty line (CR LF CR LF) must end it",
                within.as_secs_f32()
            );
            (408, error)
        }
    }
}

/// Whether a caller begins with a TLS handshake (RFC 8446 §5.1: a record of type 22, version 3.x).
pub fn is_tls(head: &[u8]) -> bool {
    head.starts_with(&[0x16, 3])
}

/// Whether a caller begins as a request of HTTP does, where TLS is expected: no record of TLS has such a type.
pub fn is_plain(first: &[u8]) -> bool {
    first.first().is_some_and(u8::is_ascii_uppercase)
}

/// Words for such a caller.
pub fn plain_to_tls(server: &str) -> String {
    format!(
        "this port speaks TLS and was sent plain HTTP: use https:// or wss://, or take `tls` out of [[server]] {server}"
    )
}

fn another_protocol(head: &[u8], server: &str) -> Option<String> {
    let found = if is_tls(head) {
        return Some(format!(
            "this port speaks plain HTTP and was sent a TLS handshake: use http:// or ws://, or give [[server]] {server} a \
             certificate: tls = {{ cert = \"…\", key = \"…\" }}"
        ));
    } else if head.starts_with(&[0x10]) && head[..head.len().min(12)].windows(2).any(|pair| pair == b"MQ") {
        return Some(format!(
            "this port speaks HTTP/1.1 and WebSocket, and was sent MQTT: [[server]] {server} has this port; one with protocol = \"mqtt\" \
             takes it on another"
        ));
    } else if head.starts_with(b"SSH-") {
        "SSH"
    } else if head.first().is_some_and(|first| !first.is_ascii()) {
        "no HTTP"
    } else {
        return None;
    };
    Some(format!(
        "this port speaks HTTP/1.1 and WebSocket, and was sent {found}: [[server]] {server} has this port"
    ))
}

fn grammar(words: &str, head: &[u8]) -> String {
    let words = words.strip_suffix(" parsed").unwrap_or(words);
    let line = faulty_line(head).map(shown).unwrap_or_default();
    format!(
        "the request cannot be read: {words}{line}; it begins with a line such as `POST /kitchen/t HTTP/1.1` (a space in the path is \
         written %20), then comes a line `Name: value` for each header, then an empty line (RFC 9112)"
    )
}

/// The line that is at fault: the first header that is none, else the first line.
fn faulty_line(head: &[u8]) -> Option<&[u8]> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first = lines.find(|line| !line.is_empty())?;
    let fields = lines.take_while(|line| !line.is_empty());
    let faulty = if is_request_line(first) { fields.into_iter().find(|line| !is_field(line)) } else { None };
    Some(faulty.unwrap_or(first))
}

/// `POST /kitchen/t HTTP/1.1`.
fn is_request_line(line: &[u8]) -> bool {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return false };
    let is_word = |part: &[u8]| !part.is_empty() && part.iter().all(|byte| !byte.is_ascii_control());
    is_word(method) && is_word(target) && matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
}

fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
    let (name, value) = line.split_at(colon);
    let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_text)
}

fn shown(line: &[u8]) -> String {
    let cut = &line[..line.len().min(SHOWN)];
    let dots = if cut.len() < line.len() { "…" } else { "" };
    format!(" in `{}{dots}`", terminal::escaped(&String::from_utf8_lossy(cut)))
}

fn too_large(limit: usize, head: &[u8]) -> (u16, String) {
    if !head.contains(&b'\n') && head.len() >= limit {
        let error = format!(
            "the first line of the request is longer than {limit} bytes, which is a fixed bound: send what is long as the body of a POST"
        );
        return (414, error);
    }
    let error = if head.len() >= limit {
        format!(
            "the head of the request is larger than {limit} bytes, which is a fixed bound: send fewer or shorter headers and cookies, \
             and what is long as the body"
        )
    } else {
        format!("the request has more than {FIELDS} headers, which is a fixed bound: send fewer")
    };
    (431, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(fault: Fault<'_>, head: &[u8]) -> (u16, String) {
        explain(fault, head, "sensors")
    }

    fn has(fault: Fault<'_>, head: &[u8], status: u16, parts: &[&str]) {
        let (found, error) = words(fault, head);
        assert_eq!(found, status, "{error}");
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn the_line_that_is_at_fault_is_named() {
        let version = Fault::Grammar("invalid HTTP version parsed");
        has(
            version,
            b"\r\nPOST /a b HTTP/1.1\r\nhost: x\r\n\r\n",
            400,
            &["version in `POST /a b HTTP/1.1`", "%20"],
        );
        let header = Fault::Grammar("invalid HTTP header parsed");
        let head = b"GET / HTTP/1.1\r\nhost: x\r\ncontent type: text\r\n\r\nbody";
        has(header, head, 400, &["header in `content type: text`", "`Name: value`"]);
        has(header, b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, &["in `no colon`"]);
        has(header, b"GET / HTTP/1.1\r\na: \x01\r\n\r\n", 400, &[r"in `a: \u0001`"]);
        has(header, b"", 400, &["invalid HTTP header;"]);
        let long = [b'x'; 200];
        let (_, error) = words(version, &long);
        assert!(error.contains(&format!("`{}…`", "x".repeat(80))), "{error}");
    }

    #[test]
    fn what_is_too_large_is_named_with_its_bound() {
        let fault = Fault::TooLarge(100);
        has(fault, &[b'x'; 100], 414, &["longer than 100 bytes", "body of a POST"]);
        has(fault, &[&b"GET / HTTP/1.1\r\n"[..], &[b'x'; 90]].concat(), 431, &["larger than 100 bytes"]);
        has(fault, b"GET / HTTP/1.1\r\n", 431, &["more than 100 headers"]);
    }

    #[test]
    fn another_protocol_is_told_what_is_spoken_here() {
        let fault = Fault::Grammar("invalid HTTP method parsed");
        has(fault, &[0x16, 3, 1, 2, 0, 1], 400, &["plain HTTP", "http://", "[[server]] sensors", "tls = {"]);
        has(fault, b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04ab", 400, &["was sent MQTT"]);
        has(fault, b"\x10\x10\0\x06MQIsdp\x03", 400, &["was sent MQTT"]);
        has(fault, b"SSH-2.0-OpenSSH_10\r\n", 400, &["was sent SSH"]);
        has(fault, b"\x80\x2e\x01", 400, &["no HTTP"]);
        has(Fault::Http2, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, &["HTTP/1.1"]);
        assert!(is_plain(b"GET / HT") && !is_plain(&[0x16, 3]) && !is_plain(&[]) && !is_plain(&[0x80]));
    }

    #[test]
    fn a_head_without_its_end_is_told_what_ends_it() {
        has(Fault::Ended, b"GET / HTTP/1.1\r\n", 400, &["an empty line"]);
        let late = Fault::Late(Duration::from_secs(10));
        has(
            late,
            b"GET / HTTP/1.1\r\n",
            408,
            &["within 10 s", "limits.handshake_timeout of [[server]] sensors"],
        );
    }
}
