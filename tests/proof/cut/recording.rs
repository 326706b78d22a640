//! Notes of the preloaded recorder, record by record.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

const HEAD: usize = 25;

/// One change, or one sync.
#[derive(Debug)]
pub enum Step {
    /// The root's inode, at each start of a process.
    Root { inode: u64 },
    /// A new, empty file.
    Create { inode: u64, path: PathBuf },
    /// Bytes of a file.
    Write { inode: u64, at: usize, bytes: Vec<u8> },
    /// A file's length.
    Truncate { inode: u64, len: usize },
    /// A file or a directory is made durable.
    Sync { inode: u64 },
    /// A new directory.
    MakeDirectory { inode: u64, path: PathBuf },
    /// A file or a directory moves.
    Rename { from: PathBuf, to: PathBuf },
    /// A file or a directory goes.
    Remove { path: PathBuf },
}

/// Compiles the recorder.
pub fn compile(directory: &Path) -> anyhow::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/cut/record.c");
    let library = directory.join("record.so");
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    let status = command.status().context("cannot start cc")?;
    if !status.success() {
        bail!("cc fails: {status}");
    }
    Ok(library)
}

/// All whole steps of a recording, each with the length of the recording behind it.
pub fn read(file: &Path) -> anyhow::Result<Vec<(u64, Step)>> {
    let bytes = std::fs::read(file).context("there is no recording")?;
    let mut steps = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((step, behind)) = step(rest)? {
        rest = behind;
        steps.push(((bytes.len() - rest.len()) as u64, step));
    }
    Ok(steps)
}

/// The first step and what is behind it; none where the recording ends.
fn step(bytes: &[u8]) -> anyhow::Result<Option<(Step, &[u8])>> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
    let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("it is eight bytes"));
    let short =
        |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("it is four bytes")) as usize;
    let (inode, number) = (long(1), usize::try_from(long(9))?);
    let Some((first, rest)) = rest.split_at_checked(short(17)) else { return Ok(None) };
    let Some((second, rest)) = rest.split_at_checked(short(21)) else { return Ok(None) };
    let path = |bytes: &[u8]| PathBuf::from(String::from_utf8_lossy(bytes).into_owned());
    let step = match head[0] {
        0 => Step::Root { inode },
        1 => Step::Create { inode, path: path(first) },
        2 => Step::Write { inode, at: number, bytes: first.to_vec() },
        3 => Step::Truncate { inode, len: number },
        4 => Step::Sync { inode },
        5 => Step::MakeDirectory { inode, path: path(first) },
        6 => Step::Rename { from: path(first), to: path(second) },
        7 => Step::Remove { path: path(first) },
        other => bail!("there is no record of kind {other}"),
    };
    Ok(Some((step, rest)))
}
