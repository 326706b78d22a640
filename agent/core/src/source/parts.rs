//! A body that holds several messages: where one ends and the next begins. Pure.

/// Separator of the parts of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Each line is a message, but for those that are blank.
    Line,
    /// Each message follows a record separator (RFC 7464).
    Record,
    /// The body is a JSON array, and each element a message.
    Element,
}

const RECORD_SEPARATOR: u8 = 0x1e;

/// The parts of a body: their number from 1, and their bytes. What they hold is not looked at.
#[derive(Debug)]
pub struct Parts<'a> {
    by: By,
    rest: Option<&'a [u8]>,
    number: usize,
}

impl<'a> Parts<'a> {
    /// None if the body is not one of this kind: no JSON array.
    pub fn of(by: By, body: &'a [u8]) -> Option<Parts<'a>> {
        let rest = match by {
            By::Line | By::Record => body,
            By::Element => body.trim_ascii_start().strip_prefix(b"[")?,
        };
        Some(Parts { by, rest: Some(rest), number: 0 })
    }

    /// Name of a part.
    pub fn name(&self) -> &'static str {
        match self.by {
            By::Line => "line",
            By::Record => "record",
            By::Element => "element",
        }
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let rest = self.rest?;
        self.number += 1;
        let length = rest.iter().position(|byte| *byte == end);
        self.rest = length.map(|length| &rest[length + 1..]);
        Some(length.map_or(rest, |length| &rest[..length]))
    }

    fn element(&mut self) -> Option<Result<&'a [u8], &'static str>> {
        let rest = self.rest.take()?;
        self.number += 1;
        let Some(length) = length_of_element(rest) else {
            return Some(Err("not valid JSON: the array does not end"));
        };
        let (element, rest) = (rest[..length].trim_ascii(), &rest[length..]);
        if let Some(rest) = rest.strip_prefix(b",") {
            self.rest = Some(rest);
            return Some(Ok(element));
        }
        match rest.strip_prefix(b"]").map(<[u8]>::trim_ascii) {
            Some([]) if element.is_empty() && self.number == 1 => None,
            Some([]) => Some(Ok(element)),
            Some(_) => Some(Err("not valid JSON: something follows the array")),
            None => Some(Err("not valid JSON: `}` has no `{`")),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = (usize, Result<&'a [u8], &'static str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = match self.by {
                By::Line => without_return(self.until(b'\n')?),
                By::Record => self.until(RECORD_SEPARATOR)?.trim_ascii(),
                By::Element => return self.element().map(|element| (self.number, element)),
            };
            if !part.trim_ascii().is_empty() {
                return Some((self.number, Ok(part)));
            }
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Where an element of an array ends: at the first comma or closing bracket that is in no string and no inner array or object.
fn length_of_element(rest: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in rest.iter().enumerate() {
        match (in_string, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_string = !in_string,
            (true, _) => {}
            (false, b',' | b']' | b'}') if depth == 0 => return Some(at),
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth -= 1,
            (false, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(by: By, body: &str) -> Vec<(usize, Result<&str, &'static str>)> {
        let parts = Parts::of(by, body.as_bytes()).unwrap();
        parts.map(|(number, part)| (number, part.map(|part| std::str::from_utf8(part).unwrap()))).collect()
    }

    #[test]
    fn lines_end_with_or_without_a_carriage_return_and_blank_ones_count_but_are_none() {
        assert_eq!(
            parts(By::Line, "1\r\n\n \r\n{\"a\": 2} \n3"),
            [(1, Ok("1")), (4, Ok("{\"a\": 2} ")), (5, Ok("3"))]
        );
        assert_eq!(parts(By::Line, " \n\r\n"), []);
    }

    #[test]
    fn records_follow_their_separator_and_may_have_lines() {
        let sequence = "\u{1e}{\n\"a\":1}\n\u{1e}\u{1e}2\n";
        assert_eq!(parts(By::Record, sequence), [(2, Ok("{\n\"a\":1}")), (4, Ok("2"))]);
    }

    #[test]
    fn elements_are_parted_by_the_commas_of_their_array_only() {
        let array = r#" [ {"a":[1,2],"b":"],\"[{"} , "\\", [ ], -1.5 ] "#;
        let expected =
            [(1, Ok(r#"{"a":[1,2],"b":"],\"[{"}"#)), (2, Ok(r#""\\""#)), (3, Ok("[ ]")), (4, Ok("-1.5"))];
        assert_eq!(parts(By::Element, array), expected);
        assert_eq!(parts(By::Element, "[ ]"), []);
        assert!(Parts::of(By::Element, b"{\"a\":[1]}").is_none());
    }

    #[test]
    fn an_array_that_is_no_json_has_an_element_that_is_none() {
        let is_json = |part: &[u8]| serde_json::from_slice::<serde_json::Value>(part).is_ok();
        let broken = [
            "[", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1}", "[1]]", "[1] 2", "[\"a]", "[\"\\\"]", "[{]",
            "[[1]", "[1 2]", "[{]}]", "[']']",
        ];
        for text in broken {
            let mut parts = Parts::of(By::Element, text.as_bytes()).unwrap();
            assert!(parts.any(|(_, part)| !part.is_ok_and(is_json)), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_array_is_the_same_in_parts(values in proptest::collection::vec(".{0,8}", 0..5)) {
            let inner: Vec<serde_json::Value> = values.iter().map(|text| serde_json::json!({ "a": [text, { "]": text }] })).collect();
            let array = serde_json::to_string_pretty(&inner).unwrap();
            let parts = Parts::of(By::Element, array.as_bytes()).unwrap();
            let read: Vec<serde_json::Value> = parts.map(|(_, part)| serde_json::from_slice(part.unwrap()).unwrap()).collect();
            proptest::prop_assert_eq!(read, inner);
        }
    }
}
