//! One file per subcommand, all of the same shape: `Args` and `run(&Args) -> anyhow::Result<ExitCode>`.

pub mod buffer;
mod change;
pub mod check;
pub mod client;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod hash_password;
pub mod options;
pub mod receive;
pub mod reload;
pub mod report;
pub mod run;
pub mod send;
pub mod server;
pub mod source;
pub mod status;
mod table;
pub mod tap;
pub mod test;

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use holdfast_core::terminal;

use crate::os::logger;

/// The version of the program, and the commit that it was built from where that is known.
pub const VERSION: &str = env!("HOLDFAST_LONG_VERSION");

/// Text in fewer columns than this is left for the terminal to break.
const HANGING_MIN: usize = 20;

/// Whether what is printed may be coloured: a terminal reads it, and `NO_COLOR` does not say otherwise.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Prints lines at once, nothing of which a terminal obeys. An error says that nobody reads it any more, who has seen enough
/// then.
fn print(text: &str) -> std::io::Result<()> {
    write_out(&terminal::escaped_lines(text))
}

/// The same of a page with colours, whose parts are [`clean`].
fn print_page(text: &str) -> std::io::Result<()> {
    write_out(&terminal::escaped_page(text))
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints on standard error, which may be closed.
pub fn tell(text: &str) {
    let _ = std::io::stderr().write_all(logger::fitted(text).as_bytes());
}

/// Whether the reader of standard output has gone away.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// A text behind a prefix of so many columns, in lines that fit a terminal of this width: all but the first begin below the text.
fn hanging(prefix: &str, indent: usize, text: &str, width: Option<usize>) -> String {
    let room = width.map(|width| width.saturating_sub(indent)).filter(|room| *room >= HANGING_MIN);
    let lines = room.map_or_else(|| vec![text.to_owned()], |room| terminal::wrapped(text, room, 0));
    let lines = lines.iter().enumerate().map(|(number, line)| match number {
        0 => format!("{prefix}{line}\n"),
        _ => format!("{}{line}\n", " ".repeat(indent)),
    });
    lines.collect()
}

/// A text from outside as a part of a page.
fn clean(text: &str) -> String {
    terminal::escaped(text).into_owned()
}

/// Standard output for what others sent: as it is for a program or a file, in safe lines for a terminal.
fn output() -> Box<dyn Write> {
    let out = std::io::stdout();
    if out.is_terminal() { Box::new(Screen { out, line: Vec::new() }) } else { Box::new(out) }
}

/// A terminal, which gets whole lines and nothing to obey.
struct Screen<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Screen<W> {
    fn show(&mut self, end: usize) -> std::io::Result<()> {
        let lines: Vec<u8> = self.line.drain(..end).collect();
        self.out.write_all(terminal::escaped_lines(&String::from_utf8_lossy(&lines)).as_bytes())
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
            self.show(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.show(self.line.len())?;
        self.out.flush()
    }
}

/// The interval of something that is shown again and again.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(86_400);
    if bounds.contains(&interval) { Ok(interval) } else { Err("must be between 100ms and 1day".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_behind_a_prefix_goes_on_below_its_beginning() {
        let text = "cannot connect to 127.0.0.1:1: connection refused";
        let expected = "  tcp  cannot connect to\n       127.0.0.1:1:\n       connection refused\n";
        assert_eq!(hanging("  tcp  ", 7, text, Some(29)), expected);
        for width in [None, Some(10)] {
            assert_eq!(hanging("  tcp  ", 7, text, width), format!("  tcp  {text}\n"));
        }
    }

    #[test]
    fn a_terminal_gets_lines_with_nothing_to_obey_however_they_are_written() {
        let mut screen = Screen { out: Vec::new(), line: Vec::new() };
        let text = "größer \x1b[2J \u{202e}\nmore";
        for byte in text.as_bytes() {
            screen.write_all(&[*byte]).unwrap();
        }
        assert_eq!(String::from_utf8_lossy(&screen.out), "größer \\u001b[2J \\u202e\n");
        screen.flush().unwrap();
        assert!(screen.out.ends_with(b"more"));
    }
}
