//! `holdfast receive`: the reference receiver of uplinks, also able to misbehave.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use async_signal::{Signal, Signals};
use holdfast_receiver::reference::{Finish, LineFormat, Options, Refusal, Report, Sink, serve, tell};
use holdfast_receiver::state::{Act, Conduct, Receiver};
use smol::LocalExecutor;
use smol::net::TcpListener;
use smol::stream::StreamExt;

use crate::cli::output;
use crate::net::tls;

const EXAMPLES: &str = "Examples:
  holdfast receive                                 prints what comes
  holdfast receive --store messages.ndjson --sync  keeps it before it acknowledges
  holdfast receive --listen 0.0.0.0:9443 --tls-cert chain.pem --tls-key key.pem
  holdfast receive --drop-after 100 --misbehave-count 3
  holdfast receive --refuse 503 --retry-after 20 --refuse-count 1

A client that offers the subprotocol holdfast.v1 is answered with {\"resume\":N} and {\"ack\":N}. Envelopes are told from \
raw frames by their form. Messages of envelopes are told apart by epoch and number: what comes again is counted and not \
printed. At the end one line on standard error: received, duplicates, nacked, gaps (announcements), missing (numbers that \
were announced as missing), lost (numbers that were not), connections.

A file of --store holds a line of JSON for each message of an envelope, and lines with \"gap\" or \"nack\" for numbers \
without one. It is read at the start, so that a receiver goes on where the one before it ended.

Exit code: 0 when nothing is lost, else 1.";

/// Receives what an agent sends: prints it, acknowledges it, counts what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one, and standard error tells which
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// PEM file with the certificate chain: listens for wss://
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Append the messages to this file instead of printing them
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Sync the file before each acknowledgement
    #[arg(long, requires = "store")]
    pub sync: bool,
    /// Print no messages
    #[arg(long, conflicts_with = "store")]
    pub quiet: bool,
    /// What a line holds [default: payload for raw frames, json for envelopes]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Print messages that came before, too
    #[arg(long)]
    pub show_duplicates: bool,
    /// Acknowledge each N messages, or when nothing more comes for 200 ms
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub ack_every: u64,
    /// End when N new messages have come
    #[arg(long, value_name = "N")]
    pub exit_after: Option<u64>,
    /// Write the last line as JSON
    #[arg(long)]
    pub summary_json: bool,
    /// What to do wrong.
    #[command(flatten)]
    pub faults: Faults,
}

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The payload as it came.
    Payload,
    /// A JSON object; for an envelope with epoch and number.
    Json,
}

/// What to do wrong.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Misbehaviour, to test a sender")]
pub struct Faults {
    /// Reset each connection after N messages
    #[arg(long, value_name = "N", group = "act")]
    pub drop_after: Option<u64>,
    /// Close each connection after N messages
    #[arg(long, value_name = "N", group = "act")]
    pub close_after: Option<u64>,
    /// Close code to use
    #[arg(long, value_name = "CODE", default_value_t = 1011, requires = "close_after")]
    pub close_code: u16,
    /// Leave each connection open after N messages, read nothing, say nothing
    #[arg(long, value_name = "N", group = "act")]
    pub silent_after: Option<u64>,
    /// End the process at once after N messages of a connection, with code 137 and without flushing anything
    #[arg(long, value_name = "N", group = "act")]
    pub die_after: Option<u64>,
    /// Never answer a ping
    #[arg(long)]
    pub no_pong: bool,
    /// Never acknowledge
    #[arg(long)]
    pub no_ack: bool,
    /// Refuse the message with this number; may be given several times
    #[arg(long, value_name = "SEQ")]
    pub nack: Vec<u64>,
    /// Read no faster than this
    #[arg(long, value_name = "BYTES_PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    pub slow: Option<u32>,
    /// Show these faults (but not --nack) only to the first K connections
    #[arg(long, value_name = "K")]
    pub misbehave_count: Option<u64>,
    /// Answer requests for an upgrade with this HTTP status
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(300..600))]
    pub refuse: Option<u16>,
    /// Retry-After of such an answer
    #[arg(long, value_name = "SECONDS", requires = "refuse")]
    pub retry_after: Option<u64>,
    /// Refuse only the first K requests
    #[arg(long, value_name = "K", requires = "refuse")]
    pub refuse_count: Option<u64>,
}

/// Receives until it is interrupted, or has enough.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let options = args.options()?;
    let mut receiver = Receiver::new(args.faults.nack.iter().copied());
    let sink = args.sink(&mut receiver)?;
    let executor = LocalExecutor::new();
    let report = smol::block_on(executor.run(listen(args, &executor, options, (receiver, sink))))?;
    conclude(args, report)
}

async fn listen<'a>(
    args: &Args,
    executor: &LocalExecutor<'a>,
    options: Options,
    state: (Receiver, Sink),
) -> anyhow::Result<Report> {
    let mut signals = Signals::new([Signal::Int, Signal::Term]).context("cannot watch for signals")?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    let address = listener.local_addr().context("cannot tell the address")?;
    tell(format_args!("listening on {scheme}://{address}"));
    let interrupt = async {
        signals.next().await;
    };
    Ok(serve(executor, listener, options, state, interrupt).await)
}

fn conclude(args: &Args, report: Report) -> anyhow::Result<ExitCode> {
    let Report { finish, summary, connections } = report;
    match finish {
        Finish::Unwritable(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Finish::Unwritable(error) => return Err(error).context("cannot write the messages"),
        Finish::Interrupted | Finish::Enough if args.summary_json => {
            let mut sums = serde_json::to_value(summary)?;
            sums["connections"] = connections.into();
            tell(sums);
        }
        Finish::Interrupted | Finish::Enough => {
            tell(format_args!("{summary} connections={connections}"));
        }
    }
    Ok(if summary.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(tls::acceptor(cert, key, None).map_err(anyhow::Error::msg)?),
            (None, _) | (_, None) => None,
        };
        let Faults { refuse, retry_after, refuse_count, .. } = self.faults;
        let refusal =
            refuse.map(|status| Refusal { status, retry_after_s: retry_after, count: refuse_count });
        Ok(Options {
            tls,
            conduct: self.faults.conduct(),
            refusal,
            show_duplicates: self.show_duplicates,
            ack_every: self.ack_every,
            exit_after: self.exit_after,
        })
    }

    fn sink(&self, receiver: &mut Receiver) -> anyhow::Result<Sink> {
        let format = self.format.map(|format| match format {
            Format::Payload => LineFormat::Payload,
            Format::Json => LineFormat::Json,
        });
        match &self.store {
            Some(path) => Sink::file(path, format, self.sync, receiver).map_err(anyhow::Error::msg),
            None if self.quiet => Ok(Sink::nowhere()),
            None => Ok(Sink::lines(output(), format)),
        }
    }
}

impl Faults {
    fn conduct(&self) -> Conduct {
        let acts = [
            (self.drop_after, Act::Drop),
            (self.close_after, Act::Close(self.close_code)),
            (self.silent_after, Act::Silence),
            (self.die_after, Act::Die),
        ];
        Conduct {
            after: acts.into_iter().find_map(|(after, act)| after.map(|count| (count, act))),
            no_pong: self.no_pong,
            no_ack: self.no_ack,
            bytes_per_second: self.slow,
            connections: self.misbehave_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once("receive").chain(line.split_whitespace())).map(|line| line.args)
    }

    #[test]
    fn without_arguments_it_listens_on_loopback_and_behaves() {
        let args = parse("").unwrap();
        assert_eq!(args.listen.to_string(), "127.0.0.1:9000");
        assert_eq!(args.faults.conduct().after, None);
        assert_eq!(args.ack_every, 1);
    }

    #[test]
    fn each_fault_becomes_its_act() {
        let act = |line| parse(line).unwrap().faults.conduct().after;
        assert_eq!(act("--drop-after 3"), Some((3, Act::Drop)));
        assert_eq!(act("--close-after 3 --close-code 1013"), Some((3, Act::Close(1013))));
        assert_eq!(act("--silent-after 0"), Some((0, Act::Silence)));
        assert_eq!(act("--die-after 9"), Some((9, Act::Die)));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "--drop-after 1 --die-after 2",
            "--sync",
            "--tls-cert a",
            "--refuse 200",
            "--slow 0",
            "--retry-after 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
