//! `holdfast config`: what can be configured.

use std::process::ExitCode;

use anyhow::bail;

use super::print;

/// Every table with its parameters, made from the comments of the types that the configuration is read into.
const REFERENCE: &str = include_str!("../../man/reference.md");

/// Tells what can be configured
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true, after_help = "Examples:\n  holdfast config reference client")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Prints every parameter with its default and its meaning, as tables in Markdown
    #[command(
        after_help = "Examples:\n  holdfast config reference | less\n  holdfast config reference client\n  \
        holdfast config reference server.route"
    )]
    Reference {
        /// One table: agent, client, server, server.route, buffer, mqtt, presence or host
        table: Option<String>,
    },
}

/// Runs the subcommand. The error says which tables there are.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Reference { table } = &args.command;
    let text = match table {
        None => REFERENCE.to_owned(),
        Some(name) => match section(name) {
            Some(section) => section,
            None => bail!("there is no table {name}, only {}", tables().join(", ")),
        },
    };
    // Whoever closes the pipe early has seen enough.
    let _ = print(text.trim_start_matches('\n'));
    Ok(ExitCode::SUCCESS)
}

fn tables() -> Vec<&'static str> {
    let headings = REFERENCE.lines().filter_map(|line| line.strip_prefix("#### `"));
    headings.map(|heading| heading.trim_matches(['[', ']', '`'])).collect()
}

fn section(name: &str) -> Option<String> {
    let heading = [format!("#### `[{name}]`\n"), format!("#### `[[{name}]]`\n")];
    let start = heading.iter().find_map(|heading| REFERENCE.find(heading.as_str()))?;
    let rest = &REFERENCE[start..];
    let end = rest[1..].find("\n#### ").map_or(rest.len(), |at| at + 2);
    Some(format!("{}\n", rest[..end].trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_is_found_by_its_name() {
        let client = section("client").unwrap();
        assert!(
            client.starts_with("#### `[[client]]`\n") && client.contains("| `window` | `1000` |"),
            "{client}"
        );
        assert!(!client.contains("[[server"), "{client}");
        assert!(section("server.route").unwrap().contains("| `path` | required |"));
        assert!(section("host").is_some());
        assert_eq!(section("nothing"), None);
    }
}
