//! `lockbox cert list`.

use std::path::{Path, PathBuf};

use clap::Args;
use lockbox_platform::authority::{self, Described, Usage};

use super::{Place, failed};
use crate::cli::failure::Failure;
use crate::cli::output::Table;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Certificates to show.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The certificates; the authority and those in its directory when not given.
    #[arg(value_name = "FILE")]
    certificates: Vec<PathBuf>,
}

impl List {
    pub(super) fn run(&self, place: &Place, now_ms: u64) -> Result<String, Failure> {
        let mut rows = Vec::new();
        let mut show = |path: &Path| {
            let described = authority::describe(path).map_err(|error| failed(&error))?;
            rows.extend(described.iter().map(|one| row(path, one, now_ms)));
            Ok::<(), Failure>(())
        };
        if self.certificates.is_empty() {
            show(&place.files().certificate)?;
            let leaves = authority::leaves(&place.authority).map_err(|error| failed(&error))?;
            leaves.iter().try_for_each(|(path, _)| show(path))?;
        } else {
            self.certificates.iter().try_for_each(|path| show(path))?;
        }
        let columns = vec!["FILE", "FOR", "NAMES", "ENDS IN", "STATE"];
        Ok(Table { columns, rows }.render())
    }
}

fn row(path: &Path, described: &Described, now_ms: u64) -> Vec<String> {
    let usage = match described.usage {
        _ if described.is_authority => "authority",
        Usage::Both => "server and client",
        Usage::Server => "server",
        Usage::Client => "client",
    };
    let ips = described.ips.iter().map(ToString::to_string);
    let names: Vec<String> = described.dns_names.iter().cloned().chain(ips).collect();
    let left_ms = described.left_ms(now_ms);
    let state = match (left_ms, described.is_due(now_ms)) {
        (0, _) => "ended",
        (_, true) => "due",
        (_, false) => "good",
    };
    vec![
        path.display().to_string(),
        usage.to_owned(),
        names.join(", "),
        format!("{} days", left_ms / DAY_MS),
        state.to_owned(),
    ]
}
