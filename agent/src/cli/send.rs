//! `holdfast send`: hands messages to the running agent.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use serde::Deserialize;

use super::options::Options;
use crate::net::control;

/// Most bytes and lines of one request; the agent takes 1 MB and 10,000 lines.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_LINES: usize = 5_000;
/// No agent takes a message as long as this.
const MESSAGE_BYTES: u64 = 16 << 20;
/// Pause before a batch that found the agent busy is sent again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Hands a message to the running agent and waits until it is stored
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit code: 0 only if everything is stored.\n\n\
    Examples:\n  echo 23.5 | holdfast send kitchen/temperature --device kitchen\n  \
    holdfast send logs/boot --lines /var/log/boot.log\n  \
    tail -F app.log | holdfast send logs/app --lines")]
pub struct Args {
    /// Topic of the message, such as kitchen/temperature
    topic: String,
    /// What to send; standard input without it
    file: Option<PathBuf>,
    /// Device that the message speaks for
    #[arg(long)]
    device: Option<String>,
    /// Make every line a message
    #[arg(long)]
    lines: bool,
    /// How long to try while the agent is busy
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Sends all of the input and prints the ids. The error says how many lines were stored before it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let input: Box<dyn Read> = match &args.file {
        Some(path) => Box::new(File::open(path).with_context(|| unreadable(path))?),
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                super::tell("what you type is sent; end it with Ctrl-D at the beginning of a line\n");
            }
            Box::new(input)
        }
    };
    let path = path_of(args);
    let socket = args.options.control_socket(args.socket.as_deref())?;
    let exchange = |body: Vec<u8>| exchange(&socket, &path, &body, args.timeout);
    if args.lines {
        let mut input = BufReader::with_capacity(BATCH_BYTES, input);
        send_lines(&mut input, &mut std::io::stdout(), exchange)?;
    } else {
        let mut body = Vec::new();
        input.take(MESSAGE_BYTES).read_to_end(&mut body).context("cannot read the input")?;
        let ids = exchange(body).map_err(|cause| anyhow::anyhow!("cannot send the message: {cause}"))?;
        tell(&mut std::io::stdout(), ids);
    }
    Ok(ExitCode::SUCCESS)
}

/// The second argument is a file, and not what is to be sent, as many a sender of messages has it.
fn unreadable(path: &Path) -> String {
    let path = path.display();
    format!("cannot read {path}, which must be a file (echo {path:?} | holdfast send TOPIC sends the words)")
}

/// Ids of the first and the last message of a batch.
type Ids = (u64, u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    One { stored: u64 },
    Many { stored: Ids },
    Error { error: String },
}

fn path_of(args: &Args) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("topic", &args.topic);
    query.extend_pairs(args.device.iter().map(|device| ("device", device)));
    if args.lines {
        query.append_pair("lines", "1");
    }
    format!("/api/send?{}", query.finish())
}

/// One request, again and again while the agent is busy.
fn exchange(socket: &Path, path: &str, body: &[u8], timeout: Duration) -> Result<Ids, String> {
    let mut left = timeout;
    loop {
        let asked = control::request(socket, Method::POST, path, None, body.to_vec());
        let (status, answer) = smol::block_on(asked)?;
        if status != 429 || left.is_zero() {
            return read_answer(status, &answer);
        }
        std::thread::sleep(BUSY_PAUSE.min(left));
        left = left.saturating_sub(BUSY_PAUSE);
    }
}

fn read_answer(status: u16, body: &[u8]) -> Result<Ids, String> {
    match serde_json::from_slice(body) {
        Ok(Answer::One { stored }) => Ok((stored, stored)),
        Ok(Answer::Many { stored }) => Ok(stored),
        Ok(Answer::Error { error }) => Err(error),
        Err(_) => Err(format!("the agent answered {status}: {}", String::from_utf8_lossy(body).trim())),
    }
}

/// Sends the lines in batches, each as soon as nothing more is at hand, so that a slow input is not held back.
fn send_lines(
    input: &mut BufReader<impl Read>,
    output: &mut impl Write,
    mut exchange: impl FnMut(Vec<u8>) -> Result<Ids, String>,
) -> anyhow::Result<()> {
    let mut stored = 0;
    let mut told: Option<Ids> = None;
    loop {
        let (batch, lines) = next_batch(input).with_context(|| after(stored, "cannot read the input"))?;
        if lines == 0 {
            break;
        }
        let ids = exchange(batch).map_err(|cause| {
            let what = format!("cannot send the {lines} lines from line {} on: {cause}", stored + 1);
            anyhow::anyhow!(after(stored, &what))
        });
        let (first, last) = match ids {
            Ok(ids) => ids,
            Err(error) => {
                told.into_iter().for_each(|ids| tell(output, ids));
                return Err(error);
            }
        };
        stored += lines;
        told = match told {
            Some((start, end)) if end + 1 == first => Some((start, last)),
            Some(ids) => {
                tell(output, ids);
                Some((first, last))
            }
            None => Some((first, last)),
        };
    }
    match told {
        Some(ids) => tell(output, ids),
        None => bail!("cannot send anything: the input has no line"),
    }
    Ok(())
}

fn after(stored: usize, error: &str) -> String {
    format!("{error} ({stored} lines were stored)")
}

/// Lines that are at hand, at least one unless the input has ended. Empty ones are not messages.
fn next_batch(input: &mut BufReader<impl Read>) -> std::io::Result<(Vec<u8>, usize)> {
    let (mut batch, mut lines) = (Vec::new(), 0);
    while lines < BATCH_LINES && batch.len() < BATCH_BYTES && (lines == 0 || input.buffer().contains(&b'\n'))
    {
        let start = batch.len();
        if input.by_ref().take(MESSAGE_BYTES).read_until(b'\n', &mut batch)? == 0 {
            break;
        }
        if batch[start..].trim_ascii().is_empty() {
            batch.truncate(start);
        } else {
            lines += 1;
        }
    }
    Ok((batch, lines))
}

fn tell(output: &mut impl Write, (first, last): Ids) {
    // The messages are stored, whether anyone reads of it or not.
    let _ = if first == last {
        writeln!(output, "stored {first}")
    } else {
        writeln!(output, "stored {first}..{last}")
    };
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use smol::LocalExecutor;

    use super::*;
    use crate::source::intake::{Input, channel};
    use crate::source::server::serve_control;
    use holdfast_core::source::intake::{Answer, Refused};

    fn args(socket: PathBuf) -> Args {
        let topic = "a b/c&d".to_owned();
        Args {
            topic,
            file: None,
            device: Some("é".to_owned()),
            lines: true,
            timeout: Duration::from_secs(9),
            socket: Some(socket),
            options: Options::default(),
        }
    }

    /// An agent that is busy at first and ends after it has taken a batch, which it returns.
    fn agent(socket: PathBuf) -> Vec<String> {
        let executor = Rc::new(LocalExecutor::new());
        smol::block_on(executor.run(async {
            let (intake, mut outtake) = channel();
            let control = executor.spawn(serve_control(socket, intake, executor.clone(), Rc::default()));
            let answers = [Answer::Refused(Refused::Busy), Answer::Stored { first: 1, last: 2 }];
            let mut taken = Vec::new();
            for answer in answers {
                let Ok(Input::Offer { drafts, reply, .. }) = outtake.inputs.recv().await else {
                    panic!("no offer")
                };
                taken = drafts;
                reply.send(Ok(answer)).await.unwrap();
            }
            outtake.alive.take();
            control.await.unwrap();
            taken
                .iter()
                .map(|draft| format!("{} {:?} {:?}", draft.topic, draft.device, draft.format))
                .collect()
        }))
    }

    #[test]
    fn lines_reach_an_agent_that_is_busy_at_first() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let file = directory.path().join("lines");
        std::fs::write(&file, "one\n2\n").unwrap();
        let running = std::thread::spawn({
            let socket = socket.clone();
            move || agent(socket)
        });
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::yield_now();
        }
        let exit = run(&Args { file: Some(file), ..args(socket) }).unwrap();
        assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::SUCCESS));
        let expected = [r#"a b/c&d Some("é") Text"#, r#"a b/c&d Some("é") Json"#];
        assert_eq!(running.join().unwrap(), expected);
    }

    #[test]
    fn without_an_agent_nothing_is_sent_and_that_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, file) = (directory.path().join("control.sock"), directory.path().join("lines"));
        std::fs::write(&file, "1\n").unwrap();
        let error = run(&Args { file: Some(file), ..args(socket) }).unwrap_err().to_string();
        assert!(error.contains("no agent is running there"), "{error}");
        assert!(error.ends_with("(0 lines were stored)"), "{error}");
    }

    /// Sends these lines to an agent that takes `most` batches; tells what it saw and what was printed.
    fn send(input: &[u8], gap_after: usize, most: usize) -> (anyhow::Result<()>, String, Vec<usize>) {
        let mut output = Vec::new();
        let (mut next, mut batches) = (1, Vec::new());
        let result = send_lines(&mut BufReader::with_capacity(BATCH_BYTES, input), &mut output, |batch| {
            if batches.len() == most {
                return Err("the buffer is full".to_owned());
            }
            assert!(batch.len() <= 2 * BATCH_BYTES);
            let lines = batch.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            batches.push(lines);
            let first = next;
            next += lines as u64;
            let ids = (first, next - 1);
            next += u64::from(batches.len() == gap_after);
            Ok(ids)
        });
        (result, String::from_utf8(output).unwrap(), batches)
    }

    #[test]
    fn lines_go_in_bounded_batches_and_are_told_as_ranges_of_ids() {
        let (result, output, batches) = send(b"a\n\nb\r\n \nc", 9, 9);
        assert!(result.is_ok());
        assert_eq!((output.as_str(), batches), ("stored 1..3\n", vec![2, 1]));
        let many = "line\n".repeat(12_000);
        let (_, output, batches) = send(many.as_bytes(), 9, 9);
        assert_eq!((output.as_str(), batches), ("stored 1..12000\n", vec![5000, 5000, 2000]));
        let (_, output, _) = send(many.as_bytes(), 1, 9);
        assert_eq!(output, "stored 1..5000\nstored 5002..12001\n");
        let large = format!("{}\n", "x".repeat(1000)).repeat(2000);
        assert!(send(large.as_bytes(), 9, 99).2.len() >= 4);
    }

    #[test]
    fn an_error_tells_how_many_lines_were_stored() {
        let (result, output, _) = send("line\n".repeat(12_000).as_bytes(), 9, 1);
        assert_eq!(
            result.unwrap_err().to_string(),
            "cannot send the 5000 lines from line 5001 on: the buffer is full (5000 lines were stored)"
        );
        assert_eq!(output, "stored 1..5000\n");
        let (result, output, _) = send(b"\n", 9, 9);
        assert!(result.is_err());
        assert_eq!(output, "");
    }

    #[test]
    fn an_answer_is_ids_or_an_error() {
        assert_eq!(read_answer(200, br#"{"stored":7}"#), Ok((7, 7)));
        assert_eq!(read_answer(200, br#"{"stored":[7,9]}"#), Ok((7, 9)));
        assert_eq!(
            read_answer(503, br#"{"error":"the buffer is full"}"#),
            Err("the buffer is full".to_owned())
        );
        assert_eq!(read_answer(500, b"what"), Err("the agent answered 500: what".to_owned()));
    }

    #[test]
    fn topic_and_device_are_encoded() {
        assert_eq!(path_of(&args(PathBuf::new())), "/api/send?topic=a+b%2Fc%26d&device=%C3%A9&lines=1");
    }
}
