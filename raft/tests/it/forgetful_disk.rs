//! A directory on a disk that forgets what was not synced: the builder's side of
//! `tests/preload/forget_unsynced.c`, which says what is modelled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::harness::Random;

/// What a loss of power leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Survives {
    /// What was synced, and nothing else.
    OnlySynced,
    /// Also a random part of the rest: names, and of what was appended to a file a prefix.
    SomeOfTheRest,
}

/// The directory, and the image of what is durable of it.
pub(crate) struct ForgetfulDisk {
    place: TempDir,
}

/// An entry of a directory.
struct Name {
    is_directory: bool,
    inode: u64,
    name: String,
}

/// What the program left, by inode.
#[derive(Default)]
struct Live {
    files: BTreeMap<u64, PathBuf>,
    directories: BTreeMap<u64, Vec<Name>>,
}

impl ForgetfulDisk {
    pub(crate) fn new() -> Self {
        let place = TempDir::new().unwrap();
        fs::create_dir(place.path().join("data")).unwrap();
        fs::create_dir(place.path().join("disk")).unwrap();
        Self { place }
    }

    /// The directory that a program works in.
    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn image(&self, part: &str) -> PathBuf {
        self.place.path().join("disk").join(part)
    }

    /// Puts the disk under a program that is about to be started.
    pub(crate) fn mount_under(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("FORGET_UNSYNCED_DATA", self.data())
            .env("FORGET_UNSYNCED_DISK", self.image(""));
    }

    /// Takes the power away; the program that used the disk must be dead.
    pub(crate) fn lose_power(&self, survives: Survives, random: &mut Random) {
        let root = fs::metadata(self.data()).unwrap().ino();
        // Without the list of the topmost directory the program has not begun.
        if self.image(&format!("names/{root}")).exists() {
            let mut live = Live::default();
            live.take_in(&self.data(), root);
            let mut loss =
                Loss { disk: self, live, survives, random, contents: BTreeMap::default() };
            let after = self.place.path().join("after");
            loss.build(&after, root);
            fs::remove_dir_all(self.data()).unwrap();
            fs::rename(&after, self.data()).unwrap();
        }
        fs::remove_dir_all(self.image("")).unwrap();
        fs::create_dir(self.image("")).unwrap();
    }
}

impl Live {
    fn take_in(&mut self, path: &Path, inode: u64) {
        let mut names = Vec::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let (inode, is_directory) = (metadata.ino(), metadata.is_dir());
            if is_directory {
                self.take_in(&entry.path(), inode);
            } else {
                self.files.insert(inode, entry.path());
            }
            names.push(Name {
                is_directory,
                inode,
                name: entry.file_name().into_string().unwrap(),
            });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        self.directories.insert(inode, names);
    }
}

/// One loss of power.
struct Loss<'a> {
    disk: &'a ForgetfulDisk,
    live: Live,
    survives: Survives,
    random: &'a mut Random,
    /// A file has one content under all its names.
    contents: BTreeMap<u64, Vec<u8>>,
}

impl Loss<'_> {
    /// Builds what is left of a directory.
    fn build(&mut self, path: &Path, inode: u64) {
        fs::create_dir(path).unwrap();
        for Name { is_directory, inode, name } in self.names(inode) {
            if is_directory {
                self.build(&path.join(name), inode);
            } else {
                fs::write(path.join(name), self.content(inode)).unwrap();
            }
        }
    }

    fn luck(&mut self, of: u64) -> u64 {
        match self.survives {
            Survives::OnlySynced => 0,
            Survives::SomeOfTheRest => self.random.below(of),
        }
    }

    fn names(&mut self, inode: u64) -> Vec<Name> {
        if self.luck(2) == 1
            && let Some(names) = self.live.directories.remove(&inode)
        {
            return names;
        }
        let Ok(list) = fs::read_to_string(self.disk.image(&format!("names/{inode}"))) else {
            return Vec::new();
        };
        let name = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let is_directory = words.next().unwrap() == "d";
            let inode = words.next().unwrap().parse().unwrap();
            Name { is_directory, inode, name: words.next().unwrap().to_owned() }
        };
        let mut names: Vec<_> = list.lines().map(name).collect();
        // Not in the order of the real directory, so that a seed gives the same loss.
        names.sort_by(|a, b| a.name.cmp(&b.name));
        names
    }

    fn content(&mut self, inode: u64) -> Vec<u8> {
        if let Some(content) = self.contents.get(&inode) {
            return content.clone();
        }
        let image = self.disk.image(&format!("files/{inode}"));
        let mut content = if image.exists() { fs::read(image).unwrap() } else { Vec::new() };
        if let Some(live) = self.live.files.get(&inode) {
            let live = fs::read(live).unwrap();
            // What was written over in place is kept as it was synced.
            if live.starts_with(&content) {
                let unsynced = (live.len() - content.len()) as u64;
                let kept = match self.luck(3) {
                    0 => 0,
                    1 => self.random.below(unsynced + 1),
                    _ => unsynced,
                };
                content = live[..content.len() + usize::try_from(kept).unwrap()].to_vec();
            }
        }
        self.contents.insert(inode, content.clone());
        content
    }
}

/// The preload library, compiled once for each run of the tests.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forget_unsynced.so");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/forget-unsynced.sh");
        let status = Command::new(script).arg(&output).status().unwrap();
        assert!(status.success(), "the preload library does not compile");
        output
    })
}

const DIRECTORY: &str = "LOCKBOX_FORGETFUL_TEST_DIRECTORY";

/// The program of the test below: does nothing unless that started it.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let create = |name: &str, content: &[u8]| {
        let mut file = fs::File::create(directory.join(name)).unwrap();
        file.write_all(content).unwrap();
        file
    };
    let mut synced = create("synced", b"one");
    synced.sync_data().unwrap();
    drop(create("empty", b"never synced"));
    fs::File::open(directory).unwrap().sync_all().unwrap();
    synced.write_all(b", two").unwrap();
    create("nameless", b"synced, and its name is not").sync_all().unwrap();
    fs::remove_file(directory.join("removed")).unwrap();
    fs::rename(directory.join("old"), directory.join("new")).unwrap();
    let written = fs::read(directory.join("synced")).unwrap();
    assert_eq!(written, b"one, two", "the program itself sees what it wrote");
}

/// What is there after the program above and a loss of power, with the content.
fn after_loss(survives: Survives, seed: u64) -> Vec<(String, String)> {
    let disk = ForgetfulDisk::new();
    for name in ["removed", "old"] {
        fs::write(disk.data().join(name), name).unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    disk.mount_under(&mut command);
    let status = command
        .args(["forgetful_disk::child", "--exact", "--test-threads=1"])
        .env(DIRECTORY, disk.data())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    disk.lose_power(survives, &mut Random(seed));
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let content = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), content)
    };
    let mut found: Vec<_> = fs::read_dir(disk.data()).unwrap().map(read).collect();
    found.sort();
    found
}

#[test]
fn only_what_was_synced_is_there_after_a_loss_of_power() {
    let expected = [("empty", ""), ("old", "old"), ("removed", "removed"), ("synced", "one")];
    let expected = expected.map(|(name, content)| (name.to_owned(), content.to_owned()));
    assert_eq!(after_loss(Survives::OnlySynced, 0), expected);
}

#[test]
fn what_was_not_synced_may_survive_in_part() {
    let mut contents = BTreeSet::new();
    let mut name_lists = BTreeSet::new();
    for seed in 0..30 {
        let found = after_loss(Survives::SomeOfTheRest, seed);
        let synced = found.iter().find(|(name, _)| name == "synced").unwrap();
        assert!("one, two".starts_with(&synced.1) && synced.1.starts_with("one"));
        contents.insert(synced.1.clone());
        name_lists.insert(found.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" "));
    }
    assert!(contents.contains("one") && contents.contains("one, two") && contents.len() > 2);
    let both = ["empty old removed synced", "empty nameless new synced"];
    assert_eq!(name_lists, both.map(str::to_owned).into());
}
