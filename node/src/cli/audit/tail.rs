//! `lockbox audit tail`.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use lockbox_platform::audit::tail;

use super::files::{FilesFlag, unread};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Between two looks at whether there is more.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// `lockbox audit tail`.
#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    files: FilesFlag,
    /// How many of the last records.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on with the records that follow, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
}

impl Tail {
    /// Prints them, one line each, as they are in the files.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let files = self.files.find()?;
        let failed = |error| unread(files.active(), &error);
        let (last, mut tail) = tail::Tail::begin(&files, self.lines).map_err(failed)?;
        for line in last {
            if print(line)?.is_break() {
                return Ok(());
            }
        }
        if !self.follow {
            return Ok(());
        }
        loop {
            match tail.next_line().map_err(failed)? {
                Some(line) => {
                    if print(line)?.is_break() {
                        return Ok(());
                    }
                }
                None => std::thread::sleep(LOOK_PAUSE),
            }
        }
    }
}

/// Prints one line; whether anybody reads on.
pub(super) fn print(mut line: Vec<u8>) -> Result<ControlFlow<()>, Failure> {
    line.push(b'\n');
    output::write_some(&line)
}
