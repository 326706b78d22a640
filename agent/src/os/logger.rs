//! The log of the process on standard error: what is written, and how a line looks. The environment variable `RUST_LOG` goes
//! before the level of the configuration, and the command line before its format.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use env_logger::fmt::Formatter;
use holdfast_core::config::logging::{Log, LogFormat};
use holdfast_core::observe::log_event::{Fact, Level, LogEvent};
use holdfast_core::terminal;
use log::Record;
use log::kv::{Error, Key, Source, Value, VisitSource, VisitValue};

use super::{clock, supervisor};

/// A terminal with fewer columns than this breaks lines by itself.
const WIDTH_MIN: usize = 40;
/// Lines that libraries write at will stay out.
const SILENT: &str = "sled=off,rumqttc=off";

static LOGGER: Logger = Logger { own: RwLock::new(None) };

/// The logger that is in force; another one takes its place when the configuration says so.
struct Logger {
    own: RwLock<Option<Own>>,
}

struct Own {
    lines: env_logger::Logger,
    /// Format that the command line asks for.
    asked: Option<LogFormat>,
    format: LogFormat,
}

/// The facts of an event, for [`json_line`].
struct Facts<'a> {
    name: &'static str,
    facts: Vec<(&'static str, Fact<'a>)>,
}

/// Members of a JSON object, each behind a comma.
struct Members(String);

/// Begins to log, with lines of this format whatever the configuration says, if there is one.
pub fn start(asked: Option<LogFormat>) {
    put(Log::default(), asked);
    // An error says that there is a logger already, which goes on with what was put into it.
    let _ = log::set_logger(&LOGGER);
}

/// Goes on as the configuration says.
pub fn configure(log: Log) {
    let asked = LOGGER.own.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|own| own.asked);
    put(log, asked);
}

/// Tells why the process ends, as a line of the log where that is made for programs.
pub fn tell_end(error: &str) {
    let format = LOGGER.own.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|own| own.format);
    let level = if supervisor::logs_to_journal() { "<3>" } else { "" };
    let line = match format {
        Some(LogFormat::Json) => json(log::Level::Error, error, &None::<(&str, &str)>),
        _ => fitted(&format!("holdfast: {}", terminal::escaped_lines(error))),
    };
    // There may be nobody left to read it.
    let _ = writeln!(std::io::stderr(), "{level}{line}");
}

/// A text for standard error in lines that fit the terminal that it is, if it is one.
pub fn fitted(text: &str) -> String {
    let error = std::io::stderr();
    let width = rustix::termios::tcgetwinsize(&error).ok().filter(|_| error.is_terminal());
    let Some(width) = width.map(|size| usize::from(size.ws_col)).filter(|width| *width >= WIDTH_MIN) else {
        return text.to_owned();
    };
    let fit = |line: &str| match terminal::columns(line) > width {
        true => terminal::wrapped(line, width, 2).join("\n"),
        false => line.to_owned(),
    };
    text.split('\n').map(fit).collect::<Vec<_>>().join("\n")
}

/// Writes an event of the agent with its facts.
pub fn write_down(log_event: &LogEvent) {
    let level = match log_event.level() {
        Level::Error => log::Level::Error,
        Level::Warn => log::Level::Warn,
        Level::Info => log::Level::Info,
        Level::Debug => log::Level::Debug,
    };
    if level <= log::max_level() {
        let facts = Facts { name: log_event.name(), facts: log_event.facts() };
        let mut record = Record::builder();
        record.level(level).target(module_path!()).key_values(&facts);
        log::logger().log(&record.args(format_args!("{log_event}")).build());
    }
}

fn put(log: Log, asked: Option<LogFormat>) {
    let format = asked.unwrap_or(log.format);
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| log.level.name().to_owned());
    let line = match (format, supervisor::logs_to_journal()) {
        (LogFormat::Json, is_journal) => {
            if is_journal {
                json_line_of_journal
            } else {
                json_line
            }
        }
        (LogFormat::Text, true) => journal_line,
        (LogFormat::Text, false) => text_line,
    };
    let lines = env_logger::Builder::new().parse_filters(&format!("{filter},{SILENT}")).format(line).build();
    log::set_max_level(lines.filter());
    *LOGGER.own.write().unwrap_or_else(PoisonError::into_inner) = Some(Own { lines, asked, format });
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.as_ref().is_some_and(|own| own.lines.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(own) = self.own.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            own.lines.log(record);
        }
    }

    fn flush(&self) {}
}

impl Source for Facts<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        visitor.visit_pair("event".into(), self.name.into())?;
        for (name, fact) in &self.facts {
            let value = match fact {
                Fact::Text(text) => Value::from(text.as_ref()),
                Fact::Number(number) => Value::from(*number),
                Fact::Seconds(seconds) => Value::from(*seconds),
                Fact::Nothing => Value::null(),
            };
            visitor.visit_pair(Key::from_str(name), value)?;
        }
        Ok(())
    }
}

/// The priority in front of a line for the journal, as in sd-daemon(3).
fn priority(level: log::Level) -> u8 {
    match level {
        log::Level::Error => 3,
        log::Level::Warn => 4,
        log::Level::Info => 6,
        log::Level::Debug | log::Level::Trace => 7,
    }
}

/// One line of the log for the journal: level, what happened. The journal knows the time.
fn journal_line(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    writeln!(out, "<{}>{}", priority(record.level()), terminal::escaped(&record.args().to_string()))
}

/// One line of the log: time in UTC, level, what happened.
fn text_line(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    writeln!(out, "{} {:<5} {}", time(), record.level(), terminal::escaped(&record.args().to_string()))
}

fn json_line(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    writeln!(out, "{}", json_of(record))
}

fn json_line_of_journal(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    writeln!(out, "<{}>{}", priority(record.level()), json_of(record))
}

fn json_of(record: &Record<'_>) -> String {
    json(record.level(), &record.args().to_string(), record.key_values())
}

/// One JSON object: time in UTC, level, what happened, and the facts by their names.
fn json(level: log::Level, message: &str, facts: &dyn Source) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let mut members = Members(String::new());
    members.add("message", &quoted(message));
    // It never fails to write into memory.
    let _ = facts.visit(&mut members);
    let object = format!("{{\"time\":\"{}\",\"level\":\"{level}\"{}}}", time(), members.0);
    terminal::escaped(&object).into_owned()
}

fn time() -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::now().wall_ns);
    humantime::format_rfc3339_millis(time).to_string()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Members {
    fn add(&mut self, name: &str, value: &str) {
        let _ = write!(self.0, ",{}:{value}", quoted(name));
    }
}

impl<'kvs> VisitSource<'kvs> for Members {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut told = Told(String::new());
        value.visit(&mut told)?;
        self.add(key.as_str(), &told.0);
        Ok(())
    }
}

/// A value in JSON.
struct Told(String);

impl<'v> VisitValue<'v> for Told {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0 = quoted(&value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        "null".clone_into(&mut self.0);
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.to_string();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.to_string();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.0 = serde_json::Value::from(value).to_string();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.to_string();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::link::backoff::WaitReason;

    use super::*;

    fn object(log_event: &LogEvent) -> (String, serde_json::Value) {
        let facts = Facts { name: log_event.name(), facts: log_event.facts() };
        let line = json(log::Level::Warn, &log_event.to_string(), &facts);
        let object = serde_json::from_str(&line).unwrap();
        (line, object)
    }

    #[test]
    fn an_event_is_one_object_with_its_facts_by_their_names() {
        let error = "cut \"short\"\n\u{202e}\x1b[2J".to_owned();
        let because = WaitReason::Login;
        let retry_in = Some(Duration::from_millis(1_540));
        let (line, lost) =
            object(&LogEvent::LinkLost { link: "cloud".into(), error: error.clone(), retry_in, because });
        assert!(line.starts_with("{\"time\":\"20") && !line.contains(terminal::is_unsafe), "{line}");
        assert_eq!((&lost["level"], &lost["event"]), (&"warn".into(), &"link_lost".into()));
        assert_eq!((&lost["link"], &lost["error"]), (&"cloud".into(), &error.into()));
        assert_eq!((&lost["retry_in_s"], &lost["because"]), (&1.5.into(), &"login".into()));
        assert!(lost["message"].as_str().unwrap().starts_with("link lost cloud retry_in=1.5s"));
    }

    #[test]
    fn numbers_are_numbers_and_what_is_not_there_is_null() {
        let (_, up) =
            object(&LogEvent::LinkUp { link: "a".into(), peer: "[::1]:9".into(), held: 7, terms: None });
        assert_eq!(up["held"], 7);
        let lost = LogEvent::LinkLost {
            link: "a".into(),
            error: String::new(),
            retry_in: None,
            because: WaitReason::BackOff,
        };
        assert!(object(&lost).1["retry_in_s"].is_null());
        let (_, bare) = object(&LogEvent::StoreRecovered);
        assert_eq!(bare.as_object().unwrap().len(), 4);
    }
}
