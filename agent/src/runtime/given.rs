//! The file in which a run keeps what it has given of its numbers, in memory: on a tmpfs, where it costs the card nothing and
//! ends with the machine's run. There is one for each run; a later one removes it once it has numbers of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use holdfast_core::message::Boot;
use holdfast_core::outlet::given::{Given, tag};

use crate::os::clock;

const MAGIC: [u8; 4] = *b"HFG\x01";
/// The data directory's path, then two places that are written in turn, so that a write that is cut off spoils the older one.
const PATH_MAX: usize = 4096;
const PLACE: usize = 64 << 10;
/// Magic, checksum, length, count of writes and boot in front of what a place holds.
const HEAD: usize = 4 + 4 + 8 + 8 + 8;
const ENDING: &str = "given";
/// File systems that live in memory (statfs(2)).
const IN_MEMORY: [i128; 2] = [0x0102_1994, 0x8584_58f6];

/// The file of this run.
#[derive(Debug)]
pub struct GivenFile {
    file: File,
    path: PathBuf,
    data_dir: PathBuf,
    boot: Boot,
    writes: u64,
    last: Vec<u8>,
}

/// Where such files may be, the best first.
pub fn places(var: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let first = |name| Some(PathBuf::from(var(name)?.split(':').next()?)).filter(|path| path.is_absolute());
    let of_user = PathBuf::from(format!("/dev/shm/holdfast-{}", rustix::process::geteuid().as_raw()));
    let named = [first("RUNTIME_DIRECTORY"), first("XDG_RUNTIME_DIR").map(|own| own.join("holdfast"))];
    named.into_iter().flatten().chain([of_user]).collect()
}

/// Whether nobody else can put anything there.
fn is_ours(place: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    // The service manager may have made a link of it, others must not.
    let named = fs::symlink_metadata(place).is_ok_and(|facts| [user, 0].contains(&facts.uid()));
    let facts = fs::metadata(place);
    named && facts.is_ok_and(|facts| facts.uid() == user && facts.mode() & 0o022 == 0)
}

/// Numbers that a run has left, if the machine was not started since.
pub fn load(places: &[PathBuf], data_dir: &Path, run: u64) -> Option<Given> {
    let name = name(data_dir, run);
    let places = places.iter().filter(|place| is_ours(place));
    let bytes = places.into_iter().find_map(|place| fs::read(place.join(&name)).ok())?;
    let boot = clock::now().boot;
    let found = [0, 1].map(|place| read(&bytes, place, boot));
    let (_, payload) = found.into_iter().flatten().max_by_key(|(writes, _)| *writes)?;
    Given::from_bytes(payload).filter(|given| given.run == run)
}

impl GivenFile {
    /// Makes the file of a run, in the first place that there is in memory. None where there is no such place.
    pub fn create(places: &[PathBuf], data_dir: &Path, given: &Given) -> Option<GivenFile> {
        places.iter().find_map(|place| GivenFile::create_in(place, data_dir, given).ok())
    }

    fn create_in(place: &Path, data_dir: &Path, given: &Given) -> io::Result<GivenFile> {
        let path = place.join(name(data_dir, given.run));
        let _ = fs::DirBuilder::new().mode(0o700).create(place);
        if !is_ours(place) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        if !IN_MEMORY.contains(&i128::from(rustix::fs::statfs(place)?.f_type)) {
            return Err(ErrorKind::Unsupported.into());
        }
        let data_dir = fs::canonicalize(data_dir)?;
        let own = data_dir.as_os_str().as_bytes();
        if own.len() > PATH_MAX {
            return Err(ErrorKind::InvalidFilename.into());
        }
        let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        let boot = clock::now().boot;
        let mut made = GivenFile { file, path, data_dir, boot, writes: 0, last: Vec::new() };
        made.file.write_all_at(made.data_dir.as_os_str().as_bytes(), 0)?;
        // Both places have their memory before it is needed.
        made.write(given.to_bytes())
            .and_then(|()| made.write(given.to_bytes()))
            .inspect_err(|_| made.remove())?;
        Ok(made)
    }

    /// Notes what is given, before anybody outside can know of it. Tells whether the file can go on.
    #[must_use]
    pub fn note(&mut self, given: &Given) -> bool {
        let bytes = given.to_bytes();
        if bytes == self.last {
            return true;
        }
        let written = self.write(bytes);
        if let Err(error) = &written {
            log::warn!("cannot write {}: {error}", self.path.display());
            self.remove();
        }
        written.is_ok()
    }

    fn write(&mut self, payload: Vec<u8>) -> io::Result<()> {
        if HEAD + payload.len() > PLACE {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.writes += 1;
        let len = payload.len() as u64;
        let mut body = [len, self.writes, self.boot.0].map(u64::to_le_bytes).concat();
        body.extend(&payload);
        let bytes = [&MAGIC[..], &crc32fast::hash(&body).to_le_bytes(), &body].concat();
        let place = usize::try_from(self.writes % 2).unwrap_or(0);
        self.file.write_all_at(&bytes, offset(place) as u64)?;
        self.last = payload;
        Ok(())
    }

    /// Removes the files of earlier runs of this agent, and those of agents whose data directory is gone.
    pub fn remove_others(&self) {
        let Some(Ok(listing)) = self.path.parent().map(fs::read_dir) else { return };
        for path in listing.flatten().map(|file| file.path()) {
            if path == self.path || path.extension().is_none_or(|ending| ending != ENDING) {
                continue;
            }
            let of = fs::read(&path).ok().and_then(|bytes| Some(data_dir_of(bytes.get(..PATH_MAX)?)));
            if of.is_some_and(|of| of == self.data_dir || !of.exists()) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Removes a file that cannot go on, so that nobody believes it.
    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn name(data_dir: &Path, run: u64) -> String {
    let dir = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    format!("{:016x}-{run:016x}.{ENDING}", tag(&dir.to_string_lossy()))
}

fn data_dir_of(bytes: &[u8]) -> PathBuf {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[..end]))
}

fn offset(place: usize) -> usize {
    PATH_MAX + place * PLACE
}

/// How often the file had been written with this, and what it is; none of another run of the machine.
fn read(bytes: &[u8], place: usize, boot: Boot) -> Option<(u64, &[u8])> {
    let bytes = bytes.get(offset(place)..)?;
    let (magic, bytes) = bytes.split_first_chunk::<4>()?;
    let (crc, bytes) = bytes.split_first_chunk::<4>()?;
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let (writes, rest) = rest.split_first_chunk::<8>()?;
    let (of, rest) = rest.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
    let payload = rest.get(..len)?;
    let sound = *magic == MAGIC && crc32fast::hash(&bytes[..24 + len]).to_le_bytes() == *crc;
    (sound && u64::from_le_bytes(*of) == boot.0).then(|| (u64::from_le_bytes(*writes), payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::outlet::given::OutletGiven;

    /// A directory in memory, on every Linux.
    fn memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    fn given(run: u64, next: u64) -> Given {
        Given { run, ids: next, outlets: vec![OutletGiven { tag: 1, unconfirmed: 1, next }] }
    }

    #[test]
    fn the_last_note_comes_back_to_whoever_asks_for_this_run_of_this_directory() {
        let (place, data) = (memory(), tempfile::tempdir().unwrap());
        let places = [place.path().to_owned()];
        let mut file = GivenFile::create(&places, data.path(), &given(7, 1)).unwrap();
        for next in 2..10 {
            assert!(file.note(&given(7, next)));
            assert_eq!(load(&places, data.path(), 7), Some(given(7, next)));
        }
        assert_eq!(load(&places, data.path(), 8), None);
        assert_eq!(load(&places, place.path(), 7), None);
    }

    #[test]
    fn a_write_that_is_cut_off_leaves_the_one_before() {
        let (place, data) = (memory(), tempfile::tempdir().unwrap());
        let places = [place.path().to_owned()];
        let mut file = GivenFile::create(&places, data.path(), &given(7, 1)).unwrap();
        assert!(file.note(&given(7, 2)) && file.note(&given(7, 3)));
        let newest = offset(usize::try_from(file.writes % 2).unwrap());
        let whole = fs::read(&file.path).unwrap();
        for cut in 0..HEAD + 16 {
            let mut bytes = whole.clone();
            bytes[newest + cut] ^= 1;
            fs::write(&file.path, bytes).unwrap();
            assert_eq!(load(&places, data.path(), 7), Some(given(7, 2)), "byte {cut}");
        }
    }

    #[test]
    fn what_is_of_another_start_of_the_machine_is_not_believed() {
        let (place, data) = (memory(), tempfile::tempdir().unwrap());
        let places = [place.path().to_owned()];
        let mut file = GivenFile::create(&places, data.path(), &given(7, 1)).unwrap();
        file.boot = Boot(file.boot.0 ^ 1);
        assert!(file.note(&given(7, 2)) && file.note(&given(7, 3)));
        assert_eq!(load(&places, data.path(), 7), None);
    }

    #[test]
    fn a_place_on_a_disk_is_not_taken() {
        let data = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let disk = data.path().join("place");
        assert!(GivenFile::create(&[disk], data.path(), &given(7, 1)).is_none());
    }

    #[test]
    fn files_of_earlier_runs_and_of_directories_that_are_gone_are_removed_and_others_stay() {
        let (place, data, other) = (memory(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let places = [place.path().to_owned()];
        let gone = tempfile::tempdir().unwrap();
        let own = |data: &Path, run| GivenFile::create(&places, data, &given(run, 1)).unwrap();
        let old = [own(data.path(), 1), own(gone.path(), 2)];
        let stays = [own(other.path(), 3), own(data.path(), 4)];
        gone.close().unwrap();
        stays[1].remove_others();
        assert!(old.iter().all(|file| !file.path.exists()) && stays.iter().all(|file| file.path.exists()));
        stays[1].remove();
        assert!(!stays[1].path.exists());
    }
}
