//! Secrets of a configuration, sound or not, for hiding them wherever else they turn up: in an error of a peer, in a line of the
//! log. It goes by the names of keys, and hides rather too much.

use std::path::Path;

use super::Secret;
use super::fault::{ConfigFile, Faults};
use super::plain::sounds_secret;
use super::tree::{self, Entry, Kind, Node};
use super::url;

const HIDDEN: &str = "***";
/// Keys under which everything is a secret, beside those that sound like it.
const KEYS: [&str; 4] = ["params", "headers", "message", "bearer"];
/// Keys that sound like secrets and name files or ways.
const FILES: [&str; 6] = ["key", "auth", "authorization", "tls", "password_file", "key_file"];
/// Shorter ones would hide half of every page.
const LENGTH_MIN: usize = 4;

/// Secrets, and where more of them are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// Those that stand in the text.
    pub texts: Vec<String>,
    /// Those that are read elsewhere.
    pub elsewhere: Vec<Secret>,
}

impl Secrets {
    /// The secrets of all files of a configuration.
    pub fn of(files: &[ConfigFile]) -> Secrets {
        let mut found = Secrets::default();
        let mut entries = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let own = tree::parse(index, &file.text, &Faults::default());
            found.collect(&own, false, file.path.parent().unwrap_or(Path::new("")));
            entries.extend(own);
        }
        let tables = entries.iter().filter(|entry| matches!(entry.key.as_str(), "variables" | "environment"));
        tables.for_each(|table| found.resolve(&table.node));
        found
    }

    /// The text without them.
    pub fn hide(texts: &[String], text: &str) -> String {
        let mut texts: Vec<&String> =
            texts.iter().filter(|text| text.chars().count() >= LENGTH_MIN).collect();
        // One may be a part of another.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.into_iter().fold(text.to_owned(), |hidden, secret| hidden.replace(secret.as_str(), HIDDEN))
    }

    fn collect(&mut self, entries: &[Entry], is_secret: bool, folder: &Path) {
        for Entry { key, node, .. } in entries {
            let is_file = FILES.contains(&key.as_str());
            let sounds = KEYS.contains(&key.as_str()) || sounds_secret(key) && !is_file;
            self.collect_node(node, is_secret || sounds, folder);
        }
    }

    fn collect_node(&mut self, node: &Node, is_secret: bool, folder: &Path) {
        match &node.kind {
            Kind::String(text) if is_secret => self.texts.push(text.clone()),
            Kind::String(text) => self.texts.extend(parts_hidden(text)),
            Kind::Array(nodes) => nodes.iter().for_each(|node| self.collect_node(node, is_secret, folder)),
            Kind::Table(entries) => match elsewhere(entries, folder).filter(|_| is_secret) {
                Some(secret) => self.elsewhere.push(secret),
                None => self.collect(entries, is_secret, folder),
            },
            Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) | Kind::Other => {}
        }
    }

    /// Values of variables that secrets are made of.
    fn resolve(&mut self, table: &Node) {
        for entry in table.kind.table().unwrap_or_default() {
            match &entry.node.kind {
                Kind::Table(_) => self.resolve(&entry.node),
                Kind::String(value) => {
                    let named = format!("${{{}}}", entry.key);
                    if self.texts.iter().any(|text| text.contains(&named)) {
                        self.texts.push(value.clone());
                    }
                }
                Kind::Array(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) | Kind::Other => {}
            }
        }
    }
}

/// `{ file = "…" }` and its like.
fn elsewhere(entries: &[Entry], folder: &Path) -> Option<Secret> {
    let [Entry { key, node, .. }] = entries else { return None };
    let value = node.kind.string()?;
    match key.as_str() {
        "file" => Some(Secret::File(folder.join(value))),
        "credential" => Some(Secret::Credential(value.to_owned())),
        "env" => Some(Secret::Env(value.to_owned())),
        _ => None,
    }
}

/// The parts of a url that are not shown, and every variable in it that may be one.
fn parts_hidden(text: &str) -> Vec<String> {
    if !text.contains("://") {
        return Vec::new();
    }
    let cut = |text: &str| -> Vec<String> {
        text.split(['/', '?', '&', '=', '@', ':', '#']).map(str::to_owned).collect()
    };
    let shown = cut(&url::shown(text));
    cut(text).into_iter().filter(|part| !shown.contains(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[variables]
PASS = "from-a-variable"
SITE = "north"
[environment.lab]
TOKEN = "from-an-environment"
[[client]]
id = "cloud"
name = "${SITE}"
url = "wss://gw:${PASS}@hub.example/in/token/path-token?key=query-secret&line=3"
auth = { basic = { username = "gw", password = "auth-password" } }
headers = { x-api-key = "header-secret", x-file = { file = "api-key" } }
params = { line = "param-secret" }
message = '{"hello":"${TOKEN}"}'
tls = { ca = "ca.pem", cert = "gw.pem", key = "gw.key" }
[[server]]
id = "sensors"
auth = "basic"
users = [ { name = "pump", password_hash = "$argon2id$hash" }, { name = "b", password = { env = "B_PASSWORD" } } ]
[mqtt]
url = "mqtt://broker.example"
username = "gw"
password = { credential = "mqtt" }
"#;

    fn file(text: &str) -> ConfigFile {
        ConfigFile { path: "/etc/holdfast/holdfast.toml".into(), text: text.to_owned() }
    }

    #[test]
    fn every_secret_is_found_and_what_is_none_is_left() {
        let found = Secrets::of(&[file(TEXT)]);
        let hidden = Secrets::hide(&found.texts, TEXT);
        for secret in [
            "from-a-variable",
            "from-an-environment",
            "path-token",
            "query-secret",
            "auth-password",
            "header-secret",
            "param-secret",
            "argon2id",
            "hello",
        ] {
            assert!(!hidden.contains(secret), "{secret} stands in {hidden}");
        }
        for plain in
            ["hub.example", "north", "gw.key", "ca.pem", "pump", "broker.example", "\"basic\"", "sensors"]
        {
            assert!(hidden.contains(plain), "{plain} is missing in {hidden}");
        }
        let expected = [
            Secret::File("/etc/holdfast/api-key".into()),
            Secret::Credential("mqtt".to_owned()),
            Secret::Env("B_PASSWORD".to_owned()),
        ];
        assert_eq!(found.elsewhere, expected);
    }

    #[test]
    fn a_text_with_faults_gives_up_its_secrets_too() {
        let found = Secrets::of(&[file("[mqtt]\nurl = \"mqtt://h\"\npassword = \"s3cret\"\nx = = 1\n")]);
        assert!(found.texts.contains(&"s3cret".to_owned()), "{found:?}");
    }

    #[test]
    fn a_secret_that_holds_another_one_is_hidden_whole() {
        let texts = ["abcd".to_owned(), "xabcdx".to_owned(), "abc".to_owned()];
        assert_eq!(Secrets::hide(&texts, "xabcdx abcd abc"), "*** *** abc");
    }
}
