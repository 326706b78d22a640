//! `mode` and `reply` of a `[[server.route]]`: what a connection is for.

use std::path::PathBuf;

use super::render;
use super::table::Reading;
use super::tree::{Entry, Kind, Node};
use super::value;

pub(super) const MODES: [(&str, Mode); 2] = [("data", Mode::Data), ("connection", Mode::Connection)];

const SHAPE: &str = "must be exactly one of { last = … }, { text = … }, { file = … }";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It brings messages: every frame, and the body of every POST.
    #[default]
    Data,
    /// It is a message itself: a JSON object of its path, query and header parameters. Once that is stored one reply goes back, as
    /// the body of a GET or POST or as the only frame of a WebSocket, and the connection closes. A GET that a page of another site can make a
    /// browser send is refused.
    Connection,
}

/// The one reply of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The last message of the topic that this template names.
    Last(String),
    /// These words.
    Text(String),
    /// What is in this file, which is read each time.
    File(PathBuf),
}

impl Reply {
    /// `template` reads the topic of `last`.
    pub(super) fn read(
        node: &Node,
        reading: &Reading,
        template: impl Fn(&Node) -> Result<String, String>,
    ) -> Result<Reply, String> {
        let Kind::Table(entries) = &node.kind else { return Err(SHAPE.to_owned()) };
        let [Entry { key, node, .. }] = entries.as_slice() else { return Err(SHAPE.to_owned()) };
        match key.as_str() {
            "last" => template(node).map(Reply::Last),
            "text" => value::string(node, reading).map(Reply::Text),
            "file" => value::path(node, reading).map(Reply::File),
            _ => Err(SHAPE.to_owned()),
        }
    }

    pub(super) fn rendered(&self) -> String {
        match self {
            Reply::Last(topic) => render::inline(&[("last", Some(render::string(topic)))]),
            Reply::Text(text) => render::inline(&[("text", Some(render::string(text)))]),
            Reply::File(file) => render::inline(&[("file", Some(render::path(file)))]),
        }
    }
}
