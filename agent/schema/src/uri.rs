//! References of schemas (RFC 3986 §5). Pure.

/// A reference without its fragment, and the fragment.
pub fn split(reference: &str) -> (&str, &str) {
    reference.split_once('#').unwrap_or((reference, ""))
}

/// Whether a reference has a scheme of its own.
pub fn is_absolute(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.chars().all(letters)
}

/// Meaning of a reference without fragment where this is the base.
pub fn resolve(base: &str, reference: &str) -> String {
    if reference.is_empty() {
        return base.to_owned();
    }
    if is_absolute(reference) {
        return reference.to_owned();
    }
    let (scheme, rest) = base.split_once(':').unwrap_or(("", base));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let slashes = if rest.starts_with("//") { "//" } else { "" };
    let path = path.split('?').next().unwrap_or_default();
    if let Some(other) = reference.strip_prefix("//") {
        return format!("{scheme}://{other}");
    }
    let merged = match reference.chars().next() {
        Some('/') => reference.to_owned(),
        Some('?') => format!("{path}{reference}"),
        _ => format!("{}/{reference}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    format!("{scheme}:{slashes}{authority}{}", without_dots(&merged))
}

fn without_dots(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            ".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
                kept.extend(last.then_some(""));
            }
            "." => kept.extend(last.then_some("")),
            segment => kept.push(segment),
        }
    }
    let path = kept.join("/");
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_resolved_where_it_stands() {
        let cases = [
            ("http://a/b/c/d?q", "g", "http://a/b/c/g"),
            ("http://a/b/c/d", "./g", "http://a/b/c/g"),
            ("http://a/b/c/d", "../g", "http://a/b/g"),
            ("http://a/b/c/d", "../../../g", "http://a/g"),
            ("http://a/b/c/d", "/g", "http://a/g"),
            ("http://a/b/c/d", "//g", "http://g"),
            ("http://a/b/c/d", "?y", "http://a/b/c/d?y"),
            ("http://a/b/c/d", "", "http://a/b/c/d"),
            ("http://a", "g", "http://a/g"),
            ("http://a/b", "urn:x:y", "urn:x:y"),
            ("file:///etc/x/s.json", "sub/t.json", "file:///etc/x/sub/t.json"),
            ("urn:uuid:1", "", "urn:uuid:1"),
        ];
        for (base, reference, expected) in cases {
            assert_eq!(resolve(base, reference), expected, "{reference} at {base}");
        }
    }
}
