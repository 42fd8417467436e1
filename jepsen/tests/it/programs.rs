//! Where the programs under test are: in `LOCKBOX_BIN`, or built by cargo beside this test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockbox_jepsen::cluster::Programs;

/// The programs. Cargo does not hold its lock while tests run.
pub(crate) fn programs() -> Programs {
    let directory = std::env::var_os("LOCKBOX_BIN").map_or_else(build, PathBuf::from);
    Programs::in_directory(&directory).unwrap()
}

fn build() -> PathBuf {
    // target/<profile>/deps/<this test>
    let this = std::env::current_exe().unwrap();
    let directory = this.parent().and_then(Path::parent).unwrap().to_owned();
    let profile = match directory.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev".to_owned(),
        profile => profile.to_owned(),
    };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--locked", "--offline", "--quiet", "--profile", &profile])
        .args(["-p", "lockbox-node", "-p", "lockbox-kms-sim", "--bins", "--target-dir"])
        .arg(directory.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "cargo could not build the programs: {status}");
    directory
}
