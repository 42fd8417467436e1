//! Bounds of fields, from the options that the validation is made of (`contract §1.12`).

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, Value as Reflected};
use serde_json::{Map, Value, json};

/// A lowest and a highest value, as `<=N` or `N-M` has them.
fn bounds(text: &str) -> (Option<u64>, Option<u64>) {
    let number = |text: &str| text.trim().parse().ok();
    if let Some(most) = text.strip_prefix("<=") {
        return (None, number(most));
    }
    match text.split_once('-') {
        Some((least, most)) => (number(least), number(most)),
        None => (number(text), number(text)),
    }
}

fn option(pool: &DescriptorPool, field: &FieldDescriptor, name: &str) -> Option<String> {
    let extension = pool.get_extension_by_name(&format!("yandex.cloud.{name}"))?;
    let options = field.options();
    if !options.has_extension(&extension) {
        return None;
    }
    match options.get_extension(&extension).as_ref() {
        Reflected::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// Whether a request without this field is refused.
pub(super) fn is_required(pool: &DescriptorPool, field: &FieldDescriptor) -> bool {
    let extension = pool.get_extension_by_name("yandex.cloud.required");
    extension.is_some_and(|extension| {
        matches!(field.options().get_extension(&extension).as_ref(), Reflected::Bool(true))
    })
}

/// Adds what bounds a single value, or each one of a list or map.
pub(super) fn bound_value(
    pool: &DescriptorPool,
    field: &FieldDescriptor,
    schema: &mut Map<String, Value>,
) {
    let value_kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    // Lengths of bytes are counted before base64, which no keyword can say.
    if value_kind == Kind::String {
        let (least, most) = option(pool, field, "length").map_or((None, None), |l| bounds(&l));
        let limits = [("minLength", least), ("maxLength", most)];
        for (keyword, limit) in limits {
            if let Some(limit) = limit {
                schema.insert(keyword.to_owned(), json!(limit));
            }
        }
        if let Some(pattern) = option(pool, field, "pattern") {
            // The option matches the whole value, the keyword any part of it.
            schema.insert("pattern".to_owned(), json!(format!("^(?:{pattern})$")));
        }
    }
}

/// Adds how many values there may be.
pub(super) fn bound_number(
    pool: &DescriptorPool,
    field: &FieldDescriptor,
    schema: &mut Map<String, Value>,
) {
    let (least, most) = option(pool, field, "size").map_or((None, None), |size| bounds(&size));
    let (fewest, highest) =
        if field.is_map() { ("minProperties", "maxProperties") } else { ("minItems", "maxItems") };
    for (keyword, limit) in [(fewest, least), (highest, most)] {
        if let Some(limit) = limit {
            schema.insert(keyword.to_owned(), json!(limit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_the_validation_reads_them() {
        assert_eq!(bounds("<=50"), (None, Some(50)));
        assert_eq!(bounds("1-63"), (Some(1), Some(63)));
        assert_eq!(bounds("7"), (Some(7), Some(7)));
    }
}
