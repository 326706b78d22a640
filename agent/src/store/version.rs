//! Whether a newer Holdfast has written what lies in a data directory: that is no damage, and nothing of it may be touched.
//!
//! Every file begins with a magic whose last byte is the version of its format. A version whose groups look different keeps the
//! magic and the tag of the outlet in front, by which they are known here.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::backend::LOG_FILE;
use super::progress::Progress;
use super::recovery::STORE;
use super::{group, numbers};

/// Versions ahead of ours that are believed to be versions; all else is damage.
const AHEAD: u8 = 12;
const CHUNK: usize = 256 << 10;
/// Magic and tag.
const MARK: usize = 8;

/// Whether these bytes begin with a magic of a version that is newer than this one.
fn is_newer(bytes: &[u8], magic: [u8; 4]) -> bool {
    let Some((version, name)) = magic.split_last() else { return false };
    let ahead = version + 1..=version + AHEAD;
    bytes.strip_prefix(name).and_then(|rest| rest.first()).is_some_and(|found| ahead.contains(found))
}

/// File below the data directory that a newer Holdfast has written, if there is one. `outlets` are the names of all
/// outlets that may have groups. A file that cannot be read is none: its opening says why.
pub fn newer(dir: &Path, outlets: &[String], progress: &Progress) -> Option<String> {
    let small = numbers::MAGICS.iter().find(|(name, magic)| {
        let mut start = [0; 4];
        let read = File::open(dir.join(name)).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && is_newer(&start, *magic)
    });
    if let Some((name, _)) = small {
        return Some((*name).to_owned());
    }
    let tags: Vec<[u8; 4]> = outlets.iter().map(|name| group::tag(name).to_be_bytes()).collect();
    let log = Path::new(STORE).join(LOG_FILE);
    let file = File::open(dir.join(&log)).ok()?;
    has_newer_group(file, &tags, progress).then(|| log.display().to_string())
}

/// Whether there is a group of a newer version anywhere in a log.
fn has_newer_group(mut log: impl Read, tags: &[[u8; 4]], progress: &Progress) -> bool {
    let mut bytes = Vec::with_capacity(CHUNK + MARK);
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = match log.read(&mut chunk) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        progress.made();
        bytes.extend_from_slice(&chunk[..length]);
        let newer =
            |mark: &[u8]| is_newer(mark, group::MAGIC) && tags.iter().any(|tag| mark[4..MARK] == *tag);
        if bytes.windows(MARK).any(|mark| mark[0] == group::MAGIC[0] && newer(mark)) {
            return true;
        }
        let kept = bytes.len().saturating_sub(MARK - 1);
        bytes.drain(..kept);
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::silent;
    use super::*;

    #[test]
    fn a_version_a_little_ahead_is_newer_and_all_else_is_ours_older_or_damage() {
        let is = |version: u8| is_newer(&[b'H', b'F', b'N', version, 9], *b"HFN\x03");
        let newer: Vec<u8> = (0..=255).filter(|version| is(*version)).collect();
        assert_eq!(newer, (4..=15).collect::<Vec<u8>>());
        assert!(!is_newer(b"HFP\x04", *b"HFN\x03") && !is_newer(b"HFN", *b"HFN\x03"));
    }

    #[test]
    fn a_newer_group_is_found_anywhere_in_a_log_by_its_magic_and_its_outlet() {
        let tags = [[1, 2, 3, 4], [9, 9, 9, 9]];
        let mark = |version: u8, tag: [u8; 4]| [&[b'H', b'F', b'G', version][..], &tag].concat();
        for at in [0, 7, CHUNK - 3, CHUNK + 100] {
            let log = |mark: Vec<u8>| [vec![b'H'; at], mark, vec![0; 50]].concat();
            let newer = group::MAGIC[3] + 1;
            let found = |mark| has_newer_group(&log(mark)[..], &tags, &silent());
            assert!(found(mark(newer, tags[1])), "{at}");
            assert!(!found(mark(newer, [0; 4])), "{at}");
            assert!(!found(mark(group::MAGIC[3], tags[0])), "{at}");
        }
    }
}
