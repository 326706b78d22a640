//! `holdfast check`: prints the configuration in force, or every fault of it.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use holdfast_core::config::{Config, ConfigFile, Errors};
use holdfast_core::terminal;
use serde_json::{Value, json};
use smol::Timer;
use smol::future::or;

use super::options::Options;
use crate::net;
use crate::os::logger;
use crate::runtime::config_file::{self, warnings};
use crate::source::broker;
use crate::source::server::schema_faults;

/// The names in `bind` must be resolved within this.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the configuration in force, with every default; or every fault, with its line and column
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "`# set` marks what differs from the default; warnings are told on standard error. The output is itself a configuration, \
    but for secrets.\n\nExit code: 0 when the configuration is right, 1 when it has a fault.\n\n\
    Examples:\n  holdfast check\n  holdfast check --config ./new.toml && cp ./new.toml /etc/holdfast/holdfast.toml\n  \
    holdfast check | grep '# set'\n  holdfast check --json | jq -r '.errors[]'"
)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Print JSON: {"config":…,"files":[…],"warnings":[…]}, or {"errors":[…]}
    #[arg(long)]
    json: bool,
}

/// Prints the configuration on stdout and warnings on stderr; on faults prints them on stderr and fails.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    report(args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())
}

fn report(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let read = args.options.read().and_then(|files| Ok((args.options.parse(&files)?, files)));
    match read {
        Ok((config, files)) => {
            let mut warnings = warnings(&config, &files);
            warnings.extend(config.servers.iter().flat_map(schema_faults));
            warnings.extend(config.sources.iter().flat_map(broker::schema_faults));
            warnings.extend(smol::block_on(unbindable(&config)));
            for warning in &warnings {
                let _ =
                    writeln!(err, "{}", logger::fitted(&format!("warning: {}", terminal::escaped(warning))));
            }
            let files: Vec<String> = files.iter().filter(|file| file.path.exists()).map(name).collect();
            let text = match args.json {
                true => found_json(&config, &files, &warnings)?,
                false => format!("{}{}", read_from(&files), config_file::shown(&config)),
            };
            writeln!(out, "{}", terminal::escaped_lines(text.trim_end()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // It fails whether anybody reads why or not.
            let _ = writeln!(err, "{}", logger::fitted(&terminal::escaped_lines(&format!("{error:#}"))));
            if args.json {
                let _ = writeln!(out, "{}", terminal::escaped_lines(&faults_json(&error).to_string()));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Names in `bind` that this machine does not have at this moment.
pub(super) async fn unbindable(config: &Config) -> Vec<String> {
    let servers = config.servers.iter().filter(|server| server.active);
    let names = servers.flat_map(|server| server.bind.iter().map(move |name| (server, name)));
    let faults = names.map(async |(server, name)| {
        let cause = why_unbindable(name).await?;
        Some(format!("server {}: bind: {name} cannot be listened on: {cause}", server.id))
    });
    join_all(faults).await.into_iter().flatten().collect()
}

async fn why_unbindable(name: &str) -> Option<String> {
    let (host, _) = name.rsplit_once(':').filter(|_| !name.starts_with("unix:"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').replace("%25", "%");
    // Any port of an address that is there can be had; the one that is meant may be in use by the agent itself.
    let (host, port) = (host.as_str(), 0);
    let late = async {
        Timer::after(RESOLVE_TIMEOUT).await;
        Err(ErrorKind::TimedOut.into())
    };
    let addresses = match or(net::resolve(host, port), late).await {
        Ok(addresses) => addresses,
        Err(error) => return Some(net::words(&error)),
    };
    let missing: Vec<String> = addresses
        .iter()
        .filter_map(|address| {
            let error = TcpListener::bind(address).err()?;
            let is_missing = error.kind() == ErrorKind::AddrNotAvailable;
            is_missing.then(|| format!("{} is no address of this machine", address.ip()))
        })
        .collect();
    // A name may stand for an address of each family.
    (missing.len() == addresses.len()).then(|| missing.join(", "))
}

fn name(file: &ConfigFile) -> String {
    file.path.display().to_string()
}

/// A comment in front of what is in force.
fn read_from(files: &[String]) -> String {
    match files {
        [] => format!("# there is no {}: all of these are defaults\n", config_file::DEFAULT_FILE),
        files => files.iter().map(|file| format!("# from {file}\n")).collect(),
    }
}

fn found_json(config: &Config, files: &[String], warnings: &[String]) -> anyhow::Result<String> {
    let table: toml::Table =
        config_file::shown(config).parse().context("cannot read the rendered configuration")?;
    Ok(json!({ "config": table, "files": files, "warnings": warnings }).to_string())
}

fn faults_json(error: &anyhow::Error) -> Value {
    let faults = match error.downcast_ref::<Errors>() {
        Some(Errors(faults)) => faults
            .iter()
            .map(|fault| json!({ "place": fault.place, "key": fault.key, "error": fault.what }))
            .collect(),
        None => vec![json!({ "place": "", "key": "", "error": format!("{error:#}") })],
    };
    json!({ "errors": faults })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Code, stdout and stderr of a check of this text, in which the folder of the file is `~`.
    fn check(text: &str, json: bool) -> (ExitCode, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let args = Args { options: Options { config: Some(file), ..Options::default() }, json };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = report(&args, &mut out, &mut err).unwrap();
        let text =
            |bytes| String::from_utf8(bytes).unwrap().replace(&folder.path().display().to_string(), "~");
        (code, text(out), text(err))
    }

    #[test]
    fn a_sound_configuration_is_printed_and_passes_with_its_warnings() {
        let text = "[[client]]\nurl = \"wss://gw:s3cret@h/\"\ntls = { ca = \"none.pem\" }\n";
        let (code, out, err) = check(text, false);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(
            out.starts_with("# from ~/a.toml\n[agent]\nid = ")
                && out.contains("\nurl = \"wss://gw:***@h/\"  # set\n"),
            "{out}"
        );
        let missing = "cannot find ~/none.pem: No such file or directory (os error 2)";
        assert_eq!(err, format!("warning: client ws_client_1: tls.ca: {missing}\n"));
    }

    #[test]
    fn a_schema_that_is_wrong_is_warned_of_with_its_place() {
        let schema = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(schema.path(), "{ \"properties\": { \"t\": { \"type\": \"float\" } } }").unwrap();
        let text = format!("[[server]]\n[[server.route]]\npath = \"/a\"\nschema = {:?}\n", schema.path());
        let (code, _, err) = check(&text, false);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(
            err.contains("#/properties/t/type: must be a type or a list of types")
                && err.contains("route /a"),
            "{err}"
        );
    }

    #[test]
    fn names_and_addresses_in_bind_that_this_machine_does_not_have_are_warned_of() {
        let bind = |address: &str| check(&format!("[[server]]\nid = \"s\"\nbind = [{address:?}]\n"), false);
        for here in ["127.0.0.1:0", "localhost:9998", "0.0.0.0:80", "unix:/run/x.sock"] {
            assert_eq!(bind(here).2, "", "{here}");
        }
        let (code, _, err) = bind("no-such-host.invalid:9998");
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(
            err.contains("server s: bind: no-such-host.invalid:9998 cannot be listened on: cannot resolve"),
            "{err}"
        );
        let (_, _, err) = bind("192.0.2.7:9998");
        assert!(err.contains("192.0.2.7 is no address of this machine"), "{err}");
    }

    #[test]
    fn a_costly_pattern_is_warned_of_with_its_place() {
        let schema = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(schema.path(), r#"{ "pattern": "(a|aa){1,200}b" }"#).unwrap();
        let text = format!("[[server]]\n[[server.route]]\npath = \"/a\"\nschema = {:?}\n", schema.path());
        let (code, _, err) = check(&text, false);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(err.contains("the schema of the route /a: ") && err.contains("#/pattern: "), "{err}");
        assert!(err.contains("costly") && err.contains("`maxLength`"), "{err}");
    }

    #[test]
    fn a_wrong_configuration_fails_with_every_fault_on_a_line() {
        let (code, out, err) = check("[agent]\nid = 1\nzzzzzz = 2\n", false);
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
        assert_eq!(
            err,
            "~/a.toml:2:6: agent.id: must be a string\n~/a.toml:3:1: agent.zzzzzz: unknown key\n"
        );
    }

    #[test]
    fn a_file_that_is_missing_fails() {
        let config = Some("/nonexistent/holdfast.toml".into());
        let args = Args { options: Options { config, ..Options::default() }, json: false };
        let mut err = Vec::new();
        assert_eq!(report(&args, &mut Vec::new(), &mut err).unwrap(), ExitCode::FAILURE);
        let expected = "cannot read /nonexistent/holdfast.toml: No such file or directory (os error 2)\n";
        assert_eq!(String::from_utf8(err).unwrap(), expected);
    }

    #[test]
    fn json_holds_the_configuration_without_its_secrets() {
        let (_, out, _) = check("[[client]]\nurl = \"wss://gw:s3cret@h/\"\nwindow = 7\n", true);
        let found: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(found["config"]["client"][0]["window"], 7);
        assert_eq!(found["config"]["client"][0]["url"], "wss://gw:***@h/");
        assert_eq!(found["warnings"], json!([]));
    }

    #[test]
    fn json_holds_every_fault_with_its_place() {
        let (code, out, _) = check("[agent]\nid = 1\nzzzzzz = 2\n", true);
        let expected = json!({ "errors": [
            { "place": "~/a.toml:2:6", "key": "agent.id", "error": "must be a string" },
            { "place": "~/a.toml:3:1", "key": "agent.zzzzzz", "error": "unknown key" },
        ]});
        assert_eq!(code, ExitCode::FAILURE);
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), expected);
    }
}
