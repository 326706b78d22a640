//! `holdfast client connect` and `holdfast client disconnect`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use holdfast_core::agent::LinkCommand;
use hyper::Method;
use serde_json::Value;

use crate::cli::options::Options;
use crate::cli::table::screen_width;
use crate::cli::{hanging, print};
use crate::net::control;

/// Whom to tell.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Id of the client
    id: String,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Tells the running agent. The error says that none is running, or why it does not obey.
pub fn run(args: &Args, command: LinkCommand) -> anyhow::Result<ExitCode> {
    let word = match command {
        LinkCommand::Connect => "connect",
        LinkCommand::Disconnect => "disconnect",
    };
    let id = args.id.as_str();
    let sound = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if id.is_empty() || !id.chars().all(sound) {
        bail!("{id:?} is no id of a client");
    }
    let socket = args.options.control_socket(args.socket.as_deref())?;
    let path = format!("/api/clients/{id}/{word}");
    let asked = control::request(&socket, Method::POST, &path, None, Vec::new());
    let (code, body) = smol::block_on(asked).map_err(anyhow::Error::msg)?;
    if code != 204 {
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("cannot {word} {id}: {}", answer["error"].as_str().unwrap_or("the agent does not say why"));
    }
    let told = match command {
        LinkCommand::Connect => format!("client {id} is dialled now"),
        LinkCommand::Disconnect => {
            format!("client {id} stays away, and its messages are held, until `holdfast client connect {id}`")
        }
    };
    // Whoever closes the pipe early has seen enough.
    let _ = print(&hanging("", 0, &told, screen_width()));
    Ok(ExitCode::SUCCESS)
}
