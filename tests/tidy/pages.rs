//! The pages that people read: the README is short, every link leads somewhere, and every page can be found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::assert_none;

const README: &str = "README.md";
const README_LINES_MAX: usize = 250;

#[test]
fn the_readme_can_be_read_in_one_sitting() {
    let lines = read(README).lines().count();
    assert!(
        lines <= README_LINES_MAX,
        "{README} has {lines} lines and may have {README_LINES_MAX}: what not everybody needs belongs into agent/doc"
    );
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        for target in links(&read(&page)) {
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { beside(&page, path) };
            let is_there = root().join(&file).exists();
            let has_heading = || headings(&read(&file)).contains(heading);
            if !is_there || !(heading.is_empty() || has_heading()) {
                broken.push(format!("{page}: {target} leads nowhere"));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn what_a_page_links_to_is_packed_with_it() {
    let packing = read("cross/target.sh");
    let laid =
        packing.split("lay_pages() {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    let is_laid = |file: &str| {
        file.starts_with("agent/doc/")
            || laid.split_whitespace().any(|word| word.trim_end_matches(';') == file)
    };
    let mut missing = Vec::new();
    for page in pages() {
        let targets = links(&read(&page)).into_iter().filter(|target| !target.starts_with('#'));
        let files = targets.map(|target| beside(&page, target.split('#').next().unwrap_or_default()));
        missing.extend(
            files
                .filter(|file| !is_laid(file))
                .map(|file| format!("{page}: lay_pages of cross/target.sh has no {file}")),
        );
    }
    assert_none(&missing);
    let rules = read("cross/debian/rules");
    assert!(rules.contains("dh_compress --exclude=.md"), "a page that is compressed is found by no link");
}

#[test]
fn every_page_is_linked_from_another_one() {
    let linked: BTreeSet<String> = pages()
        .iter()
        .flat_map(|page| {
            let others = links(&read(page)).into_iter().filter(|target| !target.starts_with('#'));
            let paths = others.map(|target| beside(page, target.split('#').next().unwrap_or_default()));
            paths.filter(|path| path != page).collect::<Vec<_>>()
        })
        .collect();
    let lonely = pages().into_iter().filter(|page| page.starts_with("agent/doc/") && !linked.contains(page));
    assert_none(&lonely.map(|page| format!("{page}: no page links to it")).collect::<Vec<_>>());
}

#[test]
fn every_command_block_of_the_readme_is_run_or_says_why_not() {
    let text = read(README);
    let lines: Vec<&str> = text.lines().collect();
    let blocks: Vec<usize> = (0..lines.len()).filter(|index| lines[*index] == "```sh").collect();
    assert!(blocks.len() > 2, "only {} blocks were found", blocks.len());
    let is_marked = |index: &usize| {
        let above = index.checked_sub(1).map_or("", |above| lines[above]);
        above == "<!-- run -->" || above.starts_with("<!-- not run: ")
    };
    let open = blocks.iter().filter(|index| !is_marked(index));
    let words = "needs a line above: `<!-- run -->`, for tests/e2e/readme.rs, or `<!-- not run: WHY -->`";
    assert_none(&open.map(|index| format!("{README}:{}: {words}", index + 1)).collect::<Vec<_>>());
}

#[test]
fn every_path_of_the_repository_that_a_page_names_is_there() {
    let folders = ["agent/", "cross/", "systemd/", "tests/"];
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        let words = text.split(|letter: char| letter.is_whitespace() || "`()[],;:*'\"".contains(letter));
        // Files that a tool brings or makes are not in the repository.
        let named =
            words.map(|word| word.trim_end_matches(['.', '/'])).filter(|word| !word.contains(".venv"));
        let named = named.filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
        broken.extend(named.filter(|word| !root().join(word).exists()).map(|word| format!("{page}: {word}")));
    }
    assert_none(&broken);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_default()
}

/// The pages with their paths from the root.
fn pages() -> Vec<String> {
    let listing = std::fs::read_dir(root().join("agent/doc")).expect("there are pages");
    let names = listing.map(|entry| entry.expect("they can be read").file_name().display().to_string());
    let pages = names.filter(|name| name.ends_with(".md")).map(|name| format!("agent/doc/{name}"));
    let mut pages: Vec<String> = pages.collect();
    pages.sort();
    [README, "SECURITY.md"].map(str::to_owned).into_iter().chain(pages).collect()
}

/// Where links of a page lead that stay in the repository.
fn links(text: &str) -> Vec<String> {
    let mut is_code = false;
    let prose = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && !line.starts_with("    ")
    });
    let ends = prose.flat_map(|line| line.split("](").skip(1));
    let targets = ends.filter_map(|rest| rest.split([')', ' ']).next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(str::to_owned)
        .collect()
}

/// The path from the root of what a page calls so.
fn beside(page: &str, path: &str) -> String {
    let mut parts: PathBuf = Path::new(page).parent().unwrap_or(Path::new("")).to_owned();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.display().to_string()
}

/// The anchors of a page, as GitHub makes them of its headings.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept =
            words.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_and_headings_are_found_as_a_browser_finds_them() {
    let text = "# A `b`, c!\nsee [x](y.md#z) and [w](https://w)\n```\n[no](no.md)\n```\n[here](#a-b-c)\n";
    assert_eq!(links(text), ["y.md#z", "#a-b-c"]);
    assert!(headings(text).contains("a-b-c"));
    assert_eq!(beside("agent/doc/a.md", "../../tests/b.py"), "tests/b.py");
}
