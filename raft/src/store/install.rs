//! Replacing the whole state by a snapshot: old or new at every moment, never a mix.
//!
//! The snapshot becomes the current one first. A crash after that leaves the old state with a
//! newer snapshot beside it, which openraft installs at the next start; in the other order a crash
//! would leave a node that has purged its log and has no snapshot for what it purged.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::durable_files::{create_directory, failed, remove_directory, sync_tree};
use super::engine::Engines;
use super::identity::{Current, write_current};
use super::install_step::{InstallStep, reached};
use super::layout::Layout;
use super::open::understood;
use super::seeded;
use super::snapshot::{SnapshotHandle, SnapshotShelf};
use super::state_handle::{
    Generation, StateHandle, applied_of, last_applied, membership_of, on_view,
};
use crate::error::StorageError;
use crate::types::SnapshotMeta;

/// What an installation works on.
#[derive(Clone)]
pub(super) struct Installer {
    pub(super) engines: Arc<dyn Engines>,
    pub(super) layout: Layout,
    pub(super) store_id: [u8; 16],
    pub(super) shelf: Arc<SnapshotShelf>,
    pub(super) state: StateHandle,
}

impl Installer {
    /// Installs a verified snapshot. Blocks. On an error the old state is still in place.
    pub(super) fn install(
        &self,
        meta: &SnapshotMeta,
        snapshot: SnapshotHandle,
    ) -> Result<(), StorageError> {
        if snapshot.meta() != meta {
            return Err(corrupt("the manifest is about something else than the leader says"));
        }
        let snapshot = self.shelf.publish(snapshot)?;
        if snapshot.meta() != meta {
            return Err(corrupt("it is older than this node's own snapshot"));
        }
        reached(InstallStep::SnapshotPublished)?;
        let number = self.state.generation().number + 1;
        let directory = self.state.own(self.layout.state(number));
        // Left over from an installation that failed.
        remove_directory(directory.path())?;
        create_directory(directory.path())?;
        place_files(&snapshot, directory.path())?;
        reached(InstallStep::FilesPlaced)?;
        let engine = self.engines.open_state(directory.path())?;
        let applied = on_view(engine.as_ref(), |state| {
            if last_applied(state)? != meta.last_log_id
                || membership_of(state)? != meta.last_membership
            {
                return Err(corrupt("the files hold another state than the manifest says"));
            }
            understood(state)?;
            applied_of(state)
        })??;
        let applied = seeded::omit_from_snapshot(engine.as_ref(), applied)?;
        reached(InstallStep::EngineOpened)?;
        let current = Current { generation: number, store_id: self.store_id };
        write_current(&self.layout.current(), &current)?;
        reached(InstallStep::CurrentReplaced)?;
        self.state.swap(Generation { engine, directory, number }, applied);
        Ok(())
    }
}

/// Puts the files of a snapshot into a new directory: linked where they never change again.
fn place_files(snapshot: &SnapshotHandle, directory: &Path) -> Result<(), StorageError> {
    for file in snapshot.manifest().files() {
        let from = snapshot.path().join(&file.name);
        let to = directory.join(&file.name);
        // RocksDB appends to its other files, which must not change the snapshot.
        let immutable = Path::new(&file.name).extension().is_some_and(|kind| kind == "sst");
        let linked = immutable && fs::hard_link(&from, &to).is_ok();
        if !linked {
            fs::copy(&from, &to)
                .map_err(|error| failed("copy the snapshot file", &from, &error))?;
        }
    }
    sync_tree(directory)
}

fn corrupt(message: &str) -> StorageError {
    StorageError::corrupt("install a snapshot", message)
}

#[cfg(test)]
mod tests;
