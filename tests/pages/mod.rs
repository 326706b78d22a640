//! The manual page of the program and the completions of the shells, made from the same definitions as the program itself.
//! Each is a file of the repository; a test fails when one is not what its definition gives.

mod file;
mod roff;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use holdfast::cli::options::Options;

use file::assert_current;
use roff::{ascii, plain};

fn command() -> Command {
    let mut command = without_help(crate::Arguments::command());
    command.build();
    command
}

/// The commands `help` that clap adds say nothing that `--help` does not.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

/// The commands in the order of their definition, each before its own.
fn all(command: &Command) -> Vec<&Command> {
    command.get_subcommands().flat_map(|own| std::iter::once(own).chain(all(own))).collect()
}

/// Its name behind `holdfast`, as in `buffer dead list`.
fn name(command: &Command) -> &str {
    let whole = command.get_bin_name().unwrap_or(command.get_name());
    whole.strip_prefix("holdfast ").unwrap_or(whole)
}

#[test]
fn the_completions_are_current() {
    let files = [
        (Shell::Bash, "agent/completions/holdfast.bash"),
        (Shell::Zsh, "agent/completions/_holdfast"),
        (Shell::Fish, "agent/completions/holdfast.fish"),
    ];
    for (shell, file) in files {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "holdfast", &mut script);
        assert_current(file, &String::from_utf8(script).expect("a script is text"));
    }
}

#[test]
fn the_manual_page_of_the_program_is_current() {
    let command = command();
    let to_be_run = |command: &&&Command| !command.has_subcommands();
    let usages: Vec<String> = all(&command).iter().filter(to_be_run).map(|command| usage(command)).collect();
    let commands: String = all(&command).into_iter().map(section).collect();
    let configuration = Options::augment_args(Command::new("holdfast").disable_help_flag(true));
    let page = include_str!("../../agent/man/holdfast.1.in")
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@SYNOPSIS@\n", &usages.join(".br\n"))
        .replace("@OPTIONS@\n", &options(configuration))
        .replace("@COMMANDS@\n", &commands);
    assert_current("agent/man/holdfast.1", &ascii(&page));
}

/// `holdfast send [OPTIONS] TOPIC [FILE]`
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    let (names, rest) = usage.split_at(format!("holdfast {}", name(command)).len());
    format!("\\fB{}\\fR{}\n", plain(names), plain(rest))
}

/// One command: its usage, what it does, its own options, its notes and examples.
fn section(command: &Command) -> String {
    let mut own = command.clone();
    let of_configuration = Options::augment_args(Command::new("x"));
    let shared: Vec<_> = of_configuration.get_arguments().map(|argument| argument.get_id().clone()).collect();
    let has = |id| own.get_arguments().any(|argument| argument.get_id() == id);
    let takes_configuration = shared.iter().all(has);
    for id in shared.into_iter().chain(["help".into()]) {
        if own.get_arguments().any(|argument| *argument.get_id() == id) {
            own = own.mut_arg(id, |argument| argument.hide(true));
        }
    }
    let about = own.get_long_about().or(own.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut text = format!(".SS {}\n{}", name(command), usage(command));
    text.push_str(&format!(".PP\n{}.\n", plain(about.trim_end_matches('.'))));
    text.push_str(&options(own));
    if takes_configuration {
        text.push_str(".PP\nIt also takes the options that choose the configuration, see\n.BR OPTIONS .\n");
    }
    if let Some(notes) = command.get_after_long_help().or(command.get_after_help()) {
        text.push_str(&examples(&notes.to_string()));
    }
    text
}

/// The list of options and operands, without a heading of its own.
fn options(command: Command) -> String {
    let mut section = Vec::new();
    Man::new(command).render_options_section(&mut section).expect("memory takes everything");
    let section = String::from_utf8(section).expect("a page is text");
    let mut text = String::new();
    for line in section.lines() {
        match line.strip_prefix(".SH ") {
            // The groups of options have a heading, the rest has none.
            Some("OPTIONS" | "ARGUMENTS") => {}
            Some(heading) => text.push_str(&format!(".PP\n\\fI{}\\fR\n", heading.trim_matches('"'))),
            None if line.starts_with(".ie ") || line.starts_with(".el ") => {}
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// Notes below a command: paragraphs are filled, indented lines are kept as they are.
fn examples(notes: &str) -> String {
    let mut out = String::new();
    let mut kept = false;
    let mut begins = true;
    for line in notes.lines() {
        let keep = line.starts_with("  ");
        if keep != kept {
            out.push_str(if keep { ".RS 2\n.nf\n" } else { ".fi\n.RE\n" });
            kept = keep;
        }
        if line.trim().is_empty() {
            begins = true;
            continue;
        }
        if begins && !keep {
            out.push_str(".PP\n");
        }
        begins = false;
        out.push_str(&format!("{}\n", plain(line.trim())));
    }
    if kept {
        out.push_str(".fi\n.RE\n");
    }
    out
}
