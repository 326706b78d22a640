//! Large frames of a WebSocket are passed on as fragments (RFC 6455 §5.4), so that a codec that reserves memory for a frame as soon as its
//! head says how large it will be takes no more than what has come. Pure.

/// Payload of a fragment. A multiple of four, so that each begins where the key of the mask does.
const FRAGMENT: usize = 4096;
const FRAGMENT_LENGTH: u64 = FRAGMENT as u64;
/// Longest head: two bytes, a length of eight, a key of four.
const HEAD_MAX: usize = 14;
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
/// Opcodes from here on are of control frames, which may not be fragmented.
const CONTROL: u8 = 0x8;

/// The bytes of one direction of a WebSocket.
#[derive(Debug)]
pub struct FramePieces {
    state: State,
    /// What is larger is passed on as it is, to be refused.
    frame_max: u64,
    passed: Vec<u8>,
    /// Bytes of `passed` that were given.
    given: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So much of a head came.
    Head { bytes: [u8; HEAD_MAX], length: usize },
    /// This much payload comes before the next head.
    Whole { left: u64 },
    /// This much payload comes before the next fragment begins, and this much behind that.
    Fragment { left: u64, behind: u64, fin: u8, key: Option<[u8; 4]> },
}

const START: State = State::Head { bytes: [0; HEAD_MAX], length: 0 };

impl FramePieces {
    /// Frames with more payload than this are passed on as they are.
    pub fn new(frame_max: usize) -> FramePieces {
        let frame_max = u64::try_from(frame_max).unwrap_or(u64::MAX);
        FramePieces { state: START, frame_max, passed: Vec::new(), given: 0 }
    }

    /// These bytes came.
    pub fn came(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head { bytes: head, length } => self.head(head, length, bytes),
                State::Whole { left } => {
                    let (rest, left) = self.payload(bytes, left);
                    self.state = if left == 0 { START } else { State::Whole { left } };
                    rest
                }
                State::Fragment { left, behind, fin, key } => {
                    let (rest, left) = self.payload(bytes, left);
                    self.state = match (left, behind) {
                        (0, 0) => START,
                        (0, behind) => self.next_fragment(behind, fin, key),
                        (left, behind) => State::Fragment { left, behind, fin, key },
                    };
                    rest
                }
            };
        }
    }

    /// Gives what is to be passed on, as far as there is room for it. None of it stays in memory once all is given.
    pub fn give(&mut self, room: &mut [u8]) -> usize {
        let rest = &self.passed[self.given..];
        let length = rest.len().min(room.len());
        room[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        if self.given == self.passed.len() {
            self.passed = Vec::new();
            self.given = 0;
        }
        length
    }

    fn head<'a>(&mut self, mut head: [u8; HEAD_MAX], length: usize, bytes: &'a [u8]) -> &'a [u8] {
        let taken = (head_length(&head[..length]) - length).min(bytes.len());
        head[length..length + taken].copy_from_slice(&bytes[..taken]);
        let length = length + taken;
        self.state = if length == head_length(&head[..length]) {
            self.begin(&head[..length])
        } else {
            State::Head { bytes: head, length }
        };
        &bytes[taken..]
    }

    /// A whole head came.
    fn begin(&mut self, head: &[u8]) -> State {
        let (fin, opcode) = (head[0] & FIN, head[0] & OPCODE);
        let key = if head[1] & MASKED == 0 { None } else { head.last_chunk().copied() };
        let length = payload_length(head);
        if length > self.frame_max || length <= FRAGMENT_LENGTH || opcode >= CONTROL {
            self.passed.extend_from_slice(head);
            return if length == 0 { START } else { State::Whole { left: length } };
        }
        self.fragment_head(head[0] & !FIN, FRAGMENT_LENGTH, key);
        State::Fragment { left: FRAGMENT_LENGTH, behind: length - FRAGMENT_LENGTH, fin, key }
    }

    fn next_fragment(&mut self, rest: u64, fin: u8, key: Option<[u8; 4]>) -> State {
        let left = rest.min(FRAGMENT_LENGTH);
        let behind = rest - left;
        self.fragment_head(if behind == 0 { fin } else { 0 }, left, key);
        State::Fragment { left, behind, fin, key }
    }

    fn fragment_head(&mut self, first: u8, length: u64, key: Option<[u8; 4]>) {
        let masked = if key.is_some() { MASKED } else { 0 };
        let [.., high, low] = length.to_be_bytes();
        match (high, low) {
            (0, low) if low < 126 => self.passed.extend_from_slice(&[first, masked | low]),
            (high, low) => self.passed.extend_from_slice(&[first, masked | 126, high, low]),
        }
        self.passed.extend(key.into_iter().flatten());
    }

    fn payload<'a>(&mut self, bytes: &'a [u8], left: u64) -> (&'a [u8], u64) {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.passed.extend_from_slice(&bytes[..length]);
        (&bytes[length..], left - length as u64)
    }
}

/// Length of a head that begins so, as far as it is known: never less than what has to come next.
fn head_length(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let key = if second & MASKED == 0 { 0 } else { 4 };
    key + match second & !MASKED {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

fn payload_length(head: &[u8]) -> u64 {
    let wide =
        |range: std::ops::Range<usize>| head[range].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    match head[1] & !MASKED {
        126 => wide(2..4),
        127 => wide(2..10),
        short => u64::from(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
        [&[first][..], length, &KEY, payload].concat()
    }

    /// What is passed on of bytes that come in steps of this size, read in steps of another one.
    fn passed(bytes: &[u8], step: usize, room: usize) -> Vec<u8> {
        let mut pieces = FramePieces::new(1 << 20);
        let mut all = Vec::new();
        for part in bytes.chunks(step) {
            pieces.came(part);
            let mut buffer = vec![0; room];
            loop {
                match pieces.give(&mut buffer) {
                    0 => break,
                    given => all.extend_from_slice(&buffer[..given]),
                }
            }
            assert_eq!(pieces.passed.capacity(), 0, "all was given");
        }
        all
    }

    #[test]
    fn a_large_frame_becomes_fragments_however_it_comes() {
        let payload: Vec<u8> = (0..10_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let large = frame(0xc2, &[0x80 | 126, 0x27, 0x10], &payload);
        let expected = [
            frame(0x42, &[0x80 | 126, 0x10, 0x00], &payload[..4096]),
            frame(0x00, &[0x80 | 126, 0x10, 0x00], &payload[4096..8192]),
            frame(0x80, &[0x80 | 126, 0x07, 0x10], &payload[8192..]),
        ]
        .concat();
        let after = frame(0x89, &[0x80 | 2], b"hi");
        for (step, room) in [(1, 1), (3, 4096), (4104, 7), (8192, 8192), (100_000, 100_000)] {
            let bytes = [&large[..], &after, &large, &frame(0x81, &[0x80], b"")].concat();
            let whole = [&expected[..], &after, &expected, &frame(0x81, &[0x80], b"")].concat();
            assert!(passed(&bytes, step, room) == whole, "{step} {room}");
        }
    }

    #[test]
    fn a_frame_that_is_a_fragment_itself_stays_part_of_its_message() {
        let payload = [7; 4096 + 100];
        let first = frame(0x01, &[0x80 | 126, 0x10, 0x64], &payload);
        let head = |byte| [&[byte, 0x80 | 126, 0x10, 0x00][..], &KEY, &payload[..4096]].concat();
        let rest = |byte| frame(byte, &[0x80 | 100], &payload[4096..]);
        assert_eq!(passed(&first, 5_000, 64), [head(0x01), rest(0x00)].concat());
        let last = frame(0x80, &[0x80 | 127, 0, 0, 0, 0, 0, 0, 0x10, 0x64], &payload);
        assert_eq!(passed(&last, 11, 64), [head(0x00), rest(0x80)].concat());
    }

    #[test]
    fn what_is_refused_anyway_is_passed_on_as_it_is() {
        let unmasked = [&[0x82, 126, 0x10, 0x00][..], &[7; 4096]].concat();
        let ping = frame(0x89, &[0x80 | 126, 0x20, 0x00], &[7; 8192]);
        let too_large = frame(0x82, &[0x80 | 127, 0xff, 0, 0, 0, 0, 0, 0, 0], &[7; 9_000]);
        let bytes = [unmasked, ping, too_large].concat();
        assert_eq!(passed(&bytes, 1_000, 512), bytes);
        let unmasked = [&[0x82, 126, 0x10, 0x01][..], &[7; 4097]].concat();
        let expected = [&[0x02, 126, 0x10, 0x00][..], &[7; 4096], &[0x80, 1, 7]].concat();
        assert_eq!(passed(&unmasked, 1_000, 512), expected);
    }
}
