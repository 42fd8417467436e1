//! The file that is written to: appended to, never rewritten, opened again where it ended, set
//! aside when it is long enough.
//!
//! Promises: a write that failed half-way leaves no half line for the next one to run into; what a
//! crash tore is cut off and the cut is a record of the chain; a finished file is on disk before
//! it has its name; what somebody has removed or put another file in the place of is not written
//! to as if it were there.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::chain::Chain;
use crate::audit::files::AuditFiles;
use crate::audit::last_record::{
    LastRecord, hash_between, last_record, last_record_of_finished, line_end_before,
};
use crate::audit::own;
use crate::audit::record::AuditTime;
use crate::audit::walk::open_finished;

/// The longest file that may be the torn half of a first record, in bytes.
const FIRST_LINE_BYTES_MAX: u64 = 4 << 20;
/// Signals to the finisher: one says all there is to say.
const FINISHED_SIGNALS_MAX: usize = 1;

/// Where the writer's bytes go. The real one is a file; tests have one that fails.
pub trait AuditFile: Send + Sync {
    /// Appends whole lines: all of them, or none that a later append would run into.
    ///
    /// # Errors
    /// When it cannot; the records are not written.
    fn append(&self, lines: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far survive a power loss, where readers look for it.
    ///
    /// # Errors
    /// When it cannot.
    fn sync(&self) -> io::Result<()>;

    /// How long it is, in bytes.
    fn length(&self) -> u64;

    /// Sets aside what was appended so far, which ends with this record, and goes on with an empty
    /// file.
    ///
    /// # Errors
    /// When it cannot; then appends go on where they went before.
    fn finish(&self, last_sequence: u64) -> io::Result<()>;

    /// The last records of what was set aside, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn finished(&self) -> io::Result<Vec<u64>>;

    /// Removes what was set aside and ends with this record.
    ///
    /// # Errors
    /// When it cannot.
    fn remove(&self, last_sequence: u64) -> io::Result<()>;
}

/// Why the audit file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    /// It cannot be opened, read or written.
    #[error("cannot use the audit file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not an audit file.
    #[error("{} has content but no audit record at its end", path.display())]
    NotAudit {
        /// The file.
        path: PathBuf,
    },
    /// No number is left for the next record: its last one is not ours.
    #[error("no number is left behind the last audit record of {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// The file that audit records are appended to.
#[derive(Debug)]
pub(crate) struct AppendFile {
    files: AuditFiles,
    open: Mutex<OpenFile>,
    /// Tells the finisher that there is something to compress.
    finished: SyncSender<()>,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    identity: Identity,
    /// INVARIANT: the length up to which the file holds whole lines.
    whole_bytes: u64,
    /// How often names in the directory have changed, and how many of these changes are on disk.
    renames: u64,
    renames_synced: u64,
}

impl OpenFile {
    /// Cuts off what an append that failed half-way has left.
    fn end_with_whole_lines(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        if metadata.nlink() == 0 {
            // It ends with this process, and every record with it.
            return Err(removed());
        }
        let length = metadata.len();
        if length > self.whole_bytes {
            // Its calls were told so.
            self.file.set_len(self.whole_bytes)?;
        } else if length < self.whole_bytes {
            // Somebody cut the file; the next append begins where it ends, on a line of its own. The
            // chain does not, so that the cut shows.
            self.whole_bytes = length;
            if length > 0 && line_end_before(&self.file, length)? < length {
                (&*self.file).write_all(b"\n")?;
                self.whole_bytes += 1;
            }
        }
        Ok(())
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Demands that the path of the file that is written to leads to this one.
fn demand_in_place(files: &AuditFiles, identity: Identity) -> io::Result<()> {
    match std::fs::metadata(files.active()) {
        Ok(found) if Identity::of(&found) == identity => Ok(()),
        Ok(_another) => Err(removed()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(removed()),
        Err(error) => Err(error),
    }
}

fn removed() -> io::Error {
    io::Error::other("somebody has removed or replaced the audit file that is written to")
}

impl AppendFile {
    /// Demands that what was synced is where readers look for it.
    fn demand_in_place(&self, synced: Identity) -> io::Result<()> {
        demand_in_place(&self.files, synced).or_else(|_another| {
            // Unless it was set aside meanwhile: under the lock nothing is half done.
            let open = self.open_file();
            demand_in_place(&self.files, open.identity)
        })
    }

    fn open_file(&self) -> MutexGuard<'_, OpenFile> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditFile for AppendFile {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.open_file();
        open.end_with_whole_lines()?;
        // Records in a file that nobody finds by its name are none.
        demand_in_place(&self.files, open.identity)?;
        (&*open.file).write_all(lines)?;
        open.whole_bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        // Not under the lock: appends go on meanwhile.
        let (file, identity, renames, renames_synced) = {
            let open = self.open_file();
            (Arc::clone(&open.file), open.identity, open.renames, open.renames_synced)
        };
        file.sync_data()?;
        self.demand_in_place(identity)?;
        if renames_synced < renames {
            self.files.sync_directory()?;
            let mut open = self.open_file();
            open.renames_synced = open.renames_synced.max(renames);
        }
        Ok(())
    }

    fn length(&self) -> u64 {
        self.open_file().whole_bytes
    }

    fn finish(&self, last_sequence: u64) -> io::Result<()> {
        let mut open = self.open_file();
        let target = self.files.plain(last_sequence);
        if target.exists() || self.files.compressed(last_sequence).exists() {
            let message = format!("{} is there already", target.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        // What was refused must not stand behind the last record of a file that nobody appends to.
        open.end_with_whole_lines()?;
        // ORDER: on disk first. A sync that follows covers the new file alone.
        open.file.sync_data()?;
        // Another file must not get the name, and with it the place, of this one.
        demand_in_place(&self.files, open.identity)?;
        std::fs::rename(self.files.active(), &target)?;
        let created = create(&self.files);
        let known = created.and_then(|file| Ok((Identity::of(&file.metadata()?), file)));
        let (identity, file) = match known {
            Ok(known) => known,
            Err(error) => {
                // Whether that works or not, appends go on in the file that is open.
                std::fs::rename(&target, self.files.active()).ok();
                return Err(error);
            }
        };
        open.file = Arc::new(file);
        open.identity = identity;
        open.whole_bytes = 0;
        open.renames += 1;
        // Full: the finisher has a signal to come to already. Without one files stay as they are,
        // which every reader takes.
        self.finished.try_send(()).ok();
        Ok(())
    }

    fn finished(&self) -> io::Result<Vec<u64>> {
        self.files.finished()
    }

    fn remove(&self, last_sequence: u64) -> io::Result<()> {
        for path in [self.files.plain(last_sequence), self.files.compressed(last_sequence)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.open_file().renames += 1;
        Ok(())
    }
}

/// An opened file and what goes on from it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: AppendFile,
    pub(crate) chain: Chain,
    /// Told of each file that is finished.
    pub(crate) finished: Receiver<()>,
}

/// Opens the file with mode 0600, cuts off a torn line and finds the end of the chain.
pub(crate) fn open(files: &AuditFiles, now: AuditTime) -> Result<Opened, AuditOpenError> {
    let path = || files.active().to_owned();
    let failed = |source| AuditOpenError::File { path: path(), source };
    let mut file = create(files).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let (length, identity) = (metadata.len(), Identity::of(&metadata));
    let whole_bytes = line_end_before(&file, length).map_err(failed)?;
    let last = if whole_bytes > 0 {
        let last = last_record(&mut file, whole_bytes).map_err(failed)?;
        Some(last.ok_or_else(|| AuditOpenError::NotAudit { path: path() })?)
    } else if length <= FIRST_LINE_BYTES_MAX {
        // Nothing, or a single torn line: the very first write to it was cut.
        last_finished(files)?
    } else {
        return Err(AuditOpenError::NotAudit { path: path() });
    };
    let chain = last.map_or_else(|| Some(Chain::beginning_at(0)), LastRecord::chain);
    let mut chain = chain.ok_or_else(|| AuditOpenError::Full { path: path() })?;
    let torn_bytes = length - whole_bytes;
    let marker = if torn_bytes > 0 {
        let torn_hash = hash_between(&file, whole_bytes, length).map_err(failed)?;
        let json = own::torn_line(now, torn_bytes, torn_hash);
        let mut line = String::new();
        let json = json.map_err(|error| failed(error.into()))?;
        chain.link(&mut line, &json).map_err(|_full| AuditOpenError::Full { path: path() })?;
        line
    } else {
        String::new()
    };
    let (signal, finished) = sync_channel(FINISHED_SIGNALS_MAX);
    let file = Arc::new(file);
    // The file may be new.
    let open = OpenFile { file, identity, whole_bytes, renames: 1, renames_synced: 0 };
    let file = AppendFile { files: files.clone(), open: Mutex::new(open), finished: signal };
    // The append cuts off what is behind the whole lines. A crash between the two leaves the cut
    // without its record: nobody was told that the line was written.
    let begun = if marker.is_empty() { Ok(()) } else { file.append(marker.as_bytes()) };
    begun.and_then(|()| file.sync()).map_err(failed)?;
    Ok(Opened { file, chain, finished })
}

fn create(files: &AuditFiles) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true).mode(0o600).open(files.active())
}

/// The last record of the newest finished file; nothing when there is no such file.
fn last_finished(files: &AuditFiles) -> Result<Option<LastRecord>, AuditOpenError> {
    let of_directory = |source| AuditOpenError::File { path: files.active().to_owned(), source };
    let Some(newest) = files.finished().map_err(of_directory)?.pop() else { return Ok(None) };
    let failed = |source| AuditOpenError::File { path: files.plain(newest), source };
    let opened = open_finished(files, newest).map_err(failed)?;
    // One that vanishes now must not make the chain begin anew.
    let mut file = opened.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let path = file.path().to_owned();
    match last_record_of_finished(&mut file) {
        Ok(Some(last)) => Ok(Some(last)),
        Ok(None) => Err(AuditOpenError::NotAudit { path }),
        Err(source) => Err(AuditOpenError::File { path, source }),
    }
}
