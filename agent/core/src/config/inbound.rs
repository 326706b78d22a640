//! `inbound` of `[[client]]`: what its peer sends of its own becomes messages.

use encoding_rs::Encoding;

use super::render;
use super::route::names_in;
use super::server::{FORMAT, template, topic};
use super::table::{Reading, Table};
use super::tree::Node;
use super::value;
use crate::message::Format;

/// Names that a template may hold.
const NAMES: [&str; 3] = ["client", "agent", "application"];

/// What a peer sends of its own becomes messages: they go to every other client, never back to their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Topic template with `{client}`, `{agent}` and `{application}` in it.
    pub topic: String,
    /// Device template with the same names; a device is heard by its messages.
    pub device: Option<String>,
    /// What payloads must be; by default text frames are text or JSON as they come and binary frames binary.
    pub format: Option<Format>,
    /// Binary frames are text in this encoding, by its label of the WHATWG Encoding Standard: `utf-8`, `latin1`, `gbk` … By
    /// default they are text, in UTF-8, if `format` says so.
    pub encoding: Option<&'static Encoding>,
    /// As that of a route: messages of a higher priority go first.
    pub priority: u8,
    /// Bytes of one message; a larger one is given up, and counted.
    pub message_bytes: usize,
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
            ("encoding", self.encoding.map(|encoding| render::string(&encoding.name().to_ascii_lowercase()))),
            ("priority", Some(self.priority.to_string())),
            ("message_bytes", Some(self.message_bytes.to_string())),
        ])
    }
}

/// A template with no other names than ours.
fn known(template: String) -> Result<String, String> {
    match names_in(&template)?.iter().find(|name| !NAMES.contains(name)) {
        Some(name) => Err(format!("has no value for `{name}`, only for {}", NAMES.join(", "))),
        None => Ok(template),
    }
}

fn encoding(node: &Node, _: &Reading) -> Result<&'static Encoding, String> {
    let label = value::text(node).ok();
    let found = label.and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
    found.ok_or_else(|| {
        "must be a label of the WHATWG Encoding Standard, such as utf-8 or shift_jis".to_owned()
    })
}
