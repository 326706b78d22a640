//! Frames of a peer (RFC 6455 §5.2), before messages are put together: those larger than anybody wants are
//! cut to nothing in passing, so that a message of any size costs no memory and does not end the connection. What breaks the
//! frame layer is passed on as it is, for the WebSocket stack to refuse it.

use std::collections::VecDeque;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;
/// RFC 6455 §5.5.
const CONTROL_MAX: u64 = 125;

/// A message that has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Whether its frames were text frames.
    pub is_text: bool,
    /// Bytes of its payload.
    pub bytes: u64,
    /// Whether it is passed on; if not, there is an empty one in its place, or a part of it.
    pub is_whole: bool,
}

/// Last words of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// Its code, if it has one.
    pub code: Option<u16>,
    /// Its words; may be empty.
    pub reason: String,
}

/// Filters the bytes of one connection. All messages come out as binary ones: whether a text is UTF-8 is of interest only where
/// somebody wants it.
#[derive(Debug)]
pub struct FrameFilter {
    keep_max: u64,
    /// Bytes of a head that is not complete.
    head: Vec<u8>,
    part: Part,
    message: Option<Open>,
    arrived: VecDeque<Arrived>,
    /// The payload of a close frame, as far as it has come.
    closing: Vec<u8>,
    close: Option<CloseFrame>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Payload {
        left: u64,
        kind: Kind,
        is_final: bool,
    },
    /// The peer breaks the frame layer, and nothing that follows has a meaning.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kept,
    Dropped,
    Control,
    Close,
}

/// A message that has begun.
#[derive(Debug, Clone, Copy)]
struct Open {
    is_text: bool,
    bytes: u64,
    is_whole: bool,
    /// Whether a frame of it was passed on.
    has_begun: bool,
}

impl FrameFilter {
    /// Passes on messages of at most so many bytes.
    pub fn new(keep_max: usize) -> FrameFilter {
        FrameFilter {
            keep_max: keep_max as u64,
            head: Vec::new(),
            part: Part::Head,
            message: None,
            arrived: VecDeque::new(),
            closing: Vec::new(),
            close: None,
        }
    }

    /// Takes in what came, and adds what is passed on.
    pub fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while let Some((first, behind)) = input.split_first() {
            match self.part {
                Part::Broken => {
                    out.extend_from_slice(input);
                    return;
                }
                Part::Head => {
                    self.head.push(*first);
                    input = behind;
                    self.look_at_head(out);
                }
                Part::Payload { left, kind, is_final } => {
                    let length = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                    let (payload, rest) = input.split_at(length);
                    if kind != Kind::Dropped {
                        out.extend_from_slice(payload);
                    }
                    if kind == Kind::Close {
                        self.closing.extend_from_slice(payload);
                    }
                    input = rest;
                    self.part = Part::Payload { left: left - length as u64, kind, is_final };
                    self.end_frame(out);
                }
            }
        }
    }

    /// The next message that has come to its end, in the order in which they are passed on.
    pub fn next_arrived(&mut self) -> Option<Arrived> {
        self.arrived.pop_front()
    }

    /// The peer's close frame, once it has come.
    pub fn close(&self) -> Option<&CloseFrame> {
        self.close.as_ref()
    }

    fn look_at_head(&mut self, out: &mut Vec<u8>) {
        let [first, second, ref length @ ..] = self.head[..] else { return };
        let bytes = match second & !MASKED {
            126 if length.len() < 2 => None,
            127 if length.len() < 8 => None,
            126 | 127 => Some(length.iter().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte))),
            small => Some(u64::from(small)),
        };
        if self.is_broken(first, second, bytes) {
            self.part = Part::Broken;
            out.append(&mut self.head);
        } else if let Some(bytes) = bytes {
            self.begin_frame(first, bytes, out);
            self.end_frame(out);
        }
    }

    /// RFC 6455 §5.1, §5.2, §5.4 and §5.5; no extension is in use.
    fn is_broken(&self, first: u8, second: u8, bytes: Option<u64>) -> bool {
        let opcode = first & OPCODE;
        let is_out_of_turn = match opcode {
            CONTINUATION => self.message.is_none(),
            TEXT | BINARY => self.message.is_some(),
            CLOSE..=PONG => first & FINAL == 0 || u64::from(second & !MASKED) > CONTROL_MAX,
            _ => true,
        };
        let is_endless = bytes.is_some_and(|bytes| bytes > i64::MAX as u64);
        first & RESERVED != 0 || second & MASKED != 0 || is_out_of_turn || is_endless
    }

    fn begin_frame(&mut self, first: u8, bytes: u64, out: &mut Vec<u8>) {
        let opcode = first & OPCODE;
        let is_final = first & FINAL != 0;
        let kind = match opcode {
            CLOSE => Kind::Close,
            CONTINUATION | TEXT | BINARY => self.begin_data(opcode, bytes),
            _ => Kind::Control,
        };
        if opcode == TEXT {
            self.head[0] = (first & FINAL) | BINARY;
        }
        if kind != Kind::Dropped {
            out.extend_from_slice(&self.head);
        }
        self.head.clear();
        self.part = Part::Payload { left: bytes, kind, is_final };
    }

    fn begin_data(&mut self, opcode: u8, bytes: u64) -> Kind {
        let fresh = Open { is_text: opcode == TEXT, bytes: 0, is_whole: true, has_begun: false };
        let message = self.message.get_or_insert(fresh);
        message.bytes = message.bytes.saturating_add(bytes);
        message.is_whole &= message.bytes <= self.keep_max;
        message.has_begun |= message.is_whole;
        if message.is_whole { Kind::Kept } else { Kind::Dropped }
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) {
        let Part::Payload { left: 0, kind, is_final } = self.part else { return };
        self.part = Part::Head;
        match kind {
            Kind::Control => {}
            Kind::Close => self.close = Some(closing(&self.closing)),
            Kind::Kept | Kind::Dropped if !is_final => {}
            Kind::Kept | Kind::Dropped => {
                let Some(message) = self.message.take() else { return };
                if !message.is_whole {
                    // Something has to come out for it: the end of what has begun, or nothing at all.
                    let opcode = if message.has_begun { CONTINUATION } else { BINARY };
                    out.extend_from_slice(&[FINAL | opcode, 0]);
                }
                let Open { is_text, bytes, is_whole, .. } = message;
                self.arrived.push_back(Arrived { is_text, bytes, is_whole });
            }
        }
    }
}

/// RFC 6455 §5.5.1.
fn closing(payload: &[u8]) -> CloseFrame {
    match payload {
        [high, low, reason @ ..] => CloseFrame {
            code: Some(u16::from_be_bytes([*high, *low])),
            reason: String::from_utf8_lossy(reason).into_owned(),
        },
        [] | [_] => CloseFrame { code: None, reason: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let head = match length {
            0..126 => vec![first, length as u8],
            126..65_536 => [&[first, 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[first, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        [head, payload.to_vec()].concat()
    }

    /// Takes the bytes in pieces of this size.
    fn filter(keep_max: usize, input: &[u8], piece: usize) -> (FrameFilter, Vec<u8>) {
        let (mut filter, mut out) = (FrameFilter::new(keep_max), Vec::new());
        input.chunks(piece).for_each(|piece| filter.take(piece, &mut out));
        (filter, out)
    }

    const fn arrived(is_text: bool, bytes: u64, is_whole: bool) -> Option<Arrived> {
        Some(Arrived { is_text, bytes, is_whole })
    }

    #[test]
    fn what_is_small_passes_and_what_is_large_leaves_an_empty_message() {
        let input = [frame(0x81, b"small"), frame(0x82, &[7; 70_000]), frame(0x81, b"")].concat();
        for piece in [1, 3, 1000, 100_000] {
            let (mut filter, out) = filter(10, &input, piece);
            assert_eq!(out, [frame(0x82, b"small"), frame(0x82, b""), frame(0x82, b"")].concat());
            assert_eq!(filter.next_arrived(), arrived(true, 5, true));
            assert_eq!(filter.next_arrived(), arrived(false, 70_000, false));
            assert_eq!(filter.next_arrived(), arrived(true, 0, true));
            assert_eq!(filter.next_arrived(), None);
        }
    }

    #[test]
    fn a_fragmented_message_ends_where_it_becomes_too_large_and_pings_between_pass() {
        let parts = [frame(0x01, b"123456"), frame(0x89, b"ping"), frame(0x00, b"78901"), frame(0x8a, b"")];
        let input =
            [&parts.concat()[..], &frame(0x00, b"x"), &frame(0x80, b"y"), &frame(0x82, b"z")].concat();
        let (mut filter, out) = filter(10, &input, 2);
        let expected = [
            frame(0x02, b"123456"),
            frame(0x89, b"ping"),
            frame(0x8a, b""),
            frame(0x80, b""),
            frame(0x82, b"z"),
        ];
        assert_eq!(out, expected.concat());
        assert_eq!(filter.next_arrived(), arrived(true, 13, false));
        assert_eq!(filter.next_arrived(), arrived(false, 1, true));
    }

    #[test]
    fn a_message_without_an_end_costs_nothing() {
        let (mut filter, mut out) = (FrameFilter::new(0), Vec::new());
        filter.take(&[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &mut out);
        (0..1000).for_each(|_| filter.take(&[1; 65_536], &mut out));
        assert!(out.is_empty() && filter.next_arrived().is_none());
    }

    #[test]
    fn what_breaks_the_frame_layer_is_passed_on_as_it_is_with_all_behind_it() {
        let broken: [&[u8]; 9] = [
            &[0xc1, 1, b'x'],
            &[0x81, 0x81, 1, 2, 3, 4, 5],
            &[0x83, 0],
            &[0x8b, 0],
            &[0x80, 1, b'x'],
            &[0x09, 0],
            &[0x89, 126, 0, 126],
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x01, 1, b'a', 0x81, 1, b'b'],
        ];
        for bytes in broken {
            let input = [bytes, &frame(0x82, &[1; 200])].concat();
            let (_, out) = filter(100, &input, 1);
            let mut expected = input.clone();
            expected[0] = if bytes[0] == 0x01 { 0x02 } else { bytes[0] };
            assert_eq!(out, expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_close_frame_is_kept_in_mind_with_its_words_whatever_they_are() {
        let cases: [(&[u8], Option<u16>, &str); 4] = [
            (b"\x03\xf1too big", Some(1009), "too big"),
            (b"\x03\xf1\xff", Some(1009), "\u{fffd}"),
            (b"", None, ""),
            (b"\x03", None, ""),
        ];
        for (payload, code, reason) in cases {
            let (filter, out) = filter(0, &frame(0x88, payload), 1);
            assert_eq!(out, frame(0x88, payload));
            assert_eq!(filter.close(), Some(&CloseFrame { code, reason: reason.to_owned() }));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_pieces_make_no_difference(
            input in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x82), Just(2), Just(0)], 0..300),
            piece in 1_usize..20,
        ) {
            let (_, whole) = filter(4, &input, 1000);
            prop_assert_eq!(filter(4, &input, piece).1, whole);
        }
    }
}
