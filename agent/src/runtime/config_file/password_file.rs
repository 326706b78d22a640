//! Passwords in files of their own beside the configuration, which only the agent can read.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::os::private;

/// A password on its way into a file of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword {
    path: PathBuf,
    password: String,
}

impl NewPassword {
    /// For the table with this id, in the folder of the configuration under a name that is free.
    pub fn beside(config: &Path, id: &str, password: &str) -> Result<NewPassword, String> {
        if password.contains(['\r', '\n']) {
            return Err("the password holds a line break, and a file of a secret is a line".to_owned());
        }
        let names = (1..).map(|number| match number {
            1 => format!("{id}.password"),
            number => format!("{id}-{number}.password"),
        });
        let mut paths = names.map(|name| config.with_file_name(name));
        let path = paths.find(|path| path.symlink_metadata().is_err()).unwrap_or_default();
        Ok(NewPassword { path, password: password.to_owned() })
    }

    /// Where it is going to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name, which the configuration reads from its own folder on.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Makes the file, for whoever the agent runs as: its data directory belongs to that user.
    pub fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let written = || -> std::io::Result<()> {
            let mut file = private::create_new(&self.path)?;
            if let Ok(agent) = data_dir.metadata()
                && agent.uid() != file.metadata()?.uid()
                && rustix::process::geteuid().is_root()
            {
                fchown(&file, Some(agent.uid()), Some(agent.gid()))?;
            }
            writeln!(file, "{}", self.password)?;
            file.sync_all()
        };
        written().with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Takes the file away again.
    pub fn remove(&self) {
        // It is named by nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Those of these files that [`NewPassword::beside`] made for the table with this id.
pub fn made_for<'a>(config: &Path, id: &str, files: impl IntoIterator<Item = &'a Path>) -> Vec<PathBuf> {
    let folder = std::path::absolute(config).ok().and_then(|config| config.parent().map(Path::to_owned));
    let is_its = |path: &&Path| {
        let stem = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".password"));
        let rest = stem.filter(|stem| stem.is_char_boundary(id.len()) && stem.len() >= id.len());
        let number = rest.map(|stem| stem.split_at(id.len())).filter(|(own, _)| own.eq_ignore_ascii_case(id));
        let is_number = |rest: &str| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_digits);
        path.parent() == folder.as_deref() && number.is_some_and(|(_, rest)| is_number(rest))
    };
    files.into_iter().filter(is_its).map(Path::to_owned).collect()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_a_file_of_its_own_and_none_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("holdfast.toml");
        for name in ["cloud.password", "cloud-2.password"] {
            let password = NewPassword::beside(&config, "cloud", "s3cret").unwrap();
            assert_eq!(password.name(), name);
            password.write(folder.path()).unwrap();
            assert!(password.write(folder.path()).is_err());
            assert_eq!(std::fs::read_to_string(password.path()).unwrap(), "s3cret\n");
            assert_eq!(password.path().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert!(NewPassword::beside(&config, "cloud", "two\nlines").is_err());
    }

    #[test]
    fn only_what_was_made_for_a_table_is_found_for_it() {
        let files = [
            "/etc/h/cloud.password",
            "/etc/h/Cloud-2.password",
            "/etc/h/cloud-x.password",
            "/etc/h/cloudy.password",
            "/etc/h/clo.password",
            "/etc/h/cloud.secret",
            "/etc/other/cloud.password",
        ];
        let found = made_for(Path::new("/etc/h/h.toml"), "cloud", files.map(Path::new));
        assert_eq!(found, [files[0], files[1]].map(PathBuf::from));
    }

    #[test]
    fn it_belongs_to_the_user_of_the_agent() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(54_321), Some(54_321)).unwrap();
        let password = NewPassword::beside(&folder.path().join("a.toml"), "cloud", "s3cret").unwrap();
        password.write(&data).unwrap();
        let facts = password.path().metadata().unwrap();
        assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o777), (54_321, 54_321, 0o600));
    }
}
