//! The version that `holdfast --version` shows: the package's, and the commit where it is known. `HOLDFAST_COMMIT` says it, else
//! git if this is a clone; a build from an archive needs neither.

use std::env::var;
use std::path::Path;
use std::process::Command;

/// Letters of a commit that are shown.
const LETTERS: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=HOLDFAST_COMMIT");
    let given = var("HOLDFAST_COMMIT").ok().filter(|commit| !commit.is_empty());
    let version = var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match given.or_else(commit_of_clone) {
        Some(commit) => format!("{version} ({})", commit.chars().take(LETTERS).collect::<String>()),
        None => version,
    };
    println!("cargo::rustc-env=HOLDFAST_LONG_VERSION={version}");
}

/// The commit of the clone that this folder is the top of; the clone of somebody else around it says nothing.
fn commit_of_clone() -> Option<String> {
    let folder = var("CARGO_MANIFEST_DIR").ok()?;
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&folder).canonicalize().ok()? {
        return None;
    }
    // A file that is not there would have this run at each build.
    for name in ["HEAD", "logs/HEAD"] {
        let file = Path::new(&folder).join(git(&["rev-parse", "--git-path", name])?);
        if file.exists() {
            println!("cargo::rerun-if-changed={}", file.display());
        }
    }
    git(&["rev-parse", "HEAD"])
}
