//! Compiles the wire definitions without an installed `protoc`.
//!
//! Owns the order of the steps: read the `.proto` files, keep their descriptors with all options,
//! generate Rust types, then turn options into code and tables. Everything derived from an option
//! is derived here, once; an option that cannot be understood stops the build.

mod bounds;
mod constraints;
mod redact;
mod schema;
mod tables;
mod validate;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;
use schema::Schema;

/// Where the definitions are, relative to the crate.
const PROTO_ROOT: &str = "proto";

/// Imported by no file, yet named by options and needed to render operations as JSON.
const EXTRA_FILES: [&str; 1] = ["google/protobuf/empty.proto"];

/// Fields of bytes that travel between nodes unread; `Bytes` spares copies of them.
const SHARED_BYTES: [&str; 4] = [
    ".lockbox.peer.v1.AppendRequest.entries",
    ".lockbox.peer.v1.ProposeRequest.envelope",
    ".lockbox.peer.v1.Applied.outcome",
    ".lockbox.peer.v1.SnapshotData.data",
];

fn main() -> Result<(), Box<dyn Error>> {
    announce_inputs();
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut files = Vec::new();
    collect_proto_files(Path::new(PROTO_ROOT), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([PROTO_ROOT])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    compiler.open_files(EXTRA_FILES)?;

    // The typed set that protox also offers has lost every custom option; the encoded one has not.
    let descriptor_set = compiler.encode_file_descriptor_set();
    fs::write(out_dir.join("descriptor.bin"), &descriptor_set)?;
    let schema = Schema::new(DescriptorPool::decode(descriptor_set.as_slice())?);

    let redacted = redact::redacted_messages(&schema)?;
    generate_types(compiler.file_descriptor_set(), &redacted)?;
    let write = |name: &str, code: String| fs::write(out_dir.join(name), code);
    write("redact.rs", redact::debug_impls(&redacted))?;
    write("validate.rs", validate::implementations(&schema)?)?;
    write("rest_routes.rs", tables::rest_routes(&schema)?)?;
    write("operation_types.rs", tables::operation_types(&schema, &redacted)?)?;
    write("methods.rs", tables::methods(&schema))?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "build scripts speak to cargo on standard output")]
fn announce_inputs() {
    println!("cargo::rerun-if-changed={PROTO_ROOT}");
    println!("cargo::rerun-if-changed=build");
}

/// Finds the definitions below `dir`, with paths relative to [`PROTO_ROOT`].
fn collect_proto_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_proto_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path.strip_prefix(PROTO_ROOT)?.to_path_buf());
        }
    }
    Ok(())
}

/// Writes messages, clients and servers, one file per package.
fn generate_types(
    mut descriptor_set: prost_types::FileDescriptorSet,
    redacted: &[prost_reflect::MessageDescriptor],
) -> Result<(), Box<dyn Error>> {
    // Packages that only declare options have no use at run time. The well-known types are mapped
    // to `prost_types`, but the generator must see them.
    descriptor_set
        .file
        .retain(|file| schema::is_generated(file.package()) || file.package() == "google.protobuf");

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    config.type_name_domain(["."], "type.googleapis.com");
    // Maps in one order everywhere: what is hashed, compared or replicated must not vary.
    config.btree_map(["."]);
    config.bytes(SHARED_BYTES);
    config.skip_debug(redacted.iter().map(|message| format!(".{}", message.full_name())));

    tonic_prost_build::configure().compile_fds_with_config(descriptor_set, config)?;
    Ok(())
}
