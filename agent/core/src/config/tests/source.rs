//! The comments of the configuration's types, which are what the manual page says of their keys.

use std::path::Path;

/// A type: its comment, and its fields or variants.
pub struct Item {
    /// The comment of the type.
    pub words: String,
    /// In the order of the source.
    pub parts: Vec<Part>,
}

/// A field or a variant.
#[derive(Clone)]
pub struct Part {
    /// As it stands in the source.
    pub name: String,
    /// Its comment.
    pub words: String,
    /// The type of a field as it stands in the source.
    pub kind: String,
}

/// The type of this name, wherever below the configuration (or in the message, whose formats are its values) it is.
pub fn item(name: &str) -> Option<Item> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let listing = std::fs::read_dir(root.join("config")).expect("the sources are there");
    let files = listing.map(|entry| entry.expect("they can be read").path());
    let mut files: Vec<_> = files.filter(|file| file.is_file()).chain([root.join("message.rs")]).collect();
    files.sort();
    files.iter().find_map(|file| found(&std::fs::read_to_string(file).ok()?, name))
}

fn found(text: &str, name: &str) -> Option<Item> {
    let lines: Vec<&str> = text.lines().collect();
    let heads = [format!("pub struct {name} {{"), format!("pub enum {name} {{")];
    let at = lines.iter().position(|line| heads.iter().any(|head| line == head))?;
    let above = lines[..at].iter().rposition(|line| !line.starts_with("///") && !line.starts_with("#["));
    let words = comment(&lines[above.map_or(0, |above| above + 1)..at]);
    let end = at + lines[at..].iter().position(|line| *line == "}")?;
    let mut parts = Vec::new();
    let mut first = at + 1;
    for index in at + 1..end {
        let line = lines[index].trim();
        if line.starts_with("///") || line.starts_with("#[") {
            continue;
        }
        let declared = line.trim_start_matches("pub ").trim_end_matches([',', '{']);
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let name: String = declared.chars().take_while(|letter| is_word(*letter)).collect();
        let kind = declared[name.len()..].trim_start_matches(':').trim().to_owned();
        if !name.is_empty() {
            parts.push(Part { name, words: comment(&lines[first..index]), kind });
        }
        first = index + 1;
    }
    Some(Item { words, parts })
}

fn comment(lines: &[&str]) -> String {
    let words = lines.iter().filter_map(|line| line.trim().strip_prefix("///"));
    words.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[test]
fn fields_and_variants_are_found_with_their_words() {
    let text = "/// A link.\n/// Two lines.\n#[derive(Debug)]\npub struct Link {\n    /// Its id.\n    pub id: Option<Id>,\n    \
                /// Its\n    /// name.\n    name: String,\n}\n\npub enum Id {\n    /// One.\n    #[default]\n    \
                OneWord,\n    /// Two.\n    Two {\n        /// Inside.\n        user: String,\n    },\n}\n";
    let link = found(text, "Link").unwrap();
    assert_eq!(link.words, "A link. Two lines.");
    let parts = |item: Item| -> Vec<String> {
        item.parts.iter().map(|part| format!("{}|{}|{}", part.name, part.words, part.kind)).collect()
    };
    assert_eq!(parts(link), ["id|Its id.|Option<Id>", "name|Its name.|String"]);
    assert_eq!(parts(found(text, "Id").unwrap()), ["OneWord|One.|", "Two|Two.|", "user|Inside.|String"]);
    assert!(found(text, "Lin").is_none());
}
