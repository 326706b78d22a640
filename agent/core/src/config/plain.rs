//! Which secrets stand in the text of the configuration itself.

use std::fmt;

use super::client::{Auth, Client};
use super::edit::{self, Kind};
use super::handshake::Fields;
use super::{Config, ConfigFile, Secret, url};

/// A header field or a parameter with one of these in its name is a secret.
const NAMES: [&str; 7] = ["auth", "cookie", "key", "pass", "secret", "token", "credential"];

/// A secret whose value stands in the text, shown as the place where people find it: `client cloud: auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainSecret {
    key: String,
    table: Option<(Kind, String)>,
}

impl fmt::Display for PlainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some((kind, id)) => write!(f, "{} {id}: {}", kind.key(), self.key),
            None => write!(f, "mqtt: {}", self.key),
        }
    }
}

impl PlainSecret {
    /// Whether this one of the files holds its value: the one that has its table, and if that names variables also those that
    /// have some.
    pub fn stands_in(&self, file: &ConfigFile, files: &[ConfigFile]) -> bool {
        let Some(own) = files.iter().find(|file| self.has_table(&file.text)) else { return true };
        let has_variables = || edit::has(&file.text, "variables") || edit::has(&file.text, "environment");
        own.path == file.path || (own.text.contains("${") && has_variables())
    }

    fn has_table(&self, text: &str) -> bool {
        match &self.table {
            Some((kind, id)) => {
                edit::ids(text, *kind).is_ok_and(|ids| ids.iter().any(|own| own.eq_ignore_ascii_case(id)))
            }
            None => edit::has(text, "mqtt"),
        }
    }
}

impl Config {
    /// Secrets whose value stands in the text; none of those that are only named there.
    pub fn plain_secrets(&self) -> Vec<PlainSecret> {
        let of = |kind: Kind, id: &str, key: String| PlainSecret { key, table: Some((kind, id.to_owned())) };
        let clients = self.clients.iter().flat_map(|client| {
            of_client(client).into_iter().map(|key| of(Kind::Client, &client.id, key.to_owned()))
        });
        let mut keys: Vec<PlainSecret> = clients.collect();
        for server in &self.servers {
            let users = server.access.users.iter().filter(|user| is_plain(user.password.as_ref()));
            keys.extend(
                users.map(|user| of(Kind::Server, &server.id, format!("users.password of {}", user.name))),
            );
        }
        for source in &self.sources {
            let mqtt = source.mqtt();
            let proxy = mqtt.proxy.as_ref().and_then(|proxy| proxy.password.as_ref());
            let passwords = [("mqtt.password", mqtt.password.as_ref()), ("mqtt.proxy.password", proxy)];
            let plain = passwords.into_iter().filter(|(_, password)| is_plain(*password));
            keys.extend(plain.map(|(key, _)| of(Kind::Source, &source.id, key.to_owned())));
        }
        if self.mqtt.as_ref().is_some_and(|mqtt| is_plain(mqtt.password.as_ref())) {
            keys.push(PlainSecret { key: "password".to_owned(), table: None });
        }
        keys
    }
}

fn of_client(client: &Client) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if client.endpoints().iter().any(|url| url::holds_secret(url)) {
        keys.push("url");
    }
    let auth = match &client.auth {
        Auth::None => None,
        Auth::Basic { password, .. } | Auth::Url { password, .. } => Some(password),
        Auth::Bearer(token) => Some(token),
    };
    if is_plain(auth) {
        keys.push("auth");
    }
    if has_plain(&client.params) {
        keys.push("params");
    }
    if has_plain(&client.headers) {
        keys.push("headers");
    }
    if is_plain(client.proxy.as_ref().and_then(|proxy| proxy.password.as_ref())) {
        keys.push("proxy.password");
    }
    if client.message.iter().any(|message| matches!(message, Secret::Plain(text) if sounds_secret(text))) {
        keys.push("message");
    }
    keys
}

fn is_plain(secret: Option<&Secret>) -> bool {
    matches!(secret, Some(Secret::Plain(value)) if !value.is_empty())
}

fn has_plain(fields: &Fields) -> bool {
    fields.iter().any(|(name, field)| is_plain(Some(&field.value)) && sounds_secret(name))
}

/// Whether something of this name is a secret.
pub(super) fn sounds_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    NAMES.iter().any(|known| name.contains(known))
}
