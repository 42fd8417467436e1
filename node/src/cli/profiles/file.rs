//! The file of profiles: where it is, how it is read, how it changes.
//!
//! Promises: it is written under another name, synced and renamed, so that a reader sees the old
//! or the new one; only its owner may read it; one that another user could have written is not
//! believed; two changes at once happen one after the other.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use lockbox_platform::config_file::one_line;
use lockbox_platform::system::effective_user;

use super::Profiles;
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};

/// The user who may do everything anyway.
const ROOT: u32 = 0;
/// Names the file.
const VARIABLE: &str = "LOCKBOX_CONFIG";
/// What a reader of the file should know.
const HEADER: &str = "# Profiles of the command line: see lockbox config --help. No secret belongs \
                      here,\n# only the paths of files that hold one. Comments are not kept.\n";

/// Where the file is; none when the environment names neither it nor a home.
pub(crate) fn path(environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = environment.get(VARIABLE) {
        return Some(PathBuf::from(path));
    }
    // By the rules of XDG, a path that is not absolute counts as absent.
    let absolute = |name| environment.get(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let directory =
        absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    directory.map(|directory| directory.join("lockbox").join("config.toml"))
}

/// Reads the file; one that is not there has no profiles.
pub(crate) fn load(path: &Path) -> Result<Profiles, Failure> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Profiles::default()),
        Err(error) => return Err(cannot("read", path, &error)),
    };
    let wrong = |problem: String| {
        Failure::usage(format_args!("configuration {} is wrong: {problem}", path.display()))
    };
    let parsed = toml::from_str(&text).map_err(|error| wrong(hinted(one_line(&text, &error))));
    let profiles: Profiles = parsed?;
    profiles.problem().map_or(Ok(()), |problem| Err(wrong(problem)))?;
    Ok(profiles)
}

/// Who may write it chooses which server gets the caller's token.
fn read(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    // Of the file that is read: its name may be another one's by the next look.
    let metadata = file.metadata()?;
    believed(metadata.uid(), metadata.mode(), effective_user())
        .map_err(|problem| io::Error::new(io::ErrorKind::PermissionDenied, problem))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether `caller` may believe a file of this owner and mode: its own or root's, and nobody else
/// may write to it. An owner who may not write can change that.
pub(super) fn believed(owner: u32, mode: u32, caller: u32) -> Result<(), &'static str> {
    if owner != caller && owner != ROOT {
        return Err("it belongs to another user");
    }
    if mode & 0o022 != 0 {
        return Err("others may write to it: chmod go-w");
    }
    Ok(())
}

/// A token in the file is the mistake that is worth a sentence.
fn hinted(problem: String) -> String {
    if problem.contains("`token`") {
        return problem + "; a token is not kept here: put it into a file and name that";
    }
    problem
}

/// Changes the profiles; what `action` refuses changes nothing.
pub(crate) fn change<R>(
    path: &Path,
    action: impl FnOnce(&mut Profiles) -> Result<R, Failure>,
) -> Result<R, Failure> {
    // Whoever keeps the file elsewhere and has a link here keeps both.
    let real = fs::canonicalize(path).unwrap_or_else(|_absent| path.to_owned());
    let parent = real.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let held = made.and_then(|()| {
        let directory = File::open(directory)?;
        directory.lock()?;
        Ok(directory)
    });
    let held = held.map_err(|error| cannot("change", path, &error))?;
    let before = load(&real)?;
    let mut after = before.clone();
    let result = action(&mut after)?;
    if after != before {
        let text = toml::to_string(&after);
        let text = text.map_err(|error| Failure::new(Exit::Internal, error))?;
        let written = write(&held, directory, &real, &text);
        written.map_err(|error| cannot("write", path, &error))?;
    }
    Ok(result)
}

fn write(held: &File, directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    // Its mode is 0600 from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(HEADER.as_bytes())?;
    file.write_all(b"\n")?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    held.sync_all()
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format_args!("cannot {verb} the configuration {}: {error}", path.display()))
}
