//! Writes the projections for outside checkers beside a history.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::history::{History, edn, porcupine};

use super::directory::{CheckError, read_history};

/// Knossos: the register of each secret.
pub const REGISTER_FILE: &str = "register.edn";
/// Elle: the versions of each secret as a list.
pub const LIST_FILE: &str = "list-append.edn";
/// Porcupine: the registers as a table.
pub const TABLE_FILE: &str = "registers.tsv";

type Projection = fn(&History, &mut BufWriter<File>) -> io::Result<()>;

/// Writes them; gives the files.
///
/// # Errors
/// [`CheckError`].
pub fn export_directory(directory: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let history = read_history(directory)?;
    let projections: [(&str, Projection); 3] = [
        (REGISTER_FILE, edn::write_register),
        (LIST_FILE, edn::write_list_append),
        (TABLE_FILE, porcupine::write_table),
    ];
    let mut written = Vec::new();
    for (name, project) in projections {
        let path = directory.join(name);
        let failed = |source| CheckError::Io { path: path.clone(), source };
        let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
        project(&history, &mut file).and_then(|()| file.flush()).map_err(failed)?;
        written.push(path);
    }
    Ok(written)
}
