//! The compiled definitions as the generators see them.
//!
//! Owns which packages become Rust code, how a message or field is spelled in Rust, and the reading
//! of custom options. Refuses to know what an option means.

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    MessageDescriptor, ServiceDescriptor, Value,
};

/// Packages that become Rust modules; `src/lib.rs` has one `include!` for each.
const PACKAGES: [&str; 13] = [
    "google.rpc",
    "lockbox.cluster.v1",
    "lockbox.iam.v1",
    "lockbox.kms.v1",
    "lockbox.peer.v1",
    "lockbox.watch.v1",
    "yandex.cloud.access",
    "yandex.cloud.endpoint",
    "yandex.cloud.iam.v1",
    "yandex.cloud.kms.v1",
    "yandex.cloud.lockbox.v1",
    "yandex.cloud.operation",
    "yandex.cloud.resourcemanager.v1",
];

/// Words that a field may be called and Rust reserves.
const RUST_KEYWORDS: [&str; 6] = ["type", "match", "ref", "move", "use", "in"];

/// Says whether a package becomes a Rust module.
pub(crate) fn is_generated(package: &str) -> bool {
    PACKAGES.contains(&package)
}

/// All descriptors, with the options of every file readable.
pub(crate) struct Schema {
    pool: DescriptorPool,
}

impl Schema {
    pub(crate) fn new(pool: DescriptorPool) -> Self {
        Self { pool }
    }

    /// Services of the public API, in file order.
    pub(crate) fn public_services(&self) -> impl Iterator<Item = ServiceDescriptor> + '_ {
        self.pool.services().filter(|service| service.package_name().starts_with("yandex.cloud."))
    }

    /// Services of our own, in file order.
    pub(crate) fn own_services(&self) -> impl Iterator<Item = ServiceDescriptor> + '_ {
        self.pool.services().filter(|service| service.package_name().starts_with("lockbox."))
    }

    /// Finds a message by a name that is relative to a package, innermost scope first.
    pub(crate) fn resolve(&self, package: &str, name: &str) -> Result<MessageDescriptor, String> {
        let mut scope = Some(package);
        while let Some(outer) = scope {
            if let Some(message) = self.pool.get_message_by_name(&format!("{outer}.{name}")) {
                return Ok(message);
            }
            scope = outer.rsplit_once('.').map(|(outer, _)| outer);
        }
        let found = self.pool.get_message_by_name(name);
        found.ok_or_else(|| format!("message {name} is not declared for {package}"))
    }

    /// Messages that have a Rust type, in file order. Map entries have none.
    pub(crate) fn messages(&self) -> impl Iterator<Item = MessageDescriptor> + '_ {
        self.pool
            .all_messages()
            .filter(|message| is_generated(message.package_name()) && !message.is_map_entry())
    }

    /// Looks up a custom option by its full name.
    pub(crate) fn option(&self, name: &str) -> Result<ExtensionDescriptor, String> {
        self.pool
            .get_extension_by_name(name)
            .ok_or_else(|| format!("option {name} is not declared"))
    }
}

/// Reads an option if it was set explicitly.
pub(crate) fn option_value(
    options: &DynamicMessage,
    option: &ExtensionDescriptor,
) -> Option<Value> {
    options.has_extension(option).then(|| options.get_extension(option).into_owned())
}

/// Absolute Rust path of a message type.
pub(crate) fn rust_type(message: &MessageDescriptor) -> String {
    let scope = rust_scope(message.parent_message(), message.package_name());
    format!("{scope}::{}", message.name())
}

/// Absolute Rust path of an enum.
pub(crate) fn rust_enum_type(named: &EnumDescriptor) -> String {
    let scope = rust_scope(named.parent_message(), named.package_name());
    format!("{scope}::{}", named.name())
}

/// Absolute Rust path of the enum that stands for a oneof.
pub(crate) fn rust_oneof_type(message: &MessageDescriptor, oneof: &str) -> String {
    let scope = rust_scope(Some(message.clone()), message.package_name());
    format!("{scope}::{}", camel_case(oneof))
}

/// Rust name of a field.
pub(crate) fn rust_field(field: &FieldDescriptor) -> String {
    match field.name() {
        name if RUST_KEYWORDS.contains(&name) => format!("r#{name}"),
        name => name.to_owned(),
    }
}

/// The module of what is declared in a message, or in a package outside messages.
fn rust_scope(parent: Option<MessageDescriptor>, package: &str) -> String {
    match parent {
        Some(parent) => {
            let outer = rust_scope(parent.parent_message(), package);
            format!("{outer}::{}", snake_case(parent.name()))
        }
        None => format!("crate::{}", package.replace('.', "::")),
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Upper camel case of a field or oneof name.
pub(crate) fn camel_case(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (head, tail) = word.split_at(word.len().min(1));
            head.to_ascii_uppercase() + tail
        })
        .collect()
}
