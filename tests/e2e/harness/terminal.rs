//! A terminal of a given size: a command runs in a pseudo-terminal, and what it prints is drawn on a screen.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::wait_for;

/// A command in a terminal.
pub struct Terminal {
    child: Child,
    screen: Arc<Mutex<Screen>>,
}

/// Content of a screen, as ECMA-48 has it: CUP to the corner, EL and ED to the end, colours.
#[derive(Debug, Default)]
struct Screen {
    width: usize,
    height: usize,
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Lines that were longer than the screen is wide.
    wraps: usize,
    /// Lines that left the screen at its top.
    scrolled: Vec<String>,
    escape: Option<String>,
}

impl Terminal {
    /// Starts a command in a terminal of so many columns and lines.
    pub fn start(command: &mut Command, width: u16, height: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are pseudo-terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let name = name.into_string().expect("its name is text");
        let slave = OpenOptions::new().read(true).write(true).open(name).expect("it is ours");
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("it takes a size");
        let end = || slave.try_clone().expect("there are descriptors");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary runs");
        drop(slave);
        // The command keeps its ends open, which would hide its end.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut master = File::from(master);
        let screen = Arc::new(Mutex::new(Screen::new(width.into(), height.into())));
        let drawn = screen.clone();
        std::thread::spawn(move || {
            let (mut bytes, mut pending) = ([0; 4096], Vec::new());
            // EIO is the end of a pseudo-terminal.
            while let Some(count) = master.read(&mut bytes).ok().filter(|count| *count > 0) {
                pending.extend_from_slice(&bytes[..count]);
                let whole = std::str::from_utf8(&pending).map_or_else(|error| error.valid_up_to(), str::len);
                let text: Vec<u8> = pending.drain(..whole).collect();
                drawn.lock().expect("nobody panics with the screen").draw(&String::from_utf8_lossy(&text));
            }
        });
        Terminal { child, screen }
    }

    /// Everything that was shown, what has left the screen included.
    pub fn text(&self) -> String {
        let screen = self.screen.lock().expect("nobody panics with the screen");
        let shown = screen.lines.iter().map(|line| line.iter().collect::<String>());
        screen.scrolled.iter().cloned().chain(shown).map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// Waits until all of these words are shown, and gives what is.
    pub fn shows(&self, words: &[&str]) -> String {
        let shown = || Some(self.text()).filter(|text| words.iter().all(|word| text.contains(word)));
        let found = wait_for_or(&format!("{words:?} on the screen"), shown, || self.text());
        self.assert_not_wrapped();
        found
    }

    /// Waits until all of these words are shown, wherever a line is broken between them, and gives what is, in one line.
    pub fn tells(&self, words: &[&str]) -> String {
        let flow = || self.text().split_whitespace().collect::<Vec<_>>().join(" ");
        let told = || Some(flow()).filter(|text| words.iter().all(|word| text.contains(word)));
        let found = wait_for_or(&format!("{words:?} on the screen"), told, || self.text());
        self.assert_not_wrapped();
        found
    }

    /// Waits for the end of the command; everything that it printed is shown then.
    pub fn exit(&mut self) -> ExitStatus {
        wait_for("the command ends", || self.child.try_wait().expect("it is our child"))
    }

    /// Fails if a line was wider than the terminal.
    pub fn assert_not_wrapped(&self) {
        assert_eq!(self.screen.lock().expect("nobody panics with the screen").wraps, 0, "{}", self.text());
    }

    /// Fails if something has left the screen at its top.
    pub fn assert_not_scrolled(&self) {
        let scrolled = self.screen.lock().expect("nobody panics with the screen").scrolled.len();
        assert_eq!(scrolled, 0, "{}", self.text());
    }
}

fn wait_for_or<T>(what: &str, look: impl FnMut() -> Option<T>, otherwise: impl Fn() -> String) -> T {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_for(what, look)));
    outcome.unwrap_or_else(|_| panic!("{what}, but there is\n{}", otherwise()))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Screen {
    fn new(width: usize, height: usize) -> Screen {
        Screen { width, height, lines: vec![Vec::new(); height], ..Screen::default() }
    }

    fn draw(&mut self, text: &str) {
        for letter in text.chars() {
            match (self.escape.take(), letter) {
                (None, '\x1b') => self.escape = Some(String::new()),
                (None, '\r') => self.column = 0,
                (None, '\n') => self.line_feed(),
                (None, letter) => self.put(letter),
                (Some(sequence), letter) if letter.is_ascii_alphabetic() => self.obey(&sequence, letter),
                (Some(sequence), letter) => self.escape = Some(format!("{sequence}{letter}")),
            }
        }
    }

    fn put(&mut self, letter: char) {
        if self.column == self.width {
            self.wraps += 1;
            self.column = 0;
            self.line_feed();
        }
        let line = &mut self.lines[self.row];
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = letter;
        self.column += 1;
    }

    fn line_feed(&mut self) {
        if self.row + 1 < self.height {
            self.row += 1;
        } else {
            let first = self.lines.remove(0);
            self.scrolled.push(first.into_iter().collect());
            self.lines.push(Vec::new());
        }
    }

    fn obey(&mut self, sequence: &str, end: char) {
        match (sequence, end) {
            ("[", 'H') => (self.row, self.column) = (0, 0),
            ("[", 'K') => self.lines[self.row].truncate(self.column),
            ("[", 'J') => {
                self.lines[self.row].truncate(self.column);
                self.lines[self.row + 1..].iter_mut().for_each(Vec::clear);
            }
            (_, 'm') => {}
            other => panic!("the screen does not know {other:?}"),
        }
    }
}
