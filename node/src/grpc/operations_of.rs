//! The operations on one resource, newest first (`contract §2.11`).

use lockbox_core::{AuthorizedKeyId, ResourceRef};
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::state::{StateRead, tables};

use crate::refused::Refused;
use crate::{convert, page};

/// A page, and where the next one begins.
type Page = Result<(Vec<Operation>, Option<u64>), Refused>;

/// One page of the operations on a resource before the index `before`.
pub(super) fn page(view: &dyn StateRead, of: &ResourceRef, before: u64, size: usize) -> Page {
    shown(tables::operations_page(view, of, before, size)?)
}

/// The same of an authorized key.
pub(super) fn key_page(
    view: &dyn StateRead,
    key: &AuthorizedKeyId,
    before: u64,
    size: usize,
) -> Page {
    shown(tables::key_operations_page(view, key, before, size)?)
}

fn shown((records, next): (Vec<OperationRecord>, Option<u64>)) -> Page {
    page::fill(records, next, |record| Ok((record.index, convert::operation(&record))))
}
