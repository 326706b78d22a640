//! `holdfast reload`: the running agent takes over its configuration as it is on the disk.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hyper::Method;
use serde_json::Value;

use super::options::Options;
use super::print;
use crate::net::control;

/// Makes the running agent take over its configuration as it is on the disk
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The agent reads the file and options that it was started with. A wrong configuration changes nothing and \
    is told with file, line and column. Clients come and go, and those whose table changed connect anew; \
    what servers or directories need is a new start, which the agent makes by itself with its listening \
    sockets kept open. SIGHUP does the same.\n\n\
    Exit code: 0 when the configuration is in force, 1 when it is wrong or no agent is running.\n\n\
    Examples:\n  holdfast check && holdfast reload\n  holdfast reload --data-dir ./data"
)]
pub struct Args {
    /// Print the answer in JSON
    #[arg(long)]
    json: bool,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Asks the agent and prints what it did. The error says what is wrong with the configuration, or that none is running.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // An agent that runs hears of a wrong configuration, too: it logs it, and its status tells it.
    let socket = args.options.control_socket(args.socket.as_deref())?;
    let asked = control::request(&socket, Method::POST, "/api/reload", None, Vec::new());
    let (code, body) = smol::block_on(asked).map_err(anyhow::Error::msg)?;
    let answer: Value = serde_json::from_slice(&body).context("cannot read the agent's answer")?;
    if code != 200 {
        let error = answer["error"].as_str().unwrap_or("it does not say why");
        bail!("nothing has changed: {error}");
    }
    let text = if args.json { answer.to_string() } else { words(&answer) };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&format!("{text}\n"));
    Ok(ExitCode::SUCCESS)
}

/// What was done, and what changed.
pub(super) fn words(answer: &Value) -> String {
    let changed: Vec<&str> =
        answer["changed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (answer["reload"].as_str().unwrap_or_default(), changed.join(", ")) {
        ("unchanged", _) => "unchanged: what the files say is in force already".to_owned(),
        ("restarting", changed) if changed.is_empty() => "restarting with the new configuration".to_owned(),
        ("restarting", changed) => format!("restarting, with its sockets kept open: {changed}"),
        (how, changed) if changed.is_empty() => how.to_owned(),
        (how, changed) => format!("{how}: {changed}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_told_behind_what_was_done() {
        let unchanged = words(&json!({ "reload": "unchanged", "changed": [] }));
        assert_eq!(unchanged, "unchanged: what the files say is in force already");
        let restarting = words(&json!({ "reload": "restarting", "changed": ["agent"] }));
        assert_eq!(restarting, "restarting, with its sockets kept open: agent");
        assert_eq!(
            words(&json!({ "reload": "applied", "changed": ["buffer", "mqtt"] })),
            "applied: buffer, mqtt"
        );
    }
}
