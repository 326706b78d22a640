//! Who may use a `[[server]]`: how they log in, who they are, and from where they may come.

use std::path::PathBuf;

use super::Secret;
use super::network::{Network, networks};
use super::phc::Phc;
use super::render::{self, Lines};
use super::table::{Reading, Table};
use super::tree::Node;
use super::trusted_proxy::{TrustedProxy, trusted_proxies};
use super::{may_subscribe, url, value};

const AUTH: [(&str, LoginBy); 3] =
    [("anonymous", LoginBy::Anonymous), ("basic", LoginBy::Basic), ("url", LoginBy::Url)];
/// Longest name of a user in bytes.
pub const NAME_BYTES: usize = 128;

/// Who may use a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// How those who come in say who they are. With a login everything needs it, `/api` and `/metrics` too, except `/healthz` and
    /// the control socket.
    pub auth: LoginBy,
    /// `[[server.users]]`, who may log in.
    pub users: Vec<User>,
    /// System accounts that may log in, beside `users`; none by default. Needs libpam on the machine.
    pub pam: Option<Pam>,
    /// Networks and single addresses that may connect; all if there are none. A Unix socket is always let in.
    pub allow: Vec<Network>,
    /// Those that may not, even if they are in `allow`. They are hung up on before TLS.
    pub deny: Vec<Network>,
    /// Reverse proxies in front of this server, by the addresses or networks that they connect from; `unix` is one at a Unix socket.
    /// Their requests count for the caller that `Forwarded` (RFC 7239) or `X-Forwarded-For` names: the last address there that is no trusted
    /// proxy itself. `allow`, `deny`, `limits` and failed logins go by it; the proxy itself needs no entry in `allow`, and its own connections
    /// count for nobody. When both fields are there they have to agree. When they do not, or cannot be read, the caller is one of those unknown,
    /// who count as one. `X-Forwarded-Host` and `X-Forwarded-Proto` are believed, too. Without an entry none of these is believed; but a
    /// request that has one, or `Via` or `X-Real-IP`, never counts as one of this machine.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Accounts that may come in; all if there are none. The others get 403.
    pub allow_users: Vec<String>,
    /// Those that may not, even if they are in `allow_users`.
    pub deny_users: Vec<String>,
    /// Origins of pages that may talk to this server from a browser, beside its own: each as the header `Origin` has it, with a path if that
    /// has one, `file://` or `null`; `*` lets all in. What programs and devices send there is let in unless it could be a page's.
    pub origins: Vec<String>,
    /// Further names of this machine, behind a proxy say; `*.plant.example` stands for all below it. Requests for other names get 421, so
    /// that no page can let its own name point here: the host name stands for itself, also below `.local` and the domains of this network,
    /// and so do `localhost`, the names in `bind` and in the certificate, names without a dot, and every address.
    pub hostnames: Vec<String>,
}

/// How those who come in say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginBy {
    /// They do not.
    #[default]
    Anonymous,
    /// Name and password in the header `Authorization` (RFC 7617), as in `http://NAME:PASSWORD@HOST/` and for WebSockets.
    Basic,
    /// Name and password in the path, for what can set no header: `/auth/NAME/PASSWORD/…`. What follows is the path that counts.
    Url,
}

/// `[[server.users]]`: someone who may log in, with exactly one of `password_hash` and `password`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Compared as it is, without a colon in it.
    pub name: String,
    /// What `holdfast hash-password` prints. A login that was right is remembered for five minutes, if this stays as it is, so that not every request
    /// costs a verification.
    pub password_hash: Option<Secret>,
    /// The password itself: better than none, and warned of when it stands in this file.
    pub password: Option<Secret>,
    /// With MQTT: the topic filters that this user may subscribe to, in place of those of the server.
    pub may_subscribe: Option<Vec<String>>,
}

/// System accounts that may log in, through PAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pam {
    /// The file of this name in `/etc/pam.d` says how a password is verified.
    pub service: String,
    /// Only accounts of one of these groups may log in, as /etc/passwd and /etc/group tell.
    pub groups: Vec<String>,
    /// The folder of that file, if it is another one; needs Linux-PAM 1.4.
    pub confdir: Option<PathBuf>,
}

impl Access {
    pub(super) fn read(table: &mut Table) -> Access {
        let mut users: Vec<User> = Vec::new();
        for user in table.each("users", |_, table| User::read(table)).into_iter().flatten() {
            if users.iter().any(|known| known.name == user.name) {
                table.fail("users", format!("`{}` is there twice", user.name));
            }
            users.push(user);
        }
        let access = Access {
            auth: table.value("auth", LoginBy::default(), value::word(AUTH)),
            pam: if table.holds("pam") { table.within("pam", Pam::read) } else { None },
            allow: table.value("allow", Vec::new(), networks),
            deny: table.value("deny", Vec::new(), networks),
            trusted_proxies: table.value("trusted_proxies", Vec::new(), trusted_proxies),
            allow_users: table.value("allow_users", Vec::new(), names),
            deny_users: table.value("deny_users", Vec::new(), names),
            origins: table.value("origins", Vec::new(), origins),
            hostnames: table.value("hostnames", Vec::new(), hostnames),
            users,
        };
        access.check(table);
        access
    }

    pub(super) fn lines(&self) -> Lines {
        let users: Vec<String> = self.users.iter().map(User::rendered).collect();
        vec![
            ("auth", Some(render::word(AUTH, self.auth))),
            ("users", Some(format!("[{}]", users.join(", ")))),
            ("pam", self.pam.as_ref().map(Pam::rendered)),
            ("allow", Some(shown(&self.allow))),
            ("deny", Some(shown(&self.deny))),
            ("trusted_proxies", Some(shown(&self.trusted_proxies))),
            ("allow_users", Some(render::strings(&self.allow_users))),
            ("deny_users", Some(render::strings(&self.deny_users))),
            ("origins", Some(render::strings(&self.origins))),
            ("hostnames", Some(render::strings(&self.hostnames))),
        ]
    }

    fn check(&self, table: &Table) {
        let logs_in = self.auth != LoginBy::Anonymous;
        let nobody = self.users.is_empty() && !table.has("users") && !table.has("pam");
        if logs_in && nobody {
            table.fail("auth", "needs `users` or `pam`");
        }
        for (key, given) in [
            ("users", !self.users.is_empty()),
            ("pam", self.pam.is_some()),
            ("allow_users", !self.allow_users.is_empty()),
            ("deny_users", !self.deny_users.is_empty()),
        ] {
            if given && !logs_in {
                table.fail(key, "needs auth = \"basic\" or \"url\"; nobody has a name without");
            }
        }
    }
}

impl User {
    fn read(table: &mut Table) -> Option<User> {
        let name = table.required("name", name);
        let password_hash = table.optional("password_hash", hash);
        let password = table.optional("password", value::secret);
        if table.has("password_hash") == table.has("password") {
            table.fail_whole("must have one of `password_hash` and `password`");
        }
        let may_subscribe = table.optional("may_subscribe", may_subscribe::filters);
        Some(User { name: name?, password_hash, password, may_subscribe })
    }

    fn rendered(&self) -> String {
        render::inline(&[
            ("name", Some(render::string(&self.name))),
            ("password_hash", self.password_hash.as_ref().map(render::secret)),
            ("password", self.password.as_ref().map(render::secret)),
            ("may_subscribe", self.may_subscribe.as_deref().map(render::strings)),
        ])
    }
}

impl Pam {
    fn read(table: &mut Table) -> Option<Pam> {
        let service = table.value("service", "holdfast".to_owned(), service);
        let groups = table.required("groups", names);
        let confdir = table.optional("confdir", value::path);
        if groups.as_ref().is_some_and(Vec::is_empty) {
            table.fail("groups", "must name at least one group");
        }
        Some(Pam { service, groups: groups?, confdir })
    }

    fn rendered(&self) -> String {
        render::inline(&[
            ("service", Some(render::string(&self.service))),
            ("groups", Some(render::strings(&self.groups))),
            ("confdir", self.confdir.as_deref().map(render::path)),
        ])
    }
}

fn shown<T: ToString>(list: &[T]) -> String {
    render::strings(&list.iter().map(T::to_string).collect::<Vec<_>>())
}

fn service(node: &Node, reading: &Reading) -> Result<String, String> {
    let service = value::line(node, reading)?;
    let is_file_name = !service.contains('/') && !service.starts_with('.');
    if is_file_name { Ok(service) } else { Err("must be the name of a file in /etc/pam.d".to_owned()) }
}

fn hash(node: &Node, reading: &Reading) -> Result<Secret, String> {
    let secret = value::secret(node, reading)?;
    match &secret {
        Secret::Plain(text) => Phc::parse(text).map(|_| secret),
        Secret::File(_) | Secret::Credential(_) | Secret::Env(_) => Ok(secret),
    }
}

fn name(node: &Node, reading: &Reading) -> Result<String, String> {
    sound_name(value::line(node, reading)?)
}

fn names(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    value::strings(node, reading)?.into_iter().map(sound_name).collect()
}

fn sound_name(name: String) -> Result<String, String> {
    if name.is_empty()
        || name.len() > NAME_BYTES
        || name.contains(|letter: char| letter == ':' || letter.is_control())
    {
        return Err(format!(
            "must be a name without a colon or a control character, {NAME_BYTES} bytes at most"
        ));
    }
    Ok(name)
}

fn origins(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let origins = value::strings(node, reading)?;
    let is_value =
        |origin: &str| !origin.is_empty() && origin.trim() == origin && !origin.contains(char::is_control);
    match origins.iter().find(|origin| !is_value(origin)) {
        Some(origin) => Err(format!(
            "`{}` must be what the header `Origin` says, such as https://panel.example, file:// or null, or *",
            origin.escape_debug()
        )),
        None => Ok(origins),
    }
}

fn hostnames(node: &Node, reading: &Reading) -> Result<Vec<String>, String> {
    let names = value::strings(node, reading)?;
    let is_name = |name: &str| url::is_host(name.strip_prefix("*.").unwrap_or(name));
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!(
            "`{}` must be a host name without a port, such as panel.example or *.plant.example",
            name.escape_debug()
        )),
        None => Ok(names),
    }
}
