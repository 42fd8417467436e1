//! `lockbox man`: the manual, made from the parser itself.
//!
//! Promises: one page for each command that `--help` shows; exit codes, variables and files are
//! on the first one, from the tables in [`reference`]. Nothing of the environment is in them.

#[cfg(test)]
#[path = "../../../platform/core/tests/shared/command_reference.rs"]
mod command_reference;
mod reference;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output;

/// `lockbox man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command that the page is about, as in `lockbox man secret create`; the whole program
    /// when not given.
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    path: Vec<String>,
    /// Write all pages into this directory, which is made if need be.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs `lockbox man`.
pub(crate) fn run(arguments: &ManArgs) -> Result<(), Failure> {
    let program = program();
    match &arguments.dir {
        Some(directory) => write_all(&program, directory),
        None => {
            let page = page(find(&program, &arguments.path)?);
            output::write(&page.map_err(|error| Failure::new(Exit::Internal, error))?)
        }
    }
}

/// The parser with everything that it adds by itself.
fn program() -> Command {
    let mut program = super::command().disable_help_subcommand(true);
    program.build();
    program
}

fn find<'a>(program: &'a Command, path: &[String]) -> Result<&'a Command, Failure> {
    path.iter().try_fold(program, |command, name| {
        let next = command.find_subcommand(name).filter(|next| !next.is_hide_set());
        next.ok_or_else(|| {
            let above = command.get_bin_name().unwrap_or_else(|| command.get_name());
            Failure::usage(format_args!("{above} has no command {name:?}: see {above} --help"))
        })
    })
}

fn write_all(command: &Command, directory: &Path) -> Result<(), Failure> {
    let cannot = |path: &Path, error: io::Error| {
        Failure::usage(format_args!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(directory).map_err(|error| cannot(directory, error))?;
    for command in shown(command) {
        let path = directory.join(manual(command).get_filename());
        let written = page(command).and_then(|page| std::fs::write(&path, page));
        written.map_err(|error| cannot(&path, error))?;
    }
    Ok(())
}

/// The command and all below it that are not hidden.
fn shown(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    std::iter::once(command).chain(below.flat_map(shown)).collect()
}

fn manual(command: &Command) -> Man {
    let source = concat!("lockbox ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(source).manual("Lockbox")
}

/// One page, in roff.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let (man, mut text) = (manual(command), Vec::new());
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let is_program = command.get_display_name().is_none_or(|name| name == command.get_name());
    if is_program {
        table("EXIT STATUS", reference::exit_codes()).to_writer(&mut text)?;
        table("ENVIRONMENT", reference::variables()).to_writer(&mut text)?;
        table("FILES", reference::files()).to_writer(&mut text)?;
    } else {
        if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
            man.render_extra_section(&mut text)?;
        }
        let mut more = Roff::default();
        more.control("SH", ["SEE ALSO"]);
        more.text([bold("lockbox"), roman("(1): exit status, environment and files")]);
        more.to_writer(&mut text)?;
    }
    Ok(text)
}

/// A section of terms and what they mean.
fn table(title: &str, rows: impl IntoIterator<Item = (String, String)>) -> Roff {
    let mut section = Roff::default();
    section.control("SH", [title]);
    for (term, meaning) in rows {
        section.control("TP", []);
        section.text([bold(term)]);
        section.text([roman(meaning)]);
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Vec<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("share").join("man1");
        write_all(&program(), &below).unwrap();
        let files = std::fs::read_dir(&below).unwrap().map(|file| file.unwrap());
        files
            .map(|file| {
                let name = file.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(file.path()).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        let named = |name: &str| pages.iter().find(|(file, _)| file == name).map(|(_, text)| text);
        for name in ["lockbox.1", "lockbox-man.1", "lockbox-secret.1", "lockbox-payload-get.1"] {
            assert!(named(name).is_some_and(|text| text.contains("SYNOPSIS")), "{name}");
        }
        let create = named("lockbox-secret-create.1").unwrap();
        assert!(create.contains("history"), "the long help, with its warning: {create}");
        assert!(create.contains("lockbox secret create"), "{create}");
        assert!(named("lockbox-help.1").is_none());
        assert_eq!(pages.len(), shown(&program()).len());
    }

    #[test]
    fn the_first_page_has_the_tables() {
        let page = String::from_utf8(page(&program()).unwrap()).unwrap();
        for (code, meaning) in reference::exit_codes() {
            let row = format!("\\fB{code}\\fR\n{}", meaning.replace('-', "\\-"));
            assert!(page.contains(&row), "{code}: {page}");
        }
        for section in ["SUBCOMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
            assert!(page.contains(section), "{section}");
        }
    }

    #[test]
    fn the_reference_is_what_the_parser_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/lockbox.md");
        command_reference::holds(super::super::command(), Path::new(file));
    }

    #[test]
    fn a_page_is_found_by_its_command() {
        let program = program();
        let path = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let found = find(&program, &path(&["secret", "list-version"])).unwrap();
        assert_eq!(found.get_name(), "list-versions");
        let absent = find(&program, &path(&["secret", "mend"])).map(|_| ()).unwrap_err();
        assert!(absent.to_string().contains("lockbox secret has no command"), "{absent}");
    }
}
