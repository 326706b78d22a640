//! Room on the disk: what the store takes, what is free, and the ballast that is given up when there is none.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// sled needs this much room to open, even if only to remove something.
const BALLAST_BYTES: u64 = 4 << 20;
/// The ballast is made only where at least this much is free.
const BALLAST_NEEDS: u64 = 64 << 20;
const BALLAST: &str = "ballast";

/// Bytes that the files below a directory take on the disk; what cannot be read counts nothing.
pub fn used(dir: &Path) -> u64 {
    let Ok(listing) = fs::read_dir(dir) else { return 0 };
    let size = |file: fs::DirEntry| match file.metadata() {
        Ok(facts) if facts.is_dir() => used(&file.path()),
        Ok(facts) => facts.blocks() * 512,
        Err(_) => 0,
    };
    listing.flatten().map(size).sum()
}

/// Bytes that this process made the kernel write, none where the kernel does not tell.
pub fn written() -> Option<u64> {
    let counts = fs::read_to_string("/proc/self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

/// Bytes that are free on the file system of a directory, as far as it tells.
pub fn free(dir: &Path) -> Option<u64> {
    rustix::fs::statvfs(dir).ok().map(|facts| facts.f_bavail * facts.f_frsize)
}

/// Puts the ballast into its place if it is missing and there is plenty of room.
pub fn make_ballast(dir: &Path) {
    let path = dir.join(BALLAST);
    let roomy = free(dir).is_some_and(|bytes| bytes >= BALLAST_NEEDS);
    if !roomy || path.metadata().is_ok_and(|facts| facts.len() == BALLAST_BYTES) {
        return;
    }
    if let Err(error) = allocate(&path) {
        log::debug!("cannot make {}: {error}", path.display());
        let _ = fs::remove_file(&path);
    }
}

/// Gives the ballast up; tells whether there was one.
pub fn drop_ballast(dir: &Path) -> bool {
    fs::remove_file(dir.join(BALLAST)).is_ok()
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES)?;
    file.sync_all()
}
