//! What the options of a field ask (`contract §1.12`), read a second time: a test must not trust
//! the reader that the product is built with. A form that it does not know ends the test.

use lockbox_proto::descriptor_pool;
use prost_reflect::{DynamicMessage, FieldDescriptor, OneofDescriptor, Value};

/// The lowest and the highest, both allowed.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) least: Option<i64>,
    pub(super) most: Option<i64>,
}

/// The rules of one field.
pub(super) struct Rules {
    pub(super) required: bool,
    pub(super) pattern: Option<String>,
    /// As written: a range of numbers or of moments.
    pub(super) value: Option<String>,
    pub(super) size: Option<Ends>,
    pub(super) length: Option<Ends>,
    pub(super) key_pattern: Option<String>,
    pub(super) key_length: Option<Ends>,
}

impl Rules {
    pub(super) fn of(field: &FieldDescriptor) -> Self {
        let options = field.options();
        let text = |name| option(&options, name).map(|value| value.as_str().unwrap().to_owned());
        let key = option(&options, "map_key");
        let of_key = |name: &str| {
            let spec = key.as_ref()?.as_message().unwrap().get_field_by_name(name)?;
            Some(spec.as_str().unwrap().to_owned()).filter(|text| !text.is_empty())
        };
        for unknown in ["unique", "bytes"] {
            let used = option(&options, unknown).is_some();
            assert!(!used, "{}: this test has no edge of {unknown}", field.full_name());
        }
        Self {
            required: option(&options, "required") == Some(Value::Bool(true)),
            pattern: text("pattern"),
            value: text("value"),
            size: text("size").as_deref().map(ends),
            length: text("length").as_deref().map(ends),
            key_pattern: of_key("pattern"),
            key_length: of_key("length").as_deref().map(ends),
        }
    }

    /// The names of the rules that there are: each must have an edge.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let all = [
            ("required", self.required),
            ("pattern", self.pattern.is_some()),
            ("value", self.value.is_some()),
            ("size", self.size.is_some()),
            ("length", self.length.is_some()),
            ("key_pattern", self.key_pattern.is_some()),
            ("key_length", self.key_length.is_some()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
}

/// Whether exactly one field of the oneof must be there.
pub(super) fn exactly_one(oneof: &OneofDescriptor) -> bool {
    option(&oneof.options(), "exactly_one") == Some(Value::Bool(true))
}

fn option(options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = descriptor_pool().get_extension_by_name(&format!("yandex.cloud.{name}"));
    let extension = extension.unwrap();
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

/// Reads `<=n` and `a-b`, the two forms that the definitions use.
pub(super) fn ends(text: &str) -> Ends {
    let number = |text: &str| Some(text.parse::<i64>().unwrap());
    match (text.strip_prefix("<="), text.split_once('-')) {
        (Some(most), _) => Ends { least: None, most: number(most) },
        (None, Some((least, most))) => Ends { least: number(least), most: number(most) },
        (None, None) => panic!("a bound of a form that this test does not know: {text}"),
    }
}
