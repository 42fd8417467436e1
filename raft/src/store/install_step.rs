//! The steps of an installation, and where the tests interrupt it.

use crate::error::StorageError;

/// A point between two steps; a crash at any of them must leave old or new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InstallStep {
    /// The snapshot has its final name.
    SnapshotPublished,
    /// The files are in the new generation's directory.
    FilesPlaced,
    /// The new generation was opened and checked.
    EngineOpened,
    /// `CURRENT` names the new generation.
    CurrentReplaced,
}

/// Does nothing outside tests.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "the tests' version fails")]
pub(super) const fn reached(_step: InstallStep) -> Result<(), StorageError> {
    Ok(())
}

#[cfg(test)]
pub(super) use interrupt::{interrupt_at, reached};

#[cfg(test)]
mod interrupt {
    use std::cell::Cell;

    use super::{InstallStep, StorageError};

    thread_local! {
        static INTERRUPT_AT: Cell<Option<InstallStep>> = const { Cell::new(None) };
    }

    /// Makes the next installation on this thread fail at a step.
    pub(crate) fn interrupt_at(step: Option<InstallStep>) {
        INTERRUPT_AT.set(step);
    }

    pub(crate) fn reached(step: InstallStep) -> Result<(), StorageError> {
        if INTERRUPT_AT.get() == Some(step) {
            let cause = std::io::Error::other(format!("interrupted at {step:?}"));
            return Err(StorageError::io("install a snapshot", &cause));
        }
        Ok(())
    }
}
