//! Says in time that a certificate of this process ends: as a metric always, and in the log.
//!
//! Looks at the files on disk, which listeners and channels read again by themselves: what is
//! renewed is told of within a minute. Refuses to know who renews it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::Clock;
use prometheus::IntGaugeVec;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::authority::{DAY_MS, Described, describe};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between two lines of the log about the same file.
const SAY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A certificate that lasts longer than this is nothing to say, however long its life is.
const NOTICE_DAYS: u64 = 30;

/// A file that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedFile {
    /// What it is for, as the metric's label: `api`, `peer`, `peer_ca` and the like.
    pub role: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Whether it holds authorities: the last of them to end counts, for a new one is put beside
    /// the old one. Of a chain, the first to end does.
    pub authorities: bool,
}

/// Looks at the files until cancelled, and keeps the gauge: `certificate` with seconds since the
/// Unix epoch, 0 for a file that cannot be read.
///
/// # Errors
/// Never; a task of [`crate::tasks`] has an error type.
pub async fn watch(
    files: Vec<WatchedFile>,
    gauge: IntGaugeVec,
    clock: Arc<dyn Clock>,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    let mut said = BTreeMap::new();
    loop {
        for file in &files {
            let found = look(file, clock.wall_ms());
            let seconds = i64::try_from(found.ends_ms / 1_000).unwrap_or(i64::MAX);
            gauge.with_label_values(&[file.role]).set(seconds);
            let last: &mut Option<Instant> = said.entry(file.role).or_default();
            match found.notice {
                None => *last = None,
                Some(_) if last.is_some_and(|at| at.elapsed() < SAY_EVERY) => {}
                Some(notice) => {
                    tracing::warn!(role = file.role, path = %file.path.display(), "{notice}");
                    *last = Some(Instant::now());
                }
            }
        }
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// When a file's certificate ends.
struct Look {
    /// Milliseconds since the Unix epoch; 0 when it cannot be read.
    ends_ms: u64,
    /// What there is to say about it.
    notice: Option<String>,
}

/// When the certificate of a file ends, in words, if that is soon; for who only asks once.
#[must_use]
pub fn notice(file: &WatchedFile, now_ms: u64) -> Option<String> {
    look(file, now_ms).notice
}

fn look(file: &WatchedFile, now_ms: u64) -> Look {
    let found = match describe(&file.path) {
        Ok(found) => found,
        Err(error) => return Look { ends_ms: 0, notice: Some(error.to_string()) },
    };
    let by_end = |certificate: &&Described| certificate.not_after_ms;
    let counts = if file.authorities {
        found.iter().max_by_key(by_end)
    } else {
        found.iter().min_by_key(by_end)
    };
    let Some(certificate) = counts else { return Look { ends_ms: 0, notice: None } };
    let left_ms = certificate.left_ms(now_ms);
    let soon = certificate.is_due(now_ms) && left_ms < NOTICE_DAYS * DAY_MS;
    let notice = match left_ms / DAY_MS {
        _ if !soon => None,
        _ if left_ms == 0 => Some("the certificate has ended: renew it".to_owned()),
        days => Some(format!("the certificate ends in {days} days: renew it")),
    };
    Look { ends_ms: certificate.not_after_ms, notice }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{AUTHORITY_DAYS, Usage, begin_replacement, create, issue};
    use crate::certificates::LeafSpec;
    use crate::metrics::{Metrics, Prefix};
    use crate::system::SystemClock;

    #[tokio::test]
    async fn what_ends_is_measured_and_said_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let now_ms = SystemClock::new().wall_ms();
        let ca = create(directory.path(), AUTHORITY_DAYS, now_ms).unwrap();
        let leaf = LeafSpec {
            file_stem: "a".to_owned(),
            dns_names: vec!["a.test".to_owned()],
            ips: Vec::new(),
        };
        let issued = issue(&ca, directory.path(), &leaf, (Usage::Both, 90), now_ms, false);
        let file = |path: PathBuf, authorities| WatchedFile { role: "api", path, authorities };
        let own = file(issued.unwrap().certificate, false);
        let told = |days: u64| notice(&own, now_ms + days * DAY_MS);
        assert_eq!(told(0), None);
        assert_eq!(told(50), None);
        // The last day begins at midnight, so it may be one less than ninety.
        let near = told(80).unwrap();
        assert!(near.starts_with("the certificate ends in "), "{near}");
        assert_eq!(told(91).unwrap(), "the certificate has ended: renew it");
        let absent = notice(&file(directory.path().join("absent.pem"), false), now_ms);
        assert!(absent.unwrap().contains("absent.pem"));

        let metrics = Metrics::new(Prefix::Lockbox).unwrap();
        let (stop, clock) = (CancellationToken::new(), Arc::new(SystemClock::new()));
        let watching = watch(vec![own], metrics.certificates.clone(), clock, stop.clone());
        // The first look comes before the first pause.
        stop.cancel();
        watching.await.unwrap();
        let ends_s = describe(&directory.path().join("a.pem")).unwrap()[0].not_after_ms / 1_000;
        let expected =
            format!("lockbox_certificate_expiry_timestamp_seconds{{certificate=\"api\"}} {ends_s}");
        assert!(metrics.text().contains(&expected), "{}", metrics.text());

        // Of authorities, the one that lasts is what matters.
        let authority = file(ca.certificate.clone(), true);
        let later_ms = now_ms + (AUTHORITY_DAYS - 10) * DAY_MS;
        assert!(notice(&authority, later_ms).is_some());
        begin_replacement(&ca, AUTHORITY_DAYS, later_ms).unwrap();
        assert_eq!(notice(&authority, later_ms), None);
    }
}
