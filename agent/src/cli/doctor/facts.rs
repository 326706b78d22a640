//! Looks at the machine and at the files for `holdfast doctor`, and changes nothing.

use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use holdfast_core::config::source::Source;
use holdfast_core::config::{Config, ConfigFile, Url};
use holdfast_core::link::probe::DialStep;
use holdfast_core::observe::doctor::{
    AgentFacts, Card, Certificate, ClockFacts, Disk, LifeTime, Limits, LinkTest, Owner, Permissions, Usage,
};
use rustix::net::sockopt::socket_peercred;

use crate::net::tls;
use crate::os::{clock, descriptors};
use crate::outlet::probe::Probe;
use crate::runtime::config_file;
use crate::source::server::schema_faults;
use crate::store::{self, space};

/// The running agent: its process and its user.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    process: i32,
    user: u32,
}

/// Warnings of `holdfast check`, without those that are findings of their own.
pub fn warnings(config: &Config, files: &[ConfigFile]) -> Vec<String> {
    let told = config_file::exposed(config, files);
    let mut warnings = config_file::warnings(config, files);
    warnings.extend(config.servers.iter().flat_map(schema_faults));
    warnings.retain(|warning| !told.contains(warning));
    if let Some(descriptors) = descriptors::warning(config) {
        warnings.retain(|warning| *warning != descriptors);
    }
    warnings
}

/// The process that listens on a control socket.
pub fn peer(socket: &Path) -> Option<Running> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = socket_peercred(&stream).ok()?;
    Some(Running { process: peer.pid.as_raw_nonzero().get(), user: peer.uid.as_raw() })
}

/// The wall clock.
pub fn clock(config: &Config) -> ClockFacts {
    let file = &config.agent.clock_file;
    let written = ["store/db", "numbers", "meter", "clocks"].map(|name| config.agent.data_dir.join(name));
    let written = written.iter().filter_map(|file| fs::metadata(file).ok()?.modified().ok()).max();
    let written = written.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    ClockFacts {
        wall_ns: clock::now().wall_ns,
        is_synced: file.exists(),
        file: file.display().to_string(),
        written_ns: written.and_then(|time| u64::try_from(time.as_nanos()).ok()),
    }
}

/// The file system of the data directory.
pub fn disk(config: &Config) -> Disk {
    let dir = &config.agent.data_dir;
    let there = dir.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    let free = space::free(there);
    Disk {
        dir: dir.display().to_string(),
        exists: dir.exists(),
        is_read_only: space::is_read_only(dir),
        bytes: free.bytes.zip(free.all_bytes),
        free_files: free.files,
        used_bytes: space::used(&dir.join("store")),
        max_bytes: config.buffer.max_bytes,
    }
}

/// The card under the data directory.
pub fn card(config: &Config, agent: Option<&AgentFacts>) -> Card {
    let dir = &config.agent.data_dir;
    let (today_bytes, total_bytes) = match agent {
        Some(agent) => agent.written_bytes,
        None => (None, store::written_ever(dir)),
    };
    Card { life: life(dir), today_bytes, total_bytes, daily_budget: config.buffer.daily_budget }
}

/// The device of a path as the kernel names it, and what it tells of its wear: `/sys/dev/block/179:2` leads to
/// `…/mmc0:0001/block/mmcblk0/mmcblk0p2`, and `mmc0:0001` has the files.
fn life(dir: &Path) -> Option<(String, LifeTime)> {
    let there = dir.ancestors().find_map(|place| fs::metadata(place).ok())?;
    let (major, minor) = (rustix::fs::major(there.st_dev()), rustix::fs::minor(there.st_dev()));
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let tells = device.ancestors().find(|place| place.join("life_time").exists())?;
    let read = |name: &str| fs::read_to_string(tells.join(name)).unwrap_or_default();
    let life = LifeTime::read(&read("life_time"), &read("pre_eol_info"))?;
    let name = read("name");
    Some((format!("{} {}", device.file_name()?.to_string_lossy(), name.trim()).trim_end().to_owned(), life))
}

/// Owner of the files, and secrets that everybody can read.
pub fn permissions(config: &Config, files: &[ConfigFile], running: Option<Running>) -> Permissions {
    let dir = &config.agent.data_dir;
    let owner = fs::metadata(dir).ok().map(|facts| Owner { user: facts.uid(), mode: facts.mode() });
    Permissions {
        dir: dir.display().to_string(),
        owner,
        user: running.map_or_else(|| rustix::process::geteuid().as_raw(), |running| running.user),
        exposed: config_file::exposed(config, files),
    }
}

/// Limits of the running agent, or of this command.
pub fn limits(config: &Config, running: Option<Running>) -> Limits {
    let own = running.and_then(|running| descriptors_of(running.process));
    let descriptors = match own {
        Some((soft, hard)) => descriptors::warning_under(config, soft, hard),
        None => descriptors::warning(config),
    };
    let Some(group) = running.and_then(|running| control_group(running.process)) else {
        return Limits { descriptors, ..Limits::default() };
    };
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
    let usage = |used: &str, max: &str| number(used).map(|used| Usage { used, max: number(max) });
    let events = fs::read_to_string(group.join("memory.events")).unwrap_or_default();
    let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    Limits {
        descriptors,
        memory: usage("memory.current", "memory.max"),
        tasks: usage("pids.current", "pids.max"),
        killed: killed.unwrap_or_default(),
    }
}

/// The soft and the hard limit of a process.
fn descriptors_of(process: i32) -> Option<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    Some((words.next()?, words.next()?))
}

/// The folder of the control group (cgroup v2) that a process is in; none for the root's, which bounds nothing.
fn control_group(process: i32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // The group of a login holds more than the agent.
    path.ends_with(".service").then(|| Path::new("/sys/fs/cgroup").join(path))
}

/// Certificates of the servers.
pub fn certificates(config: &Config) -> Vec<Certificate> {
    let servers = config.servers.iter().filter(|server| server.active);
    let with_tls = servers.filter_map(|server| Some((server, server.tls.as_ref()?)));
    let certificate = with_tls.map(|(server, files)| Certificate {
        owner: format!("server {}", server.id),
        days_left: tls::identity(files)
            .and_then(|own| own.days_left(clock::now()).ok_or_else(|| "its end cannot be read".to_owned())),
    });
    certificate.collect()
}

/// Certificates that peers showed.
pub fn peer_certificates(probes: &[Probe]) -> Vec<Certificate> {
    let shown = probes.iter().filter_map(|probe| Some((probe, probe.certificate_days_left?)));
    let certificate = shown.map(|(probe, days)| Certificate {
        owner: match probe.id.as_str() {
            "mqtt" => "the broker".to_owned(),
            id => format!("the peer of {id}"),
        },
        days_left: Ok(days),
    });
    certificate.collect()
}

/// Result of a test of a link.
pub fn link_test(config: &Config, probe: &Probe) -> LinkTest {
    let took = probe.done.iter().find(|done| done.step == DialStep::Name).map(|done| done.took);
    LinkTest {
        id: probe.id.clone(),
        url: probe.url.clone(),
        name: name_needed(config, probe),
        name_took: took,
        failed: probe.failed.clone(),
    }
}

/// The name that leads to the next hop of a link, which may be a proxy.
fn name_needed(config: &Config, probe: &Probe) -> Option<String> {
    let client = config.clients.iter().find(|client| client.id == probe.id);
    let is_its = |source: &&Source| probe.id.strip_prefix("source:") == Some(source.id.as_str());
    let source = config.sources.iter().find(is_its).and_then(|source| source.mqtt().proxy.as_ref());
    let proxy = client.and_then(|client| client.proxy.as_ref()).or(source).map(|proxy| proxy.url.clone());
    let url = proxy.unwrap_or_else(|| probe.url.clone());
    let (scheme, _) = url.split_once("://")?;
    let known = [("ws", "wss"), ("http", "https"), ("mqtt", "mqtts"), ("socks5", "socks5h")];
    let (plain, secure) = known.into_iter().find(|(plain, secure)| [*plain, *secure].contains(&scheme))?;
    let host = Url::parse(&url, [plain, secure]).ok()?.host();
    let bare = host.split('%').next().unwrap_or_default();
    bare.parse::<std::net::IpAddr>().is_err().then_some(host)
}

/// Name servers that this machine is told of.
pub fn name_servers() -> usize {
    let file = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    file.lines().filter(|line| line.trim_start().starts_with("nameserver")).count()
}
