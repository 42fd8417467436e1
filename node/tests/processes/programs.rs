//! Where the programs are.
//!
//! Ours is built by cargo for this target. `kms-sim` is another package's: it lies beside ours
//! after `cargo test --workspace`, and an old one, or one of another tree, must not be tested.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

const BUILD: &str = "cargo build -p lockbox-kms-sim builds it";

/// `lockbox`.
pub(crate) fn lockbox() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lockbox"))
}

/// `kms-sim`, as the sources beside us have it.
pub(crate) fn kms_sim() -> PathBuf {
    let path = lockbox().with_file_name("kms-sim");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("kms-sim").join("src/main.rs");
    if let Err(problem) = is_current(&path, &own) {
        panic!("{} {problem}; {BUILD}", path.display());
    }
    path
}

/// Whether a program is there, was made of this source among others, and is newer than them all.
fn is_current(program: &Path, source: &Path) -> Result<(), String> {
    let built = modified(program).ok_or("does not exist")?;
    // What cargo made it of, as a rule of make: `program: source source …`.
    let list = std::fs::read_to_string(program.with_extension("d"));
    let list = list.map_err(|error| format!("has no list of its sources: {error}"))?;
    let sources = paths(&list);
    if !sources.iter().any(|listed| listed == source) {
        return Err("was built from another tree".to_owned());
    }
    let newer = sources.iter().find(|listed| modified(listed).is_none_or(|time| time > built));
    match newer {
        Some(newer) => Err(format!("is older than {}", newer.display())),
        None => Ok(()),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The paths behind the colon; a blank inside of one is behind a backslash.
fn paths(rule: &str) -> Vec<PathBuf> {
    let sources = rule.split_once(": ").map_or("", |(_, sources)| sources);
    let unescaped = |path: &str| PathBuf::from(path.replace('\n', " "));
    let joined = sources.trim_end().replace("\\ ", "\n");
    joined.split(' ').filter(|path| !path.is_empty()).map(unescaped).collect()
}

#[test]
fn an_old_program_and_a_foreign_one_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [source, program, list] =
        ["a b.rs", "kms-sim", "kms-sim.d"].map(|name| directory.path().join(name));
    assert_eq!(is_current(&program, &source), Err("does not exist".to_owned()));
    std::fs::write(&source, "").unwrap();
    std::fs::write(&program, "").unwrap();
    let escaped = source.to_str().unwrap().replace(' ', "\\ ");
    std::fs::write(&list, format!("{}: {escaped}\n", program.display())).unwrap();
    assert_eq!(is_current(&program, &source), Ok(()));
    let foreign = is_current(&program, &directory.path().join("c.rs"));
    assert_eq!(foreign, Err("was built from another tree".to_owned()));

    let later = modified(&program).unwrap() + std::time::Duration::from_secs(1);
    std::fs::File::open(&source).unwrap().set_modified(later).unwrap();
    assert!(is_current(&program, &source).is_err_and(|problem| problem.starts_with("is older")));
}
