//! `proxy` of `[[client]]`: the way to the host leads through another one.

use super::render;
use super::table::{Reading, Table};
use super::tree::Node;
use super::url::{self, Url};
use super::{Secret, value};

const SCHEMES: [&str; 2] = ["http", "socks5"];

/// The way to the host leads through a proxy, which looks up the host's name; TLS goes through it unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `http://HOST:PORT` asks with CONNECT (port 80 by default), `socks5://HOST:PORT` as SOCKS says (port 1080 by default).
    pub url: String,
    /// User for the proxy.
    pub username: Option<String>,
    /// Password of that user, a secret.
    pub password: Option<Secret>,
}

impl Proxy {
    pub(super) fn read(table: &mut Table) -> Option<Proxy> {
        if table.holds_table("proxy") {
            return table.within("proxy", Proxy::read_table);
        }
        table.optional("proxy", |_, _| Err("must be a table: { url = \"http://…\" }".to_owned()))
    }

    fn read_table(table: &mut Table) -> Option<Proxy> {
        let url = table.required("url", proxy_url);
        let username = table.optional("username", value::line);
        let password = table.optional("password", value::secret);
        if table.has("password") && !table.has("username") {
            table.fail("password", "needs `username` too");
        }
        Some(Proxy { url: url?, username, password })
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&[
            ("url", Some(render::string(&url::shown(&self.url)))),
            ("username", self.username.as_deref().map(render::string)),
            ("password", self.password.as_ref().map(render::secret)),
        ])
    }
}

fn proxy_url(node: &Node, _: &Reading) -> Result<String, String> {
    let url = Url::parse(value::text(node)?, SCHEMES)?;
    match url.user {
        Some(_) => Err("must not hold a user; use `username` and `password`".to_owned()),
        None if !matches!(url.tail, "" | "/") => Err("must end behind host and port".to_owned()),
        None => Ok(url.text()),
    }
}
