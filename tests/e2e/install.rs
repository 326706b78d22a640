//! How a machine gets the program: `cross/page/install.sh` with machines of all kinds, and `systemd/install`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::{Running, scratch};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn script(path: &Path, lines: &str) {
    fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn shell(folder: &Path, lines: &str) {
    assert!(
        Command::new("sh").args(["-ec", lines]).current_dir(folder).status().unwrap().success(),
        "{lines}"
    );
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A release page, whose packages and programs only tell which ones they are.
fn page(folder: &Path) -> PathBuf {
    let page = folder.join("a page");
    fs::create_dir(&page).unwrap();
    for architecture in ["arm64", "armhf", "amd64"] {
        fs::write(page.join(format!("holdfast_0.1.0-1_{architecture}.deb")), architecture).unwrap();
        fs::write(page.join(format!("holdfast_0.1.0-1_{architecture}.cdx.json")), "{}").unwrap();
    }
    let program = folder.join("program");
    for machine in ["aarch64", "armv6", "x86_64"] {
        script(&program, &format!("echo holdfast of {machine}"));
        let tree = page.join(format!("holdfast-0.1.0-linux-{machine}"));
        let laid = Command::new(format!("{ROOT}/systemd/install"))
            .arg(&program)
            .env("DESTDIR", &tree)
            .env("PREFIX", "")
            .status();
        assert!(laid.unwrap().success());
    }
    shell(
        &page,
        "for tree in holdfast-*-linux-*; do tar -czf $tree.tar.gz $tree; rm -r $tree; done; sha256sum holdfast* >SHA256SUMS",
    );
    fs::copy(format!("{ROOT}/cross/page/install.sh"), page.join("install.sh")).unwrap();
    page
}

/// A machine that has these programs and those that every machine has, whose root runs the script.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// With the kernel's name for its processor, and dpkg's where there is one.
    fn new(kernel: &str, dpkg: Option<&str>) -> Machine {
        let folder = scratch();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in
            "sh sed grep cat cp mv rm mkdir chmod chgrp mktemp dirname tr tar gzip sha256sum cut id curl"
                .split(' ')
        {
            let path = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            symlink(path.iter().find(|path| path.exists()).expect(program), bin.join(program)).unwrap();
        }
        script(&bin.join("uname"), &format!("case $1 in -m) echo {kernel};; *) echo Linux;; esac"));
        let machine = Machine { folder };
        if let Some(architecture) = dpkg {
            machine.has("dpkg", &format!("echo {architecture}"));
            machine.has("dpkg-query", "exit 1");
            machine.has("id", "echo 0");
            machine.has(
                "apt-get",
                "for last; do :; done; cat \"$last\" >\"$HOME/installed\"; echo \"$@\" >\"$HOME/asked\"",
            );
        }
        machine
    }

    fn has(&self, program: &str, lines: &str) {
        let path = self.folder.path().join("bin").join(program);
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        script(&path, lines);
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(name)).ok()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.env_clear().env("PATH", self.folder.path().join("bin")).env("HOME", self.folder.path());
        command.current_dir(self.folder.path());
        command
    }

    fn install(&self, page: &Path, more: &[&str]) -> Output {
        self.command().arg(page.join("install.sh")).args(more).output().unwrap()
    }

    /// The static program, below a folder of the user.
    fn install_program(&self, page: &Path, more: &[&str]) -> Output {
        self.install(page, &[&["--binary", "--prefix", "own place"], more].concat())
    }
}

#[test]
fn the_package_is_that_of_the_system_whatever_the_kernel_is() {
    let folder = scratch();
    let page = page(folder.path());
    for (kernel, dpkg) in
        [("aarch64", "armhf"), ("armv6l", "armhf"), ("aarch64", "arm64"), ("x86_64", "amd64")]
    {
        let machine = Machine::new(kernel, Some(dpkg));
        let output = machine.install(&page, &[]);
        assert!(output.status.success(), "{kernel} {dpkg}: {}", said(&output));
        assert_eq!(machine.file("installed").as_deref(), Some(dpkg), "{}", said(&output));
        assert!(machine.file("asked").unwrap().contains("--force-confold"), "an edited configuration stays");
    }
}

#[test]
fn without_a_package_the_program_of_the_processor_is_taken_with_all_that_belongs_to_it() {
    let folder = scratch();
    let page = page(folder.path());
    let machines = [
        ("x86_64", "x86_64"),
        ("aarch64", "aarch64"),
        ("armv6l", "armv6"),
        ("armv7l", "armv6"),
        ("armv8l", "armv6"),
    ];
    for (kernel, program) in machines {
        let machine = Machine::new(kernel, None);
        let output = machine.install_program(&page, &[]);
        assert!(output.status.success(), "{kernel}: {}", said(&output));
        let version = Command::new(machine.folder.path().join("own place/bin/holdfast")).output().unwrap();
        assert_eq!(said(&version), format!("holdfast of {program}\n"));
        let parts = [
            "man/man1/holdfast.1",
            "man/man5/holdfast.toml.5",
            "bash-completion/completions/holdfast",
            "zsh/site-functions/_holdfast",
            "fish/vendor_completions.d/holdfast.fish",
            "holdfast/holdfast.schema.json",
        ];
        for part in parts {
            assert!(machine.file(&format!("own place/share/{part}")).is_some(), "{part}");
        }
        assert!(machine.install_program(&page, &["--uninstall"]).status.success());
        for part in parts {
            assert!(machine.file(&format!("own place/share/{part}")).is_none(), "{part}");
        }
        assert!(machine.file("own place/bin/holdfast").is_none());
    }
}

#[test]
fn the_program_comes_from_a_web_server_too() {
    let folder = scratch();
    let page = page(folder.path());
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"]).arg(&page);
    let server = Running::start("web server", &mut command);
    let url = server.read("its url", |line| {
        line.split(['(', ')']).nth(1).map(|url| url.trim_end_matches('/').to_owned())
    });
    let machine = Machine::new("armv7l", None);
    let piped = machine
        .command()
        .args(["-c", "curl -fsS \"$0/install.sh\" | sh -s -- --binary --prefix here \"$0\"", &url])
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", said(&piped));
    assert!(machine.file("here/bin/holdfast").unwrap().contains("armv6"));
    let nowhere = machine.install_program(&page, &[&format!("{url}/elsewhere")]);
    assert!(
        !nowhere.status.success() && said(&nowhere).contains("elsewhere/SHA256SUMS"),
        "{}",
        said(&nowhere)
    );
}

#[test]
fn what_is_not_as_the_page_says_is_not_installed() {
    let refusals = [
        ("echo more >>holdfast-0.1.0-linux-x86_64.tar.gz", "was changed"),
        ("sed -i /linux-x86_64.tar/d SHA256SUMS", "has nothing for x86_64"),
        (
            "sed 's/0[.]1[.]0/0.2.0/' SHA256SUMS >twice; cat twice >>SHA256SUMS",
            "more than one file for x86_64",
        ),
        ("rm SHA256SUMS", "cannot read"),
        ("rm holdfast-0.1.0-linux-x86_64.tar.gz", "cannot read"),
        ("echo page >SHA256SUMS", "has nothing for x86_64"),
    ];
    let folder = scratch();
    let page = page(folder.path());
    for (change, words) in refusals {
        let changed = folder.path().join("changed");
        shell(folder.path(), "rm -rf changed; cp -r 'a page' changed");
        shell(&changed, change);
        let machine = Machine::new("x86_64", None);
        let output = machine.install_program(&page, &[changed.to_str().unwrap()]);
        assert!(!output.status.success() && said(&output).contains(words), "{change}: {}", said(&output));
        assert!(machine.file("own place/bin/holdfast").is_none(), "{change}");
    }
}

#[test]
fn a_machine_that_cannot_have_it_is_told_why() {
    let folder = scratch();
    let page = page(folder.path());
    let cases: [(Machine, &[&str], &str); 6] = [
        (Machine::new("riscv64", None), &[], "no Holdfast for riscv64"),
        (
            Machine::new("x86_64", None),
            &["ftp://downloads.example"],
            "neither http:// nor https:// nor a folder",
        ),
        (Machine::new("x86_64", None), &["--key", "missing.gpg"], "missing.gpg: cannot be read"),
        (Machine::new("x86_64", None), &["--bogus"], "unknown option: --bogus"),
        (Machine::new("x86_64", None), &["--key"], "--key needs a value"),
        (Machine::new("x86_64", None), &["/nowhere"], "cannot read /nowhere/SHA256SUMS"),
    ];
    for (machine, more, words) in cases {
        let output = machine.install_program(&page, more);
        assert!(!output.status.success() && said(&output).contains(words), "{more:?}: {}", said(&output));
        assert!(machine.file("own place/bin/holdfast").is_none(), "{more:?}");
    }
    let user = Machine::new("x86_64", Some("amd64"));
    user.has("id", "echo 1000");
    let output = user.install(&page, &[]);
    assert!(!output.status.success() && said(&output).contains("root is needed"), "{}", said(&output));
    let other = Machine::new("x86_64", Some("s390x"));
    let output = other.install_program(&page, &[]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_package_and_a_program_do_not_hide_each_other() {
    let folder = scratch();
    let page = page(folder.path());
    let machine = Machine::new("x86_64", Some("amd64"));
    // Where it is wrong, it shall not install anything on the machine of this test.
    machine.has("mkdir", "exit 1");
    let refusal = |more: &[&str]| {
        let output = machine.install(&page, more);
        assert!(!output.status.success() && machine.file("installed").is_none(), "{}", said(&output));
        said(&output)
    };
    machine.has("dpkg-query", "exit 0");
    let words = refusal(&["--binary"]);
    assert!(words.contains("the package holdfast is installed"), "{words}");
    machine.has("holdfast", "echo holdfast 0.0.9");
    let words = refusal(&[]);
    assert!(words.contains("would hide the package"), "{words}");
}

#[test]
fn a_script_that_was_cut_off_on_its_way_does_nothing() {
    let folder = scratch();
    let page = page(folder.path());
    let whole = fs::read_to_string(page.join("install.sh")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for count in (0..lines.len()).step_by(7) {
        let machine = Machine::new("x86_64", None);
        fs::write(machine.folder.path().join("cut.sh"), lines[..count].join("\n")).unwrap();
        let page = page.to_str().unwrap();
        machine.command().args(["cut.sh", "--binary", "--prefix", "here", page]).output().unwrap();
        assert!(machine.file("here/bin/holdfast").is_none(), "{count} lines of it");
    }
}

#[test]
fn the_unit_has_its_manual_pages_where_the_program_was_built_and_installed() {
    let folder = scratch();
    let installed = Command::new(format!("{ROOT}/systemd/install"))
        .arg(env!("CARGO_BIN_EXE_holdfast"))
        .env("DESTDIR", folder.path())
        .output()
        .unwrap();
    assert!(installed.status.success(), "{}", said(&installed));
    let local = folder.path().join("usr/local");
    let unit = fs::read_to_string(local.join("lib/systemd/system/holdfast.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/holdfast run"), "{unit}");
    let here = folder.path().join("holdfast.service");
    fs::write(&here, unit.replace("/usr/local/bin", local.join("bin").to_str().unwrap())).unwrap();
    let verify = |pages: &Path| {
        Command::new("systemd-analyze")
            .args(["verify", "--man=yes"])
            .arg(&here)
            .env("MANPATH", pages)
            .output()
            .unwrap()
    };
    let verified = verify(&local.join("share/man"));
    assert!(verified.status.success() && said(&verified).is_empty(), "{}", said(&verified));
    assert!(said(&verify(folder.path())).contains("man"), "without them it complains");
    assert!(folder.path().join("etc/holdfast/holdfast.toml").exists());
}
