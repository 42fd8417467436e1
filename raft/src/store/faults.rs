//! Where the first storage error is kept, so that the process can end with its exit code.
//!
//! openraft turns a storage error into a stopped core and loses its kind on the way.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::StorageError;

/// The first storage error of this node, if there was one. Later ones are consequences.
#[derive(Debug, Clone)]
pub struct Faults {
    first: Arc<watch::Sender<Option<StorageError>>>,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self { first: Arc::new(watch::Sender::new(None)) }
    }

    /// Changes once, when the first storage error happens.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<StorageError>> {
        self.first.subscribe()
    }

    /// The first storage error so far.
    #[must_use]
    pub fn current(&self) -> Option<StorageError> {
        self.first.borrow().clone()
    }

    /// Notes an error unless there was one before.
    pub(crate) fn report(&self, error: &StorageError) {
        let noted = self.first.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(error.clone());
            }
            is_first
        });
        if noted {
            tracing::error!(%error, "storage failed; this node stops");
        }
    }

    /// Notes the error of a result that openraft is about to see.
    pub(super) fn watch<T>(&self, result: Result<T, StorageError>) -> std::io::Result<T> {
        result.map_err(|error| {
            self.report(&error);
            error.into()
        })
    }
}
