//! `lockbox audit grep`.

use clap::Args;
use lockbox_core::LogTime;
use lockbox_platform::audit::search::{Filter, parse_time};
use lockbox_platform::audit::{LineRead, Walk};

use super::files::{FilesFlag, unread};
use super::tail::print;
use crate::cli::failure::Failure;

/// `lockbox audit grep`.
#[derive(Debug, Args)]
pub(super) struct Grep {
    #[command(flatten)]
    files: FilesFlag,
    /// Id or name of who called.
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Id of a resource on the path of what the call was about, or in its details.
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// The event: GetPayload, or its whole type.
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// From this time on: RFC 3339, or a date as its first moment in UTC.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<LogTime>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<LogTime>,
}

impl Grep {
    /// Prints what fits, one line each, as it is in the files.
    pub(super) fn run(self) -> Result<(), Failure> {
        let files = self.files.find()?;
        let Self { subject, resource, event, since, until, .. } = self;
        let filter = Filter { subject, resource, event, since, until };
        let failed = |error| unread(files.active(), &error);
        let mut walk = Walk::new(&files);
        let mut line = Vec::new();
        while let Some(mut file) = walk.next_file().map_err(failed)? {
            line.clear();
            while file.read_line(&mut line).map_err(failed)? == LineRead::Whole {
                let line = std::mem::take(&mut line);
                if filter.matches(&line) && print(line)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
