//! Papers of the packages: the bill of materials, and the audit of what is in it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::scratch;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {value}"))
}

#[test]
fn the_bill_of_materials_has_everything_that_is_linked_with_its_checksum_and_licence() {
    let made = Command::new(format!("{ROOT}/cross/sbom")).arg("aarch64-unknown-linux-gnu").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bill: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((text(&bill, "bomFormat"), text(&bill, "specVersion")), ("CycloneDX", "1.5"));
    assert!(text(&bill, "serialNumber").starts_with("urn:uuid:") && bill["version"] == 1);
    let program = &bill["metadata"]["component"];
    assert_eq!((text(program, "type"), text(program, "version")), ("application", env!("CARGO_PKG_VERSION")));
    let lock = std::fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    let parts = bill["components"].as_array().unwrap();
    let mut known = BTreeSet::from([text(program, "bom-ref")]);
    for part in parts {
        let (name, version) = (text(part, "name"), text(part, "version"));
        assert_eq!(text(part, "purl"), format!("pkg:cargo/{name}@{version}"));
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{part}");
        assert!(!text(&part["licenses"][0], "expression").contains('/'), "{part}");
        match name.starts_with("holdfast") {
            true => assert!(part["hashes"].is_null()),
            false => {
                let sum = text(&part["hashes"][0], "content");
                assert!(sum.len() == 64 && lock.contains(&format!("checksum = \"{sum}\"")), "{part}");
            }
        }
        assert!(known.insert(text(part, "bom-ref")), "twice: {part}");
    }
    for expected in ["sled", "rustls", "hyper", "holdfast-core"] {
        assert!(parts.iter().any(|part| part["name"] == expected), "{expected} is missing");
    }
    for unlinked in ["proptest", "rcgen", "tempfile", "windows-sys"] {
        assert!(parts.iter().all(|part| part["name"] != unlinked), "{unlinked} is in no binary");
    }
    let depends = bill["dependencies"].as_array().unwrap();
    assert_eq!(depends.len(), known.len());
    for edges in depends {
        assert!(known.contains(text(edges, "ref")));
        let on = edges["dependsOn"].as_array().unwrap();
        assert!(on.iter().all(|on| known.contains(on.as_str().unwrap())), "{edges}");
    }
}

/// tests/audit with a cargo-deny that does what these lines of shell say, and with a database of an earlier run or without one.
fn audit(deny: &str, has_database: bool, more: &[&str]) -> Output {
    let script = std::fs::read_to_string(Path::new(ROOT).join("tests/audit")).unwrap();
    let version = script.lines().find_map(|line| line.strip_prefix("version=")).unwrap();
    let folder = scratch();
    let path = folder.path().join("cargo-deny");
    let lines = format!("#!/bin/sh\ncase \"$*\" in\n--version) echo cargo-deny {version};;\n{deny}\nesac\n");
    std::fs::write(&path, lines).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    if has_database {
        std::fs::create_dir_all(folder.path().join("advisory-dbs/advisory-db/.git")).unwrap();
    }
    let mut audit = Command::new(Path::new(ROOT).join("tests/audit"));
    audit.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display())).env("CARGO_HOME", folder.path());
    audit.args(more).output().unwrap()
}

#[test]
fn an_audit_that_cannot_be_made_says_so_and_fails_where_it_is_required() {
    let (no_fetch, no_advisories) = ("*'fetch db') exit 1;;", "*'fetch db') exit 1;; *advisories) exit 1;;");
    let required = &["--require-database"][..];
    let cases = [
        ("*bans) exit 1;;", true, &[][..], false, ""),
        (no_fetch, false, &[], true, "NO ADVISORY WAS CHECKED"),
        (no_fetch, true, &[], true, "an earlier run has to do"),
        (no_advisories, true, &[], false, "advisories: see above"),
        (no_advisories, false, required, false, "advisories: see above"),
        ("", false, required, true, ""),
        ("", true, &["--database"], false, "unknown option: --database"),
    ];
    for (deny, has_database, more, passes, words) in cases {
        let output = audit(deny, has_database, more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), passes, "{deny} {has_database} {more:?}: {said}");
        assert!(said.contains(words), "{deny} {has_database} {more:?}: {said}");
    }
}
