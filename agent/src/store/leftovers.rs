//! Remains of openings beside the store: the mark of one that is under way, databases that were not in their place yet when it
//! was cut off, and damaged ones that were set aside.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::atomic_file;
use super::backend::LOG_FILE;
use super::recovery::{COPY, NEW, OLD, STORE};
use crate::os::clock;
use crate::os::private;

const MARKER: &str = "store.opening";
/// How the names of what was set aside begin.
pub const DAMAGED: &str = "store.damaged-";
/// Lies in a database that was set aside and holds nothing that is not in its successor.
const SALVAGED: &str = "salvaged";

/// The mark of an opening that is under way: how many before it were cut off, and what they did and could not tell.
pub struct Marker {
    interrupted: u32,
    repairs: Vec<Promise>,
}

/// A sentence to be told once the directory that it speaks of is there.
struct Promise {
    aside: String,
    repair: String,
}

impl Marker {
    /// Marks an opening on the disk.
    pub fn begin(dir: &Path) -> io::Result<Marker> {
        let text = fs::read_to_string(dir.join(MARKER)).unwrap_or_default();
        let mut lines = text.lines();
        let interrupted = lines.next().and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        let promises = lines.filter_map(|line| line.split_once('\t'));
        let promises = promises.map(|(aside, repair)| Promise { aside: aside.into(), repair: repair.into() });
        let repairs = promises.filter(|promise| dir.join(&promise.aside).exists()).collect();
        let marker = Marker { interrupted, repairs };
        marker.write(dir).map(|()| marker)
    }

    /// How many openings in a row were cut off before this one.
    pub fn interrupted(&self) -> u32 {
        self.interrupted
    }

    /// The sentences of those that were cut off.
    pub fn repairs(&self) -> impl Iterator<Item = &String> {
        self.repairs.iter().map(|promise| &promise.repair)
    }

    /// Sees to it that this is told, also by another opening, once the store has this name.
    pub fn promise(&mut self, dir: &Path, aside: &str, repair: &str) -> io::Result<()> {
        self.repairs.push(Promise { aside: aside.to_owned(), repair: repair.to_owned() });
        self.write(dir)
    }

    /// The opening has ended by itself.
    pub fn end(self, dir: &Path) -> io::Result<()> {
        fs::remove_file(dir.join(MARKER))?;
        atomic_file::sync_dir(dir)
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        let (path, aside) = (dir.join(MARKER), dir.join(MARKER).with_extension("opening.new"));
        let mut file = private::create(&aside)?;
        writeln!(file, "{}", self.interrupted.saturating_add(1))?;
        self.repairs.iter().try_for_each(|Promise { aside, repair }| writeln!(file, "{aside}\t{repair}"))?;
        file.sync_all()?;
        fs::rename(aside, path)?;
        atomic_file::sync_dir(dir)
    }
}

/// Ends what was cut off between two names. What lies there as [`NEW`] is whole, and so is [`OLD`]: either is good enough where
/// there is no store, or nothing of one but its directory.
pub fn settle(dir: &Path) -> io::Result<()> {
    let [store, old, new, copy] = [STORE, OLD, NEW, COPY].map(|name| dir.join(name));
    remove(&copy)?;
    let successor = [&new, &old].into_iter().find(|path| path.join(LOG_FILE).exists());
    if let (false, Some(successor)) = (store.join(LOG_FILE).exists(), successor) {
        remove(&store)?;
        fs::rename(successor, &store)?;
    }
    remove(&old)?;
    remove(&new)?;
    atomic_file::sync_dir(dir)
}

/// A name for the store where people find it.
pub fn free_name(dir: &Path) -> String {
    let name = format!("{DAMAGED}{}", clock::now().wall_ns / 1_000_000_000);
    let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
    names.into_iter().find(|name| !dir.join(name).exists()).unwrap_or(name)
}

/// Renames the store. Of those whose successor has all that they hold, only the newest is kept.
pub fn set_aside(dir: &Path, name: &str, is_salvaged: bool) -> io::Result<()> {
    let store = dir.join(STORE);
    if is_salvaged && store.is_dir() {
        private::create(&store.join(SALVAGED))?;
    }
    for older in aside(dir)? {
        if dir.join(&older).join(SALVAGED).exists() {
            remove(&dir.join(older))?;
        }
    }
    if store.exists() { fs::rename(store, dir.join(name)) } else { Ok(()) }
}

/// Gives up the oldest of what was set aside. Tells its name, none if there is nothing.
pub fn remove_oldest(dir: &Path) -> io::Result<Option<String>> {
    let Some(oldest) = aside(dir)?.into_iter().next() else { return Ok(None) };
    remove(&dir.join(&oldest))?;
    Ok(Some(oldest))
}

/// Files that were set aside, the oldest first.
fn aside(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(dir)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        names.extend(Some(name).filter(|name| name.starts_with(DAMAGED)));
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file or a directory that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
