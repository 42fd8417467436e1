//! The loss of power: what is left of a program's files is what it synced.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lockbox_jepsen::cluster::power::{Lost, Survives, lose_power};
use lockbox_jepsen::random::Random;

const DIRECTORY: &str = "LOCKBOX_JEPSEN_POWER_DIRECTORY";

/// The program of the test below: does nothing unless that started it.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let path = directory.join("file");
    fs::write(&path, b"0123456789").unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.sync_data().unwrap();
    File::open(directory).unwrap().sync_all().unwrap();
    // Over what is synced, then synced itself, in two places far from each other.
    file.write_all_at(b"AB", 2).unwrap();
    file.write_all_at(b"C", 8).unwrap();
    file.sync_data().unwrap();
    // Appended and synced, cut off and synced, and written over without a sync.
    file.write_all_at(b"tail", 10).unwrap();
    file.sync_data().unwrap();
    file.set_len(12).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"x", 0).unwrap();
    fs::write(directory.join("nameless"), b"never synced").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"x1AB4567C9ta");
}

#[test]
fn what_was_synced_is_left_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let (data, durable) = (place.path().join("data"), place.path().join("durable"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&durable).unwrap();
    let library = place.path().join("forget_unsynced.so");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/forget-unsynced.sh");
    assert!(Command::new(script).arg(&library).status().unwrap().success());
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["power::child", "--exact", "--test-threads=1"])
        .env(DIRECTORY, &data)
        .env("LD_PRELOAD", &library)
        .env("FORGET_UNSYNCED_DATA", &data)
        .env("FORGET_UNSYNCED_DISK", &durable)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let lost = lose_power(&data, &durable, Survives::OnlySynced, &mut Random::new(1)).unwrap();
    assert_eq!(fs::read(data.join("file")).unwrap(), b"01AB4567C9ta");
    assert!(!data.join("nameless").exists());
    assert_eq!(lost, Lost { bytes: 0, names: 1 });
    assert_eq!(fs::read_dir(&durable).unwrap().count(), 0, "the next image begins anew");
}
