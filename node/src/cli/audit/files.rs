//! The files of an audit, as commands name them.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use lockbox_platform::audit::AuditFiles;
use lockbox_platform::exit::ExitCode;

use crate::cli::failure::Failure;

/// Where the files are.
#[derive(Debug, Args)]
pub(super) struct FilesFlag {
    /// The data directory of a node or of the KMS, or the file that it writes its audit to.
    /// Finished files beside it, compressed or not, belong to it.
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

impl FilesFlag {
    /// The files, of which there must be one.
    pub(super) fn find(&self) -> Result<AuditFiles, Failure> {
        find(&self.path)
    }
}

/// The files at a path, of which there must be one.
pub(super) fn find(path: &Path) -> Result<AuditFiles, Failure> {
    let files = AuditFiles::at(path);
    match files.exist() {
        Ok(true) => Ok(files),
        Ok(false) => {
            let active = files.active().display();
            Err(Failure::usage(format_args!("there is no audit at {active}")))
        }
        Err(error) => Err(unread(path, &error)),
    }
}

/// The files cannot be read.
pub(super) fn unread(path: &Path, error: &io::Error) -> Failure {
    let sentence = format!("cannot read the audit at {}: {error}", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::usage(sentence);
    }
    Failure::server(ExitCode::Storage, sentence)
}
