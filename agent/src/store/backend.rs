//! The one file that knows sled: ordered trees of bytes, made durable by our own sync.
//!
//! Every call catches sled's panics. After any [`Fault`] the database is dead: close it and open it anew.

use holdfast_core::ids::{OutletId, Table};
use std::any::Any;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

/// The file that holds everything, below the database's directory.
pub const LOG_FILE: &str = "db";
/// sled's unit of space, its default.
pub const SEGMENT: usize = 512 << 10;

const CACHE_BYTES: u64 = 4 << 20;
/// sled notes 64 uses of a shard's leaves before it drops any of them, so what is read once stays for ever. That many
/// more uses of one leaf make it drop the others: 6 MB in place of 60 MB after a scan of 64 MB.
const USES: u32 = 64;
/// About as many values as a leaf holds after a split.
const VALUES_PER_LEAF: u32 = 8;
/// sled's threads let go of the file a moment after its handle is dropped.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// What the kernel says where a file lies for a directory, a directory for a file, neither, or a number makes no sense.
const OF_THE_CONTENT: [Errno; 4] = [Errno::NOENT, Errno::NOTDIR, Errno::ISDIR, Errno::INVAL];

/// Why the database could not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// What is on the disk cannot be understood.
    Damage(String),
    /// The world does not let us: disk full, no permission, the device fails.
    World(String),
}

/// Which of some trees has values in a log, if any.
pub type FindHomeless<'a> = dyn Fn(&Path, &[&String]) -> Result<Option<String>, Fault> + 'a;

/// What to do with one value found.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) + 'a;

/// An open database with one tree per name.
pub struct Database {
    open: Option<Open>,
    dir: PathBuf,
    uses: std::cell::Cell<u32>,
}

struct Open {
    trees: Table<OutletId, sled::Tree>,
    db: sled::Db,
    log: Arc<File>,
}

impl Fault {
    /// What sled says of itself. It unwraps or quotes some errors of the kernel; those are no damage, but for what only a
    /// database that is not what it should be makes the kernel say.
    fn of(text: String) -> Fault {
        let quoted = text.split("code: ").chain(text.split("os error ")).skip(1);
        let codes = quoted.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        let is_of_the_world = |code| !OF_THE_CONTENT.contains(&Errno::from_raw_os_error(code));
        let kinds = ["StorageFull", "PermissionDenied", "ReadOnlyFilesystem", "OutOfMemory"];
        match codes.into_iter().any(is_of_the_world) || kinds.iter().any(|kind| text.contains(kind)) {
            true => Fault::World(text),
            false => Fault::Damage(text),
        }
    }

    /// Tells what failed, with its path.
    pub fn context(self, what: &str, path: &Path) -> Fault {
        let text = |cause| format!("cannot {what} {}: {cause}", path.display());
        match self {
            Fault::Damage(cause) => Fault::Damage(text(cause)),
            Fault::World(cause) => Fault::World(text(cause)),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Damage(cause) | Fault::World(cause) => f.write_str(cause),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::NotFound
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::Other => Fault::of(error.to_string()),
            _ => Fault::World(error.to_string()),
        }
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Fault {
        match error {
            sled::Error::Io(error) => error.into(),
            other => Fault::of(other.to_string()),
        }
    }
}

impl Database {
    /// Opens the database in `dir`, or makes it, with these trees; `others` have to be there and are not used. `find_homeless`
    /// is asked about those that are to be made: sled opens a log that has lost its end as if its trees had never been, and
    /// would then write over what they held.
    pub fn open(
        dir: &Path,
        trees: &[String],
        others: &[String],
        find_homeless: &FindHomeless<'_>,
    ) -> Result<Database, Fault> {
        let mut tries = 0;
        let open = loop {
            match caught(|| Open::new(dir, trees, others, find_homeless)) {
                Err(Fault::World(cause)) if cause.contains("acquire lock") && tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                other => break other,
            }
        };
        let open = open.map_err(|fault| fault.context("open", dir))?;
        Ok(Database { open: Some(open), dir: dir.to_owned(), uses: std::cell::Cell::new(0) })
    }

    /// Shows every value of a tree, in the order of the keys.
    pub fn each(&self, tree: OutletId, visit: &mut Visit<'_>) -> Result<(), Fault> {
        self.run("read", |open| {
            for found in &open.trees[tree] {
                let (key, value) = found?;
                visit(&key, &value);
                self.used(&open.trees[tree], &key)?;
            }
            Ok(())
        })
    }

    /// The value of a key.
    pub fn read(&self, tree: OutletId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.run("read", |open| {
            let value = open.trees[tree].get(key)?.map(|value| value.to_vec());
            self.used(&open.trees[tree], key)?;
            Ok(value)
        })
    }

    /// Writes values, all or none of them. Few at a time: a batch costs twice the disk writes of single values.
    pub fn put<'a>(
        &self,
        tree: OutletId,
        values: impl IntoIterator<Item = ([u8; super::group::KEY_LEN], &'a [u8])>,
    ) -> Result<(), Fault> {
        let values: Vec<_> = values.into_iter().collect();
        self.run("write", |open| {
            let tree = &open.trees[tree];
            if let [(key, value)] = values[..] {
                tree.insert(key, value)?;
            } else if !values.is_empty() {
                let mut batch = sled::Batch::default();
                values.iter().for_each(|(key, value)| batch.insert(key, *value));
                tree.apply_batch(batch)?;
            }
            values.iter().try_for_each(|(key, _)| self.used(tree, key))
        })
    }

    /// Removes a key.
    pub fn remove(&self, tree: OutletId, key: &[u8]) -> Result<(), Fault> {
        self.run("write", |open| {
            open.trees[tree].remove(key)?;
            self.used(&open.trees[tree], key)
        })
    }

    /// Hands everything to the kernel: it survives the end of the process, not a power cut.
    pub fn flush(&self) -> Result<(), Fault> {
        self.run("flush", |open| Ok(open.db.flush().map(drop)?))
    }

    /// Makes what was flushed survive a power cut, which sled's own flush does not.
    pub fn sync(&self) -> Result<(), Fault> {
        self.run("sync", |open| open.log.sync_data().map_err(|error| Fault::World(error.to_string())))
    }

    /// The log itself, none once it is closed.
    pub fn log(&self) -> Option<&Arc<File>> {
        self.open.as_ref().map(|open| &open.log)
    }

    /// Takes the log out of the kernel's cache. What was read ahead lies there in large folios, and Linux counts a small
    /// write to one as a write of the whole: 500 kB where the disk gets 4 kB.
    pub fn uncache(&self) {
        if let Some(open) = &self.open {
            // It only costs accuracy where the file system cannot do it.
            let _ = fadvise(&*open.log, 0, None, Advice::DontNeed);
        }
    }

    /// Whether a tree that is not used has such a value.
    pub fn has_unused(&self, name: &str, is_such: &dyn Fn(&[u8], &[u8]) -> bool) -> Result<bool, Fault> {
        self.run("read", |open| {
            for found in &open.db.open_tree(name)? {
                let (key, value) = found?;
                if is_such(&key, &value) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Whether trees that nobody named at the opening hold anything but this key.
    pub fn others_hold_anything_but(&self, key: &[u8]) -> Result<bool, Fault> {
        self.run("read", |open| {
            let named: Vec<sled::IVec> = open.trees.iter().map(sled::Tree::name).collect();
            for name in open.db.tree_names() {
                if named.contains(&name) {
                    continue;
                }
                for found in open.db.open_tree(&name)?.iter().keys().take(2) {
                    if found? != key {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        })
    }

    fn run<T>(&self, verb: &str, action: impl FnOnce(&Open) -> Result<T, Fault>) -> Result<T, Fault> {
        let open = self.open.as_ref().expect("it is taken only when dropped");
        caught(|| action(open)).map_err(|fault| fault.context(verb, &self.dir))
    }

    fn used(&self, tree: &sled::Tree, key: &[u8]) -> Result<(), Fault> {
        self.uses.set(self.uses.get() + 1);
        if self.uses.get() >= VALUES_PER_LEAF {
            self.uses.set(0);
            for _ in 0..USES {
                tree.contains_key(key)?;
            }
        }
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let open = self.open.take();
        let _ = caught(|| {
            drop(open);
            Ok(())
        });
    }
}

impl Open {
    fn new(
        dir: &Path,
        names: &[String],
        others: &[String],
        find_homeless: &FindHomeless<'_>,
    ) -> Result<Open, Fault> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .use_compression(false)
            .flush_every_ms(None);
        let db = config.open()?;
        let there = db.tree_names();
        let is_there = |name: &str| there.iter().any(|tree| tree == name.as_bytes());
        let missing: Vec<&String> = names.iter().chain(others).filter(|name| !is_there(name)).collect();
        if db.was_recovered()
            && !missing.is_empty()
            && let Some(name) = find_homeless(&dir.join(LOG_FILE), &missing)?
        {
            return Err(Fault::Damage(format!("it has lost the tree of {name}")));
        }
        let mut trees = Table::default();
        for name in names {
            trees.push(db.open_tree(name)?);
        }
        for name in others {
            db.open_tree(name)?;
        }
        db.flush()?;
        let log = File::open(dir.join(LOG_FILE))?;
        log.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Open { trees, db, log: Arc::new(log) })
    }
}

fn caught<T>(action: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| Err(fault_of(&*panic)))
}

pub fn fault_of(panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown panic");
    Fault::of(text.to_owned())
}
