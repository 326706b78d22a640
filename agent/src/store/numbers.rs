//! The numbers file, the presence file, those about the clocks and of the card meter: small, replaced as a whole, and never
//! believed when they are damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_core::cbor;
use holdfast_core::outlet::store_protocol::Sequences;

use super::atomic_file::{self, Found};
use crate::os::clock;

const NUMBERS_MAGIC: [u8; 4] = *b"HFN\x01";
const PRESENCE_MAGIC: [u8; 4] = *b"HFP\x01";
const METER_MAGIC: [u8; 4] = *b"HFM\x01";
const CLOCKS_MAGIC: [u8; 4] = *b"HFC\x01";

/// The small files and what they begin with.
pub const MAGICS: [(&str, [u8; 4]); 4] = [
    ("numbers", NUMBERS_MAGIC),
    ("presence", PRESENCE_MAGIC),
    ("clocks", CLOCKS_MAGIC),
    ("meter", METER_MAGIC),
];

/// What the numbers file holds.
pub fn numbers_payload(numbers: &Sequences) -> io::Result<Vec<u8>> {
    serde_cbor::to_vec(numbers).map_err(io::Error::other)
}

/// Replaces the numbers file.
pub fn save(dir: &Path, payload: &[u8]) -> io::Result<()> {
    atomic_file::write(&numbers_path(dir), NUMBERS_MAGIC, payload)
}

/// Reads the numbers file; a damaged one is renamed and told about.
pub fn load(dir: &Path, repairs: &mut Vec<String>) -> io::Result<Option<Sequences>> {
    let path = numbers_path(dir);
    let Some(payload) = sound(&path, NUMBERS_MAGIC, repairs)? else { return Ok(None) };
    match cbor::read(&payload) {
        Ok(numbers) => Ok(Some(numbers)),
        Err(_) => set_aside(&path, repairs).map(|()| None),
    }
}

/// The numbers as they lie there, none if there is no file; a damaged one is an error of the kind `InvalidData`, and stays.
pub fn peek(dir: &Path) -> io::Result<Option<Sequences>> {
    let Some(payload) = atomic_file::sound(&numbers_path(dir), NUMBERS_MAGIC)? else { return Ok(None) };
    let numbers = cbor::read(&payload);
    numbers.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The presence as it lies there, like [`peek`].
pub fn peek_presence(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    atomic_file::sound(&presence_path(dir), PRESENCE_MAGIC)
}

/// Replaces the presence file.
pub fn save_presence(dir: &Path, presence: &[u8]) -> io::Result<()> {
    atomic_file::write_whole(&presence_path(dir), PRESENCE_MAGIC, presence)
}

/// Reads the presence file; a damaged one is renamed and told about.
pub fn load_presence(dir: &Path, repairs: &mut Vec<String>) -> io::Result<Option<Vec<u8>>> {
    sound(&presence_path(dir), PRESENCE_MAGIC, repairs)
}

/// Replaces the file about the clocks.
pub fn save_clocks(dir: &Path, clocks: &[u8]) -> io::Result<()> {
    atomic_file::write_whole(&dir.join("clocks"), CLOCKS_MAGIC, clocks)
}

/// Reads the file about the clocks; a damaged one is renamed and told about.
pub fn load_clocks(dir: &Path, repairs: &mut Vec<String>) -> io::Result<Option<Vec<u8>>> {
    sound(&dir.join("clocks"), CLOCKS_MAGIC, repairs)
}

/// Replaces the card meter's file.
pub fn save_meter(dir: &Path, meter: &[u8]) -> io::Result<()> {
    atomic_file::write_whole(&dir.join("meter"), METER_MAGIC, meter)
}

/// Reads the card meter's file; a damaged one is renamed and told about.
pub fn load_meter(dir: &Path, repairs: &mut Vec<String>) -> io::Result<Option<Vec<u8>>> {
    sound(&dir.join("meter"), METER_MAGIC, repairs)
}

/// The card meter's file as it lies there, like [`peek`].
pub fn peek_meter(dir: &Path) -> io::Result<Option<Vec<u8>>> {
    atomic_file::sound(&dir.join("meter"), METER_MAGIC)
}

/// Whether files can be written here, and the numbers be read.
pub fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join("probe");
    atomic_file::write(&path, METER_MAGIC, &[])?;
    fs::remove_file(path)?;
    match peek(dir) {
        // A damaged file is no matter of the disk.
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Where the numbers are.
pub fn numbers_path(dir: &Path) -> PathBuf {
    dir.join("numbers")
}

/// Where the presence is.
pub fn presence_path(dir: &Path) -> PathBuf {
    dir.join("presence")
}

fn sound(path: &Path, magic: [u8; 4], repairs: &mut Vec<String>) -> io::Result<Option<Vec<u8>>> {
    match atomic_file::read(path, magic)? {
        Found::Payload(payload) => Ok(Some(payload)),
        Found::Nothing => Ok(None),
        Found::Damaged => set_aside(path, repairs).map(|()| None),
    }
}

fn set_aside(path: &Path, repairs: &mut Vec<String>) -> io::Result<()> {
    let aside = path.with_extension(format!("damaged-{}", clock::now().wall_ns / 1_000_000_000));
    fs::rename(path, &aside)?;
    atomic_file::sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    repairs.push(format!("{} was damaged; it is {} now", path.display(), aside.display()));
    Ok(())
}
