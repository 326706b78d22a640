//! A disk that knows what was synced: it takes the steps of a recording and shows what a power cut could leave.
//!
//! Bytes of a file are safe once the file was synced, names once their directory was. Of the rest anything may be there: bytes
//! by whole writes, pages or sectors, and the changes of a directory up to any of them (as a journal leaves them). That is
//! harsher than ext4, where a synced file also keeps its name.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::recording::Step;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// Fate of bytes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of them is there.
    Lost,
    /// All of them are there.
    Kept,
    /// Each write is there or not.
    Writes,
    /// Each page of each write is there or not.
    Pages,
    /// Each sector of each write is there or not.
    Sectors,
}

/// All fates.
pub const FATES: [Fate; 5] = [Fate::Lost, Fate::Kept, Fate::Writes, Fate::Pages, Fate::Sectors];

/// The files below one directory.
#[derive(Clone)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// Node of each inode; an inode may be used again by another file.
    inodes: HashMap<u64, usize>,
}

#[derive(Clone)]
enum Node {
    File(Content),
    Directory(Names),
}

#[derive(Clone, Default)]
struct Content {
    safe: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

#[derive(Clone, Default)]
struct Names {
    safe: BTreeMap<String, usize>,
    pending: Vec<Naming>,
}

#[derive(Clone)]
enum Naming {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

const ROOT: usize = 0;

impl Disk {
    /// A disk with everything below this directory, all of it safe.
    pub fn of(root: &Path) -> anyhow::Result<Disk> {
        let mut disk = Disk { root: root.to_owned(), nodes: Vec::new(), inodes: HashMap::new() };
        disk.take_in(root)?;
        Ok(disk)
    }

    fn take_in(&mut self, path: &Path) -> anyhow::Result<usize> {
        let facts = std::fs::symlink_metadata(path)?;
        let number = self.nodes.len();
        self.inodes.insert(facts.ino(), number);
        if facts.is_file() {
            self.nodes.push(Node::File(Content { safe: std::fs::read(path)?, pending: Vec::new() }));
            return Ok(number);
        }
        self.nodes.push(Node::Directory(Names::default()));
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() || entry.file_type()?.is_dir() {
                let node = self.take_in(&entry.path())?;
                self.names(number)?.safe.insert(entry.file_name().to_string_lossy().into_owned(), node);
            }
        }
        Ok(number)
    }

    /// Does a step.
    pub fn take(&mut self, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Root { inode } => drop(self.inodes.insert(*inode, ROOT)),
            Step::Create { inode, path } => self.add(*inode, path, Node::File(Content::default()))?,
            Step::MakeDirectory { inode, path } => {
                self.add(*inode, path, Node::Directory(Names::default()))?
            }
            Step::Write { inode, at, bytes } => {
                self.change(*inode, Change::Write { at: *at, bytes: bytes.clone() })?;
            }
            Step::Truncate { inode, len } => self.change(*inode, Change::Truncate { len: *len })?,
            Step::Sync { inode } => self.sync(*inode)?,
            Step::Rename { from, to } => self.rename(from, to)?,
            Step::Remove { path } => {
                let (parent, name) = self.place(path)?;
                let names = self.names(parent)?;
                // The control socket is no file and was never noted.
                if names.live().contains_key(&name) {
                    names.pending.push(Naming::Remove(name));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, inode: u64, path: &Path, node: Node) -> anyhow::Result<()> {
        let (parent, name) = self.place(path)?;
        let number = self.nodes.len();
        self.nodes.push(node);
        self.inodes.insert(inode, number);
        self.names(parent)?.pending.push(Naming::Add(name, number));
        Ok(())
    }

    fn change(&mut self, inode: u64, change: Change) -> anyhow::Result<()> {
        let number = *self.inodes.get(&inode).context("a file that nobody has made is changed")?;
        match &mut self.nodes[number] {
            Node::File(content) => content.pending.push(change),
            Node::Directory(_) => bail!("a directory is written to"),
        }
        Ok(())
    }

    fn sync(&mut self, inode: u64) -> anyhow::Result<()> {
        let number = *self.inodes.get(&inode).context("a file that nobody has made is synced")?;
        match &mut self.nodes[number] {
            Node::File(content) => {
                for change in std::mem::take(&mut content.pending) {
                    change.apply(&mut content.safe);
                }
            }
            Node::Directory(names) => {
                names.safe = names.live();
                names.pending.clear();
            }
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let ((parent, old), (other, new)) = (self.place(from)?, self.place(to)?);
        if parent != other {
            bail!("{} moves to another directory", from.display());
        }
        self.names(parent)?.pending.push(Naming::Rename(old, new));
        Ok(())
    }

    /// The directory of a path, as it is at this moment, and the last name of the path.
    fn place(&mut self, path: &Path) -> anyhow::Result<(usize, String)> {
        let below = path.strip_prefix(&self.root).context("it is not below the root")?;
        let names: Vec<String> =
            below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let (name, parents) = names.split_last().context("the root itself is changed")?;
        let mut parent = ROOT;
        for name in parents {
            let live = self.names(parent)?.live();
            parent = *live.get(name).with_context(|| format!("{} lies nowhere", path.display()))?;
        }
        Ok((parent, name.clone()))
    }

    fn names(&mut self, number: usize) -> anyhow::Result<&mut Names> {
        match &mut self.nodes[number] {
            Node::Directory(names) => Ok(names),
            Node::File(_) => bail!("a file is used as a directory"),
        }
    }

    /// Writes what a power cut at this moment could leave to a directory.
    pub fn cut(&self, to: &Path, fate: Fate, chance: &mut fastrand::Rng) -> anyhow::Result<()> {
        self.leave(ROOT, to, fate, chance)
    }

    /// Fails where the files of a directory are not what the steps make of them. `apart` are names that are not looked at.
    pub fn compare(&self, with: &Path, apart: &[&str]) -> anyhow::Result<()> {
        self.compare_node(ROOT, with, apart)
    }

    fn compare_node(&self, number: usize, path: &Path, apart: &[&str]) -> anyhow::Result<()> {
        match &self.nodes[number] {
            Node::File(content) if std::fs::read(path)? == content.live() => Ok(()),
            Node::File(_) => bail!("the recording of {} is not complete", path.display()),
            Node::Directory(names) => {
                let live = names.live();
                for (name, node) in live.iter().filter(|(name, _)| !apart.contains(&name.as_str())) {
                    self.compare_node(*node, &path.join(name), apart)?;
                }
                let unknown = std::fs::read_dir(path)?.filter_map(|entry| {
                    let name = entry.ok()?.file_name().to_string_lossy().into_owned();
                    (!live.contains_key(&name) && !apart.contains(&name.as_str())).then_some(name)
                });
                let unknown: Vec<String> = unknown.collect();
                if unknown.is_empty() { Ok(()) } else { bail!("nobody recorded {unknown:?}") }
            }
        }
    }

    fn leave(
        &self,
        number: usize,
        path: &Path,
        fate: Fate,
        chance: &mut fastrand::Rng,
    ) -> anyhow::Result<()> {
        match &self.nodes[number] {
            Node::File(content) => std::fs::write(path, content.after_cut(fate, chance))?,
            Node::Directory(names) => {
                std::fs::create_dir_all(path)?;
                for (name, node) in names.after_cut(fate, chance) {
                    self.leave(node, &path.join(name), fate, chance)?;
                }
            }
        }
        Ok(())
    }
}

impl Content {
    fn live(&self) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        self.pending.iter().for_each(|change| change.clone().apply(&mut bytes));
        bytes
    }

    fn after_cut(&self, fate: Fate, chance: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        for change in &self.pending {
            for part in change.parts(fate) {
                let stays = match fate {
                    Fate::Lost => false,
                    Fate::Kept => true,
                    Fate::Writes | Fate::Pages | Fate::Sectors => chance.bool(),
                };
                if stays {
                    part.apply(&mut bytes);
                }
            }
        }
        bytes
    }
}

impl Names {
    fn live(&self) -> BTreeMap<String, usize> {
        self.after(self.pending.len())
    }

    fn after_cut(&self, fate: Fate, chance: &mut fastrand::Rng) -> BTreeMap<String, usize> {
        self.after(match fate {
            Fate::Lost => 0,
            Fate::Kept => self.pending.len(),
            Fate::Writes | Fate::Pages | Fate::Sectors => chance.usize(..=self.pending.len()),
        })
    }

    fn after(&self, count: usize) -> BTreeMap<String, usize> {
        let mut names = self.safe.clone();
        for naming in &self.pending[..count] {
            match naming {
                Naming::Add(name, node) => drop(names.insert(name.clone(), *node)),
                Naming::Remove(name) => drop(names.remove(name)),
                Naming::Rename(from, to) => {
                    if let Some(node) = names.remove(from) {
                        names.insert(to.clone(), node);
                    }
                }
            }
        }
        names
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Change::Truncate { len } => content.resize(len, 0),
            Change::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }

    /// The parts that reach the disk each for itself.
    fn parts(&self, fate: Fate) -> Vec<Change> {
        let size = match fate {
            Fate::Lost | Fate::Kept | Fate::Writes => return vec![self.clone()],
            Fate::Pages => PAGE,
            Fate::Sectors => SECTOR,
        };
        let Change::Write { at, bytes } = self else { return vec![self.clone()] };
        let mut parts = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let end = bytes.len().min(((at + start) / size + 1) * size - at);
            parts.push(Change::Write { at: at + start, bytes: bytes[start..end].to_vec() });
            start = end;
        }
        parts
    }
}
