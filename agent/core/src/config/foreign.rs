//! A file that is no TOML at all: one that people mean to be a configuration, in another language or another encoding.

use std::path::Path;

use super::{Errors, Fault};

/// Encodings that a mark at the beginning of a file gives away (Unicode 16, §23.8).
const MARKS: [(&[u8], &str); 2] = [(&[0xff, 0xfe], "UTF-16"), (&[0xfe, 0xff], "UTF-16")];

/// The bytes of the file of a configuration as text. The error names the line of what is not UTF-8.
pub fn text<'a>(bytes: &'a [u8], file: &Path) -> Result<&'a str, Errors> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
        let what = match MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
            Some((_, name)) => format!("the file is {name}, and TOML is UTF-8: save it as UTF-8"),
            None => format!(
                "the byte 0x{:02x} is not UTF-8: save the file as UTF-8, or type this letter again",
                bytes[error.valid_up_to()]
            ),
        };
        Errors(vec![Fault { place: format!("{}:{line}:{column}", file.display()), key: String::new(), what }])
    })
}

/// Fault of a text that is not TOML because it is something else, as far as that is sure.
pub(super) fn fault(text: &str) -> Option<String> {
    let found = language(text)?;
    Some(format!(
        "this is {found}, and TOML is wanted: tables as [agent], and under them keys as id = \"gw-17\" (holdfast.toml(5) has them all)"
    ))
}

fn language(text: &str) -> Option<&'static str> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let lines = start.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.clone().next()?;
    match first {
        _ if start.starts_with("#!") => Some("a script"),
        _ if first.starts_with("{{") || first.starts_with("{%") => {
            Some("a template that nothing has filled in")
        }
        _ if first.starts_with('{') || opens_list(start) => Some("JSON"),
        _ if first.starts_with('<') => Some("XML or HTML"),
        _ if first.starts_with("-----BEGIN ") => Some("a certificate or a key (PEM)"),
        _ if first == "---" || first.starts_with("%YAML") || is_yaml_key(first) => Some("YAML"),
        // Values without quotes alone are more likely TOML in which they were forgotten.
        _ if lines.clone().any(|line| line.starts_with(';')) && lines.clone().all(is_ini) => Some("INI"),
        _ => None,
    }
}

/// `[` and then what no table of TOML begins with.
fn opens_list(text: &str) -> bool {
    text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['{', ']']))
}

/// `key:` or `key: value`; a key of TOML has no colon outside of quotes.
fn is_yaml_key(line: &str) -> bool {
    let Some((key, value)) = line.split_once(':') else { return false };
    is_bare(key) && (value.is_empty() || value.starts_with(' '))
}

/// `[section]`, a comment, or `key = value` without quotes.
fn is_ini(line: &str) -> bool {
    let is_section = line.starts_with('[') && line.ends_with(']') && !line.starts_with("[[");
    let is_pair = || {
        let pair = line.split_once('=').or_else(|| line.split_once(':'));
        pair.is_some_and(|(key, value)| is_bare(key.trim()) && !value.trim_start().starts_with(['[', '{']))
    };
    is_section || line.starts_with(';') || is_pair()
}

fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|letter| letter.is_alphanumeric() || "_-. ".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_are_known_by_what_toml_cannot_begin_with() {
        for (text, expected) in [
            ("{ \"agent\": { \"id\": \"gw\" } }", "JSON"),
            ("\u{feff}\n{\n  \"agent\": {}", "JSON"),
            ("[\n  { \"client\": 1 }\n]", "JSON"),
            ("---\nagent:\n  id: gw\n", "YAML"),
            ("# ours\n\nagent:\n  id: gw\n", "YAML"),
            ("agent: { id: gw }\n", "YAML"),
            ("; ours\n[agent]\nid = gw\n", "INI"),
            ("[agent]\nid = gw\n\n; more\ndata_dir = /var/lib/x\n", "INI"),
            ("<configuration>\n</configuration>", "XML or HTML"),
            ("#!/bin/sh\necho id\n", "a script"),
            ("-----BEGIN CERTIFICATE-----\nMIIB\n", "a certificate or a key (PEM)"),
            ("{% if x %}\n[agent]\n{% endif %}\n", "a template that nothing has filled in"),
        ] {
            assert_eq!(language(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn toml_with_faults_is_taken_for_nothing_else() {
        for text in [
            "",
            "\n# nothing\n",
            "[agent]\nid = \"gw\n",
            "[agent]\nid = gw\ndata_dir = /var/lib/x\n",
            "[agent]\nid = \"gw\"; not this\n",
            "[agent]\nid = \"gw\"\nname: gw\n",
            "[[client]]\nurl = wss://h/\n",
            "[agent]\nid = \"gw\"\nurls = [ 1, 2\n",
            "id \"gw\"\n",
            "[\"agent\"]\nid = 1 2\n",
            "[agent]\ntags = [ {\n",
        ] {
            assert_eq!(language(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_line_of_a_byte_that_is_not_utf_8_is_named() {
        let file = Path::new("/etc/a.toml");
        assert_eq!(text("# größer\n".as_bytes(), file), Ok("# größer\n"));
        let fault = |bytes: &[u8]| text(bytes, file).unwrap_err().to_string();
        assert_eq!(
            fault(b"[agent]\n# gr\xc3\xb6\xdfer\n"),
            "/etc/a.toml:2:6: the byte 0xdf is not UTF-8: save the file as UTF-8, or type this letter again"
        );
        let marked = fault(b"\xff\xfe[\0a\0");
        assert!(marked.starts_with("/etc/a.toml:1:1: the file is UTF-16"), "{marked}");
    }
}
