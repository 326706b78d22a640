//! `holdfast tap`: listens in on the running agent.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::options::Options;
use super::{clean, print, tell};
use crate::net::control;

/// Shows live what the running agent takes, stores, sends and has confirmed
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The filter is one of MQTT: + stands for one level of the topic, # at the end for all that follow. \
    Whoever reads too slowly loses lines and is told how many; the agent waits for nobody.\n\n\
    Exit code: 0 when the agent or the reader ends it, 1 when no agent is running.\n\n\
    Examples:\n  holdfast tap\n  holdfast tap 'kitchen/#'\n  holdfast tap --json '+/temperature' | jq .json.t"
)]
pub struct Args {
    /// Topics to listen to
    #[arg(value_name = "FILTER", default_value = "#")]
    filter: String,
    /// Print lines of JSON, as the agent gives them
    #[arg(long)]
    json: bool,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Prints what happens until the agent stops or nobody reads any more. The error says that none is running.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let socket = args.options.control_socket(args.socket.as_deref())?;
    let path = format!("/api/tap?topic={}", utf8_percent_encode(&args.filter, NON_ALPHANUMERIC));
    if std::io::stdout().is_terminal() && smol::block_on(control::is_running(&socket)) == Ok(true) {
        tell("what happens from here on is shown; Ctrl-C ends it\n");
    }
    let show = |line: &str| print(&if args.json { format!("{line}\n") } else { words(line) }).is_ok();
    smol::block_on(control::lines(&socket, &path, show)).map_err(anyhow::Error::msg)?;
    Ok(ExitCode::SUCCESS)
}

/// A line for people.
fn words(line: &str) -> String {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return format!("{line}\n") };
    let text = |key: &str| match &line[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let told = if line.get("topic").is_some() {
        let payload = ["json", "text", "base64"].into_iter().find(|key| line.get(key).is_some());
        let payload = payload.map(text).unwrap_or_default();
        // What a peer of ours sent is in no batch.
        let batch = line
            .get("batch")
            .filter(|batch| !batch.is_null())
            .map_or(String::new(), |batch| format!("#{batch} "));
        format!("message   {batch}{} ({}, {} bytes)  {payload}", text("topic"), text("source"), text("bytes"))
    } else if line.get("stored").is_some() {
        format!("stored    #{} as {} to {}", text("batch"), line["stored"][0], line["stored"][1])
    } else if line.get("refused").is_some() {
        format!("refused   #{} {}", text("batch"), text("refused"))
    } else if let Some(sent) = line.get("sent") {
        format!(
            "sent      {} {} to {} ({} messages)",
            text("link"),
            sent["from"],
            sent["to"],
            sent["messages"]
        )
    } else if line.get("confirmed").is_some() {
        format!("confirmed {} up to {}", text("link"), text("confirmed"))
    } else if line.get("commit").is_some() {
        format!("commit    {} entries to the disk", text("commit"))
    } else if line.get("connection").is_some() {
        format!("device    {} connection {}", text("device"), text("connection"))
    } else if line.get("missed").is_some() {
        format!("missed    {} lines", text("missed"))
    } else {
        format!("notice    {}", text("notice"))
    };
    clean(&told) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_has_words() {
        let cases = [
            (
                r#"{"batch":7,"topic":"a/b","source":"server:s","bytes":7,"json":{"t":1}}"#,
                "message   #7 a/b (server:s, 7 bytes)  {\"t\":1}\n",
            ),
            (
                r#"{"batch":null,"topic":"a","source":"client:c","bytes":1,"text":"x"}"#,
                "message   a (client:c, 1 bytes)  x\n",
            ),
            (r#"{"batch":7,"stored":[1,2]}"#, "stored    #7 as 1 to 2\n"),
            (
                r#"{"link":"cloud","sent":{"from":1,"to":2,"messages":2}}"#,
                "sent      cloud 1 to 2 (2 messages)\n",
            ),
            (r#"{"link":"cloud","confirmed":2}"#, "confirmed cloud up to 2\n"),
            (r#"{"missed":3}"#, "missed    3 lines\n"),
            (r#"{"notice":"link up"}"#, "notice    link up\n"),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line), expected);
        }
        assert!(!words("{\"notice\":\"\\u001b[2J\"}").contains('\x1b'));
    }
}
