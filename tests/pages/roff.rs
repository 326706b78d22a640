//! Plain text as the language of manual pages (man(7)).

/// A text whose backslashes, dashes and quotes stand for themselves. What is in backticks is bold.
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut bold = false;
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\(rs"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => {
                bold = !bold;
                out.push_str(if bold { "\\fB" } else { "\\fR" });
            }
            letter => out.push(letter),
        }
    }
    // A line that begins with a dot would be a request.
    if out.starts_with('.') { format!("\\&{out}") } else { out }
}

/// A page whose other letters than those of ASCII are named, as not every reader knows them.
pub fn ascii(page: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii() { letter.to_string() } else { format!("\\[u{:04X}]", u32::from(letter)) }
    };
    page.chars().map(letter).collect()
}
