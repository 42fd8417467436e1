//! `lockbox completion`: what a shell needs to complete the command line.
//!
//! Made from the parser itself, so that it knows what this program knows. It is a fixed text: it
//! asks no server, and holds nothing of the environment.

use clap::Args;
use clap_complete::Shell;

use crate::cli::failure::Failure;
use crate::cli::output;

/// `lockbox completion`.
#[derive(Debug, Args)]
#[command(after_help = INSTALL)]
pub(crate) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

/// Where each shell looks.
const INSTALL: &str = "\
Where it goes:
  bash        lockbox completion bash >~/.local/share/bash-completion/completions/lockbox
  zsh         lockbox completion zsh >\"${fpath[1]}/_lockbox\"
  fish        lockbox completion fish >~/.config/fish/completions/lockbox.fish
  powershell  lockbox completion powershell >>$PROFILE
It takes effect in the next shell.";

/// Runs `lockbox completion`.
pub(crate) fn run(arguments: &CompletionArgs) -> Result<(), Failure> {
    output::write(&script(arguments.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut command = super::command();
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(script(*shell)).unwrap();
            for word in ["schedule-version-destruction", "token-file", "completion", "log-dump"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn bash_completes_commands_and_flags() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lockbox");
        std::fs::write(&path, script(Shell::Bash)).unwrap();
        let completed = |words: &str| {
            let program = format!(
                ". {path:?}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
                 _lockbox lockbox \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
                 echo \"${{COMPREPLY[*]}}\""
            );
            let ended = Command::new("bash").args(["--norc", "-c", &program]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
            String::from_utf8(ended.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(completed("lockbox sec"), "secret");
        assert_eq!(completed("lockbox secret add-v"), "add-version");
        assert_eq!(completed("lockbox payload get --version-"), "--version-id");
        assert_eq!(completed("lockbox secret list --format json-"), "json-rest");
    }
}
