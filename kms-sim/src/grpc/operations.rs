//! Operations on the wire, with exactly the types that clients expect (`contract §1.5`).

use lockbox_proto::any;
use lockbox_proto::yandex::cloud::access::{
    SetAccessBindingsMetadata, UpdateAccessBindingsMetadata,
};
use lockbox_proto::yandex::cloud::kms::v1::{
    CancelSymmetricKeyVersionDestructionMetadata, CreateSymmetricKeyMetadata,
    DeleteSymmetricKeyMetadata, RotateSymmetricKeyMetadata,
    ScheduleSymmetricKeyVersionDestructionMetadata, SetPrimarySymmetricKeyVersionMetadata,
    UpdateSymmetricKeyMetadata,
};
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost_types::Any;

use super::convert;
use crate::store::records::{OperationKind, OperationRecord};

/// The type of an answer that says nothing (`contract §1.14` no. 12).
const EMPTY_TYPE: &str = "type.googleapis.com/google.protobuf.Empty";

/// An operation on the wire.
pub(super) fn to_wire(record: &OperationRecord) -> Operation {
    let (description, metadata) = described(record);
    Operation {
        id: record.id.to_string(),
        description: description.to_owned(),
        created_at: Some(convert::timestamp(record.created_at)),
        created_by: record.created_by.id.clone(),
        modified_at: Some(convert::timestamp(record.created_at)),
        done: true,
        metadata: Some(metadata),
        result: Some(operation::Result::Response(response(record))),
    }
}

fn described(record: &OperationRecord) -> (&'static str, Any) {
    let key_id = record.key.id.to_string();
    let primary_version_id = record.primary_version.id.to_string();
    match &record.kind {
        OperationKind::CreateKey => {
            let metadata = CreateSymmetricKeyMetadata { key_id, primary_version_id };
            ("Create symmetric key", any::pack(&metadata))
        }
        OperationKind::UpdateKey => {
            ("Update symmetric key", any::pack(&UpdateSymmetricKeyMetadata { key_id }))
        }
        OperationKind::RotateKey => {
            let new_primary_version_id = primary_version_id;
            let metadata = RotateSymmetricKeyMetadata { key_id, new_primary_version_id };
            ("Rotate symmetric key", any::pack(&metadata))
        }
        OperationKind::DeleteKey => {
            ("Delete symmetric key", any::pack(&DeleteSymmetricKeyMetadata { key_id }))
        }
        OperationKind::SetPrimaryVersion { .. } => {
            let version_id = primary_version_id;
            let metadata = SetPrimarySymmetricKeyVersionMetadata { key_id, version_id };
            ("Set primary version", any::pack(&metadata))
        }
        OperationKind::ScheduleVersionDestruction { version } => {
            let version_id = version.id.to_string();
            let destroy_at = version.destroy_at.map(convert::timestamp);
            let metadata =
                ScheduleSymmetricKeyVersionDestructionMetadata { key_id, version_id, destroy_at };
            ("Schedule version destruction", any::pack(&metadata))
        }
        OperationKind::CancelVersionDestruction { version } => {
            let version_id = version.id.to_string();
            let metadata = CancelSymmetricKeyVersionDestructionMetadata { key_id, version_id };
            ("Cancel version destruction", any::pack(&metadata))
        }
        OperationKind::SetAccessBindings => {
            let metadata = SetAccessBindingsMetadata { resource_id: key_id };
            ("Set access bindings", any::pack(&metadata))
        }
        OperationKind::UpdateAccessBindings => {
            let metadata = UpdateAccessBindingsMetadata { resource_id: key_id };
            ("Update access bindings", any::pack(&metadata))
        }
        // Neither is on the wire: nothing keeps them (`OperationKind::is_public`).
        OperationKind::UndeleteKey | OperationKind::Destroy => ("", Any::default()),
    }
}

fn response(record: &OperationRecord) -> Any {
    match &record.kind {
        OperationKind::CreateKey
        | OperationKind::UpdateKey
        | OperationKind::RotateKey
        | OperationKind::DeleteKey
        | OperationKind::SetPrimaryVersion { .. }
        | OperationKind::UndeleteKey
        | OperationKind::Destroy => any::pack(&convert::key(&record.key, &record.primary_version)),
        OperationKind::ScheduleVersionDestruction { version }
        | OperationKind::CancelVersionDestruction { version } => {
            any::pack(&convert::version(version, version.id == record.key.primary_version_id))
        }
        OperationKind::SetAccessBindings | OperationKind::UpdateAccessBindings => {
            Any { type_url: EMPTY_TYPE.to_owned(), value: Vec::new() }
        }
    }
}
