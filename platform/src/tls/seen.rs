//! By what a replaced file is known, without reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What files looked like at a moment; none where there was no file. Equal as long as none of them
/// is replaced.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen(Vec<Option<[u64; 4]>>);

impl Seen {
    /// Looks at the files, in this order.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self(paths.into_iter().map(file).collect())
    }
}

fn file(path: &Path) -> Option<[u64; 4]> {
    let file = std::fs::metadata(path).ok()?;
    let (seconds, nanos) = (file.mtime().cast_unsigned(), file.mtime_nsec().cast_unsigned());
    Some([file.ino(), file.len(), seconds, nanos])
}
