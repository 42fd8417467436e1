//! What the definitions say about methods, messages and fields in words.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor,
};

/// The comments of a pool, by file and by where they stand in it.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    /// Those of all files.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut all = HashMap::new();
        for file in pool.files() {
            let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
            for location in info.location {
                if let Some(comment) = &location.leading_comments {
                    let text = comment.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                    let place = (file.name().to_owned(), location.path);
                    all.insert(place, text.trim().to_owned());
                }
            }
        }
        Self(all)
    }

    fn at(&self, file: &str, path: &[i32]) -> &str {
        let place = (file.to_owned(), path.to_vec());
        self.0.get(&place).map_or("", String::as_str)
    }

    /// That of a method.
    pub(super) fn of_method(&self, method: &MethodDescriptor) -> &str {
        self.at(method.parent_service().parent_file().name(), method.path())
    }

    /// That of a message.
    pub(super) fn of_message(&self, message: &MessageDescriptor) -> &str {
        self.at(message.parent_file().name(), message.path())
    }

    /// That of an enum.
    pub(super) fn of_enum(&self, named: &EnumDescriptor) -> &str {
        self.at(named.parent_file().name(), named.path())
    }

    /// That of a field.
    pub(super) fn of_field(&self, field: &FieldDescriptor) -> &str {
        self.at(field.parent_message().parent_file().name(), field.path())
    }
}
