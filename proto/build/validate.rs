//! Turns constraints into `Validate` implementations.
//!
//! Owns the shape of the generated code: one implementation per message, made of the constant rules
//! of `src/validate/rules.rs`. Every message gets one, so that generic code can ask for it.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};

use crate::bounds::{Bounds, parse_timestamp_range};
use crate::constraints::{Constraints, MapKey, Options};
use crate::schema::{
    Schema, camel_case, is_generated, rust_enum_type, rust_field, rust_oneof_type, rust_type,
};

/// Writes the implementations for all messages, and the patterns they use.
pub(crate) fn implementations(schema: &Schema) -> Result<String, String> {
    let mut generator = Generator { options: Options::new(schema)?, patterns: BTreeMap::new() };
    let mut code = String::new();
    for message in schema.messages() {
        let body = generator.message(&message)?;
        let (at, found) = if body.is_empty() { ("_", "_") } else { ("at", "found") };
        code += &format!(
            "impl Validate for {} {{\n    \
                 fn check(&self, {at}: &FieldPath<'_>, {found}: &mut Violations) {{\n\
                 {body}    }}\n}}\n",
            rust_type(&message)
        );
    }
    for (pattern, name) in &generator.patterns {
        code += &format!(
            "static {name}: LazyLock<Regex> = LazyLock::new(|| {{\n    \
                 Regex::new({:?}).expect(\"the build has compiled this pattern\")\n}});\n",
            whole(pattern)
        );
    }
    Ok(code)
}

struct Generator {
    options: Options,
    /// Name of the compiled form of each pattern.
    patterns: BTreeMap<String, String>,
}

impl Generator {
    fn message(&mut self, message: &MessageDescriptor) -> Result<String, String> {
        let mut body = String::new();
        let plain = message.fields().filter(|field| field.containing_oneof().is_none());
        for field in plain {
            let checks =
                self.field(&field).map_err(|why| format!("{}: {why}", field.full_name()))?;
            if !checks.is_empty() {
                let (name, value) = (field.name(), rust_field(&field));
                body += &format!("{{ let at = &at.field({name:?}); let value = &self.{value};\n");
                body += &checks;
                body += "}\n";
            }
        }
        for oneof in message.oneofs() {
            if oneof.is_synthetic() {
                return Err(format!("{}: proto3 optional is not supported", message.full_name()));
            }
            body += &self.oneof(message, &oneof)?;
        }
        Ok(body)
    }

    /// Checks of a field outside oneofs, with `value` a reference to what the struct holds.
    fn field(&mut self, field: &FieldDescriptor) -> Result<String, String> {
        let mut asked = self.options.of(field)?;
        let checks = if field.is_map() {
            self.map(field, &mut asked)?
        } else if field.is_list() {
            self.list(field, &mut asked)?
        } else if let Kind::Message(inner) = field.kind() {
            self.optional_message(&inner, &mut asked)?
        } else {
            self.value(&field.kind(), &mut asked)?
        };
        asked.refuse_leftovers()?;
        Ok(checks)
    }

    fn map(&mut self, field: &FieldDescriptor, asked: &mut Constraints) -> Result<String, String> {
        let mut checks = size_checks(asked);
        let entry = field.kind();
        let entry = entry.as_message().ok_or("a map without entries")?;
        let key_check = match asked.map_key.take() {
            Some(_) if !matches!(entry.map_entry_key_field().kind(), Kind::String) => {
                return Err("map_key applies to string keys".to_owned());
            }
            Some(MapKey { pattern, length }) => {
                let rule = self.text_rule("key", false, length, None, pattern)?;
                format!("{rule}.check(key, at, found);\n")
            }
            None => String::new(),
        };
        let value_check = self.value(&entry.map_entry_value_field().kind(), asked)?;
        if !key_check.is_empty() || !value_check.is_empty() {
            let value = if value_check.is_empty() { "_" } else { "value" };
            checks += &format!(
                "for (key, {value}) in value {{\n\
                 if found.is_full() {{ break; }}\nlet at = &at.key(key);\n\
                 {key_check}{value_check}}}\n"
            );
        }
        Ok(checks)
    }

    fn list(&mut self, field: &FieldDescriptor, asked: &mut Constraints) -> Result<String, String> {
        let mut checks = size_checks(asked);
        if std::mem::take(&mut asked.unique) {
            checks += "let distinct = value.iter().collect::<std::collections::BTreeSet<_>>();\n\
                       if distinct.len() != value.len() {\n\
                       found.push(at, \"elements must differ from each other\");\n}\n";
        }
        let element = self.value(&field.kind(), asked)?;
        if !element.is_empty() {
            checks += &format!(
                "for (index, value) in value.iter().enumerate() {{\n\
                 if found.is_full() {{ break; }}\nlet at = &at.index(index);\n{element}}}\n"
            );
        }
        Ok(checks)
    }

    fn optional_message(
        &mut self,
        inner: &MessageDescriptor,
        asked: &mut Constraints,
    ) -> Result<String, String> {
        let mut checks = String::new();
        if std::mem::take(&mut asked.required) {
            // A mask without paths names nothing, which is what a missing one does.
            checks += match inner.full_name() {
                "google.protobuf.FieldMask" => {
                    "let has_paths = value.as_ref().is_some_and(|mask| !mask.paths.is_empty());\n\
                     check_present(has_paths, at, found);\n"
                }
                _ => "check_present(value.is_some(), at, found);\n",
            };
        }
        let inside = self.value(&Kind::Message(inner.clone()), asked)?;
        if !inside.is_empty() {
            checks += &format!("if let Some(value) = value {{\n{inside}}}\n");
        }
        Ok(checks)
    }

    fn oneof(
        &mut self,
        message: &MessageDescriptor,
        oneof: &OneofDescriptor,
    ) -> Result<String, String> {
        let exactly_one = self.options.exactly_one(oneof);
        let mut arms = String::new();
        let mut names = Vec::new();
        let mut constrained = false;
        for field in oneof.fields() {
            let mut asked = self.options.of(&field)?;
            let refuse = |why| format!("{}: {why}", field.full_name());
            if asked.required {
                return Err(refuse("a field of a oneof cannot be required".to_owned()));
            }
            // A choice that holds nothing is no choice.
            asked.required = exactly_one && matches!(field.kind(), Kind::String | Kind::Bytes);
            let checks = self.value(&field.kind(), &mut asked).map_err(refuse)?;
            asked.refuse_leftovers().map_err(refuse)?;
            names.push(field.name().to_owned());
            let variant = rust_oneof_type(message, oneof.name()) + "::" + &camel_case(field.name());
            arms += &match checks.is_empty() {
                true => format!("Some({variant}(_)) => {{}}\n"),
                false => format!(
                    "Some({variant}(value)) => {{ let at = &at.field({:?});\n{checks}}}\n",
                    field.name()
                ),
            };
            constrained |= !checks.is_empty();
        }
        arms += &match exactly_one {
            true => {
                let missing = format!("exactly one of {} is required", names.join(", "));
                format!("None => found.push(&at.field({:?}), {missing:?}),\n", oneof.name())
            }
            false => "None => {}\n".to_owned(),
        };
        match constrained || exactly_one {
            true => Ok(format!("match &self.{} {{\n{arms}}}\n", oneof.name())),
            false => Ok(String::new()),
        }
    }

    /// Checks of one value, an element of a list or a value of a map; `value` is a reference to it.
    fn value(&mut self, kind: &Kind, asked: &mut Constraints) -> Result<String, String> {
        let required = |asked: &mut Constraints| std::mem::take(&mut asked.required);
        Ok(match kind {
            Kind::String => {
                let (required, pattern) = (required(asked), asked.pattern.take());
                let (length, bytes) = (asked.length.take(), asked.bytes.take());
                if !required && pattern.is_none() && length.is_none() && bytes.is_none() {
                    return Ok(String::new());
                }
                let rule = self.text_rule("value", required, length, bytes, pattern)?;
                format!("{rule}.check(value, at, found);\n")
            }
            Kind::Bytes => match (required(asked), asked.length.take()) {
                (false, None) => String::new(),
                (required, length) => format!(
                    "BytesRule {{ required: {required}, length: {} }}.check(value, at, found);\n",
                    option_code(length)
                ),
            },
            Kind::Enum(named) => format!(
                "EnumRule {{ required: {}, is_known: {}::is_valid }}.check(*value, at, found);\n",
                required(asked),
                rust_enum_type(named)
            ),
            Kind::Message(inner) => message_checks(inner, asked)?,
            Kind::Bool if required(asked) => "check_present(*value, at, found);\n".to_owned(),
            Kind::Bool => String::new(),
            Kind::Float | Kind::Double => String::new(),
            _ => {
                let value = asked.value.take().map(|text| Bounds::parse(&text)).transpose()?;
                match (required(asked), value) {
                    (false, None) => String::new(),
                    (required, value) => format!(
                        "NumberRule {{ required: {required}, value: {} }}\
                         .check(i64::try_from(*value).unwrap_or(i64::MAX), at, found);\n",
                        option_code(value)
                    ),
                }
            }
        })
    }

    fn text_rule(
        &mut self,
        noun: &str,
        required: bool,
        length: Option<Bounds>,
        bytes: Option<Bounds>,
        pattern: Option<String>,
    ) -> Result<String, String> {
        let pattern = match pattern {
            Some(pattern) => {
                regex::Regex::new(&whole(&pattern)).map_err(|error| error.to_string())?;
                let next = format!("PATTERN_{}", self.patterns.len());
                let name = self.patterns.entry(pattern.clone()).or_insert(next);
                format!("Some((&{name}, {pattern:?}))")
            }
            None => "None".to_owned(),
        };
        Ok(format!(
            "TextRule {{ noun: {noun:?}, required: {required}, length: {}, bytes: {}, \
             pattern: {pattern} }}",
            option_code(length),
            option_code(bytes)
        ))
    }
}

/// Checks of a message that is there.
fn message_checks(inner: &MessageDescriptor, asked: &mut Constraints) -> Result<String, String> {
    Ok(match inner.full_name() {
        "google.protobuf.Timestamp" => {
            let range = match asked.value.take() {
                Some(text) => {
                    let [first, last] = parse_timestamp_range(&text)?;
                    format!(
                        "Some(Moments {{ first: {first:?}, last: {last:?}, written: {text:?} }})"
                    )
                }
                None => "None".to_owned(),
            };
            format!("TimestampRule {{ value: {range} }}.check(value, at, found);\n")
        }
        "google.protobuf.Duration" => "check_duration(value, at, found);\n".to_owned(),
        _ if is_generated(inner.package_name()) => "value.check(at, found);\n".to_owned(),
        // Any and the wrappers can hold nothing that is wrong by itself.
        _ => String::new(),
    })
}

/// Checks of a list or a map as a whole.
fn size_checks(asked: &mut Constraints) -> String {
    let mut checks = String::new();
    if std::mem::take(&mut asked.required) {
        checks += "check_present(!value.is_empty(), at, found);\n";
    }
    if let Some(bounds) = asked.size.take() {
        checks += &format!("check_size({}, value.len(), at, found);\n", bounds.code());
    }
    checks
}

fn option_code(bounds: Option<Bounds>) -> String {
    bounds.map_or("None".to_owned(), |bounds| format!("Some({})", bounds.code()))
}

/// Constraints speak of the whole string.
fn whole(pattern: &str) -> String {
    format!(r"\A(?:{pattern})\z")
}
