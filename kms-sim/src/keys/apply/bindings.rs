//! Who may do what with one key (`contract §2.12`): the bindings that are set on it.

use lockbox_core::KmsKeyId;

use super::read::live_key;
use super::{Changed, Place, Refusal, Stop, read_bindings, read_primary};
use crate::keys::command::{BindingDelta, BindingsChange};
use crate::store::records::{KeyBindings, KeyRecord, OperationKind};
use crate::store::tables::{self, Table};
use crate::store::{View, Write};
use lockbox_core::codec::encode;

/// Bindings that one key may have (`contract §9`).
const BINDINGS_MAX: usize = 1000;

pub(super) fn change(
    view: &View<'_>,
    key_id: &KmsKeyId,
    change: &BindingsChange,
    place: Place,
) -> Result<Changed, Stop> {
    let before = live_key(view, key_id)?;
    let (kind, bindings) = match change {
        BindingsChange::Set(set) => {
            (OperationKind::SetAccessBindings, KeyBindings { bindings: set.clone() })
        }
        BindingsChange::Update(deltas) => {
            let bindings = read_bindings(view, key_id)?;
            (OperationKind::UpdateAccessBindings, updated(bindings, deltas))
        }
    };
    if bindings.bindings.len() > BINDINGS_MAX {
        return Err(Refusal::TooManyBindings.into());
    }
    let row = tables::key(key_id);
    let write = if bindings.bindings.is_empty() {
        Write::delete(Table::Bindings, row)
    } else {
        Write::put(Table::Bindings, row, encode(&bindings))
    };
    let primary_version = read_primary(view, &before)?;
    let key = KeyRecord { bindings_revision: place.sequence, ..before.clone() };
    Ok(Changed { writes: vec![write], kind, before: Some(before), key, primary_version })
}

fn updated(mut bindings: KeyBindings, deltas: &[BindingDelta]) -> KeyBindings {
    for delta in deltas {
        match delta {
            BindingDelta::Add(binding) => bindings.bindings.insert(binding.clone()),
            BindingDelta::Remove(binding) => bindings.bindings.remove(binding),
        };
    }
    bindings
}
