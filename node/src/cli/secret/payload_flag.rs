//! The flag `--payload`, for the commands that write values.

use std::io;

use clap::Args;
use lockbox_core::SensitiveString;
use lockbox_proto::yandex::cloud::lockbox::v1::PayloadEntryChange;

use crate::cli::failure::Failure;
use crate::cli::payload_items;

/// The entries to write.
#[derive(Debug, Args)]
pub(crate) struct PayloadFlag {
    /// Entries: a YAML or JSON array, `@FILE` with one, or `-` to read one from standard input.
    ///
    /// An item has a `key` and a `text_value` or a `binary_value` (base64), for example
    /// `[{'key': 'user', 'text_value': 'root'}]`. When a version is added, an item with only a
    /// key removes that entry. What is typed as an argument stays in the shell's history and can
    /// be seen by every user of the machine: for values that matter use `-` or `@FILE`.
    #[arg(long, value_name = "ITEMS|@FILE|-", allow_hyphen_values = true)]
    payload: Option<SensitiveString>,
}

impl PayloadFlag {
    /// The entries; none when the flag is not given.
    pub(crate) fn entries(self) -> Result<Vec<PayloadEntryChange>, Failure> {
        let Some(argument) = self.payload else { return Ok(Vec::new()) };
        let text = payload_items::read(argument, io::stdin().lock()).map_err(Failure::usage)?;
        payload_items::parse(&text).map_err(Failure::usage)
    }
}
