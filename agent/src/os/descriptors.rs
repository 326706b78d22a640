//! The limit of descriptors (setrlimit(2)): read, raised where it may be, compared with what a configuration asks for.

use holdfast_core::config::Config;
use holdfast_core::config::server::{HttpPage, Server};
use holdfast_core::descriptors::{Ceilings, Needs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Callers that a server turns away at a time, each with an answer.
pub const TURNED_AWAY: usize = 16;

/// What is wrong with the limit of this process for a configuration.
pub fn warning(config: &Config) -> Option<String> {
    let (soft, hard) = limits();
    warning_under(config, soft, hard)
}

/// The same of another process with these limits.
pub fn warning_under(config: &Config, soft: u64, hard: u64) -> Option<String> {
    let needs = needs(config);
    needs.warning(needs.limit(soft, hard))
}

/// Raises the limit as far as a configuration needs it, and says what callers may have.
pub fn provide(config: &Config) -> Ceilings {
    let needs = needs(config);
    let (soft, hard) = limits();
    let limit = needs.limit(soft, hard);
    if limit > soft {
        let raised = Rlimit { current: Some(limit), ..getrlimit(Resource::Nofile) };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => log::debug!("descriptors: the limit is raised from {soft} to {limit}"),
            Err(error) => log::warn!("cannot raise the limit of descriptors from {soft} to {limit}: {error}"),
        }
    }
    let limit = limits().0;
    if let Some(warning) = needs.warning(limit) {
        log::warn!("{warning}");
    }
    needs.ceilings(limit)
}

fn limits() -> (u64, u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX))
}

fn needs(config: &Config) -> Needs {
    let servers = || config.servers.iter().filter(|server| server.active);
    let links = config.clients.iter().filter(|client| client.active).count()
        + config.sources.iter().filter(|source| source.active).count()
        + usize::from(config.mqtt.is_some());
    let listeners = servers().map(|server| server.bind.len()).sum::<usize>() + 1;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Needs { links: count(links), listeners: count(listeners), callers: count(servers().map(callers).sum()) }
}

/// A caller may have a file open beside its socket.
fn callers(server: &Server) -> usize {
    let each = match server.http {
        HttpPage::Page(_) | HttpPage::Files { .. } => 2,
        HttpPage::Status | HttpPage::Empty => 1,
    };
    server.limits.connections.saturating_mul(each).saturating_add(TURNED_AWAY)
}
