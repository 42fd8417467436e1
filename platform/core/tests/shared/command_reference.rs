//! The reference of a program's command line: made from its parser, and held against the file that
//! is in the documents.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

/// Set, and the file is written anew instead.
const UPDATE: &str = "UPDATE_DOCS";
/// What every command has.
const BUILT_IN: [&str; 2] = ["help", "version"];
/// A command of builds with seeded bugs alone.
const OF_MUTANTS: &str = "mutants";

/// Demands that the file says what the parser does.
pub(crate) fn holds(program: Command, file: &Path) {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let name = program.get_name().to_owned();
    let mut text = format!(
        "# The commands of {name}\n\nMade from its parser, and held against it by a test; \
         `make docs` writes it anew. What holds for all commands is in \
         [../command-line.md](../command-line.md).\n"
    );
    describe(&program, None, &mut text);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(file, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(file).unwrap_or_default();
    let file = file.display();
    assert!(found == text, "{file} is not what the parser says: make docs writes it anew");
}

fn describe(command: &Command, above: Option<&Command>, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    writeln!(text, "\n## {name}\n\n{}\n\n```text\n{usage}\n```", about.trim()).unwrap();
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| is_own(arg, above)).collect();
    if !own.is_empty() {
        writeln!(text, "\n| argument | meaning |\n|---|---|").unwrap();
    }
    for arg in own {
        writeln!(text, "| `{}` | {} |", form(arg), meaning(arg)).unwrap();
    }
    for below in command.get_subcommands() {
        if !below.is_hide_set() && below.get_name() != OF_MUTANTS {
            describe(below, Some(command), text);
        }
    }
}

/// Whether an argument is for this command, and not one that it has from the command above it.
fn is_own(arg: &Arg, above: Option<&Command>) -> bool {
    let same = |other: &Arg| other.get_id() == arg.get_id();
    let inherited = arg.is_global_set() && above.is_some_and(|c| c.get_arguments().any(same));
    !arg.is_hide_set() && !inherited && !BUILT_IN.contains(&arg.get_id().as_str())
}

/// How it is written.
fn form(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let values: Vec<String> = names.iter().map(|name| format!("<{name}>")).collect();
    let values = values.join(" ");
    if arg.is_positional() {
        return values;
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let flags = flags.join(", ");
    if arg.get_action().takes_values() { format!("{flags} {values}") } else { flags }
}

/// What it is for, what it may be, and what it is when it is not there.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut parts = vec![help.split_whitespace().collect::<Vec<_>>().join(" ")];
    if arg.is_required_set() {
        parts.push("Required.".to_owned());
    }
    if arg.get_action().takes_values() {
        let possible = arg.get_possible_values();
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let possible: Vec<_> = shown.map(|value| format!("`{}`", value.get_name())).collect();
        if !possible.is_empty() {
            parts.push(format!("One of {}.", possible.join(", ")));
        }
        let defaults = arg.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
        if !defaults.is_empty() && !arg.is_hide_default_value_set() {
            parts.push(format!("`{}` when not given.", defaults.join(" ")));
        }
    }
    parts.join(" ").replace('|', "\\|")
}
