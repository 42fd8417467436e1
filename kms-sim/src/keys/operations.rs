//! The operations of this KMS: one of them, and those of a key. All are finished as they are made.

use lockbox_core::{KmsKeyId, OperationId, Permission};

use super::page::{self, OperationPosition, PAGE_BYTES_MAX, PageRequest};
use super::service::{Answer, Page, key_bytes};
use crate::caller::Caller;
use crate::engine::{Engine, Reading};
use crate::error::{KmsError, Rejection};
use crate::store::StoreError;
use crate::store::records::{KeyRecord, OperationRecord};
use crate::store::tables::{self, Table};
use lockbox_core::codec;

/// One operation, for who started it and for who may read its key. Of a key that is deleted by now
/// it can still be read: who waits for the end of a deletion must be told of it.
///
/// # Errors
/// [`KmsError`].
pub fn get(
    engine: &Engine,
    caller: &Caller,
    id: &OperationId,
) -> Result<Answer<OperationRecord>, KmsError> {
    let reading = engine.reading()?;
    let row = tables::operation(id);
    let Some(operation) = reading.view.record::<OperationRecord>(Table::Operations, &row)? else {
        return Err(reading.reject(Rejection::OperationNotFound(id.clone())));
    };
    let started = operation.created_by == caller.subject;
    if started || reading.may(caller, Permission::KmsKeysGet, &operation.key)? {
        Ok(Answer { value: operation, index: reading.index })
    } else {
        Err(reading.reject(Rejection::Denied))
    }
}

/// A key's operations, newest first.
///
/// # Errors
/// [`KmsError`].
pub fn list(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    page: &PageRequest,
    observed: &mut Option<KeyRecord>,
) -> Result<Answer<Page<OperationRecord>>, KmsError> {
    let reading = engine.reading()?;
    let key = reading.permitted_key(caller, Permission::KmsKeysGet, key_id, observed)?;
    let start = match page.position::<OperationPosition>()? {
        None => Vec::new(),
        Some(position) if position.key_id != key.id => return Err(page::bad_token()),
        Some(position) => {
            let mut row = tables::operation_by_key(&key.id, position.sequence);
            // The first row behind the last one shown.
            row.push(0);
            row
        }
    };
    let mut rows: Vec<OperationRecord> = Vec::new();
    let mut bytes = 0;
    let prefix = tables::operations_prefix(&key.id);
    for row in reading.view.scan(Table::OperationsByKey, &prefix, &start) {
        let (_, id) = row?;
        if rows.len() == page.size || bytes >= PAGE_BYTES_MAX {
            let next_token = rows.last().map(next_operation).unwrap_or_default();
            return Ok(Answer { value: Page { rows, next_token }, index: reading.index });
        }
        let Some(operation) = listed(&reading, &id)? else { continue };
        bytes += key_bytes(&operation.key);
        rows.push(operation);
    }
    Ok(Answer { value: Page { rows, next_token: String::new() }, index: reading.index })
}

/// An operation of the list. It and its row here expire at the same time, and may be removed by two
/// commits: what is gone already is not shown.
fn listed(reading: &Reading<'_>, id: &[u8]) -> Result<Option<OperationRecord>, StoreError> {
    let wrong = |error| StoreError::undecodable(Table::OperationsByKey, &error);
    let id: OperationId = codec::decode(id).map_err(wrong)?;
    reading.view.record(Table::Operations, &tables::operation(&id))
}

fn next_operation(last: &OperationRecord) -> String {
    let position = OperationPosition { key_id: last.key.id.clone(), sequence: last.key.revision };
    page::token(&position)
}
