//! The loss of power: what is left of a program's files is what it synced.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
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

/// Content of a file that is removed, in bytes.
const LARGE: usize = 1 << 20;

/// The program of the other test.
#[test]
fn child_that_removes() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let sync = || File::open(directory).unwrap().sync_all().unwrap();
    let write = |name: &str| {
        let path = directory.join(name);
        fs::write(&path, vec![7; LARGE]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        path
    };
    // In a directory that goes too, as a snapshot's does.
    fs::create_dir(directory.join("below")).unwrap();
    let paths = ["removed", "open", "linked", "back", "below/too"].map(write);
    let [removed, opened, linked, back, below] = &paths;
    fs::hard_link(linked, directory.join("link")).unwrap();
    File::open(directory.join("below")).unwrap().sync_all().unwrap();
    sync();
    let held = File::open(opened).unwrap();
    for path in [removed, opened, linked, below] {
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir(directory.join("below")).unwrap();
    // The list of a directory that is gone goes first, then what was in it.
    sync();
    sync();
    let mut content = vec![0; LARGE];
    held.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(content, vec![7; LARGE], "it is open");
    // Its removal is not durable.
    fs::remove_file(back).unwrap();
}

#[test]
fn what_no_loss_can_bring_back_takes_no_room() {
    let (place, data, durable) = run("power::child_that_removes");
    let room = |path: &Path| {
        let mut room = 0;
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let metadata = fs::metadata(&path).unwrap();
            room += metadata.blocks() * 512 / metadata.nlink();
            if metadata.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        room / LARGE as u64
    };
    assert_eq!(room(place.path()), 6, "a link, what comes back, and what was open, twice each");
    lose_power(&data, &durable, Survives::OnlySynced, &mut Random::new(1)).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, ["back", "link"]);
    for name in left {
        assert_eq!(fs::read(data.join(name)).unwrap(), vec![7; LARGE]);
    }
}

#[test]
fn what_was_synced_is_left_and_nothing_else() {
    let (_place, data, durable) = run("power::child");
    let lost = lose_power(&data, &durable, Survives::OnlySynced, &mut Random::new(1)).unwrap();
    assert_eq!(fs::read(data.join("file")).unwrap(), b"01AB4567C9ta");
    assert!(!data.join("nameless").exists());
    assert_eq!(lost, Lost { bytes: 0, names: 1 });
    assert_eq!(fs::read_dir(&durable).unwrap().count(), 0, "the next image begins anew");
}

/// Runs a child on a disk that forgets. Gives the place, the data, and what is durable of it.
fn run(child: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (data, durable) = (place.path().join("data"), place.path().join("durable"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&durable).unwrap();
    let library = place.path().join("forget_unsynced.so");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/forget-unsynced.sh");
    assert!(Command::new(script).arg(&library).status().unwrap().success());
    let status = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--test-threads=1"])
        .env(DIRECTORY, &data)
        .env("LD_PRELOAD", &library)
        .env("FORGET_UNSYNCED_DATA", &data)
        .env("FORGET_UNSYNCED_DISK", &durable)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    (place, data, durable)
}
