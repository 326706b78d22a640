//! Writes the configuration file anew: all of it or nothing, one writer at a time, with its mode and owner as they were.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::DEFAULT_FILE;

/// Another writer must be done within this many tries.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// A file that is made may hold secrets.
const MODE: u32 = 0o600;

/// The file, kept from other writers until it is dropped.
#[derive(Debug)]
pub struct Rewrite {
    path: PathBuf,
    text: String,
    folder: File,
}

impl Rewrite {
    /// Reads the file; one that is not there is empty. The error names it.
    pub fn begin(path: &Path) -> anyhow::Result<Rewrite> {
        let path = match path.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => std::path::absolute(path)?,
            found => found.with_context(|| format!("cannot find {}", path.display()))?,
        };
        let place = path.parent().unwrap_or(Path::new("/"));
        let folder = open_folder(place, Some(place) == Path::new(DEFAULT_FILE).parent())?;
        lock(&folder).with_context(|| format!("cannot change {}", path.display()))?;
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(Rewrite { path, text, folder })
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts this text in its place. A power cut leaves the one or the other.
    pub fn commit(self, text: &str) -> anyhow::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = self.path.with_file_name(format!(".{name}.new"));
        let written = self.write(&fresh, text);
        if written.is_err() {
            // A rest of it says nothing that anybody needs.
            let _ = std::fs::remove_file(&fresh);
        }
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn write(&self, fresh: &Path, text: &str) -> std::io::Result<()> {
        // One that a power cut left may belong to anybody.
        match std::fs::remove_file(fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(fresh)?;
        if let Ok(known) = std::fs::metadata(&self.path) {
            let mine = file.metadata()?;
            if (mine.uid(), mine.gid()) != (known.uid(), known.gid()) {
                fchown(&file, Some(known.uid()), Some(known.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(known.mode() & 0o7777))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(fresh, &self.path)?;
        self.folder.sync_all()
    }
}

/// The folder of the file. That of the default file is made where no package has brought it.
fn open_folder(place: &Path, may_be_made: bool) -> anyhow::Result<File> {
    if may_be_made && !place.exists() {
        let made = std::fs::create_dir(place);
        made.with_context(|| {
            format!("cannot make the folder {} (`--config FILE` names another file)", place.display())
        })?;
    }
    File::open(place).with_context(|| format!("cannot open the folder {}", place.display()))
}

fn lock(folder: &File) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            locked => return Ok(locked?),
        }
    }
    bail!("another command has been changing it for {} s", (PAUSE * TRIES).as_secs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_its_mode_and_a_link_to_it_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let rewrite = Rewrite::begin(&link).unwrap();
        assert_eq!(rewrite.text(), "old");
        rewrite.commit("new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_that_is_not_there_is_made_so_that_not_everybody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        Rewrite::begin(&file).unwrap().commit("new").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o007, 0);
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.toml"]);
    }

    #[test]
    fn the_folder_of_the_default_file_is_made_and_that_of_another_one_must_be_there() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("holdfast");
        assert!(open_folder(&place, false).unwrap_err().to_string().starts_with("cannot open the folder "));
        assert!(open_folder(&place, true).unwrap().metadata().unwrap().is_dir());
        assert!(open_folder(&place, true).is_ok(), "it is there");
        let error = open_folder(&root.path().join("not/there"), true).unwrap_err().to_string();
        assert!(error.contains("--config FILE"), "{error}");
    }

    #[test]
    fn nobody_else_may_write_until_one_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let rewrite = Rewrite::begin(&folder.path().join("a.toml")).unwrap();
        let other = File::open(folder.path()).unwrap();
        let lock = || flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(lock(), Err(Errno::WOULDBLOCK));
        rewrite.commit("new").unwrap();
        assert_eq!(lock(), Ok(()));
    }
}
