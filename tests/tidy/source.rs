//! Source files as the rules see them: their code without comments and without tests.

use std::path::{Path, PathBuf};

/// A file of the repository.
pub struct Source {
    /// Path from the root of the repository.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// All Rust files below a folder, or the one file of that name, in order.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("sources can be read");
        let path = path.strip_prefix(root).expect("it lies below the root").display().to_string();
        Source { path, text }
    };
    paths.into_iter().map(read).collect()
}

fn collect(path: &Path, paths: &mut Vec<PathBuf>) {
    if path.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
        paths.push(path.to_owned());
    }
    for entry in std::fs::read_dir(path).into_iter().flatten() {
        let path = entry.expect("the repository can be read").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden {
            collect(&path, paths);
        }
    }
}

impl Source {
    /// For a file of the program, the room that it belongs to: `store` for `agent/src/store.rs` and all of `agent/src/store/`.
    pub fn room(&self) -> &str {
        let rest = self.path.strip_prefix("agent/src/").unwrap_or_default();
        rest.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Lines of code with their numbers, comments taken off; what is under test is not among them.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().take(self.code_length());
        lines.map(|(index, line)| (index + 1, code_of(line))).filter(|(_, line)| !line.trim().is_empty())
    }

    /// Number of lines in front of the tests.
    pub fn code_length(&self) -> usize {
        if self.is_for_tests() {
            return 0;
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let starts_tests = |index: &usize| {
            lines[*index].trim() == "#[cfg(test)]"
                && lines.get(index + 1).is_some_and(|next| next.starts_with("mod tests {"))
        };
        (0..lines.len()).find(starts_tests).unwrap_or(lines.len())
    }

    /// Places in the code where one of these words stands.
    pub fn code_with(&self, words: &[&str]) -> Vec<String> {
        let with = self.code().filter(|(_, line)| words.iter().any(|word| stands_in(line, word)));
        with.map(|(number, line)| self.place(number, line)).collect()
    }

    /// Places anywhere in the file where this text stands.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = self.text.lines().enumerate().filter(|(_, line)| line.contains(text));
        lines.map(|(index, line)| self.place(index + 1, line)).collect()
    }

    /// Names of the tests in it.
    pub fn tests(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.text.lines().map(str::trim).collect();
        let marked = (0..lines.len()).filter(|index| lines[*index] == "#[test]");
        let names = marked.filter_map(|index| {
            let function = lines[index..].iter().find_map(|line| line.strip_prefix("fn "))?;
            function.split('(').next()
        });
        names.collect()
    }

    /// `path:line: text`
    pub fn place(&self, number: usize, line: &str) -> String {
        format!("{}:{number}: {}", self.path, line.trim())
    }

    /// Files that are compiled for tests only. Those below `tests/` are the tests themselves and count as code.
    fn is_for_tests(&self) -> bool {
        let in_agent = self.path.starts_with("agent/");
        in_agent
            && (self.path.ends_with("tests.rs")
                || self.path.contains("/tests/")
                || self.path.ends_with("authority.rs"))
    }
}

/// The line without its comment. Two slashes in a url are none.
pub fn code_of(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Whether the word stands in the line, not as a part of another word.
fn stands_in(line: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let joined_before = word.starts_with(is_letter) && line[..at].ends_with(is_letter);
        let joined_after = word.ends_with(is_letter) && line[at + word.len()..].starts_with(is_letter);
        !joined_before && !joined_after
    })
}
