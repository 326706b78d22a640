//! `inbound` of `[[client]]`: what its peer sends of its own becomes messages.

use super::render;
use super::route::names_in;
use super::server::{FORMAT, template, topic};
use super::table::{Reading, Table};
use super::tree::Node;
use super::value;
use crate::message::Format;

/// Names that a template may hold.
const NAMES: [&str; 3] = ["client", "agent", "application"];

/// Labels of the WHATWG Encoding Standard (§4.2) for each encoding; the first one is its name.
const LABELS: [(TextEncoding, &[&str]); 4] = [
    (
        TextEncoding::Utf8,
        &["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"],
    ),
    (
        TextEncoding::Utf16Le,
        &["utf-16le", "utf-16", "ucs-2", "iso-10646-ucs-2", "csunicode", "unicode", "unicodefeff"],
    ),
    (TextEncoding::Utf16Be, &["utf-16be", "unicodefffe"]),
    (
        TextEncoding::Windows1252,
        &[
            "windows-1252",
            "ansi_x3.4-1968",
            "ascii",
            "cp1252",
            "cp819",
            "csisolatin1",
            "ibm819",
            "iso-8859-1",
            "iso-ir-100",
            "iso8859-1",
            "iso88591",
            "iso_8859-1",
            "iso_8859-1:1987",
            "l1",
            "latin1",
            "us-ascii",
            "x-cp1252",
        ],
    ),
];

/// What a peer sends of its own becomes messages: they go to every other client, never back to their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Topic template with `{client}`, `{agent}` and `{application}` in it.
    pub topic: String,
    /// Device template with the same names; a device is heard by its messages.
    pub device: Option<String>,
    /// What payloads must be; by default text frames are text or JSON as they come and binary frames binary.
    pub format: Option<Format>,
    /// Binary frames are text in this encoding, by its WHATWG label: that of `utf-8`, `utf-16le`, `utf-16be` or
    /// `windows-1252` (also known as `iso-8859-1` and `ascii`). By default they are not text.
    pub encoding: Option<TextEncoding>,
    /// As that of a route: messages of a higher priority go first.
    pub priority: u8,
    /// Bytes of one message; a larger one is given up, and counted.
    pub message_bytes: usize,
}

/// How bytes become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, the low byte first.
    Utf16Le,
    /// UTF-16, the high byte first.
    Utf16Be,
    /// A byte a letter; what is called ISO 8859-1 and ASCII on the Web is this (WHATWG Encoding §4.2).
    Windows1252,
}

impl Inbound {
    pub(super) fn read(application: &str, table: &mut Table) -> Option<Inbound> {
        if !table.holds_table("inbound") {
            return table.optional("inbound", |_, _| Err("must be a table: { topic = \"…\" }".to_owned()));
        }
        let inbound = table.within("inbound", Inbound::read_table)?;
        let templates = [Some(&inbound.topic), inbound.device.as_ref()];
        if application.is_empty()
            && templates.into_iter().flatten().any(|text| text.contains("{application}"))
        {
            table.fail("inbound", "names `{application}`, but the client has none");
        }
        Some(inbound)
    }

    fn read_table(table: &mut Table) -> Option<Inbound> {
        let topic = table.required("topic", |node, _| topic(node, None).and_then(known));
        let device = table.optional("device", |node, _| template(node, None).and_then(known));
        let format = table.optional("format", value::word(FORMAT));
        let encoding = table.optional("encoding", encoding);
        let priority = table.value("priority", 0, value::number(0..=9));
        let message_bytes = table.optional("message_bytes", value::bytes(1..=1 << 20));
        let message_bytes = message_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(65_536);
        Some(Inbound { topic: topic?, device, format, encoding, priority, message_bytes })
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&[
            ("topic", Some(render::string(&self.topic))),
            ("device", self.device.as_deref().map(render::string)),
            ("format", self.format.map(|format| render::word(FORMAT, format))),
            ("encoding", self.encoding.map(|encoding| render::string(encoding.name()))),
            ("priority", Some(self.priority.to_string())),
            ("message_bytes", Some(self.message_bytes.to_string())),
        ])
    }
}

impl TextEncoding {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            TextEncoding::Utf8 => "utf-8",
            TextEncoding::Utf16Le => "utf-16le",
            TextEncoding::Utf16Be => "utf-16be",
            TextEncoding::Windows1252 => "windows-1252",
        }
    }
}

/// A template with no other names than ours.
fn known(template: String) -> Result<String, String> {
    match names_in(&template)?.iter().find(|name| !NAMES.contains(name)) {
        Some(name) => Err(format!("has no value for `{name}`, only for {}", NAMES.join(", "))),
        None => Ok(template),
    }
}

fn encoding(node: &Node, _: &Reading) -> Result<TextEncoding, String> {
    const SHAPE: &str = "must be a WHATWG label of utf-8, utf-16le, utf-16be or windows-1252";
    let label = value::text(node).map_err(|_| SHAPE)?.trim().to_ascii_lowercase();
    let found = LABELS.iter().find(|(_, labels)| labels.contains(&label.as_str()));
    found.map(|(encoding, _)| *encoding).ok_or_else(|| SHAPE.to_owned())
}
