//! What an update of a cloud or a folder may change (`contract §2.7`).

use std::collections::BTreeMap;

use lockbox_platform::status::ApiError;
use lockbox_raft::domain::command::ContainerChanges;
use prost_types::FieldMask;

/// The changeable fields of an update request, by reference.
pub(super) struct Fields<'a> {
    pub(super) mask: Option<&'a FieldMask>,
    pub(super) name: &'a mut String,
    pub(super) description: &'a mut String,
    pub(super) labels: &'a mut BTreeMap<String, String>,
}

/// Empties what the mask does not list: that is ignored, however wrong it is.
pub(super) fn keep_listed(fields: &mut Fields<'_>) {
    let paths = fields.mask.map_or(&[][..], |mask| mask.paths.as_slice());
    let lists = |field: &str| paths.iter().any(|path| path == field);
    if !lists("name") {
        fields.name.clear();
    }
    if !lists("description") {
        fields.description.clear();
    }
    if !lists("labels") {
        fields.labels.clear();
    }
}

/// The changes that the mask names; a named field takes its value even when that is the default,
/// but a name cannot become empty.
pub(super) fn masked(fields: &Fields<'_>) -> Result<ContainerChanges, ApiError> {
    let paths = fields.mask.map_or(&[][..], |mask| mask.paths.as_slice());
    if paths.is_empty() {
        return Err(ApiError::invalid("update_mask", "must name at least one field"));
    }
    let mut changes = ContainerChanges::default();
    for path in paths {
        match path.as_str() {
            "name" if fields.name.is_empty() => {
                return Err(ApiError::invalid("name", "value is required"));
            }
            "name" => changes.name = Some(fields.name.clone()),
            "description" => changes.description = Some(fields.description.clone()),
            "labels" => changes.labels = Some(fields.labels.clone()),
            _ => return Err(ApiError::invalid("update_mask", "names a field that cannot change")),
        }
    }
    Ok(changes)
}
