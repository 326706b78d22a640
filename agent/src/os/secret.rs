//! Reads a secret from where the configuration says that it is. Errors name the source and never the value.

use std::path::Path;

use holdfast_core::config::Secret;

/// The value of a secret: the first line of its file, its variable, or what the configuration itself holds.
///
/// It blocks for as long as the file takes; secrets are a few bytes on a local disk.
pub fn read(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Plain(value) => Ok(value.clone()),
        Secret::File(path) => {
            first_line(path).map_err(|cause| format!("cannot read {}: {cause}", path.display()))
        }
        Secret::Credential(name) => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY");
            credential(directory.as_deref().map(Path::new), name)
        }
        // The cause of a failure is not chained: for a variable that is not UTF-8 it holds the value.
        Secret::Env(name) => {
            std::env::var(name).map_err(|_| format!("cannot read ${name}: it is not set, or not UTF-8"))
        }
    }
}

fn credential(directory: Option<&Path>, name: &str) -> Result<String, String> {
    let directory = directory.ok_or_else(|| {
        format!("cannot read credential {name}: $CREDENTIALS_DIRECTORY is not set by systemd")
    })?;
    first_line(&directory.join(name)).map_err(|cause| format!("cannot read credential {name}: {cause}"))
}

fn first_line(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line_without_the_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for text in ["s3cret", "s3cret\n", "s3cret\r\n", "s3cret\nmore\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&Secret::File(path.clone())), Ok("s3cret".to_owned()));
        }
    }

    #[test]
    fn a_credential_is_a_file_in_the_directory_that_systemd_names() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cloud"), "s3cret\n").unwrap();
        assert_eq!(credential(Some(directory.path()), "cloud"), Ok("s3cret".to_owned()));
        let missing = credential(Some(directory.path()), "other").unwrap_err();
        assert!(missing.starts_with("cannot read credential other: "), "{missing}");
        let outside = credential(None, "cloud").unwrap_err();
        assert_eq!(outside, "cannot read credential cloud: $CREDENTIALS_DIRECTORY is not set by systemd");
    }

    #[test]
    fn an_environment_variable_is_read_by_its_name() {
        assert_eq!(read(&Secret::Env("PATH".to_owned())), Ok(std::env::var("PATH").unwrap()));
        let missing = read(&Secret::Env("HOLDFAST_NO_SUCH_VARIABLE".to_owned())).unwrap_err();
        assert_eq!(missing, "cannot read $HOLDFAST_NO_SUCH_VARIABLE: it is not set, or not UTF-8");
    }

    #[test]
    fn the_error_of_a_missing_file_names_the_file() {
        let error = read(&Secret::File("/nonexistent/key".into())).unwrap_err();
        assert!(error.starts_with("cannot read /nonexistent/key: "), "{error}");
    }
}
