//! `holdfast hash-password`: a password becomes what stands in `users` of a server.

use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::{print, tell};
use crate::os::password;

/// What Ctrl-C, Ctrl-D, Ctrl-U and the two keys that take a letter back send.
const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const KILL: u8 = 0x15;
const ERASE: [u8; 2] = [0x7f, 0x08];

/// Asks for a password and prints its hash, for `password_hash` of a user
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Without a terminal it reads one line. The hash goes into the configuration:\n  auth = \"basic\"\n  \
    users = [ { name = \"pump\", password_hash = \"$argon2id$…\" } ]\n\n\
    Examples:\n  holdfast hash-password\n  holdfast hash-password < password.txt"
)]
pub struct Args {}

/// Prints the hash on stdout; what is asked goes to stderr.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let password =
        if std::io::stdin().is_terminal() { asked()? } else { first_line(&mut std::io::stdin().lock())? };
    ensure!(!password.is_empty(), "the password is empty");
    print(&format!("{}\n", password::hash(&password)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks twice, since nobody sees what is typed.
fn asked() -> anyhow::Result<String> {
    let password = typed("Password: ")?;
    ensure!(typed("Again: ")? == password, "the two passwords are not the same");
    Ok(password)
}

fn first_line(input: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read the password")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A line from the terminal, which shows nothing of it and is left as it was, after Ctrl-C too.
fn typed(prompt: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context("cannot read the settings of the terminal")?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).context("cannot hide what is typed")?;
    tell(prompt);
    let line = keys(stdin.lock().bytes());
    tcsetattr(&stdin, OptionalActions::Now, &before).context("cannot show again what is typed")?;
    tell("\n");
    line
}

/// What these keys make of a line.
fn keys(bytes: impl Iterator<Item = std::io::Result<u8>>) -> anyhow::Result<String> {
    let mut line: Vec<u8> = Vec::new();
    for byte in bytes {
        match byte.context("cannot read the password")? {
            b'\n' | b'\r' => return String::from_utf8(line).context("the password is not UTF-8"),
            INTERRUPT | END => bail!("interrupted"),
            KILL => line.clear(),
            byte if ERASE.contains(&byte) => {
                let letter = line.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
                line.truncate(letter);
            }
            byte => line.push(byte),
        }
    }
    bail!("the terminal is gone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> anyhow::Result<String> {
        keys(text.iter().map(|byte| Ok(*byte)))
    }

    #[test]
    fn letters_can_be_taken_back_whatever_their_length() {
        assert_eq!(line("pé\x7f\x7fqü\x08x\n".as_bytes()).unwrap(), "qx");
        assert_eq!(line(b"wrong\x15right\r").unwrap(), "right");
        assert_eq!(line(b"\x7f\x7fa\n").unwrap(), "a");
    }

    #[test]
    fn an_interrupt_is_no_password() {
        assert!(line(b"half\x03").is_err() && line(b"half\x04\n").is_err() && line(b"half").is_err());
    }

    #[test]
    fn one_line_is_read_without_its_end_and_with_its_spaces() {
        assert_eq!(first_line(&mut " s3 cret \r\nmore\n".as_bytes()).unwrap(), " s3 cret ");
        assert_eq!(first_line(&mut "".as_bytes()).unwrap(), "");
    }
}
