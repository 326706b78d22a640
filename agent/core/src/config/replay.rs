//! `replay` of a `[[client]]`: how a backlog is sent once the link is back.

use super::render::{self, Lines};
use super::table::{Reading, Table};
use super::tree::{Kind, Node};
use super::value;

const ORDER: [(&str, Order); 2] = [("fifo", Order::Fifo), ("newest-first", Order::NewestFirst)];

/// How what was held is sent once the link is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replay {
    /// Bound on what is read back from the store, in messages ("200/s"), in bytes ("64KB/s") or in both ("200/s 64KB/s"); 0 is
    /// no bound.
    pub max_rate: Rate,
    /// Share of the messages that is left to fresh ones while a backlog is sent, from 0.0 to 1.0. With 0 the order is kept:
    /// fresh messages wait behind the backlog. Anything else sends them out of order and needs confirm = "pong" or "none".
    pub live_share: Share,
    /// In which order the backlog is sent.
    pub order: Order,
}

/// A bound on a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Messages a second; 0 is no bound.
    pub messages: u64,
    /// Bytes a second; 0 is no bound.
    pub bytes: u64,
}

/// A share of a whole, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(pub u16);

/// In which order a backlog is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As the messages came.
    #[default]
    Fifo,
    /// The newest ones first; needs confirm = "pong" or "none".
    NewestFirst,
}

impl Replay {
    /// Whether every message is sent behind those that came before it.
    pub fn keeps_order(&self) -> bool {
        self.live_share == Share(0) && self.order == Order::Fifo
    }

    pub(super) fn read(table: &mut Table) -> Replay {
        let default = Replay::default();
        Replay {
            max_rate: table.value("max_rate", default.max_rate, rate),
            live_share: table.value("live_share", default.live_share, share),
            order: table.value("order", default.order, value::word(ORDER)),
        }
    }

    fn pairs(&self) -> Lines {
        vec![
            ("max_rate", Some(render::string(&self.max_rate.to_string()))),
            ("live_share", Some(self.live_share.to_string())),
            ("order", Some(render::word(ORDER, self.order))),
        ]
    }

    pub(super) fn rendered(&self) -> String {
        render::inline(&self.pairs())
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = render::bytes(self.bytes);
        match (self.messages, self.bytes) {
            (messages, 0) => write!(f, "{messages}/s"),
            (0, _) => write!(f, "{bytes}/s"),
            (messages, _) => write!(f, "{messages}/s {bytes}/s"),
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", f64::from(self.0) / 1000.0)
    }
}

fn rate(node: &Node, _: &Reading) -> Result<Rate, String> {
    const SHAPE: &str = "must be a rate such as \"200/s\", \"64KB/s\" or \"200/s 64KB/s\"";
    let mut rate = Rate::default();
    let (mut messages, mut bytes) = (false, false);
    for part in value::text(node).map_err(|_| SHAPE)?.split_whitespace() {
        let amount = part.strip_suffix("/s").ok_or(SHAPE)?;
        let (seen, into, found) = match amount.parse() {
            Ok(count) => (&mut messages, &mut rate.messages, Some(count)),
            Err(_) => (&mut bytes, &mut rate.bytes, value::parse_bytes(amount)),
        };
        if std::mem::replace(seen, true) {
            return Err(SHAPE.to_owned());
        }
        *into = found.filter(|found| *found <= 1_000_000_000_000).ok_or(SHAPE)?;
    }
    if messages || bytes { Ok(rate) } else { Err(SHAPE.to_owned()) }
}

fn share(node: &Node, _: &Reading) -> Result<Share, String> {
    let found = match node.kind {
        Kind::Float(value) => Some(value),
        Kind::Integer(value @ 0..=1) => Some(if value == 0 { 0.0 } else { 1.0 }),
        Kind::Integer(_)
        | Kind::String(_)
        | Kind::Boolean(_)
        | Kind::Array(_)
        | Kind::Table(_)
        | Kind::Other => None,
    };
    let found =
        found.filter(|value| (0.0..=1.0).contains(value)).ok_or("must be a number from 0.0 to 1.0")?;
    // At most 1000 by the check before.
    Ok(Share((found * 1000.0).round() as u16))
}
