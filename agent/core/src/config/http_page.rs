//! Answer of a server to `GET /`: how it is read and shown.

use super::render;
use super::server::HttpPage;
use super::table::Reading;
use super::tree::Node;
use super::value;

const HTTP: [(&str, HttpPage); 2] = [("status", HttpPage::Status), ("empty", HttpPage::Empty)];
const INDEX: &str = "index.html";

impl HttpPage {
    pub(super) fn rendered(&self) -> String {
        match self {
            HttpPage::Status | HttpPage::Empty => render::word(HTTP, self.clone()),
            HttpPage::Page(file) => render::inline(&[("page", Some(render::path(file)))]),
            HttpPage::Files { folder, index } => render::inline(&[
                ("files", Some(render::path(folder))),
                ("index", Some(render::string(index))),
            ]),
        }
    }
}

/// Reads the value of `http`.
pub(super) fn read(node: &Node, reading: &Reading) -> Result<HttpPage, String> {
    let shape = "must be \"status\" or \"empty\" or { page = … } or { files = …, index = … }";
    if let Some(text) = node.kind.string() {
        let known = HTTP.into_iter().find(|(word, _)| *word == text);
        return known.map(|(_, page)| page).ok_or_else(|| shape.to_owned());
    }
    let entries = node.kind.table().unwrap_or_default().iter();
    match *entries.map(|entry| (entry.key.as_str(), &entry.node)).collect::<Vec<_>>() {
        [("page", file)] => value::path(file, reading).map(HttpPage::Page),
        [("files", folder)] => {
            Ok(HttpPage::Files { folder: value::path(folder, reading)?, index: INDEX.to_owned() })
        }
        [("files", folder), ("index", name)] | [("index", name), ("files", folder)] => {
            let index = value::line(name, reading)?;
            if index.starts_with('.') || index.contains(['/', '\\']) {
                return Err(format!(
                    "`{index}` must be the name of a file, without a folder or a leading dot"
                ));
            }
            Ok(HttpPage::Files { folder: value::path(folder, reading)?, index })
        }
        _ => Err(shape.to_owned()),
    }
}
