//! `holdfast report`: one file with everything that support asks for, and no secret. It is plain text, so that its sender can read
//! what goes out.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context;
use holdfast_core::config::Secrets;
use holdfast_core::observe::doctor::size;
use holdfast_core::observe::status::rfc3339;
use holdfast_core::terminal;

use super::doctor::{examine, line, status_of};
use super::options::{Found, Options};
use crate::os::host::Machine;
use crate::os::{clock, private, secret};
use crate::runtime::config_file;

/// The journal must have given its lines within this.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes of them.
const JOURNAL_BYTES: u64 = 2_000_000;
/// Most files that are listed, and how deep.
const LISTED: usize = 500;
const DEPTH: usize = 3;

/// Writes one file for support: version, configuration, status, findings, log, machine and files, without secrets
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Passwords, tokens, hashes, headers, parameters and first messages are replaced by ***, and no message that is held is in\n\
    it. It is plain text: read it before you send it.\n\n\
    Examples:\n  holdfast report\n  holdfast report --output - | less\n  holdfast report --lines 5000 --output report.txt"
)]
pub struct Args {
    /// The file to write, - for standard output; holdfast-report-AGENT-TIME.txt here by default
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Lines of the log, if the journal has it
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    lines: u32,
    /// Control socket of the agent; it follows from the configuration by default
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Gathers and writes. The error says why the file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let found = args.options.find()?;
    let page = gather(args, &found);
    let secrets = Secrets::of(&found.files);
    let mut texts = secrets.texts;
    texts.extend(secrets.elsewhere.iter().filter_map(|elsewhere| secret::read(elsewhere).ok()));
    let page = terminal::escaped_lines(&Secrets::hide(&texts, &page)).into_owned();
    let output = args.output.clone().unwrap_or_else(|| default_name(&found));
    if output == Path::new("-") {
        std::io::stdout().write_all(page.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let cannot = || format!("cannot write {}", output.display());
    private::overwrite(&output).and_then(|mut file| file.write_all(page.as_bytes())).with_context(cannot)?;
    super::print(&format!(
        "{}: {}, without secrets; read it before you send it\n",
        output.display(),
        size(page.len() as u64)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn default_name(found: &Found) -> PathBuf {
    let time = rfc3339(clock::now().wall_ns);
    let time: String = time.chars().filter(|letter| !matches!(letter, '-' | ':')).take(15).collect();
    format!("holdfast-report-{}-{time}Z.txt", found.config.agent.id).into()
}

fn gather(args: &Args, found: &Found) -> String {
    let socket = args.options.socket_of(args.socket.as_deref(), &found.config);
    let (findings, status) = smol::block_on(async {
        let mut findings = String::new();
        examine(found, &socket, &mut |finding| findings.push_str(&line(&finding, false, None))).await;
        (findings, status_of(&socket).await)
    });
    let status = status.map_or_else(|error| error, |status| format!("{status:#}"));
    let dir = &found.config.agent.data_dir;
    let configuration = match found.faults.as_slice() {
        [] => config_file::shown(&found.config),
        faults => format!(
            "it is wrong, and not shown since its secrets cannot be told from the rest:\n{}\n",
            faults.join("\n")
        ),
    };
    let mut page = format!("Report of holdfast {}, {}\n", super::VERSION, rfc3339(clock::now().wall_ns));
    for (title, text) in [
        ("doctor", findings),
        ("status", status),
        ("configuration", configuration),
        ("machine", machine()),
        ("files of the configuration", files(found)),
        (&format!("files in {}", dir.display()), listing(dir)),
        ("log", log(args.lines)),
    ] {
        let _ = writeln!(page, "\n==== {title}\n{}", text.trim_end());
    }
    page
}

fn machine() -> String {
    let names = rustix::system::uname();
    let word = |word: &std::ffi::CStr| word.to_string_lossy().into_owned();
    let mut page = format!(
        "system   {} {} {} {}\n",
        word(names.sysname()),
        word(names.release()),
        word(names.version()),
        word(names.machine())
    );
    for (label, file) in [("model", "/proc/device-tree/model"), ("load", "/proc/loadavg")] {
        if let Ok(text) = std::fs::read_to_string(file) {
            let _ = writeln!(page, "{label:<8} {}", text.trim_matches(['\0', '\n']));
        }
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if let Some(name) = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")) {
        let _ = writeln!(page, "release  {}", name.trim_matches('"'));
    }
    let facts = serde_json::to_string(&Machine::new().look()).unwrap_or_default();
    let _ = writeln!(page, "facts    {facts}");
    for line in std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default().lines() {
        if line.starts_with("nameserver") {
            let _ = writeln!(page, "{line}");
        }
    }
    page
}

fn files(found: &Found) -> String {
    found.files.iter().map(|file| entry(&file.path, Path::new(""))).collect()
}

fn listing(dir: &Path) -> String {
    let mut page = String::new();
    let mut left = LISTED;
    list(dir, dir, DEPTH, &mut left, &mut page);
    if page.is_empty() {
        format!("nothing is there, or this user may not see it: {}", dir.display())
    } else {
        page
    }
}

fn list(dir: &Path, root: &Path, depth: usize, left: &mut usize, page: &mut String) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if *left == 0 {
            return;
        }
        *left -= 1;
        page.push_str(&entry(&path, root));
        if depth > 0 && path.is_dir() && !path.is_symlink() {
            list(&path, root, depth - 1, left, page);
        }
    }
}

/// Mode, owner, size, time and name, as `ls -l` has them.
fn entry(path: &Path, root: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let name = path.strip_prefix(root).unwrap_or(path).display();
    match std::fs::symlink_metadata(path) {
        Ok(facts) => {
            let time_ns = u64::try_from(facts.mtime()).unwrap_or_default().saturating_mul(1_000_000_000);
            let (mode, user, bytes) = (facts.mode(), facts.uid(), facts.len());
            format!("{mode:06o} {user:>5} {bytes:>11} {} {name}\n", rfc3339(time_ns))
        }
        Err(error) => format!("{name}: {error}\n"),
    }
}

/// The last lines of the unit in the journal.
fn log(lines: u32) -> String {
    let lines = lines.to_string();
    let mut command = Command::new("journalctl");
    command.args(["--unit", "holdfast", "--no-pager", "--output", "short-iso", "--lines", &lines]);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return format!("there is no journal here (journalctl: {error})"),
    };
    let (sender, receiver) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.take(JOURNAL_BYTES).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    let read = receiver.recv_timeout(JOURNAL_TIMEOUT);
    let _ = child.kill();
    let _ = child.wait();
    match read {
        Ok(bytes) if bytes.is_empty() => {
            "the journal has no line of the unit holdfast that this user may see".to_owned()
        }
        Ok(bytes) => without_reasons(&String::from_utf8_lossy(&bytes)),
        Err(_) => format!("journalctl gave nothing within {} s", JOURNAL_TIMEOUT.as_secs()),
    }
}

/// Words of a peer about a message that it refused may quote the message.
fn without_reasons(log: &str) -> String {
    let line = |line: &str| match line.split_once(" reason=\"") {
        Some((before, rest)) => {
            let end = rest.rfind('"').map_or(rest.len(), |end| end + 1);
            format!("{before} reason=***{}\n", &rest[end..])
        }
        None => format!("{line}\n"),
    };
    log.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_peer_about_a_message_are_left_out() {
        let log = "a\nWARN peer refused a message, set aside cloud seq=7 reason=\"bad \\\"t\\\": 21.5\" dead=1\nb\n";
        let expected = "a\nWARN peer refused a message, set aside cloud seq=7 reason=*** dead=1\nb\n";
        assert_eq!(without_reasons(log), expected);
    }

    #[test]
    fn the_files_of_a_folder_are_listed_and_not_their_content() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        std::fs::write(folder.path().join("store/db"), "s3cret").unwrap();
        let page = listing(folder.path());
        assert!(
            page.contains(" store\n") && page.contains(" store/db\n") && !page.contains("s3cret"),
            "{page}"
        );
        assert!(listing(Path::new("/nonexistent")).starts_with("nothing is there"));
    }
}
