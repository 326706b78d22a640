//! Small file systems that are mounted for a proof, where nobody else sees them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// A mounted file system. Dropping it unmounts it.
pub struct Mounted {
    /// Where.
    pub at: PathBuf,
}

/// A file that holds an ext4 file system.
pub struct Image(PathBuf);

impl Mounted {
    /// One in memory.
    pub fn tmpfs(at: &Path, bytes: u64) -> anyhow::Result<Mounted> {
        mount(at, &["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])
    }

    /// Mounts it again with other options.
    pub fn remount(&self, options: &str) -> anyhow::Result<()> {
        run("mount", &["-o", &format!("remount,{options}"), &text(&self.at)])
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).output();
    }
}

impl Image {
    /// Makes one below a directory.
    pub fn ext4(directory: &Path, bytes: u64) -> anyhow::Result<Image> {
        let image = directory.join("image");
        File::create(&image)?.set_len(bytes)?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)])?;
        Ok(Image(image))
    }

    /// Mounts it.
    pub fn mount(&self, at: &Path, options: &str) -> anyhow::Result<Mounted> {
        mount(at, &["-o", &format!("loop,{options}"), &text(&self.0)])
    }

    /// Repairs it, as a machine does at its start.
    pub fn repair(&self) -> anyhow::Result<()> {
        let checked = Command::new("e2fsck").args(["-f", "-p"]).arg(&self.0).output();
        let checked = checked.context("there is no e2fsck")?;
        // 1: errors were corrected (e2fsck(8)).
        match checked.status.code() {
            Some(0 | 1) => Ok(()),
            _ => bail!("e2fsck fails: {}", String::from_utf8_lossy(&checked.stdout).trim()),
        }
    }
}

fn mount(at: &Path, arguments: &[&str]) -> anyhow::Result<Mounted> {
    std::fs::create_dir_all(at)?;
    let at_text = text(at);
    let arguments: Vec<&str> = arguments.iter().copied().chain([at_text.as_str()]).collect();
    run("mount", &arguments)?;
    Ok(Mounted { at: at.to_owned() })
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("there is no {program}"))?;
    if !output.status.success() {
        bail!("{program} fails: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
