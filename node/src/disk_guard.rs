//! Keeps the disk from getting full: watches its room, tells the replica when there is little,
//! hands leadership away, and has a ballast for when it gets tight all the same.
//!
//! Below the low mark this node takes no more than it must; below half of it the ballast goes, and
//! what is deleted can be written down. Both come back by themselves when there is room again: a
//! little more than at the mark, or it would go to and fro. Knows neither what a command is nor who
//! asks for one.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockbox_platform::disk_space::{Ballast, DiskGauge, DiskSpace};
use lockbox_raft::Replica;
use lockbox_raft::replica::ChangeError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Between two looks: less than a node needs to write what is between the marks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Between two tries to hand leadership away, and how long one may take.
const LEAVE_INTERVAL: Duration = Duration::from_secs(5);
/// There is room again when so large a part of the mark is free above it.
const ROOM_PART: u64 = 8;
/// The ballast goes below this part of the mark.
const TIGHT_PART: u64 = 2;
/// Its name, in the data directory.
const BALLAST_NAME: &str = "BALLAST";

/// Whether this node's own disk is low. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DiskIsLow(Arc<AtomicBool>);

impl DiskIsLow {
    /// As at the last look.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A directory, and when the disk that it is on is low.
struct Watched {
    directory: PathBuf,
    low_bytes: u64,
}

/// What looks at the disk.
pub struct DiskGuard {
    gauge: Arc<dyn DiskGauge>,
    /// The data first.
    watched: Vec<Watched>,
    ballast: Ballast,
    is_low: DiskIsLow,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    is_low: bool,
    /// Of the data.
    is_tight: bool,
    /// There is room for the ballast of the data.
    has_room: bool,
}

impl DiskGuard {
    /// Measures the disks of this configuration, and gives the ballast of an earlier life back
    /// where it is tight: a node must be able to start on a full disk, for only then can anything
    /// be deleted. Blocks.
    ///
    /// # Errors
    /// When a disk does not say how large it is, or the ballast cannot be removed.
    pub fn begin(config: &Config, gauge: Arc<dyn DiskGauge>) -> io::Result<Self> {
        let data = config.data_dir.clone();
        let audit = config.audit_path().parent().map_or_else(|| data.clone(), Path::to_owned);
        let total = gauge.space(&data)?.total;
        let path = data.join(BALLAST_NAME);
        let low_bytes = config.disk.low_bytes(total);
        let mut watched = vec![Watched { directory: data, low_bytes }];
        if audit != config.data_dir {
            let low_bytes = config.disk.low_bytes(gauge.space(&audit)?.total);
            watched.push(Watched { directory: audit, low_bytes });
        }
        let ballast = Ballast::new(path, config.disk.ballast_bytes(total));
        let guard = Self { gauge, watched, ballast, is_low: DiskIsLow::default() };
        if guard.look()?.is_tight {
            guard.ballast.release()?;
        }
        Ok(guard)
    }

    /// Whether the disk is low, for whoever shows it.
    #[must_use]
    pub fn is_low(&self) -> DiskIsLow {
        self.is_low.clone()
    }

    /// Looks, and does what follows for the ballast; whether the disk is low. Blocks.
    fn look_and_act(&self) -> io::Result<bool> {
        let found = self.look()?;
        if self.is_low.0.swap(found.is_low, Ordering::Relaxed) != found.is_low {
            if found.is_low {
                tracing::warn!("the disk is low: this node takes no more than it must");
            } else {
                tracing::info!("the disk has room again");
            }
        }
        if found.is_tight && self.ballast.is_there() {
            self.ballast.release()?;
            let bytes = self.ballast.bytes();
            tracing::error!(bytes, "the disk is nearly full: the ballast was given back");
        } else if found.has_room && !self.ballast.is_there() && self.ballast.bytes() > 0 {
            // Another may have taken the room meanwhile: then the next look finds it so.
            if let Err(error) = self.ballast.take() {
                tracing::warn!(%error, "there is no ballast");
            }
        }
        Ok(found.is_low)
    }

    fn look(&self) -> io::Result<Found> {
        let was_low = self.is_low.get();
        let mut found = Found { is_low: false, is_tight: false, has_room: true };
        for (position, Watched { directory, low_bytes }) in self.watched.iter().enumerate() {
            let DiskSpace { available, .. } = self.gauge.space(directory)?;
            let room = low_bytes.saturating_add(low_bytes / ROOM_PART);
            found.is_low |= available < *low_bytes || (was_low && available < room);
            if position == 0 {
                found.is_tight = available < low_bytes / TIGHT_PART;
                found.has_room = available >= room.saturating_add(self.ballast.bytes());
            }
        }
        Ok(found)
    }
}

/// Watches the disk until cancelled.
///
/// # Errors
/// Never; a task of [`lockbox_platform::tasks`] has an error type.
pub async fn keep_room(
    guard: Arc<DiskGuard>,
    replica: Replica,
    cancelled: CancellationToken,
) -> Result<(), Infallible> {
    let mut leave_at = Instant::now();
    let mut told = false;
    loop {
        let looking = Arc::clone(&guard);
        let looked = tokio::task::spawn_blocking(move || looking.look_and_act()).await;
        match looked.map_err(io::Error::other).and_then(std::convert::identity) {
            Ok(is_low) => {
                replica.set_disk_is_low(is_low);
                told = false;
                if is_low && Instant::now() >= leave_at && leads(&replica) {
                    leave_at = Instant::now() + LEAVE_INTERVAL;
                    leave(&replica).await;
                }
            }
            Err(error) if !told => {
                told = true;
                tracing::error!(%error, "the room on the disk is not known");
            }
            Err(_told) => {}
        }
        tokio::select! {
            () = cancelled.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

fn leads(replica: &Replica) -> bool {
    replica.watch_leadership().current().is_leader
}

async fn leave(replica: &Replica) {
    match replica.leave_low_disk(Instant::now() + LEAVE_INTERVAL).await {
        Ok(leader) => tracing::info!(leader, "leadership went to a node with room"),
        Err(error @ ChangeError::Refused(_)) => {
            tracing::warn!(%error, "no other node can lead: what makes the data grow is refused");
        }
        Err(error) => tracing::debug!(%error, "leadership was not handed over"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A disk of 1000 MiB on which so much is free.
    struct Gauge(Mutex<u64>);

    impl Gauge {
        fn set(&self, mebibytes: u64) {
            *self.0.lock().unwrap() = mebibytes * MIB;
        }
    }

    impl DiskGauge for Gauge {
        fn space(&self, _directory: &Path) -> io::Result<DiskSpace> {
            Ok(DiskSpace { total: 1000 * MIB, available: *self.0.lock().unwrap() })
        }
    }

    fn config(data: &Path) -> Config {
        let text = format!(
            "node_id = 1\ndata_dir = {data:?}\n\
             [api]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
             certificate = \"a\"\nkey = \"a\"\n\
             [peer]\nlisten = \"127.0.0.1:0\"\nadvertise = \"localhost:1\"\n\
             certificate = \"a\"\nkey = \"a\"\nca = \"a\"\n\
             [metrics]\nlisten = \"127.0.0.1:0\"\n[kms]\naddress = \"localhost:2\"\n\
             [disk]\nlow_bytes = 104857600\nballast_bytes = 1048576\n"
        );
        let path = data.join("node.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &[]).unwrap()
    }

    #[test]
    fn the_marks_are_kept_with_a_little_room_between_them() {
        let data = tempfile::tempdir().unwrap();
        let gauge = Arc::new(Gauge(Mutex::new(500 * MIB)));
        let shared = Arc::clone(&gauge) as Arc<dyn DiskGauge>;
        let guard = DiskGuard::begin(&config(data.path()), shared).unwrap();
        let ballast = data.path().join(BALLAST_NAME);
        let look = |mebibytes| {
            gauge.set(mebibytes);
            let is_low = guard.look_and_act().unwrap();
            (is_low, ballast.exists())
        };
        assert_eq!(look(500), (false, true));
        assert_eq!(look(100), (false, true), "at the mark");
        assert_eq!(look(99), (true, true));
        assert_eq!(look(105), (true, true), "a little above it");
        assert_eq!(look(49), (true, false), "tight");
        assert_eq!(look(60), (true, false), "and the ballast itself is no room again");
        assert_eq!(look(113), (false, false), "room, and not for the ballast as well");
        assert_eq!(look(114), (false, true));
        assert!(!guard.is_low().get());
    }

    #[test]
    fn a_node_that_starts_on_a_full_disk_has_the_ballast_to_start_with() {
        let data = tempfile::tempdir().unwrap();
        let ballast = data.path().join(BALLAST_NAME);
        std::fs::write(&ballast, "held back").unwrap();
        let gauge = Arc::new(Gauge(Mutex::new(60 * MIB)));
        let shared = Arc::clone(&gauge) as Arc<dyn DiskGauge>;
        DiskGuard::begin(&config(data.path()), shared).unwrap();
        assert!(ballast.exists(), "low, and not tight");
        gauge.set(1);
        DiskGuard::begin(&config(data.path()), gauge).unwrap();
        assert!(!ballast.exists());
    }
}
