//! Compiles the two small wire definitions of the benches without an installed `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["etcd.proto", "echo.proto"], ["proto"])?;
    // `Bytes`, so that a value sent a million times is not copied a million times.
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
