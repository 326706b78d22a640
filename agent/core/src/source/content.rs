//! Description of a body by its request: its content codings (RFC 9110 §8.4), and by its media type (§8.3) what its bytes are. Pure.

use encoding_rs::{Encoding, UTF_8};

use super::parts::By;
use crate::message::Format;

/// Most content codings of one body.
const CODINGS: usize = 4;
/// Media types of a JSON text a line, without `x-` and `-`, and the ends of others behind a `+`.
const LINES: [&str; 5] = ["ndjson", "ldjson", "jsonl", "jsonlines", "jsonstream"];
/// Labels of US-ASCII: the Encoding standard takes them for windows-1252, but what is sent under them is UTF-8.
const ASCII: [&str; 3] = ["us-ascii", "ascii", "ansi_x3.4-1968"];

/// A content coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// One or several members (RFC 1952).
    Gzip,
    /// The format of zlib (RFC 1950), or the bare stream, which some send under this name.
    Deflate,
}

impl Coding {
    /// As the header names it.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }
}

/// The content codings of a body, in the order in which they must be undone. The error is meant for the sender.
pub fn codings<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Coding>, String> {
    let mut codings = Vec::new();
    for field in fields {
        let text = String::from_utf8_lossy(field).to_ascii_lowercase();
        for name in text.split(',').map(str::trim) {
            match name {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                _ => {
                    return Err(format!(
                        "the content coding `{name}` is not understood here: send the body as it is, without the header \
                         Content-Encoding, or coded with gzip or deflate"
                    ));
                }
            }
        }
    }
    if codings.len() > CODINGS {
        return Err(format!("a body may have {CODINGS} content codings at most: code it once, with gzip"));
    }
    codings.reverse();
    Ok(codings)
}

/// Nature of a body by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    shape: Shape,
    /// Of a text.
    charset: Option<&'static Encoding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One message. Nothing says what it is.
    Any,
    /// The same from a form, or from `curl -d`, which says so of everything.
    Form,
    /// One message of this format.
    One(Format),
    /// Messages that are JSON.
    Many(By),
}

impl Content {
    /// Reads the value of `Content-Type`. The error is meant for the sender.
    pub fn read(field: Option<&[u8]>) -> Result<Content, String> {
        let text = String::from_utf8_lossy(field.unwrap_or_default());
        let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
        let shape = shape(&essence.trim().to_ascii_lowercase())?;
        let is_text = shape != Shape::One(Format::Binary);
        let charset = charset(parameters).filter(|label| is_text && !label.is_empty());
        Ok(Content { shape, charset: charset.map(encoding).transpose()? })
    }

    /// Format that it must have, if the media type says so.
    pub fn format(&self) -> Option<Format> {
        match self.shape {
            Shape::Any | Shape::Form => None,
            Shape::One(format) => Some(format),
            Shape::Many(_) => Some(Format::Json),
        }
    }

    /// Separator of its messages, if it holds several. `is_batch`: a JSON array does.
    pub fn parts(&self, is_batch: bool) -> Option<By> {
        match self.shape {
            Shape::Many(by) => Some(by),
            Shape::Any | Shape::Form | Shape::One(_) => is_batch.then_some(By::Element),
        }
    }

    /// Whether it is said to be a form.
    pub fn is_form(&self) -> bool {
        self.shape == Shape::Form
    }

    /// A body in UTF-8 and without a byte order mark, if it is text; `required` is its format as far as that is known. A byte order
    /// mark counts for more than the charset (Encoding standard, "decode"). The error is meant for the sender.
    pub fn text(&self, required: Option<Format>, body: Vec<u8>) -> Result<Vec<u8>, String> {
        if required == Some(Format::Binary) {
            return Ok(body);
        }
        let marked = Encoding::for_bom(&body);
        let said = self.charset.unwrap_or(UTF_8);
        let (encoding, length) = marked.unwrap_or((said, 0));
        if encoding == UTF_8 {
            return Ok(without_mark(body, length));
        }
        let decoded = encoding.decode_without_bom_handling_and_without_replacement(&body[length..]);
        let decoded = decoded.map(|text| text.into_owned().into_bytes());
        if required.is_none() && self.charset.is_none() {
            // Bytes of any kind may begin like UTF-16. If they are JSON in it, they are no others.
            let is_json = |text: &Vec<u8>| super::payload::sniff(text) == Format::Json;
            return Ok(decoded.filter(is_json).unwrap_or(body));
        }
        decoded.ok_or_else(|| format!("not valid {}", encoding.name()))
    }
}

/// Bytes that are not UTF-8 are no text, and stay as they are.
fn without_mark(mut body: Vec<u8>, length: usize) -> Vec<u8> {
    if length > 0 && std::str::from_utf8(&body).is_ok() {
        body.drain(..length);
    }
    body
}

/// The error is meant for the sender.
fn shape(essence: &str) -> Result<Shape, String> {
    let Some((kind, name)) = essence.split_once('/') else { return Ok(Shape::Any) };
    if kind == "multipart" {
        return Err(format!(
            "{essence} is not taken here: send the message itself as the body, as with `curl --data-binary @FILE` instead of `-F`, \
             and one request for each"
        ));
    }
    if essence == "application/x-www-form-urlencoded" {
        return Ok(Shape::Form);
    }
    let name = name.strip_prefix("x-").or_else(|| name.strip_prefix("x.")).unwrap_or(name);
    let end = name.rsplit('+').next().unwrap_or(name);
    let is_text = matches!(kind, "text" | "application");
    Ok(match end {
        _ if is_text && (LINES.contains(&end.replace('-', "").as_str()) || name == "stream+json") => {
            Shape::Many(By::Line)
        }
        "json-seq" => Shape::Many(By::Record),
        "json" => Shape::One(Format::Json),
        _ if kind == "text" => Shape::One(Format::Text),
        "xml" | "*" => Shape::Any,
        _ => Shape::One(Format::Binary),
    })
}

/// The value of the parameter `charset` (RFC 9110 §8.3.1).
fn charset(parameters: &str) -> Option<&str> {
    let pairs = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let value = pairs
        .map(|(name, value)| (name.trim(), value))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    value.map(|(_, value)| value.trim().trim_matches(['"', '\'']))
}

fn encoding(label: &str) -> Result<&'static Encoding, String> {
    if ASCII.iter().any(|known| known.eq_ignore_ascii_case(label)) {
        return Ok(UTF_8);
    }
    Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(|| {
        format!("the charset `{label}` in Content-Type is not known here: send the text in UTF-8, or in another charset of the web")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(field: &str) -> Content {
        Content::read(Some(field.as_bytes())).unwrap()
    }

    #[test]
    fn codings_are_undone_last_first_and_others_are_named() {
        use Coding::{Deflate, Gzip};
        let cases: [(&[&str], &[Coding]); 8] = [
            (&[], &[]),
            (&[""], &[]),
            (&["identity"], &[]),
            (&["GZIP"], &[Gzip]),
            (&[" x-gzip , identity,"], &[Gzip]),
            (&["deflate"], &[Deflate]),
            (&["gzip, deflate"], &[Deflate, Gzip]),
            (&["gzip", "deflate"], &[Deflate, Gzip]),
        ];
        for (fields, expected) in cases {
            let found = codings(fields.iter().map(|field| field.as_bytes()));
            assert_eq!(found.as_deref(), Ok(expected), "{fields:?}");
        }
        for other in ["br", "zstd", "compress", "gzip;q=1", "aws-chunked, gzip"] {
            let error = codings([other.as_bytes()]).unwrap_err();
            assert!(error.contains(&format!("`{}`", other.split(',').next().unwrap())), "{error}");
            assert!(error.ends_with("or coded with gzip or deflate"), "{error}");
        }
        assert!(codings([&b"gzip,gzip,gzip,gzip,gzip"[..]]).unwrap_err().contains("4 content codings"));
    }

    #[test]
    fn the_media_type_says_how_many_messages_a_body_is_and_of_which_format() {
        let (lines, records) = (Some(By::Line), Some(By::Record));
        let (json, text, binary) = (Some(Format::Json), Some(Format::Text), Some(Format::Binary));
        let cases = [
            ("", None, None),
            ("json", None, None),
            ("*/*", None, None),
            ("application/x-www-form-urlencoded; charset=UTF-8", None, None),
            ("application/xml", None, None),
            ("application/soap+xml", None, None),
            ("application/json", json, None),
            ("Application/JSON;charset=utf-8", json, None),
            ("text/json", json, None),
            ("application/x-json", json, None),
            ("application/senml+json", json, None),
            ("text/plain", text, None),
            ("text/csv; header=present", text, None),
            ("application/octet-stream", binary, None),
            ("application/cbor", binary, None),
            ("application/gzip", binary, None),
            ("image/png", binary, None),
            ("application/x-ndjson", json, lines),
            ("application/ndjson; charset=utf-8", json, lines),
            ("application/jsonl", json, lines),
            ("application/x-jsonl", json, lines),
            ("application/jsonlines", json, lines),
            ("application/x-jsonlines", json, lines),
            ("application/json-lines", json, lines),
            ("application/x-json-lines", json, lines),
            ("application/nd-json", json, lines),
            ("application/x-ldjson", json, lines),
            ("application/stream+json", json, lines),
            ("application/vnd.acme+ndjson", json, lines),
            ("text/x-ndjson", json, lines),
            ("text/jsonl", json, lines),
            ("application/json-seq", json, records),
            ("application/geo+json-seq", json, records),
        ];
        for (field, format, parts) in cases {
            let found = content(field);
            assert_eq!((found.format(), found.parts(false)), (format, parts), "{field}");
        }
        assert_eq!(Content::read(None), Content::read(Some(b"")));
        assert_eq!(content("application/json").parts(true), Some(By::Element));
        assert_eq!(content("application/jsonl").parts(true), lines);
    }

    #[test]
    fn what_cannot_be_a_message_is_refused_by_name() {
        let cases = [
            ("multipart/form-data; boundary=x", "multipart/form-data is not taken here"),
            ("Multipart/Mixed", "multipart/mixed is not taken here"),
            ("text/plain; charset=utf-7", "the charset `utf-7` in Content-Type is not known here"),
            (
                "application/json; charset=\"klingon\"",
                "the charset `klingon` in Content-Type is not known here",
            ),
        ];
        for (field, expected) in cases {
            let error = Content::read(Some(field.as_bytes())).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(Content::read(Some(b"image/png; charset=klingon")).is_ok(), "it is no text");
    }

    #[test]
    fn a_text_becomes_utf_8_whatever_its_charset_and_loses_its_mark() {
        let cases: [(&str, &[u8], &[u8]); 15] = [
            ("text/plain; charset=latin1", b"21 \xb0C", "21 °C".as_bytes()),
            ("text/plain; Charset=\"ISO-8859-15\"", b"\xa4", "€".as_bytes()),
            ("text/plain; format=flowed; charset=windows-1252", b"\x80", "€".as_bytes()),
            ("text/plain; charset=us-ascii", "é".as_bytes(), "é".as_bytes()),
            ("text/plain; charset=", "é".as_bytes(), "é".as_bytes()),
            ("text/csv; charset=shift_jis", b"\x89\xb7\x93x21", "温度21".as_bytes()),
            ("application/json; charset=utf-16", b"{\0}\0", b"{}"),
            ("application/json; charset=utf-16", b"\xfe\xff\0{\0}", b"{}"),
            ("application/json; charset=utf-16be", b"\0{\0}", b"{}"),
            ("application/json", b"\xef\xbb\xbf{}", b"{}"),
            ("application/json", b"\xff\xfe{\0}\0", b"{}"),
            ("application/x-ndjson", b"\xef\xbb\xbf1\n2", b"1\n2"),
            ("", b"\xef\xbb\xbf21 \xc2\xb0C", "21 °C".as_bytes()),
            ("", b"\xff\xfe{\0}\0", b"{}"),
            ("application/x-www-form-urlencoded", b"\xef\xbb\xbf{}", b"{}"),
        ];
        for (field, body, expected) in cases {
            let content = content(field);
            let found = content.text(content.format(), body.to_vec());
            assert_eq!(found.as_deref(), Ok(expected), "{field} {body:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are_or_are_refused() {
        let same: [(&str, &[u8]); 5] = [
            ("", b"\xef\xbb\xbf\xff"),
            ("", b"\xff\xfe\x01\x00"),
            ("", b"\xff\xfe\x00"),
            ("application/octet-stream", b"\xef\xbb\xbf{}"),
            ("application/cbor; charset=utf-16", b"{\0}\0"),
        ];
        for (field, body) in same {
            let content = content(field);
            assert_eq!(
                content.text(content.format(), body.to_vec()).as_deref(),
                Ok(body),
                "{field} {body:?}"
            );
        }
        let text = content("text/plain; charset=utf-16");
        assert_eq!(text.text(Some(Format::Text), b"abc".to_vec()), Err("not valid UTF-16LE".to_owned()));
        assert_eq!(
            text.text(Some(Format::Binary), b"abc".to_vec()),
            Ok(b"abc".to_vec()),
            "the route says so"
        );
    }
}
