//! Files are for their owner only, whatever the umask, and nothing is written through a link that another user made.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Agent, scratch};

/// A user that is not this one.
const OTHER: u32 = 54_321;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

/// Everything below a directory, and the directory itself.
fn all(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| found.extend(all(&entry.unwrap().path())));
    }
    found
}

fn open_to_others(path: &Path) -> Vec<(PathBuf, u32)> {
    let modes = all(path).into_iter().map(|path| (path.clone(), mode(&path)));
    modes.filter(|(_, mode)| mode & 0o077 != 0).collect()
}

/// The binary under a umask that hides nothing.
fn unmasked(arguments: &[&str]) -> Output {
    let agent = Agent::command();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(agent.get_program()).args(arguments);
    command.output().unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs an agent that must refuse this directory, and gives what it says.
fn refused(directory: &Path) -> String {
    let mut agent = Agent::launch(directory);
    assert!(!agent.exit().success());
    agent.last_words().join("\n")
}

fn configure(directory: &Path) {
    let data = directory.join("data");
    let text = format!("[agent]\ndata_dir = {data:?}\n[[server]]\nbind = [\"127.0.0.1:0\"]\n");
    fs::write(directory.join("holdfast.toml"), text).unwrap();
}

#[test]
fn what_an_older_version_left_open_is_closed_and_what_is_made_is_never_open() {
    let directory = scratch();
    let mut agent = Agent::start(directory.path(), "");
    agent.post("/a", "held");
    agent.terminate();
    for path in all(&agent.data()) {
        let open = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
    }
    agent.start_again();
    agent.post("/a", "held, too");
    assert_eq!(open_to_others(&agent.data()), []);
    assert_eq!(mode(&agent.data().join("control.sock")), 0o600);

    let export = directory.path().join("held.ndjson");
    fs::write(&export, "of an older one").unwrap();
    fs::set_permissions(&export, fs::Permissions::from_mode(0o644)).unwrap();
    let fresh = directory.path().join("held.cbor");
    let socket = agent.data().join("control.sock");
    for file in [&export, &fresh] {
        let [socket, file] = [&socket, file].map(|path| path.to_str().unwrap());
        let exported = unmasked(&["buffer", "export", "--socket", socket, "--output", file]);
        assert!(exported.status.success(), "{exported:?}");
    }
    assert_eq!((mode(&export), mode(&fresh)), (0o600, 0o600));
    assert_eq!(fs::read_to_string(&export).unwrap().lines().count(), 2);

    let config = directory.path().join("new.toml");
    let added = unmasked(&["client", "add", "ws://127.0.0.1:9/", "--config", config.to_str().unwrap()]);
    assert!(added.status.success(), "{added:?}");
    assert_eq!(mode(&config), 0o600);
}

#[test]
fn a_link_in_the_place_of_a_small_file_is_not_written_through() {
    let directory = scratch();
    let target = directory.path().join("target");
    fs::write(&target, "precious").unwrap();
    configure(directory.path());
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let names = ["numbers.new", "presence.new", "clocks.new", "meter.new", "ballast", "store.opening.new"];
    for name in names {
        symlink(&target, data.join(name)).unwrap();
    }
    let mut agent = Agent::start(directory.path(), "");
    agent.post("/a", "held");
    agent.terminate();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");

    fs::remove_file(data.join("lock")).unwrap();
    symlink(&target, data.join("lock")).unwrap();
    let said = refused(directory.path());
    let place = data.join("lock").display().to_string();
    let words = format!("cannot use {place}: it is a symbolic link, which is not followed; remove it");
    assert!(said.contains(&words), "{said}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn a_directory_of_another_user_is_refused_before_anything_is_written() {
    if !is_root() {
        // Nobody else can give a directory away; the unit tests have the rule.
        return;
    }
    let directory = scratch();
    configure(directory.path());
    let (data, target) = (directory.path().join("data"), directory.path().join("target"));
    fs::write(&target, "precious").unwrap();
    fs::create_dir(&data).unwrap();
    for name in ["lock", "ballast", "numbers", "store"] {
        symlink(&target, data.join(name)).unwrap();
    }
    chown(&data, Some(OTHER), None).unwrap();
    let said = refused(directory.path());
    assert!(said.contains(&format!("it belongs to user {OTHER}")) && said.contains("sudo -u"), "{said}");

    // The directory is ours, the link in it is not.
    chown(&data, Some(0), None).unwrap();
    for name in ["lock", "ballast", "numbers"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    std::os::unix::fs::lchown(data.join("store"), Some(OTHER), None).unwrap();
    let said = refused(directory.path());
    assert!(said.contains(&format!("it is a symbolic link of user {OTHER}; remove it")), "{said}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}
