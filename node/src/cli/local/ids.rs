//! The ids of a local cluster's first resources.
//!
//! Chosen before the cluster is formed and kept in a file, so that every later start knows them
//! without asking.

use std::fs;

use lockbox_core::{CloudId, FolderId};
use lockbox_platform::system::SystemRandom;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::prepare::cannot_write;
use crate::cli::failure::Failure;

/// The first cloud and its first folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// The cloud.
    pub(crate) cloud_id: String,
    /// The folder.
    pub(crate) folder_id: String,
}

impl Ids {
    /// Those of the file; they are made when there is none.
    pub(crate) fn load_or_make(layout: &Layout) -> Result<Self, Failure> {
        let path = layout.ids();
        if path.exists() {
            return Self::load(layout);
        }
        let ids = Self {
            cloud_id: CloudId::generate(&SystemRandom).to_string(),
            folder_id: FolderId::generate(&SystemRandom).to_string(),
        };
        let text = serde_json::to_string_pretty(&ids).map_err(Failure::usage)?;
        fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
        Ok(ids)
    }

    /// Those of the file.
    pub(crate) fn load(layout: &Layout) -> Result<Self, Failure> {
        let path = layout.ids();
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::usage(format_args!("cannot read {}: {error}", path.display()))
        };
        let text = fs::read_to_string(&path).map_err(|error| cannot(&error))?;
        serde_json::from_str(&text).map_err(|error| cannot(&error))
    }
}
