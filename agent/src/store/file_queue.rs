//! A directory of numbered files, for what is set aside to be looked at by people: refused messages, damaged groups.
//!
//! They lie outside of the database, whose space is only reused as long as nothing in it lives for long.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::atomic_file::{self, Found};
use crate::os::private;

/// Files added at once; of more only the first and the last are kept, but all are counted.
const BURST: usize = 64;

/// The directory, bounded in bytes: the oldest files give way.
pub struct FileQueue {
    dir: PathBuf,
    magic: [u8; 4],
    bytes_max: u64,
    files: VecDeque<(u64, u64)>,
    last: u64,
}

impl FileQueue {
    /// Looks at what is there; the directory is made when it is first needed.
    pub fn open(dir: PathBuf, magic: [u8; 4], bytes_max: u64) -> io::Result<FileQueue> {
        let mut files = Vec::new();
        let listing = match fs::read_dir(&dir) {
            Ok(listing) => Some(listing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for file in listing.into_iter().flatten() {
            let file = file?;
            if let Some(number) = number_of(&file.path()) {
                files.push((number, file.metadata()?.len()));
            }
        }
        files.sort_unstable();
        let last = files.last().map_or(0, |(number, _)| *number);
        Ok(FileQueue { dir, magic, bytes_max, files: files.into(), last })
    }

    /// A directory that cannot be looked at.
    pub fn unseen(dir: PathBuf, magic: [u8; 4], bytes_max: u64) -> FileQueue {
        FileQueue { dir, magic, bytes_max, files: VecDeque::new(), last: 0 }
    }

    /// How many files there are.
    pub fn len(&self) -> u64 {
        self.files.len() as u64
    }

    /// How many were ever added.
    pub fn added(&self) -> u64 {
        self.last
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Adds a file, synced.
    pub fn add(&mut self, payload: &[u8]) -> io::Result<()> {
        if !self.dir.exists() {
            private::create_dir_all(&self.dir)?;
            atomic_file::sync_dir(self.dir.parent().unwrap_or(Path::new(".")))?;
        }
        atomic_file::write(&self.path(self.last + 1), self.magic, payload)?;
        self.last += 1;
        self.files.push_back((self.last, (payload.len() + atomic_file::HEAD_LEN) as u64));
        while self.bytes() > self.bytes_max && self.files.len() > 1 {
            if let Some((oldest, _)) = self.files.pop_front() {
                fs::remove_file(self.path(oldest))?;
            }
        }
        Ok(())
    }

    /// Adds many files, of which not all need to be kept.
    pub fn add_all(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        for (place, payload) in payloads.iter().enumerate() {
            if place < BURST || place + 1 == payloads.len() {
                self.add(payload)?;
            } else {
                self.last += 1;
            }
        }
        Ok(())
    }

    /// The numbers of the files, rising.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.files.iter().map(|(number, _)| *number)
    }

    /// Reads a file.
    pub fn read(&self, number: u64) -> io::Result<Found> {
        atomic_file::read(&self.path(number), self.magic)
    }

    /// Removes a file, for good. Tells whether there was one.
    pub fn remove(&mut self, number: u64) -> io::Result<bool> {
        let Some(place) = self.files.iter().position(|(other, _)| *other == number) else { return Ok(false) };
        fs::remove_file(self.path(number))?;
        self.files.remove(place);
        atomic_file::sync_dir(&self.dir)?;
        Ok(true)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:010}.set-aside"))
    }
}

fn number_of(path: &Path) -> Option<u64> {
    let named = path.extension()? == "set-aside";
    path.file_stem()?.to_str()?.parse().ok().filter(|_| named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_give_way_but_are_still_counted_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || FileQueue::open(dir.path().join("dead"), *b"TEST", 100).unwrap();
        let mut tray = open();
        for _ in 0..10 {
            tray.add(&[7; 32]).unwrap();
        }
        assert_eq!((tray.len(), tray.added(), tray.bytes()), (2, 10, 80));
        tray = open();
        assert_eq!((tray.len(), tray.added(), tray.bytes()), (2, 10, 80));
        tray.add_all(&vec![vec![1]; 200]).unwrap();
        assert_eq!(open().added(), 210);
    }
}
