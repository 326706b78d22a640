//! A name server that may be silent, and a world in which it is the only one.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PORT: u16 = 53;
/// How often it looks whether it shall end.
const TURN: Duration = Duration::from_millis(50);
const SCRIPT: &str = "mount --bind \"$0\" /etc/resolv.conf && \
                      { [ ! -e /etc/nsswitch.conf ] || mount --bind \"$1\" /etc/nsswitch.conf; } && \
                      shift && exec \"$@\"";
/// RFC 1035 §4.1.1.
const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

/// Answers every name with 127.0.0.1, or swallows what it is asked.
pub struct NameServer {
    address: Ipv4Addr,
    answers: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// A silent one on an address of this process; none where port 53 may not be had.
    pub fn silent() -> Option<NameServer> {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low.max(1));
        let socket = UdpSocket::bind((address, PORT)).ok()?;
        socket.set_read_timeout(Some(TURN)).expect("it is not zero");
        let (answers, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let serving = (Arc::clone(&answers), Arc::clone(&over));
        let thread = std::thread::spawn(move || serve(&socket, &serving.0, &serving.1));
        Some(NameServer { address, answers, over, thread: Some(thread) })
    }

    /// From here on it answers.
    pub fn speak(&self) {
        self.answers.store(true, Ordering::Relaxed);
    }

    /// Command that sees this name server and no other, in a mount namespace of its own. None where that is not permitted.
    pub fn world_of(&self, directory: &Path, command: &Command) -> Option<Command> {
        let (resolv, nsswitch) = (directory.join("resolv.conf"), directory.join("nsswitch.conf"));
        let text = format!("nameserver {}\noptions timeout:1 attempts:2\n", self.address);
        std::fs::write(&resolv, text).expect("the directory is ours");
        std::fs::write(&nsswitch, "hosts: files dns\n").expect("the directory is ours");
        let world = || {
            let mut world = Command::new("unshare");
            world.args(["--mount", "sh", "-c", SCRIPT]).args([&resolv, &nsswitch]);
            world
        };
        let tried = world().arg("true").output();
        tried.is_ok_and(|tried| tried.status.success()).then(|| {
            let mut world = world();
            world.arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => world.env(name, value),
                    None => world.env_remove(name),
                };
            }
            world
        })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()), "the name server panicked");
    }
}

fn serve(socket: &UdpSocket, answers: &AtomicBool, over: &AtomicBool) {
    let mut query = [0; 512];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, asker)) = socket.recv_from(&mut query) else { continue };
        if let Some(answer) = answer(&query[..length])
            && answers.load(Ordering::Relaxed)
        {
            // Whoever asked may have gone.
            let _ = socket.send_to(&answer, asker);
        }
    }
}

/// RFC 1035 §4.1: the header, the one question, and for type A one record that points back to the question's name.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..HEADER + name + 5)?;
    let is_address = question.get(name + 1..name + 3)? == TYPE_A;
    let counts = [0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
    let mut answer = [query.get(..2)?, &[0x81, 0x80], &counts, question].concat();
    if is_address {
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
