//! Room on the disk: what the store takes, what is free, and the ballast that is given up when there is none.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::os::private;

/// sled needs this much room to open, even if only to remove something.
const BALLAST_BYTES: u64 = 4 << 20;
/// The ballast takes this share of what is free where that is less, and is made only where so much is free.
const BALLAST_SHARE: u64 = 8;
const BALLAST_NEEDS: u64 = 8 << 20;
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

/// Free space on the file system of a directory, as far as it tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Free {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Bytes of the whole file system.
    pub all_bytes: Option<u64>,
    /// Files that can be made, none where there is no bound.
    pub files: Option<u64>,
}

/// Whether the file system of a path, which need not be there, is mounted so that nothing can be written.
pub fn is_read_only(path: &Path) -> bool {
    let facts = path.ancestors().find_map(|place| rustix::fs::statvfs(place).ok());
    facts.is_some_and(|facts| facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Free space on the file system of a directory.
pub fn free(dir: &Path) -> Free {
    let Ok(facts) = rustix::fs::statvfs(dir) else { return Free::default() };
    let files = (facts.f_files > 0).then_some(facts.f_favail);
    Free {
        bytes: Some(facts.f_bavail * facts.f_frsize),
        all_bytes: Some(facts.f_blocks * facts.f_frsize),
        files,
    }
}

/// Puts the ballast into its place if it is missing and there is room.
pub fn make_ballast(dir: &Path) {
    let path = dir.join(BALLAST);
    let free = free(dir).bytes.unwrap_or(0);
    if free < BALLAST_NEEDS || path.symlink_metadata().is_ok_and(|facts| facts.is_file() && facts.len() > 0) {
        return;
    }
    if let Err(error) = allocate(&path, BALLAST_BYTES.min(free / BALLAST_SHARE)) {
        log::debug!("cannot make {}: {error}", path.display());
        let _ = fs::remove_file(&path);
    }
}

/// Gives the ballast up; tells whether there was one.
pub fn drop_ballast(dir: &Path) -> bool {
    fs::remove_file(dir.join(BALLAST)).is_ok()
}

fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = private::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    file.sync_all()
}
