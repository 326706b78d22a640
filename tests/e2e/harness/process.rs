//! A process of a test: its output is kept, it is killed at the end, and what it said is printed when the test fails.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// Lines that are shown of a process when its test fails.
const TAIL: usize = 60;

/// A running process.
pub struct Running {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts it. Both of its outputs are kept line by line, in the order in which they come.
    pub fn start(name: &str, command: &mut Command) -> Running {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = Arc::default();
        let readers = vec![keep_lines(child.stdout.take(), &lines), keep_lines(child.stderr.take(), &lines)];
        Running { name: name.to_owned(), child, lines, readers }
    }

    /// Everything that it has said up to its end, for which this waits.
    pub fn last_words(&mut self) -> Vec<String> {
        self.exit();
        self.readers.drain(..).for_each(|reader| reader.join().expect("a reader does not panic"));
        self.lines()
    }

    /// Everything that it has said so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with the lines").clone()
    }

    /// Number of lines with all of these words.
    pub fn count(&self, words: &[&str]) -> usize {
        self.lines().iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Waits for the first line with all of these words, and gives it.
    pub fn said(&self, words: &[&str]) -> String {
        let first = || self.lines().into_iter().find(|line| words.iter().all(|word| line.contains(word)));
        wait_for(&format!("{} says {words:?}", self.name), first)
    }

    /// Waits for the first line that `read` can make something of.
    pub fn read<T>(&self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        wait_for(what, || self.lines().iter().find_map(|line| read(line)))
    }

    /// Lets its standard input end.
    pub fn end_of_input(&mut self) {
        self.child.stdin.take();
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for its end.
    pub fn exit(&mut self) -> ExitStatus {
        let name = self.name.clone();
        wait_for(&format!("{name} ends"), || self.ended())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .expect("it is our child and has not been waited for");
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// SIGTERM, and its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.lines();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("--- {} said at last:\n{}", self.name, tail.join("\n"));
        }
    }
}

fn keep_lines(output: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let (output, lines) = (output.expect("it is piped"), Arc::clone(lines));
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            lines.lock().expect("nobody panics with the lines").push(line);
            bytes.clear();
        }
    })
}
