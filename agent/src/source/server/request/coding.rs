//! Content codings undone, piece by piece: gzip (RFC 1952), zlib (RFC 1950) and a bare stream of deflate (RFC 1951). Nothing of
//! it is kept here, so whoever takes the pieces bounds what a body may become.

use flate2::{Decompress, FlushDecompress, Status};
use holdfast_core::source::content::Coding;

/// Most bytes of a piece.
const PIECE: usize = 16 << 10;
/// Most bytes that are read for one piece: a stream may go on without any outcome.
const READ: usize = 16 << 10;
/// Most members of one gzip body.
const MEMBERS: u32 = 1000;
/// Bytes of the head of a member, and of what follows it.
const HEAD: usize = 10;
const TAIL: usize = 8;

const EARLY: &str = "it ends too early";
const DAMAGED: &str = "it is damaged";
/// First bytes of a member, with its method.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const BEHIND: &str = "something follows its end";
const NO_HEAD: &str = "it does not begin like that";

/// A body that is read as one coding says.
pub struct Inflater<'a> {
    rest: &'a [u8],
    coding: Coding,
    stream: Decompress,
    is_inside: bool,
    members: u32,
    sum: crc32fast::Hasher,
    length: u32,
}

impl<'a> Inflater<'a> {
    /// The beginning of a body.
    pub fn new(coding: Coding, body: &'a [u8]) -> Inflater<'a> {
        // A bare stream cannot begin like zlib's: its first block would be a stored one with bits set in its padding.
        let is_zlib = matches!(body, [first, second, ..] if first & 0x8f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
        let stream = Decompress::new(is_zlib && coding == Coding::Deflate);
        let is_inside = coding == Coding::Deflate;
        let sum = crc32fast::Hasher::new();
        Inflater { rest: body, coding, stream, is_inside, members: 0, sum, length: 0 }
    }

    /// What comes next, maybe nothing at once; none at the end. The error goes on after "the body is not valid gzip: ".
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        if !self.is_inside && !self.begins()? {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(PIECE);
        let before = self.stream.total_in();
        let input = &self.rest[..self.rest.len().min(READ)];
        let status =
            self.stream.decompress_vec(input, &mut piece, FlushDecompress::None).map_err(|_| DAMAGED)?;
        let read = usize::try_from(self.stream.total_in() - before).map_err(|_| DAMAGED)?;
        self.rest = &self.rest[read..];
        self.sum.update(&piece);
        self.length = self.length.wrapping_add(u32::try_from(piece.len()).map_err(|_| DAMAGED)?);
        match status {
            Status::StreamEnd => self.ends()?,
            Status::Ok | Status::BufError if read == 0 && piece.is_empty() => return Err(EARLY),
            Status::Ok | Status::BufError => {}
        }
        Ok(Some(piece))
    }

    /// Reads the head of the next member (RFC 1952 §2.3), if there is one.
    fn begins(&mut self) -> Result<bool, &'static str> {
        if self.members > 0 && self.rest.is_empty() || self.coding == Coding::Deflate {
            return Ok(false);
        }
        if self.members == MEMBERS {
            return Err("it has more than 1000 members");
        }
        if self.members > 0 && !self.rest.starts_with(&MAGIC[..self.rest.len().min(MAGIC.len())]) {
            return Err(BEHIND);
        }
        let (head, rest) = self.rest.split_at_checked(HEAD).ok_or(EARLY)?;
        let Some([flags, ..]) = head.strip_prefix(&MAGIC) else { return Err(NO_HEAD) };
        self.rest = rest;
        if flags & 4 != 0 {
            let (length, rest) = self.rest.split_first_chunk().ok_or(EARLY)?;
            self.rest = rest.get(usize::from(u16::from_le_bytes(*length))..).ok_or(EARLY)?;
        }
        for _ in 0..(flags & 24).count_ones() {
            let end = self.rest.iter().position(|byte| *byte == 0).ok_or(EARLY)?;
            self.rest = &self.rest[end + 1..];
        }
        if flags & 2 != 0 {
            self.rest = self.rest.get(2..).ok_or(EARLY)?;
        }
        self.stream.reset(false);
        (self.sum, self.length) = (crc32fast::Hasher::new(), 0);
        self.members += 1;
        self.is_inside = true;
        Ok(true)
    }

    fn ends(&mut self) -> Result<(), &'static str> {
        self.is_inside = false;
        match self.coding {
            Coding::Deflate if self.rest.is_empty() => Ok(()),
            Coding::Deflate => Err(BEHIND),
            Coding::Gzip => {
                let (tail, rest) = self.rest.split_at_checked(TAIL).ok_or(EARLY)?;
                self.rest = rest;
                let sum = std::mem::take(&mut self.sum).finalize();
                let right = [sum.to_le_bytes(), self.length.to_le_bytes()].concat();
                if tail == right { Ok(()) } else { Err(DAMAGED) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(coding: Coding, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut inflater = Inflater::new(coding, body);
        let mut all = Vec::new();
        while let Some(piece) = inflater.piece()? {
            assert!(piece.len() <= PIECE);
            all.extend(piece);
        }
        Ok(all)
    }

    /// A member with every field that its head may have.
    fn with_fields(bytes: &[u8]) -> Vec<u8> {
        let plain = gzip(bytes);
        let mut member = plain[..HEAD].to_vec();
        member[3] = 0x1f;
        member.extend(b"\x03\0abcname\0comment\0\x12\x34");
        member.extend(&plain[HEAD..]);
        member
    }

    #[test]
    fn what_was_coded_comes_back() {
        let long: Vec<u8> = (0..200_000_u32).flat_map(|number| (number % 251).to_le_bytes()).collect();
        for bytes in [&b""[..], b"x", b"{\"t\":21.5}", &long] {
            for body in [gzip(bytes), with_fields(bytes), [gzip(bytes), with_fields(b""), gzip(b"")].concat()]
            {
                assert_eq!(inflated(Coding::Gzip, &body).as_deref(), Ok(bytes));
            }
            for body in [zlib(bytes), bare(bytes, 0), bare(bytes, 1), bare(bytes, 9)] {
                assert_eq!(inflated(Coding::Deflate, &body).as_deref(), Ok(bytes), "{:?}", &body[..2]);
            }
        }
        assert_eq!(inflated(Coding::Gzip, &[gzip(b"a"), gzip(b"b")].concat()), Ok(b"ab".to_vec()));
    }

    #[test]
    fn a_body_that_is_cut_or_damaged_anywhere_is_not_taken() {
        for (coding, body) in [
            (Coding::Gzip, gzip(b"hello hello hello")),
            (Coding::Gzip, with_fields(b"hello hello hello")),
            (Coding::Deflate, zlib(b"hello hello hello")),
        ] {
            for length in 0..body.len() {
                assert!(inflated(coding, &body[..length]).is_err(), "{coding:?} {length}");
            }
            for at in body.len() - 8..body.len() {
                let mut damaged = body.clone();
                damaged[at] ^= 1;
                assert!(inflated(coding, &damaged).is_err(), "{coding:?} {at}");
            }
            assert!(inflated(coding, &[body, b"more".to_vec()].concat()).is_err(), "{coding:?}");
        }
        assert_eq!(inflated(Coding::Gzip, b"{\"t\":21.5, \"u\":1}"), Err(NO_HEAD));
        assert_eq!(inflated(Coding::Gzip, &[&gzip(b"5")[..], b"\n"].concat()), Err(BEHIND));
        assert_eq!(
            inflated(Coding::Deflate, &[bare(b"a", 9), b"b".to_vec()].concat()),
            Err("something follows its end")
        );
        assert_eq!(inflated(Coding::Gzip, &gzip(b"").repeat(1001)), Err("it has more than 1000 members"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_ends(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), deflate: bool) {
            let _ = inflated(if deflate { Coding::Deflate } else { Coding::Gzip }, &body);
            let _ = inflated(Coding::Gzip, &[&b"\x1f\x8b\x08\x00\0\0\0\0\0\xff"[..], &body].concat());
        }
    }
}
