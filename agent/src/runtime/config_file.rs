//! The configuration file and what surrounds it: reads, and decides nothing about the content.

mod password_file;
mod rewrite;

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast_core::config::client::Auth;
use holdfast_core::config::edit;
use holdfast_core::config::phc::Phc;
use holdfast_core::config::reply::Reply;
use holdfast_core::config::server::{HttpPage, Server};
use holdfast_core::config::tls::ClientTls;
use holdfast_core::config::trusted_proxy;
use holdfast_core::config::{self, Config, ConfigFile, Environment, Overrides, Secret};

use crate::net::tls;
use crate::os::pam::Pam;
use crate::os::{clock, descriptors, secret};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/holdfast/holdfast.toml";
const ROOT_DATA_DIR: &str = "/var/lib/holdfast";
const ROOT_RUNTIME_DIR: &str = "/run/holdfast";

/// Beside the main file: the folder of the files that are read behind it.
const BESIDE: &str = "conf.d";

/// Reads the files of the configuration, the main one first. Without a path that is the default file, or an empty text if there
/// is none; a file that is named must be there.
pub fn read(path: Option<&Path>) -> anyhow::Result<Vec<ConfigFile>> {
    let file = path.unwrap_or(Path::new(DEFAULT_FILE));
    let main = match read_text(file) {
        Err(error) if path.is_none() && is_missing(&error) => String::new(),
        read => read?,
    };
    read_around(file, &main)
}

/// Reads the files of the configuration whose main file has this text: `conf.d/*.toml` beside it, in the order of their names.
/// Hidden ones are left out.
pub fn read_around(main: &Path, text: &str) -> anyhow::Result<Vec<ConfigFile>> {
    let main = absolute(main);
    let folder = main.with_file_name(BESIDE);
    let mut files = vec![ConfigFile { path: main, text: text.to_owned() }];
    for path in listed(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        files.push(ConfigFile { text: read_text(&path)?, path });
    }
    Ok(files)
}

fn listed(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !is_hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(config::text(&bytes, &absolute(path))?.to_owned())
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Makes one configuration of its files. The error of a wrong one is a [`holdfast_core::config::Errors`].
pub fn parse(files: &[ConfigFile], overrides: &Overrides) -> anyhow::Result<Config> {
    let overrides = Overrides { data_dir: overrides.data_dir.as_deref().map(absolute), ..overrides.clone() };
    Ok(in_surroundings(|environment| Config::parse_all(files, &overrides, environment))?)
}

/// What can be made of wrong files: the defaults, and the data directory that they name.
pub fn salvage(files: &[ConfigFile], overrides: &Overrides) -> anyhow::Result<Config> {
    let overrides = Overrides { data_dir: overrides.data_dir.as_deref().map(absolute), ..overrides.clone() };
    Ok(in_surroundings(|environment| Config::salvage(files, &overrides, environment))?)
}

/// One table and what belongs to it as [`Config::render`] shows them; none if there is none with this id.
pub fn shown_table(config: &Config, kind: edit::Kind, id: &str) -> Option<String> {
    in_surroundings(|environment| config.render_table(kind, id, environment))
}

/// [`Config::render`] in the surroundings of this process.
pub fn shown(config: &Config) -> String {
    in_surroundings(|environment| config.render(environment))
}

/// Files of passwords that `client add` made for the table with this id, and that only the first of these configurations names.
pub fn passwords_left(file: &Path, id: &str, before: &Config, after: &Config) -> Vec<PathBuf> {
    let (before, after) = (named_files(before), named_files(after));
    let is_left = |path: &&Path| after.iter().all(|other| other.path != *path);
    password_file::made_for(file, id, before.iter().map(|named| named.path).filter(is_left))
}

pub use password_file::NewPassword;
pub use rewrite::Rewrite;

/// Where the control socket of the agent with this configuration is: in the runtime directory that systemd gave this
/// process, in the one of the system's agent, or in the data directory.
pub fn control_socket(config: &Config) -> PathBuf {
    let given = std::env::var("RUNTIME_DIRECTORY").ok();
    socket_in(given.as_deref(), Path::new(ROOT_RUNTIME_DIR), &config.agent.data_dir)
}

/// Where the control socket of the agent that is meant may be, the likeliest place first, each with the data directory that leads
/// there. A configuration that does not name a directory leaves open whether the system's agent is meant, or one of this user.
pub fn control_sockets(config: &Config) -> Vec<(PathBuf, PathBuf)> {
    let given = std::env::var("RUNTIME_DIRECTORY").ok();
    let own = in_surroundings(|environment| environment.data_dir.to_owned());
    let mut dirs = vec![config.agent.data_dir.clone()];
    if given.is_none() && config.agent.data_dir == own {
        dirs.extend(users_data_dir(&|name| std::env::var(name).ok()));
        dirs.push(ROOT_DATA_DIR.into());
    }
    let mut sockets: Vec<(PathBuf, PathBuf)> = Vec::new();
    for dir in dirs {
        let socket = socket_in(given.as_deref(), Path::new(ROOT_RUNTIME_DIR), &dir);
        if sockets.iter().all(|(_, known)| *known != socket) {
            sockets.push((dir, socket));
        }
    }
    sockets
}

/// Whether there is a store that may hold messages; one that cannot be seen may.
pub fn may_have_store(config: &Config) -> bool {
    config.agent.data_dir.join("store").try_exists().unwrap_or(true)
}

/// Defects of a configuration that can be used all the same: old names of keys, files that it names and that are
/// missing, and secrets that others can read.
pub fn warnings(config: &Config, files: &[ConfigFile]) -> Vec<String> {
    let mut warnings: Vec<String> = config.deprecated.iter().map(ToString::to_string).collect();
    warnings.extend(named_files(config).iter().filter_map(NamedFile::fault));
    warnings.extend(exposed(config, files));
    config.servers.iter().for_each(|server| warnings.extend(server_warnings(server)));
    warnings.extend(descriptors::warning(config));
    warnings
}

/// Secrets that everybody on this machine can read: in files of their own, or in the configuration itself.
pub fn exposed(config: &Config, files: &[ConfigFile]) -> Vec<String> {
    let mut warnings: Vec<String> = named_files(config).iter().filter_map(NamedFile::exposure).collect();
    let secrets = config.plain_secrets();
    for file in files.iter().filter(|file| is_open(&file.path)) {
        let plain = secrets.iter().filter(|secret| secret.stands_in(file, files));
        let plain: Vec<String> = plain.map(ToString::to_string).collect();
        if plain.is_empty() {
            continue;
        }
        let (file, plain) = (file.path.display(), plain.join(", "));
        warnings.push(format!(
            "{file} can be read by everybody on this machine and holds secrets ({plain}): chmod o-rwx {file}, or give each a \
             file of its own, {{ file = \"…\" }}"
        ));
    }
    warnings
}

fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o004 != 0)
}

/// What is wrong with the certificate of a server, and passwords that anyone can read who can read the configuration.
fn server_warnings(server: &Server) -> Vec<String> {
    let mut warnings = Vec::new();
    // Files that are missing are told already.
    let tls = server.tls.as_ref().filter(|tls| tls.cert.is_file() && tls.key.is_file());
    match tls.map(tls::identity) {
        Some(Ok(identity)) => warnings.extend(identity.warning(clock::now())),
        Some(Err(error)) => warnings.push(error),
        None => {}
    }
    if let Some(Err(error)) = server.access.pam.as_ref().map(|_| Pam::load()) {
        warnings.push(format!("pam: {error}"));
    }
    warnings.extend(trusted_proxy::warnings(server));
    for user in &server.access.users {
        let name = &user.name;
        if let Some(Secret::Plain(_)) = &user.password {
            let hint = "`holdfast hash-password` makes a password_hash of it";
            warnings.push(format!(
                "users.password of {name} stands here for everybody who reads this file; {hint}"
            ));
        }
        let hash =
            user.password_hash.as_ref().map(|hash| secret::read(hash).and_then(|hash| Phc::parse(&hash)));
        if let Some(Err(error)) = hash {
            warnings.push(format!("users.password_hash of {name} {error}"));
        }
    }
    warnings.into_iter().map(|warning| format!("server {}: {warning}", server.id)).collect()
}

/// A file that the configuration names.
struct NamedFile<'a> {
    key: String,
    path: &'a Path,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Secret,
    Folder,
}

impl NamedFile<'_> {
    fn fault(&self) -> Option<String> {
        let (key, path) = (&self.key, self.path.display());
        match std::fs::metadata(self.path) {
            Err(error) => Some(format!("{key}: cannot find {path}: {error}")),
            Ok(facts) if self.kind == Kind::Folder => {
                (!facts.is_dir()).then(|| format!("{key}: {path} is not a folder"))
            }
            Ok(facts) if !facts.is_file() => Some(format!("{key}: {path} is not a file")),
            Ok(_) => None,
        }
    }

    fn exposure(&self) -> Option<String> {
        let path = self.path.display();
        let found = self.kind == Kind::Secret && is_open(self.path);
        found.then(|| {
            let key = &self.key;
            format!("{key}: {path} is a secret that everybody on this machine can read: chmod o-rwx {path}")
        })
    }
}

fn named_files(config: &Config) -> Vec<NamedFile<'_>> {
    let mut files = Vec::new();
    for client in &config.clients {
        let of = |key: &str| format!("client {}: {key}", client.id);
        files.extend(tls_files(&client.tls, &of("tls.")));
        for (name, parameter) in &client.params {
            files.extend(secret_file(of(&format!("params.{name}")), &parameter.value));
        }
        for (name, parameter) in &client.headers {
            files.extend(secret_file(of(&format!("headers.{name}")), &parameter.value));
        }
        files.extend(client.message.iter().filter_map(|message| secret_file(of("message"), message)));
        let password = client.proxy.iter().filter_map(|proxy| proxy.password.as_ref());
        files.extend(password.filter_map(|password| secret_file(of("proxy.password"), password)));
        match &client.auth {
            Auth::None => {}
            Auth::Basic { password, .. } => files.extend(secret_file(of("auth.basic.password"), password)),
            Auth::Url { password, .. } => files.extend(secret_file(of("auth.url.password"), password)),
            Auth::Bearer(token) => files.extend(secret_file(of("auth.bearer"), token)),
        }
    }
    for server in &config.servers {
        for user in &server.access.users {
            let of = |key: &str| format!("server {}: users.{key} of {}", server.id, user.name);
            files.extend(user.password.as_ref().and_then(|secret| secret_file(of("password"), secret)));
            files.extend(
                user.password_hash.as_ref().and_then(|secret| secret_file(of("password_hash"), secret)),
            );
        }
        files.extend(shown_files(server));
        let Some(tls) = &server.tls else { continue };
        let of = |key: &str| format!("server {}: tls.{key}", server.id);
        files.push(NamedFile { key: of("cert"), path: &tls.cert, kind: Kind::Plain });
        files.push(NamedFile { key: of("key"), path: &tls.key, kind: Kind::Secret });
        files.extend(plain_file(of("client_ca"), tls.client_ca.as_deref()));
    }
    for source in &config.sources {
        let mqtt = source.mqtt();
        let of = |key: &str| format!("source {}: {key}", source.id);
        files.extend(plain_file(of("schema"), source.schema.as_deref()));
        files.extend(tls_files(&mqtt.tls, &of("mqtt.tls.")));
        let proxy = mqtt.proxy.as_ref().and_then(|proxy| proxy.password.as_ref());
        for (key, password) in [("mqtt.password", mqtt.password.as_ref()), ("mqtt.proxy.password", proxy)] {
            files.extend(password.and_then(|password| secret_file(of(key), password)));
        }
    }
    if let Some(mqtt) = &config.mqtt {
        files.extend(tls_files(&mqtt.tls, "mqtt: "));
        files.extend(
            mqtt.password.as_ref().and_then(|password| secret_file("mqtt: password".into(), password)),
        );
    }
    files
}

/// What a server shows or says.
fn shown_files(server: &Server) -> impl Iterator<Item = NamedFile<'_>> {
    let page = match &server.http {
        HttpPage::Status | HttpPage::Empty => None,
        HttpPage::Page(file) => plain_file(format!("server {}: http.page", server.id), Some(file)),
        HttpPage::Files { folder, .. } => {
            let key = format!("server {}: http.files", server.id);
            Some(NamedFile { kind: Kind::Folder, key, path: folder })
        }
    };
    let replies = server.routes.iter().filter_map(|route| {
        let Some(Reply::File(file)) = &route.reply else { return None };
        plain_file(format!("server {}: the reply of {}", server.id, route.path), Some(file))
    });
    let schemas = server.routes.iter().filter_map(|route| {
        plain_file(format!("server {}: the schema of {}", server.id, route.path), route.schema.as_deref())
    });
    page.into_iter().chain(replies).chain(schemas)
}

fn tls_files<'a>(tls: &'a ClientTls, prefix: &str) -> impl Iterator<Item = NamedFile<'a>> {
    let key =
        tls.key.as_deref().map(|path| NamedFile { key: format!("{prefix}key"), path, kind: Kind::Secret });
    let ca = tls.ca.iter().filter_map(move |ca| plain_file(format!("{prefix}ca"), Some(ca)));
    ca.chain(plain_file(format!("{prefix}cert"), tls.cert.as_deref())).chain(key)
}

fn plain_file(key: String, path: Option<&Path>) -> Option<NamedFile<'_>> {
    Some(NamedFile { key, path: path?, kind: Kind::Plain })
}

fn secret_file(key: String, secret: &Secret) -> Option<NamedFile<'_>> {
    match secret {
        Secret::File(path) => Some(NamedFile { key, path, kind: Kind::Secret }),
        Secret::Plain(_) | Secret::Credential(_) | Secret::Env(_) => None,
    }
}

/// The path from the root; an empty one, which has none, stays for the checks to refuse.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn in_surroundings<T>(then: impl FnOnce(&Environment) -> T) -> T {
    let names = rustix::system::uname();
    let env = |name: &str| std::env::var(name).ok();
    let root = rustix::process::geteuid().is_root();
    let data_dir = default_data_dir(root, &env);
    then(&Environment { host_name: &names.nodename().to_string_lossy(), data_dir: &data_dir, env: &env })
}

fn default_data_dir(root: bool, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    // systemd.exec(5): several directories are separated by colons.
    if let Some(first) = env("STATE_DIRECTORY").as_deref().and_then(first_of) {
        return first;
    }
    let of_user = if root { None } else { users_data_dir(env) };
    of_user.unwrap_or_else(|| PathBuf::from(ROOT_DATA_DIR))
}

/// The data directory of a user other than root.
fn users_data_dir(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    // The XDG Base Directory Specification has relative paths ignored.
    let folder = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    state.map(|state| state.join("holdfast"))
}

fn socket_in(given: Option<&str>, root_runtime_dir: &Path, data_dir: &Path) -> PathBuf {
    let of_system = || {
        (data_dir == Path::new(ROOT_DATA_DIR) && root_runtime_dir.is_dir())
            .then(|| root_runtime_dir.to_owned())
    };
    given.and_then(first_of).or_else(of_system).unwrap_or_else(|| data_dir.to_owned()).join("control.sock")
}

/// The first of several directories.
fn first_of(directories: &str) -> Option<PathBuf> {
    directories.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn load(path: Option<&Path>, overrides: &Overrides) -> anyhow::Result<Config> {
        parse(&read(path)?, overrides)
    }

    #[test]
    fn files_beside_the_main_one_are_read_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let (main, beside) = (folder.path().join("a.toml"), folder.path().join("conf.d"));
        fs::write(&main, "# a").unwrap();
        fs::create_dir_all(beside.join("dir.toml")).unwrap();
        for name in ["20.toml", "10-x.toml", ".10.toml", "30.toml.off", "README"] {
            fs::write(beside.join(name), format!("# {name}")).unwrap();
        }
        let texts = |files: Vec<ConfigFile>| files.into_iter().map(|file| file.text).collect::<Vec<_>>();
        assert_eq!(texts(read(Some(&main)).unwrap()), ["# a", "# 10-x.toml", "# 20.toml"]);
        fs::remove_dir_all(&beside).unwrap();
        assert_eq!(texts(read(Some(&main)).unwrap()), ["# a"]);
    }

    #[test]
    fn only_the_file_that_holds_a_secret_and_is_open_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let (main, beside) = (folder.path().join("a.toml"), folder.path().join("conf.d"));
        fs::create_dir(&beside).unwrap();
        fs::write(&main, "").unwrap();
        let (open, closed) = (beside.join("1.toml"), beside.join("2.toml"));
        for (id, path, mode) in [("a", &open, 0o644), ("b", &closed, 0o640)] {
            fs::write(path, format!("[[client]]\nid = '{id}'\nurl = 'ws://h'\nauth = {{ bearer = 's' }}\n"))
                .unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let files = read(Some(&main)).unwrap();
        let told = exposed(&parse(&files, &Overrides::default()).unwrap(), &files);
        let start = format!(
            "{} can be read by everybody on this machine and holds secrets (client a: auth)",
            open.display()
        );
        assert!(told.len() == 1 && told[0].starts_with(&start), "{told:?}");
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none.toml");
        let error = load(Some(&file), &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}", file.display()));
    }

    #[test]
    fn a_named_file_is_read_and_its_folder_is_where_relative_paths_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "[agent]\ndata_dir = \"state\"\n").unwrap();
        let config = load(Some(&file), &Overrides::default()).unwrap();
        assert_eq!(config.agent.data_dir, folder.path().join("state"));
    }

    #[test]
    fn a_data_directory_of_the_command_line_starts_where_the_command_was_given() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let overrides = Overrides { data_dir: Some("state".into()), ..Overrides::default() };
        let config = load(Some(file.path()), &overrides).unwrap();
        assert_eq!(config.agent.data_dir, std::env::current_dir().unwrap().join("state"));
    }

    #[test]
    fn every_fault_of_a_file_is_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "[agent]\nid = 1\nx = 2\n").unwrap();
        let error = load(Some(&file), &Overrides::default()).unwrap_err().to_string();
        let file = file.display();
        assert_eq!(
            error,
            format!("{file}:2:6: agent.id: must be a string\n{file}:3:1: agent.x: unknown key")
        );
    }

    #[test]
    fn the_data_directory_is_that_of_the_service_or_in_the_users_state() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            }
        };
        let both = env(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]);
        assert_eq!(default_data_dir(true, &both), Path::new("/var/lib/holdfast"));
        assert_eq!(default_data_dir(false, &both), Path::new("/s/holdfast"));
        let relative = env(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]);
        assert_eq!(default_data_dir(false, &relative), Path::new("/h/.local/state/holdfast"));
        let service = env(&[("STATE_DIRECTORY", "/var/lib/other:/var/lib/more"), ("HOME", "/")]);
        assert_eq!(default_data_dir(false, &service), Path::new("/var/lib/other"));
        assert_eq!(default_data_dir(true, &service), Path::new("/var/lib/other"));
        assert_eq!(default_data_dir(false, &env(&[])), Path::new("/var/lib/holdfast"));
    }

    #[test]
    fn the_control_socket_is_where_the_running_agent_puts_it() {
        let there = tempfile::tempdir().unwrap();
        let missing = there.path().join("missing");
        let root = Path::new(ROOT_DATA_DIR);
        let own = Path::new("/home/x/holdfast");
        let other = Path::new("/run/other/control.sock");
        assert_eq!(socket_in(Some("/run/other"), there.path(), root), other);
        assert_eq!(socket_in(Some("/run/other:/run/more"), there.path(), root), other);
        assert_eq!(socket_in(None, there.path(), root), there.path().join("control.sock"));
        assert_eq!(socket_in(None, &missing, root), root.join("control.sock"));
        assert_eq!(socket_in(None, there.path(), own), own.join("control.sock"));
    }

    #[test]
    fn missing_files_and_open_secrets_are_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("open", 0o644), ("closed", 0o640), ("ca", 0o644)] {
            fs::write(folder.path().join(name), "x").unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let file = folder.path().join("a.toml");
        let text = "[[client]]\nid = \"c\"\nurl = \"wss://h\"\nauth = { bearer = { file = \"open\" } }\n\
                    headers = { a = { file = \"closed\" } }\nparams = { b = { file = \"none\" } }\ntls = { ca = \"ca\" }\n\
                    [mqtt]\nurl = \"mqtts://h\"\nca = \".\"\n";
        fs::write(&file, text).unwrap();
        let files = read(Some(&file)).unwrap();
        let config = parse(&files, &Overrides::default()).unwrap();
        let found: Vec<String> = warnings(&config, &files)
            .iter()
            .map(|warning| warning.replace(&format!("{}/", folder.path().display()), ""))
            .collect();
        let expected = [
            "client c: params.b: cannot find none: No such file or directory (os error 2)",
            "mqtt: ca: . is not a file",
            "client c: auth.bearer: open is a secret that everybody on this machine can read: chmod o-rwx open",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_configuration_that_everybody_reads_is_warned_of_if_it_holds_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let plain = "[[client]]\nid = \"c\"\nurl = \"wss://h/in?line=3\"\n";
        let secret = format!("{plain}auth = {{ bearer = \"s3cret\" }}\n");
        for (text, mode, expected) in [(plain, 0o644, 0), (&secret, 0o640, 0), (&secret, 0o644, 1)] {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let files = read(Some(&file)).unwrap();
            let config = parse(&files, &Overrides::default()).unwrap();
            let found = warnings(&config, &files);
            assert_eq!(found.len(), expected, "{found:?}");
            assert!(found.iter().all(|warning| warning.contains("(client c: auth)")), "{found:?}");
        }
    }
}
