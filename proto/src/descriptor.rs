//! The compiled definitions, for reflection and for JSON.
//!
//! Owns the one copy of the descriptors in the program. Custom options are kept in it.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// All files with their imports, comments and options, as an encoded `FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build has decoded the same bytes")
});

/// Returns the descriptors, decoded at the first call.
pub fn descriptor_pool() -> &'static DescriptorPool {
    &POOL
}
