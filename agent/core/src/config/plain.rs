//! Which secrets stand in the text of the configuration itself.

use super::client::{Auth, Client};
use super::handshake::Fields;
use super::{Config, Secret, url};

/// A header field or a parameter with one of these in its name is a secret.
const NAMES: [&str; 7] = ["auth", "cookie", "key", "pass", "secret", "token", "credential"];

impl Config {
    /// The keys of secrets whose value stands in the text; none of those that are only named there.
    pub fn plain_secrets(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.clients.iter().flat_map(of_client).collect();
        for server in &self.servers {
            let users = server.access.users.iter().filter(|user| is_plain(user.password.as_ref()));
            keys.extend(users.map(|user| format!("server {}: users.password of {}", server.id, user.name)));
        }
        if self.mqtt.as_ref().is_some_and(|mqtt| is_plain(mqtt.password.as_ref())) {
            keys.push("mqtt: password".to_owned());
        }
        keys
    }
}

fn of_client(client: &Client) -> Vec<String> {
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
    keys.into_iter().map(|key| format!("client {}: {key}", client.id)).collect()
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
