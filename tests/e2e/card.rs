//! Use that the image makes of the files on its FAT partition, tried on a root of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::scratch;

const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/cross/card/system/usr/lib/holdfast-card/take-over");
const GOOD: &str = "[[client]]\nurl = \"ws://127.0.0.1:9000/\"\n";

/// A system below a directory, as far as the script touches it.
struct Root {
    root: tempfile::TempDir,
}

impl Root {
    fn new() -> Root {
        let root = scratch();
        for directory in ["boot/firmware", "etc", "root", "run", "var/lib"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Root { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn on_card(&self, name: &str, content: &str) {
        fs::write(self.path("boot/firmware").join(name), content).unwrap();
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn report(&self) -> String {
        self.text("boot/firmware/holdfast-report.txt").unwrap_or_default()
    }

    fn boot(&self) {
        let output = self.try_boot();
        assert!(output.stderr.is_empty(), "{output:?}");
    }

    fn try_boot(&self) -> Output {
        let mut script = Command::new("sh");
        script.arg(SCRIPT).arg(self.root.path()).env("HOLDFAST", env!("CARGO_BIN_EXE_holdfast"));
        let output = script.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn public_key(directory: &Path) -> String {
    let key = directory.join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    fs::read_to_string(key.with_extension("pub")).unwrap()
}

#[test]
fn valid_files_are_taken_over_even_as_a_laptop_writes_them() {
    let root = Root::new();
    let key = public_key(root.root.path());
    root.on_card("holdfast.toml", &format!("\u{feff}{}", GOOD.replace('\n', "\r\n")));
    root.on_card("hostname", "gw-17\r\n");
    root.on_card("authorized_keys", &format!("# mine\r\n{key}"));
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml").as_deref(), Some(GOOD));
    assert_eq!(root.text("etc/hostname").as_deref(), Some("gw-17\n"));
    assert!(root.text("etc/hosts").is_some_and(|hosts| hosts.contains("127.0.1.1 gw-17")));
    assert!(root.text("root/.ssh/authorized_keys").is_some_and(|keys| keys.contains(key.trim())));
    assert_eq!(
        (mode(&root.path("root/.ssh")), mode(&root.path("root/.ssh/authorized_keys"))),
        (0o700, 0o600)
    );
    let report = root.report();
    let told = ["holdfast.toml: taken over", "hostname: gw-17", "authorized_keys: 1 may log in as root"];
    assert!(told.iter().all(|line| report.contains(line)) && !report.contains("NOT"), "{report}");
    assert_eq!(root.text("run/holdfast-card/rejected"), None);
}

#[test]
fn a_configuration_is_checked_with_what_packages_have_laid_beside_it() {
    let root = Root::new();
    fs::create_dir_all(root.path("etc/holdfast/conf.d")).unwrap();
    let lab = GOOD.replace("url", "id = \"lab\"\nurl");
    fs::write(root.path("etc/holdfast/conf.d/50-lab.toml"), &lab).unwrap();
    root.on_card("holdfast.toml", &lab.replace("lab", "LAB"));
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml"), None);
    let told = "conf.d/50-lab.toml:2:6: client[1].id: `lab` is taken by holdfast.toml:2:6";
    assert!(root.report().contains(told), "{}", root.report());
    root.on_card("holdfast.toml", GOOD);
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml").as_deref(), Some(GOOD));
    assert!(!root.path("run/holdfast-card/conf.d").is_symlink());
}

#[test]
fn a_wrong_file_is_told_with_its_place_and_what_was_in_force_stays_until_it_is_mended() {
    let root = Root::new();
    root.on_card("holdfast.toml", GOOD);
    root.on_card("hostname", "gw-17\n");
    root.boot();
    root.on_card("holdfast.toml", &format!("{GOOD}windw = 7\n"));
    root.on_card("hostname", "two words!\n");
    root.on_card("authorized_keys", "no key at all\n");
    root.on_card("wifi", "network=barn\npassword=short\ncountry=DE\n");
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml").as_deref(), Some(GOOD));
    assert_eq!(root.text("etc/hostname").as_deref(), Some("gw-17\n"));
    assert_eq!(root.text("root/.ssh/authorized_keys"), None);
    let (report, rejected) = (root.report(), root.text("run/holdfast-card/rejected").unwrap());
    for told in [
        "holdfast.toml:3:1: client.windw: unknown key",
        "hostname: 'twowords!' is no name",
        "authorized_keys: ssh-keygen finds no key",
        "wifi: password= has 5 characters",
    ] {
        assert!(report.contains(&format!("NOT TAKEN OVER: {told}")), "{told}: {report}");
        assert!(rejected.contains(told), "{told}: {rejected}");
    }
    assert!(!report.contains("short"), "{report}");
    let mended = GOOD.replace("9000", "9001");
    root.on_card("holdfast.toml", &mended);
    for name in ["hostname", "authorized_keys", "wifi"] {
        fs::remove_file(root.path("boot/firmware").join(name)).unwrap();
    }
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml"), Some(mended));
    assert_eq!(root.text("run/holdfast-card/rejected"), None);
    assert!(!root.report().contains("NOT"), "{}", root.report());
}

#[test]
fn what_cannot_be_written_to_the_system_is_told_and_tried_again() {
    let root = Root::new();
    root.on_card("holdfast.toml", GOOD);
    root.on_card("wifi", &format!("network={}\npassword=long enough\ncountry=DE\n", "n".repeat(33)));
    // Nothing can be put where there is a directory of that name.
    fs::create_dir_all(root.path("etc/holdfast/holdfast.toml.new")).unwrap();
    root.try_boot();
    let report = root.report();
    assert!(report.contains("NOT TAKEN OVER: holdfast.toml: cannot be written"), "{report}");
    assert!(report.contains("NOT TAKEN OVER: wifi: network= is longer than the 32 bytes"), "{report}");
    fs::remove_dir(root.path("etc/holdfast/holdfast.toml.new")).unwrap();
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml").as_deref(), Some(GOOD));
}

#[test]
fn a_boot_without_news_writes_nothing_and_leaves_what_was_edited_on_the_machine() {
    let root = Root::new();
    root.on_card("holdfast.toml", GOOD);
    root.boot();
    let report = root.path("boot/firmware/holdfast-report.txt");
    fs::remove_file(&report).unwrap();
    let edited = format!("{GOOD}# edited over ssh\n");
    fs::write(root.path("etc/holdfast/holdfast.toml"), &edited).unwrap();
    root.boot();
    assert_eq!(root.text("etc/holdfast/holdfast.toml"), Some(edited));
    assert!(!report.exists());
}

/// A directory with a `wpa_passphrase` whose key is a digest.
fn wpa_passphrase() -> tempfile::TempDir {
    let folder = scratch();
    let program = folder.path().join("wpa_passphrase");
    let script =
        "#!/bin/sh\nprintf '\\tpsk=%s\\n' \"$({ printf '%s\\n' \"$1\"; cat; } | sha256sum | cut -c1-64)\"\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Files of the system, without the card's, that have these words.
fn files_with(directory: &Path, words: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("boot") {
            found.extend(files_with(&path, words));
        } else if fs::read_to_string(&path).is_ok_and(|text| text.contains(words)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_password_of_the_network_stays_on_the_card_alone() {
    let tools = wpa_passphrase();
    let root = Root::new();
    let boot = || {
        let mut script = Command::new("sh");
        script.arg(SCRIPT).arg(root.root.path());
        script.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools.path().display()));
        let output = script.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    };
    let wifi = "network=barn\npassword=correct horse\ncountry=DE\n";
    root.on_card("wifi", wifi);
    // As an older version left it.
    fs::create_dir_all(root.path("var/lib/holdfast-card")).unwrap();
    fs::write(root.path("var/lib/holdfast-card/wifi"), wifi.replace("horse", "cow")).unwrap();
    boot();
    let conf = "etc/wpa_supplicant/wpa_supplicant-wlan0.conf";
    assert!(root.text(conf).is_some_and(|text| text.contains("ssid=6261726e") && text.contains("psk=")));
    assert_eq!(mode(&root.path(conf)), 0o600);
    assert_eq!(files_with(root.root.path(), "correct"), [] as [PathBuf; 0]);
    // Settings that are known already are not written again, also where an older version knew them.
    fs::write(root.path("var/lib/holdfast-card/wifi"), wifi).unwrap();
    fs::write(root.path(conf), "edited over ssh").unwrap();
    boot();
    boot();
    assert_eq!(root.text(conf).as_deref(), Some("edited over ssh"));
    assert_eq!(files_with(root.root.path(), "correct"), [] as [PathBuf; 0]);
    root.on_card("wifi", &wifi.replace("horse", "donkey"));
    boot();
    assert!(root.text(conf).is_some_and(|text| text.contains("psk=")));
}

#[test]
fn the_configuration_is_for_root_and_the_agent_and_no_copy_of_it_is_open() {
    use std::os::unix::fs::MetadataExt;
    let root = Root::new();
    let group = match rustix::process::geteuid().is_root() {
        true => 54_321,
        false => rustix::process::getegid().as_raw(),
    };
    fs::write(root.path("etc/group"), format!("root:x:0:\nholdfast:x:{group}:\n")).unwrap();
    let secret = format!("{GOOD}auth = {{ bearer = \"s3cret\" }}\n");
    root.on_card("holdfast.toml", &secret);
    root.boot();
    let facts = fs::metadata(root.path("etc/holdfast/holdfast.toml")).unwrap();
    assert_eq!((facts.mode() & 0o777, facts.gid()), (0o640, group));
    assert_eq!(files_with(root.root.path(), "s3cret"), [root.path("etc/holdfast/holdfast.toml")]);
}

#[test]
fn security_updates_come_by_themselves_and_nothing_else_does() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/cross/card/system/etc/apt/apt.conf.d/52holdfast-card");
    let dump = Command::new("apt-config").arg("dump").env("APT_CONFIG", file).output();
    let said = String::from_utf8(dump.expect("apt is there").stdout).unwrap();
    for setting in ["Update-Package-Lists \"1\"", "Unattended-Upgrade \"1\""] {
        assert!(said.contains(&format!("APT::Periodic::{setting};")), "{said}");
    }
    let origins: Vec<&str> =
        said.lines().filter(|line| line.starts_with("Unattended-Upgrade::Origins-Pattern:: ")).collect();
    assert_eq!(origins.len(), 1, "{said}");
    assert!(origins[0].contains("codename=${distro_codename}-security,label=Debian-Security"), "{said}");
}
