//! The configuration in force: TOML texts in, one checked [`Config`] out. One file per table.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub mod access;
pub mod address;
pub mod agent;
pub mod batch;
pub mod buffer;
pub mod client;
pub mod edit;
mod fault;
mod foreign;
pub mod handshake;
mod hide;
pub mod host;
mod http_page;
pub mod implied;
pub mod inbound;
pub mod limits;
pub mod link_kind;
pub mod logging;
mod may_subscribe;
pub mod method;
pub mod mqtt;
pub mod mqtt_source;
pub mod network;
pub mod parameter;
pub mod phc;
mod plain;
pub mod proxy;
pub mod publish;
pub mod reconnect;
mod render;
pub mod replay;
pub mod reply;
pub mod route;
pub mod secret;
pub mod server;
pub mod source;
mod table;
pub mod throttle;
pub mod tls;
pub mod topic_template;
mod tree;
pub mod trusted_proxy;
mod url;
mod value;
mod variable;

pub use fault::{ConfigFile, Errors, Fault};
pub use foreign::text;
pub use hide::Secrets;
pub use plain::PlainSecret;
pub use render::string as toml_string;
pub use secret::Secret;
pub use url::{LinkUrl, Login, Url, link as link_of_url, place, shown as shown_url};

use fault::{Faults, Span};
use table::{Reading, Table};
use tree::Kind;

/// Applications of clients; each has a retained topic at the broker.
const APPLICATIONS_MAX: usize = 31;

/// The whole configuration, every default filled in, every check passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[agent]`
    pub agent: agent::Agent,
    /// `[[client]]`, in the order of the file; never empty: without any there is an inactive `ws_client_1` that holds.
    pub clients: Vec<client::Client>,
    /// `[[server]]`, in the order of the file; without any there is one on 127.0.0.1:9998.
    pub servers: Vec<server::Server>,
    /// `[buffer]`
    pub buffer: buffer::Buffer,
    /// `[mqtt]`, if there is one.
    pub mqtt: Option<mqtt::Mqtt>,
    /// `[[source]]`, in the order of the file.
    pub sources: Vec<source::Source>,
    /// `[presence]`
    pub presence: agent::Presence,
    /// `[host]`
    pub host: host::Host,
    /// `[log]`
    pub log: logging::Log,
    /// `[limits]`
    pub limits: limits::CallerLimits,
    /// Keys that stand under an old name, with their new one.
    pub deprecated: Vec<Fault>,
}

/// What the command line says in place of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--uplink`: url of the first client, which becomes active.
    pub uplink: Option<String>,
    /// `--mqtt`: url of the broker.
    pub mqtt: Option<String>,
    /// `--data-dir`: `agent.data_dir`.
    pub data_dir: Option<PathBuf>,
    /// `--environment`: `agent.environment`.
    pub environment: Option<String>,
}

/// What the text is read in.
pub struct Environment<'a> {
    /// Name of the host, from which the default of `agent.id` is made.
    pub host_name: &'a str,
    /// Default of `agent.data_dir`.
    pub data_dir: &'a Path,
    /// The environment of the process.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Config {
    /// Reads and checks the text of one file, as [`Config::parse_all`] does.
    pub fn parse(
        text: &str,
        file: &Path,
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<Config, Errors> {
        let file = ConfigFile { path: file.to_owned(), text: text.to_owned() };
        Config::parse_all(&[file], overrides, environment)
    }

    /// Reads and checks files, the main one first, as one configuration: lists of tables go on from file to file, every other
    /// table stands in one of them. The error holds every fault that was found; when a text is not TOML, only the faults of
    /// syntax.
    pub fn parse_all(
        files: &[ConfigFile],
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<Config, Errors> {
        let syntax = Faults::default();
        let texts = files.iter().enumerate();
        let parts = texts.map(|(index, file)| tree::parse(index, &file.text, &syntax)).collect();
        syntax.or_foreign(files).check(files)?;
        let faults = Faults::default();
        let mut entries = tree::join(parts, files, &faults);
        variable::expand(&mut entries, overrides.environment.as_deref(), environment.env, &faults);
        Config::of_entries(entries, files, overrides, environment, faults)
    }

    /// What can be made of wrong files: the defaults, and of the text only the data directory, if it can be read and used. The error
    /// is about the command line alone.
    pub fn salvage(
        files: &[ConfigFile],
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<Config, Errors> {
        let ignored = Faults::default();
        let texts = files.iter().enumerate();
        let parts = texts.map(|(index, file)| tree::parse(index, &file.text, &ignored)).collect();
        let mut entries = tree::join(parts, files, &ignored);
        variable::expand(&mut entries, overrides.environment.as_deref(), environment.env, &ignored);
        entries.retain(|entry| entry.key == "agent");
        if let Some(agent) = entries.first_mut()
            && let Kind::Table(keys) = &mut agent.node.kind
        {
            keys.retain(|key| key.key == "data_dir");
        }
        let read = |entries| Config::of_entries(entries, files, overrides, environment, Faults::default());
        read(entries).or_else(|_| read(Vec::new()))
    }

    fn of_entries(
        entries: Vec<tree::Entry>,
        files: &[ConfigFile],
        overrides: &Overrides,
        environment: &Environment,
        faults: Faults,
    ) -> Result<Config, Errors> {
        let reading = Reading { faults: &faults, files };
        let config = Table::read(reading, String::new(), Span::START, entries, |table| {
            overlay(table, overrides);
            Config::read(table, environment)
        });
        let deprecated = faults.check(files)?;
        Ok(Config { deprecated, ..config })
    }

    /// Everything in force as TOML, with `# set` behind each value that is not the default. Plain secrets are shown as `***`;
    /// without any, the text is read back as the same configuration.
    pub fn render(&self, environment: &Environment) -> String {
        let mut out = String::new();
        let fresh = agent::Agent::of(environment);
        render::table(&mut out, "[agent]", &self.agent.lines(), &fresh.lines());
        for (index, client) in self.clients.iter().enumerate() {
            let fresh = client::Client::of_index(index);
            render::table(&mut out, "[[client]]", &client.lines(), &fresh.lines());
        }
        for (index, server) in self.servers.iter().enumerate() {
            let fresh = server::Server::of(index, server.protocol);
            render::table(&mut out, "[[server]]", &server.lines(), &fresh.lines());
            for route in &server.routes {
                let fresh = server::Route::of_path("");
                render::table(&mut out, "[[server.route]]", &route.lines(), &fresh.lines());
            }
        }
        render::table(&mut out, "[buffer]", &self.buffer.lines(), &buffer::Buffer::default().lines());
        if let Some(mqtt) = &self.mqtt {
            let fresh = mqtt::Mqtt::of_url("", &self.agent.id);
            render::table(&mut out, "[mqtt]", &mqtt.lines(), &fresh.lines());
        }
        for (index, source) in self.sources.iter().enumerate() {
            let fresh = source::Source::of_index(index);
            render::table(&mut out, "[[source]]", &source.lines(), &fresh.lines());
            let fresh = mqtt_source::MqttSource::default().lines(false);
            render::table(&mut out, "[source.mqtt]", &source.mqtt().lines(true), &fresh);
        }
        render::table(&mut out, "[presence]", &self.presence.lines(), &agent::Presence::default().lines());
        render::table(&mut out, "[host]", &self.host.lines(), &host::Host::default().lines());
        render::table(&mut out, "[log]", &self.log.lines(), &logging::Log::default().lines());
        render::table(&mut out, "[limits]", &self.limits.lines(), &limits::CallerLimits::default().lines());
        out
    }

    /// The part of [`Config::render`] about one table; none if there is none with this id, in any case of its letters.
    pub fn render_table(&self, kind: edit::Kind, id: &str, environment: &Environment) -> Option<String> {
        let ids = self.ids(kind);
        let index = ids.iter().position(|known| known.eq_ignore_ascii_case(id))?;
        let whole = self.render(environment);
        let header = format!("[[{}]]\n", kind.key());
        let (start, _) = whole.match_indices(&header).nth(index)?;
        let rest = &whole[start + header.len()..];
        let inner = [format!("\n[[{}.", kind.key()), format!("\n[{}.", kind.key())];
        let is_inner = |at: usize| inner.iter().any(|start| rest[at..].starts_with(start));
        let mut ends = rest.match_indices("\n[").filter(|(at, _)| !is_inner(*at));
        let end = ends.next().map_or(rest.len(), |(at, _)| at);
        Some(format!("{header}{}\n", rest[..end].trim_end()))
    }

    /// The ids of a list of tables, in its order.
    pub fn ids(&self, kind: edit::Kind) -> Vec<&str> {
        match kind {
            edit::Kind::Client => self.clients.iter().map(|client| client.id.as_str()).collect(),
            edit::Kind::Server => self.servers.iter().map(|server| server.id.as_str()).collect(),
            edit::Kind::Source => self.sources.iter().map(|source| source.id.as_str()).collect(),
        }
    }

    /// The priorities that routes and sources give their messages, and 0; rising.
    pub fn priorities(&self) -> Vec<u8> {
        let routes = self.servers.iter().flat_map(|server| &server.routes).map(|route| route.priority);
        let sources = self.sources.iter().map(|source| source.priority);
        let set: BTreeSet<u8> = routes.chain(sources).chain([0]).collect();
        set.into_iter().collect()
    }

    fn read(table: &mut Table, environment: &Environment) -> Config {
        table.planned(&["rule"]);
        table.known("variables");
        table.known("environment");
        let agent = table.within("agent", |table| agent::Agent::read(table, environment));
        let has_mqtt = table.holds("mqtt");
        let (clients, servers) = (clients(table), servers(table));
        let buffer = table.within("buffer", buffer::Buffer::read);
        let mqtt =
            has_mqtt.then(|| table.within("mqtt", |table| mqtt::Mqtt::read(table, &agent.id))).flatten();
        let known = mqtt_source::known(&agent.id, &clients, mqtt.as_ref());
        let sources = sources(table, &agent.id, mqtt.as_ref(), known);
        Config {
            clients,
            buffer,
            mqtt,
            sources,
            presence: table.within("presence", agent::Presence::read),
            host: table.within("host", host::Host::read),
            log: table.within("log", logging::Log::read),
            limits: table.within("limits", |table| limits::CallerLimits::read(table, &servers)),
            servers,
            agent,
            deprecated: Vec::new(),
        }
    }
}

fn overlay(table: &mut Table, overrides: &Overrides) {
    if let Some(uplink) = &overrides.uplink {
        let url = Kind::String(uplink.clone());
        let others = ["urls", "host", "port", "path", "parameters"];
        table.overlay_first("client", "--uplink", [("url", url), ("active", Kind::Boolean(true))], &others);
    }
    if let Some(url) = &overrides.mqtt {
        table.overlay_within("mqtt", "--mqtt", [("url", Kind::String(url.clone()))]);
    }
    if let Some(folder) = &overrides.data_dir {
        let folder = Kind::String(folder.to_string_lossy().into_owned());
        table.overlay_within("agent", "--data-dir", [("data_dir", folder)]);
    }
}

fn clients(table: &mut Table) -> Vec<client::Client> {
    let (mut seen, mut outlets, mut applications) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut clients = table.each("client", |index, table| {
        let client = client::Client::read(index, table);
        check_id(&mut seen, &client.id, table);
        check_outlet(&mut outlets, &client, table);
        let is_new = !client.application.is_empty() && applications.insert(client.application.clone());
        if is_new && applications.len() > APPLICATIONS_MAX {
            table.fail("application", format!("there are more than {APPLICATIONS_MAX} of them"));
        }
        client
    });
    if clients.is_empty() {
        clients.push(client::Client { active: false, ..client::Client::of_index(0) });
    }
    clients
}

fn servers(table: &mut Table) -> Vec<server::Server> {
    let (mut seen, mut bound) = (BTreeMap::new(), BTreeMap::new());
    let mut servers = table.each("server", |index, table| {
        let server = server::Server::read(index, table);
        check_id(&mut seen, &server.id, table);
        let fixed = |address: &&String| server.active && !address.ends_with(":0");
        for address in server.bind.iter().filter(fixed) {
            match bound.entry(address.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(table.place("bind"))),
                Entry::Occupied(entry) => {
                    table.fail("bind", format!("another server binds {address}, in {}", entry.get()));
                }
            }
        }
        server
    });
    if servers.is_empty() {
        servers.push(server::Server::of_index(0));
    }
    servers
}

fn sources(
    table: &mut Table,
    agent: &str,
    broker: Option<&mqtt::Mqtt>,
    mut known: mqtt_source::Known,
) -> Vec<source::Source> {
    let mut seen = BTreeMap::new();
    table.each("source", |index, table| {
        let source = source::Source::read(index, table, agent, broker, &mut known);
        check_id(&mut seen, &source.id, table);
        source
    })
}

fn check_id(seen: &mut BTreeMap<String, String>, id: &str, table: &Table) {
    if table.is_beside() && !table.has("id") {
        return table.fail("id", "is missing: a table in conf.d needs one that no other file can change");
    }
    match seen.entry(id.to_ascii_lowercase()) {
        Entry::Vacant(entry) => drop(entry.insert(table.place("id"))),
        Entry::Occupied(entry) => {
            table.fail("id", format!("`{id}` is taken by {}; case does not count", entry.get()));
        }
    }
}

/// Two clients in one place of the buffer would confirm each other's messages. Those of the same id are told already.
fn check_outlet(outlets: &mut BTreeMap<String, (String, String)>, client: &client::Client, table: &Table) {
    let key = if client.outlet.is_some() { "outlet" } else { "id" };
    match outlets.entry(client.outlet_name().to_ascii_lowercase()) {
        Entry::Vacant(entry) => drop(entry.insert((client.id.clone(), table.place(key)))),
        Entry::Occupied(entry) if entry.get().0.eq_ignore_ascii_case(&client.id) => {}
        Entry::Occupied(entry) => {
            let (outlet, (id, place)) = (client.outlet_name(), entry.get());
            table.fail(
                key,
                format!("the outlet `{outlet}` is that of client {id} in {place}; case does not count"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
