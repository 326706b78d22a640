//! Small files that are there whole or not at all: a magic, a CRC32, a payload; written aside, synced and renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::os::private;

/// Bytes in front of the payload.
pub const HEAD_LEN: usize = 8;

/// Find where a file was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No file.
    Nothing,
    /// Its payload.
    Payload(Vec<u8>),
    /// A file that is not what was once written.
    Damaged,
}

/// Replaces the file by one with this payload, for good: it survives a power cut after this returns.
pub fn write(path: &Path, magic: [u8; 4], payload: &[u8]) -> io::Result<()> {
    write_whole(path, magic, payload)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The same with one sync in place of two: a power cut soon after may leave the older one, whole.
pub fn write_whole(path: &Path, magic: [u8; 4], payload: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = private::create(&aside)?;
    file.write_all(&magic)?;
    file.write_all(&crc32fast::hash(payload).to_be_bytes())?;
    file.write_all(payload)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

/// Reads a file that [`write`] wrote.
pub fn read(path: &Path, magic: [u8; 4]) -> io::Result<Found> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let Some((head, payload)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Ok(Found::Damaged) };
    let sound = head[..4] == magic && head[4..] == crc32fast::hash(payload).to_be_bytes();
    Ok(if sound { Found::Payload(payload.to_vec()) } else { Found::Damaged })
}

/// The payload of a file, none if there is no file; a damaged one is an error of the kind `InvalidData`.
pub fn sound(path: &Path, magic: [u8; 4]) -> io::Result<Option<Vec<u8>>> {
    match read(path, magic)? {
        Found::Payload(payload) => Ok(Some(payload)),
        Found::Nothing => Ok(None),
        Found::Damaged => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Makes names that were added, changed or removed in a directory survive a power cut.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
