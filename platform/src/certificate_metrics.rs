//! When the certificates of a server end.
//!
//! Read from the files at each scrape, so that one that was renewed on disk shows at once: servers
//! take it up by themselves. A file that cannot be read, or holds none, shows as 0: as ended, so
//! that the same rule tells of it.

use std::path::{Path, PathBuf};

use crate::metrics::{Metrics, MetricsError};
use crate::sampled::Series;
use crate::tls::read_certificates;

const EXPIRY: Series = Series::gauge(
    "certificate_expiry_timestamp_seconds",
    "When the first of the certificates in a file ends; 0 when the file cannot be read.",
)
.by(&["certificate"]);

const SERIES: [Series; 1] = [EXPIRY];

/// Registers them for these files, each under a name that is no path: `api`, `peer`, `peer_ca`.
///
/// # Errors
/// [`MetricsError`] when they are registered already.
pub fn register(
    metrics: &Metrics,
    files: Vec<(&'static str, PathBuf)>,
) -> Result<(), MetricsError> {
    metrics.sampled(&SERIES, move |reading| {
        for (name, file) in &files {
            reading.set(&EXPIRY, &[*name], first_end(file).unwrap_or(0) as f64);
        }
    })
}

/// When the first one ends, in seconds since the Unix epoch.
fn first_end(file: &Path) -> Option<i64> {
    let certificates = read_certificates("certificate", file).ok()?;
    let ends = certificates.iter().map(|certificate| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate.as_ref()).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{LeafSpec, issue_all, leaf_files};
    use crate::metrics::Prefix;
    use crate::system::SystemClock;

    #[test]
    fn a_certificate_shows_its_end_and_a_missing_one_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let leaf = LeafSpec {
            file_stem: "server".to_owned(),
            dns_names: vec!["localhost".to_owned()],
            ips: Vec::new(),
        };
        let ca = issue_all(directory.path(), &[leaf], &SystemClock::new()).unwrap().certificate;
        let own = leaf_files(directory.path(), "server").certificate;
        let metrics = Metrics::new(Prefix::Lockbox).unwrap();
        let absent = directory.path().join("absent.pem");
        register(&metrics, vec![("api", own), ("peer_ca", ca), ("kms_ca", absent)]).unwrap();
        let text = metrics.text();
        let end = |name: &str| -> f64 {
            let sample =
                format!("lockbox_certificate_expiry_timestamp_seconds{{certificate=\"{name}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&sample)).unwrap();
            line.parse().unwrap()
        };
        let now = (lockbox_core::Clock::wall_ms(&SystemClock::new()) / 1000) as f64;
        assert!(end("api") > now && end("peer_ca") > now, "{text}");
        assert!(end("kms_ca").abs() < 0.5, "{text}");
    }
}
