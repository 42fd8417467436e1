//! The constraints that options put on one field.
//!
//! Owns the reading of the `yandex.cloud` field options. A generator takes each constraint it
//! turns into code; whatever is left over was put on a field it cannot constrain, and stops the
//! build.

use prost_reflect::{ExtensionDescriptor, FieldDescriptor, OneofDescriptor, Value};

use crate::bounds::Bounds;
use crate::schema::{Schema, option_value};

/// The options, looked up once.
pub(crate) struct Options {
    required: ExtensionDescriptor,
    pattern: ExtensionDescriptor,
    value: ExtensionDescriptor,
    size: ExtensionDescriptor,
    length: ExtensionDescriptor,
    unique: ExtensionDescriptor,
    map_key: ExtensionDescriptor,
    bytes: ExtensionDescriptor,
    exactly_one: ExtensionDescriptor,
}

/// What is asked of a field and not yet turned into code.
#[derive(Default)]
pub(crate) struct Constraints {
    pub(crate) required: bool,
    pub(crate) pattern: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) size: Option<Bounds>,
    pub(crate) length: Option<Bounds>,
    pub(crate) unique: bool,
    pub(crate) map_key: Option<MapKey>,
    pub(crate) bytes: Option<Bounds>,
}

/// What is asked of the keys of a map.
#[derive(Default)]
pub(crate) struct MapKey {
    pub(crate) pattern: Option<String>,
    pub(crate) length: Option<Bounds>,
}

impl Options {
    pub(crate) fn new(schema: &Schema) -> Result<Self, String> {
        let option = |name: &str| schema.option(&format!("yandex.cloud.{name}"));
        Ok(Self {
            required: option("required")?,
            pattern: option("pattern")?,
            value: option("value")?,
            size: option("size")?,
            length: option("length")?,
            unique: option("unique")?,
            map_key: option("map_key")?,
            bytes: option("bytes")?,
            exactly_one: option("exactly_one")?,
        })
    }

    /// Reads the constraints of a field.
    pub(crate) fn of(&self, field: &FieldDescriptor) -> Result<Constraints, String> {
        let options = field.options();
        let flag = |option| option_value(&options, option) == Some(Value::Bool(true));
        let text = |option| match option_value(&options, option) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let bound = |option| text(option).map(|text| Bounds::parse(&text)).transpose();
        Ok(Constraints {
            required: flag(&self.required),
            pattern: text(&self.pattern),
            value: text(&self.value),
            size: bound(&self.size)?,
            length: bound(&self.length)?,
            unique: flag(&self.unique),
            map_key: option_value(&options, &self.map_key).map(map_key).transpose()?,
            bytes: bound(&self.bytes)?,
        })
    }

    /// Says whether exactly one field of the oneof must be set.
    pub(crate) fn exactly_one(&self, oneof: &OneofDescriptor) -> bool {
        option_value(&oneof.options(), &self.exactly_one) == Some(Value::Bool(true))
    }
}

fn map_key(spec: Value) -> Result<MapKey, String> {
    let Value::Message(spec) = spec else {
        return Err("map_key is not a message".to_owned());
    };
    let text = |name: &str| match spec.get_field_by_name(name).as_deref() {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    if text("value").is_some() {
        return Err("numeric map keys are not supported".to_owned());
    }
    let length = text("length").map(|text| Bounds::parse(&text)).transpose()?;
    Ok(MapKey { pattern: text("pattern"), length })
}

impl Constraints {
    /// Fails when a constraint was not turned into code.
    pub(crate) fn refuse_leftovers(&self) -> Result<(), String> {
        let leftovers = [
            ("required", self.required),
            ("pattern", self.pattern.is_some()),
            ("value", self.value.is_some()),
            ("size", self.size.is_some()),
            ("length", self.length.is_some()),
            ("unique", self.unique),
            ("map_key", self.map_key.is_some()),
            ("bytes", self.bytes.is_some()),
        ];
        match leftovers.iter().find(|(_, left)| *left) {
            Some((option, _)) => {
                Err(format!("option {option} does not apply to this kind of field"))
            }
            None => Ok(()),
        }
    }
}
