//! Files for nobody but their owner, in directories where nobody else can put something in their place.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Mode of a directory that is made.
const DIRECTORY: u32 = 0o700;
/// Mode of a file that is made.
const FILE: u32 = 0o600;
/// Rights of groups and everybody else.
const OTHERS: u32 = 0o077;
/// In a directory with this bit (chmod(1): sticky) everybody has files of their own, as in /tmp.
const STICKY: u32 = 0o1000;
const WRITABLE: u32 = 0o022;
/// Files of an agent in its data directory; names that begin with one of them and a dot are its own, too.
const OWN: [&str; 11] = [
    "ballast",
    "clocks",
    "control.sock",
    "damaged",
    "dead",
    "lock",
    "meter",
    "numbers",
    "presence",
    "probe",
    "store",
];
/// How deep the directories of a data directory are.
const DEPTH: u32 = 4;

/// Fault of a file that is unusable however well its disk is: it may be another's.
#[derive(Debug)]
struct Foreign(String);

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Foreign {}

fn foreign_file(words: impl Into<String>) -> io::Error {
    io::Error::other(Foreign(words.into()))
}

/// Whether a file was not opened because it is none of ours.
pub fn is_foreign(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Foreign>())
}

/// Has everything that this process makes be for its owner only, whatever umask it was started with.
pub fn hide_what_is_made() {
    rustix::process::umask(Mode::from_raw_mode(OTHERS));
}

/// Makes a directory and those above it.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)
}

/// Opens a file to read and write it in its place, and makes it if there is none. A symbolic link is an error.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE);
    own(options.custom_flags(no_follow()).open(path))
}

/// Opens a file to read it. A symbolic link is an error.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    own(OpenOptions::new().read(true).custom_flags(no_follow()).open(path))
}

/// Makes a new file in the place of whatever has this name; what a link leads to stays as it is.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create_new(path)
}

/// Makes a file where there is none.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE).open(path)
}

/// Opens a file that a person named, to be written from its beginning, and closes it to others. Links are followed, for
/// /dev/stdout is one.
pub fn overwrite(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE).open(path)?;
    let facts = file.metadata()?;
    if facts.is_file() && facts.uid() == user() && facts.mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(facts.mode() & !OTHERS & 0o7777))?;
    }
    Ok(file)
}

/// Sets the mode of a file, also of a socket, but never through a link.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if File::from(file.try_clone()?).metadata()?.is_symlink() {
        return Err(is_a_link());
    }
    // fchmod(2) does not take such a descriptor, and fchmodat(2) cannot do without following before Linux 6.6.
    let place = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    fs::set_permissions(place, Permissions::from_mode(mode))
}

/// Makes sure that nobody else has a say in a data directory, and closes it and what an older version made in it to others.
/// The error says why it cannot be used, and what helps.
pub fn claim(dir: &Path) -> Result<(), String> {
    let facts = fs::metadata(dir).map_err(|error| format!("cannot read {}: {error}", dir.display()))?;
    let user = user();
    check_owner(dir, facts.uid(), user)?;
    let foreign = foreign(dir);
    if facts.uid() == user && facts.mode() & OTHERS != 0 {
        match foreign {
            None if facts.mode() & STICKY == 0 => close(dir, &facts),
            foreign => check_shared(dir, foreign.as_deref().unwrap_or("a sticky bit"), &facts, user)?,
        }
    }
    claim_files(dir, user, DEPTH)
}

/// A directory of another user: whoever owns it can put links into it at any time.
fn check_owner(dir: &Path, owner: u32, user: u32) -> Result<(), String> {
    if owner == user || owner == 0 {
        return Ok(());
    }
    let dir = dir.display();
    Err(format!(
        "cannot use {dir}: it belongs to user {owner} and this is user {user}, so that user {owner} could lead to other files \
         what is written there; run this as its owner (sudo -u '#{owner}'), or give it to this user (chown -R {user} {dir})"
    ))
}

/// A directory that cannot be closed, since it is not the agent's alone.
fn check_shared(dir: &Path, foreign: &str, facts: &Metadata, user: u32) -> Result<(), String> {
    if facts.mode() & WRITABLE == 0 {
        return Ok(());
    }
    let dir = dir.display();
    let fault = format!(
        "others can write into {dir}, and it has {foreign}, which is not the agent's; give the agent a directory of its \
         own (agent.data_dir), or close this one (chmod go-w {dir})"
    );
    if user == 0 {
        return Err(fault);
    }
    log::warn!("{fault}");
    Ok(())
}

/// Something in a data directory that no agent puts there.
fn foreign(dir: &Path) -> Option<String> {
    let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    names.find(|name| !is_own(name) && name != "lost+found")
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Closes the agent's own files. Below the data directory everything is the agent's.
fn claim_files(dir: &Path, user: u32, depth: u32) -> Result<(), String> {
    let Ok(listing) = fs::read_dir(dir) else { return Ok(()) };
    for entry in listing.flatten() {
        let path = entry.path();
        if depth == DEPTH && !is_own(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let Ok(facts) = fs::symlink_metadata(&path) else { continue };
        if facts.is_symlink() && ![user, 0].contains(&facts.uid()) {
            let (path, owner) = (path.display(), facts.uid());
            return Err(format!("cannot use {path}: it is a symbolic link of user {owner}; remove it"));
        }
        if facts.uid() == user && facts.mode() & OTHERS != 0 && (facts.is_file() || facts.is_dir()) {
            close(&path, &facts);
        }
        if facts.is_dir() && depth > 0 {
            claim_files(&path, user, depth - 1)?;
        }
    }
    Ok(())
}

/// Takes away what others may do; on a disk that cannot be written they keep it.
fn close(path: &Path, facts: &Metadata) {
    if let Err(error) = set_mode(path, facts.mode() & !OTHERS & 0o7777) {
        log::debug!("cannot close {} to others: {error}", path.display());
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn no_follow() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default()
}

/// A file as it was opened, if it is a file of this user.
fn own(opened: io::Result<File>) -> io::Result<File> {
    let file = opened.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => is_a_link(),
        _ => error,
    })?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(foreign_file("it is not a file; remove it"));
    }
    if ![user(), 0].contains(&facts.uid()) {
        let owner = facts.uid();
        return Err(foreign_file(format!("it belongs to user {owner}; remove it, or chown it")));
    }
    Ok(file)
}

fn is_a_link() -> io::Error {
    foreign_file("it is a symbolic link, which is not followed; remove it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_a_link_leads_to_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("lock"), dir.path().join("target"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        let error = open(&link).unwrap_err();
        assert!(is_foreign(&error));
        let error = error.to_string();
        assert_eq!(error, "it is a symbolic link, which is not followed; remove it");
        assert!(open_to_read(&link).is_err() && set_mode(&link, 0o600).is_err());
        create(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn what_is_neither_a_file_nor_ours_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("lock");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        assert_eq!(open(&pipe).unwrap_err().to_string(), "it is not a file; remove it");
        if user() == 0 {
            let file = dir.path().join("numbers");
            fs::write(&file, "").unwrap();
            std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
            let error = open(&file).unwrap_err().to_string();
            assert_eq!(error, "it belongs to user 12345; remove it, or chown it");
        }
    }

    #[test]
    fn what_an_older_version_left_open_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        fs::create_dir(&store).unwrap();
        for file in [dir.path().join("lock"), dir.path().join("numbers.new"), store.join("db")] {
            fs::write(&file, "").unwrap();
            with_mode(&file, 0o644);
        }
        with_mode(&store, 0o755);
        with_mode(dir.path(), 0o755);
        claim(dir.path()).unwrap();
        assert_eq!((mode(dir.path()), mode(&store), mode(&store.join("db"))), (0o700, 0o700, 0o600));
        assert_eq!((mode(&dir.path().join("lock")), mode(&dir.path().join("numbers.new"))), (0o600, 0o600));
    }

    #[test]
    fn a_directory_that_others_use_too_keeps_its_mode_and_their_files_do() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "").unwrap();
        with_mode(&other, 0o644);
        with_mode(dir.path(), 0o755);
        claim(dir.path()).unwrap();
        assert_eq!((mode(dir.path()), mode(&other)), (0o755, 0o644));
        with_mode(dir.path(), 0o1777);
        let claimed = claim(dir.path());
        if user() == 0 {
            let error = claimed.unwrap_err();
            assert!(error.contains("has other, which is not the agent's; give the agent"), "{error}");
        }
        assert_eq!(mode(dir.path()), 0o1777);
    }

    #[test]
    fn a_directory_of_another_user_is_refused_with_what_helps() {
        let error = check_owner(Path::new("/d"), 1000, 0).unwrap_err();
        assert!(error.contains("sudo -u '#1000'") && error.contains("chown -R 0 /d"), "{error}");
        assert_eq!(check_owner(Path::new("/d"), 0, 1000), Ok(()));
        assert_eq!(check_owner(Path::new("/d"), 1000, 1000), Ok(()));
    }

    #[test]
    fn a_file_that_is_written_over_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("held.ndjson");
        fs::write(&file, "old").unwrap();
        with_mode(&file, 0o644);
        drop(overwrite(&file).unwrap());
        assert_eq!((mode(&file), fs::read_to_string(&file).unwrap().as_str()), (0o600, ""));
    }
}
