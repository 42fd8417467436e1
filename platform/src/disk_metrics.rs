//! The room on the disks that a server writes to.
//!
//! Asked of the file system at each scrape. A directory that is not there leaves its series out.

use std::path::{Path, PathBuf};

use crate::metrics::{Metrics, MetricsError};
use crate::sampled::{Reading, Series};

const LABELS: &[&str] = &["directory"];
const SIZE: Series =
    Series::gauge("disk_size_bytes", "Size of the file system that a directory is on.").by(LABELS);
const AVAILABLE: Series = Series::gauge(
    "disk_available_bytes",
    "Bytes of that file system that this process may still write.",
)
.by(LABELS);
const FILES_AVAILABLE: Series = Series::gauge(
    "disk_available_files",
    "Files that may still be made there; 0 where the file system has no such limit.",
)
.by(LABELS);

const SERIES: [Series; 3] = [SIZE, AVAILABLE, FILES_AVAILABLE];

/// Registers them for these directories, each under a name that is no path: `data`, `audit`.
///
/// # Errors
/// [`MetricsError`] when they are registered already.
pub fn register(
    metrics: &Metrics,
    directories: Vec<(&'static str, PathBuf)>,
) -> Result<(), MetricsError> {
    metrics.sampled(&SERIES, move |reading| {
        for (name, directory) in &directories {
            read(reading, name, directory);
        }
    })
}

fn read(reading: &mut Reading, name: &str, directory: &Path) {
    let Ok(found) = rustix::fs::statvfs(directory) else { return };
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    reading.count(&SIZE, &[name], bytes(found.f_blocks));
    // What only root may write is not for us, whoever we are.
    reading.count(&AVAILABLE, &[name], bytes(found.f_bavail));
    reading.count(&FILES_AVAILABLE, &[name], found.f_favail);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Prefix;

    #[test]
    fn a_directory_has_its_room_and_an_absent_one_has_no_series() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(Prefix::Kms).unwrap();
        let absent = directory.path().join("absent");
        register(&metrics, vec![("data", directory.path().to_owned()), ("audit", absent)]).unwrap();
        let text = metrics.text();
        let size = text.lines().find_map(|line| {
            line.strip_prefix("kms_disk_size_bytes{directory=\"data\"} ")?.parse::<f64>().ok()
        });
        assert!(size.is_some_and(|size| size > 0.0), "{text}");
        assert!(text.contains("kms_disk_available_bytes{directory=\"data\"} "), "{text}");
        assert!(!text.contains("directory=\"audit\""), "{text}");
    }
}
