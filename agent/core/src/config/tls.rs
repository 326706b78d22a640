//! TLS settings of a connection to the outside: `tls` of `[[client]]`, and the same keys of `[mqtt]`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::render::{self, Lines};
use super::table::{Reading, Table};
use super::tree::{Kind, Node};
use super::{url, value};

/// 32 bytes in base64 without padding.
const PIN_LETTERS: usize = 43;

/// TLS settings of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// PEM file with the only roots to trust, or a list of them; the system's roots by default. A server's own certificate may
    /// stand there, too, also a self-signed one.
    pub ca: Vec<PathBuf>,
    /// PEM file with our certificate chain, for a server that asks for one.
    pub cert: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
    /// Name to verify instead of the url's host.
    pub server_name: Option<String>,
    /// `sha256/…` with the hash of the server's public key in base64, or a list of such. A server with another key is refused.
    /// Without `ca` the key alone is trusted, whatever its certificate says; with `ca` both must hold.
    pub pin: Vec<Pin>,
}

/// SHA-256 of a public key as it stands in a certificate (SubjectPublicKeyInfo, RFC 7469 §2.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl ClientTls {
    /// Its table, or whether TLS is spoken at all.
    pub(super) fn read_or_flag(table: &mut Table) -> (ClientTls, Option<bool>) {
        if table.holds_table("tls") {
            return (table.within("tls", ClientTls::read), None);
        }
        let flag = table.optional("tls", |node, _| {
            node.kind.boolean().ok_or_else(|| "must be true, false or a table".to_owned())
        });
        (ClientTls::default(), flag)
    }

    pub(super) fn read(table: &mut Table) -> ClientTls {
        let tls = ClientTls {
            ca: table.value("ca", Vec::new(), one_or_more("a path", value::path)),
            cert: table.optional("cert", value::path),
            key: table.optional("key", value::path),
            server_name: table.optional("server_name", server_name),
            pin: table.value("pin", Vec::new(), one_or_more("a pin such as \"sha256/…\"", Pin::read)),
        };
        if table.has("cert") && !table.has("key") {
            table.fail("cert", "needs `key` too");
        }
        if table.has("key") && !table.has("cert") {
            table.fail("key", "needs `cert` too");
        }
        tls
    }

    pub(super) fn pairs(&self) -> Lines {
        vec![
            ("ca", list_rendered(self.ca.iter().map(|path| render::path(path)))),
            ("cert", self.cert.as_deref().map(render::path)),
            ("key", self.key.as_deref().map(render::path)),
            ("server_name", self.server_name.as_deref().map(render::string)),
            ("pin", list_rendered(self.pin.iter().map(|pin| render::string(&pin.to_string())))),
        ]
    }
}

impl Pin {
    fn read(node: &Node, _: &Reading) -> Result<Pin, String> {
        let read = |text: &str| {
            let text = text.strip_prefix("sha256/")?.trim_end_matches('=');
            // curl writes two slashes.
            let text = text.strip_prefix('/').filter(|rest| rest.len() == PIN_LETTERS).unwrap_or(text);
            STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
        };
        let found = read(value::text(node)?).map(Pin);
        found.ok_or_else(|| {
            "must be \"sha256/\" and the base64 of the SHA-256 hash of a public key (44 letters)".to_owned()
        })
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// One value or a list of them.
fn one_or_more<T>(
    what: &'static str,
    read: impl Fn(&Node, &Reading) -> Result<T, String>,
) -> impl Fn(&Node, &Reading) -> Result<Vec<T>, String> {
    move |node, reading| {
        let shape = || format!("must be {what}, or a list of such");
        let one = |node: &Node| match node.kind.string() {
            Some(_) => read(node, reading),
            None => Err(shape()),
        };
        let Kind::Array(nodes) = &node.kind else { return one(node).map(|value| vec![value]) };
        if nodes.is_empty() { Err(shape()) } else { nodes.iter().map(one).collect() }
    }
}

/// One value as it is, several as a list.
fn list_rendered(values: impl Iterator<Item = String>) -> Option<String> {
    let values: Vec<String> = values.collect();
    match &values[..] {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

fn server_name(node: &Node, _: &Reading) -> Result<String, String> {
    let name = value::text(node)?;
    if url::is_host(name) { Ok(name.to_owned()) } else { Err("must be the name of a host".to_owned()) }
}
