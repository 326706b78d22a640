//! Where a receiver's messages go: standard output or a file, one line each; and what a file of an earlier run tells.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use crate::state::Receiver;
use holdfast_core::wire::{self, Gap, Item, PayloadRef};
use serde::Deserialize;

/// Content of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// The payload as it came.
    Payload,
    /// A JSON object; for an envelope with epoch and number.
    Json,
}

/// Takes lines.
pub struct Sink {
    out: Out,
    format: Option<LineFormat>,
    sync: bool,
    line: Vec<u8>,
}

enum Out {
    Nowhere,
    Lines(BufWriter<Box<dyn Write>>),
    File(BufWriter<File>),
}

impl Sink {
    /// Takes lines and forgets them.
    pub fn nowhere() -> Sink {
        Sink::new(Out::Nowhere, None, false)
    }

    /// Writes to standard output or the like. Without a format raw messages are written as they came and envelopes as
    /// JSON.
    pub fn lines(out: impl Write + 'static, format: Option<LineFormat>) -> Sink {
        Sink::new(Out::Lines(BufWriter::new(Box::new(out))), format, false)
    }

    /// Appends to a file, synced at each [`Sink::settle`] if so wanted. What is in the file already goes to `receiver`;
    /// a last line without its end was never acknowledged and is cut off.
    pub fn file(
        path: &Path,
        format: Option<LineFormat>,
        sync: bool,
        receiver: &mut Receiver,
    ) -> Result<Sink, String> {
        let unusable = |error: &dyn std::fmt::Display| format!("cannot use {}: {error}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| unusable(&error))?;
        recover(&mut file, receiver).map_err(|error| unusable(&error))?;
        if sync {
            sync_folder_of(path).map_err(|error| unusable(&error))?;
        }
        Ok(Sink::new(Out::File(BufWriter::new(file)), format, sync))
    }

    fn new(out: Out, format: Option<LineFormat>, sync: bool) -> Sink {
        Sink { out, format, sync, line: Vec::new() }
    }

    /// Writes a message without a number.
    pub fn write_raw(&mut self, payload: PayloadRef<'_>) -> io::Result<()> {
        self.line.clear();
        match self.format {
            Some(LineFormat::Json) => wire::write_raw_line(&mut self.line, payload),
            Some(LineFormat::Payload) | None => self.line.extend_from_slice(payload.bytes()),
        }
        self.write_line()
    }

    /// Writes a message of an envelope.
    pub fn write_item(&mut self, epoch: &str, item: &Item) -> io::Result<()> {
        self.line.clear();
        match self.format {
            Some(LineFormat::Payload) => self.line.extend_from_slice(&item.payload),
            Some(LineFormat::Json) | None => wire::write_line(&mut self.line, epoch, item),
        }
        self.write_line()
    }

    /// Keeps in a file of JSON that a gap was announced.
    pub fn note_gap(&mut self, epoch: &str, gap: &Gap) -> io::Result<()> {
        self.note(&serde_json::json!({ "epoch": epoch, "gap": gap }))
    }

    /// Keeps in a file of JSON that a message was refused.
    pub fn note_nack(&mut self, epoch: &str, seq: u64) -> io::Result<()> {
        self.note(&serde_json::json!({ "epoch": epoch, "nack": seq }))
    }

    /// Hands everything written to the kernel.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Nowhere => Ok(()),
            Out::Lines(out) => out.flush(),
            Out::File(out) => out.flush(),
        }
    }

    /// Makes everything written as safe as was wanted, so that it may be acknowledged.
    pub fn settle(&mut self) -> io::Result<()> {
        self.flush()?;
        match &self.out {
            Out::File(out) if self.sync => out.get_ref().sync_data(),
            Out::Nowhere | Out::Lines(_) | Out::File(_) => Ok(()),
        }
    }

    fn note(&mut self, line: &serde_json::Value) -> io::Result<()> {
        if !matches!(self.out, Out::File(_)) || self.format == Some(LineFormat::Payload) {
            return Ok(());
        }
        self.line.clear();
        write!(self.line, "{line}")?;
        self.write_line()
    }

    fn write_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        match &mut self.out {
            Out::Nowhere => Ok(()),
            Out::Lines(out) => out.write_all(&self.line),
            Out::File(out) => out.write_all(&self.line),
        }
    }
}

#[derive(Deserialize)]
struct Line {
    epoch: String,
    seq: Option<u64>,
    nack: Option<u64>,
    gap: Option<Gap>,
}

/// Tells the receiver what the file holds. Lines of another form are messages without numbers.
fn recover(file: &mut File, receiver: &mut Receiver) -> Result<(), String> {
    let mut reader = BufReader::new(&*file);
    let (mut line, mut whole_bytes) = (Vec::new(), 0);
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if line.last() != Some(&b'\n') {
            break;
        }
        whole_bytes += count as u64;
        if let Ok(line) = serde_json::from_slice::<Line>(&line) {
            recover_line(&line, receiver).map_err(|full| full.to_string())?;
        }
    }
    file.set_len(whole_bytes).map_err(|error| error.to_string())
}

fn recover_line(line: &Line, receiver: &mut Receiver) -> Result<(), crate::state::Full> {
    if let Some(seq) = line.seq.or(line.nack) {
        receiver.recover_message(&line.epoch, seq)?;
    }
    if let Some(gap) = &line.gap {
        receiver.recover_gap(&line.epoch, gap.from, gap.to)?;
    }
    Ok(())
}

/// A new file is only there after a power cut if its folder was synced.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Verdict;
    use holdfast_core::message::{Clock, Format};

    fn item(seq: u64) -> Item {
        Item {
            seq,
            time_ns: 0,
            clock: Clock::Unsynced,
            topic: "t".into(),
            device: None,
            format: Format::Json,
            payload: b"{\n}".to_vec(),
            attributes: Vec::new(),
            replayed: false,
        }
    }

    fn written(path: &Path, format: Option<LineFormat>) -> Sink {
        let mut sink = Sink::file(path, format, true, &mut Receiver::default()).unwrap();
        sink.write_item("E", &item(1)).unwrap();
        sink.note_gap("E", &Gap { from: 2, to: 4, reason: "restart".into(), epoch: None }).unwrap();
        sink.note_nack("E", 5).unwrap();
        sink.write_raw(PayloadRef::Text("plain")).unwrap();
        sink.settle().unwrap();
        sink
    }

    #[test]
    fn a_file_of_an_earlier_run_tells_what_came_and_loses_its_torn_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(written(&path, None));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], br#"{"epoch":"E","seq":6"#].concat()).unwrap();

        let mut receiver = Receiver::default();
        let mut sink = Sink::file(&path, None, false, &mut receiver).unwrap();
        assert_eq!(receiver.hello("E", 1), Ok(Some(6)));
        assert_eq!(receiver.message("E", 1), Ok(Verdict::Duplicate));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        sink.write_raw(PayloadRef::Text("more")).unwrap();
        sink.flush().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("plain\nmore\n"));
    }

    #[test]
    fn payloads_are_written_as_they_came_and_without_notes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(written(&path, Some(LineFormat::Payload)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n}\nplain\n");
    }
}
