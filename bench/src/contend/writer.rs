//! One writer of many: adds entries one by one, and tries again what was refused for now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};

use crate::latency::Latencies;
use crate::lockbox::{Api, set_entry};
use crate::sample::Sequence;

/// First pause before another try; it doubles, and a random part of it is waited.
const BACKOFF_FIRST: Duration = Duration::from_millis(2);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// How long an entry that is under way at the end may still take.
const LAST_ENTRY_GRACE: Duration = Duration::from_secs(15);

/// Adds entries of its own to the secret.
pub(super) struct Writer {
    number: usize,
    api: Api,
    secret_id: String,
    jitter: Sequence,
    tally: Tally,
}

/// What a writer saw.
pub(super) struct Tally {
    /// Which writer it was.
    pub(super) writer: usize,
    /// Entries that were acknowledged: this many, counted from zero without a gap.
    pub(super) acknowledged: usize,
    /// How many of them before the time was over.
    pub(super) in_time: usize,
    /// Calls that were made for them.
    pub(super) tries: u64,
    /// How long each entry took with all its tries.
    pub(super) latencies: Latencies,
    /// Errors by gRPC code.
    pub(super) errors: BTreeMap<String, u64>,
    /// Why the writer stopped before its time.
    pub(super) refused: Option<String>,
}

/// The key of an entry.
pub(super) fn entry_key(writer: usize, number: usize) -> String {
    format!("w{writer:03}-{number}")
}

/// The value of every entry of a writer: one byte.
pub(super) const fn entry_value(writer: usize) -> [u8; 1] {
    [b'a' + (writer % 26) as u8]
}

impl Writer {
    pub(super) fn new(number: usize, api: Api, secret_id: &str) -> Self {
        let tally = Tally {
            writer: number,
            acknowledged: 0,
            in_time: 0,
            tries: 0,
            latencies: Latencies::new(),
            errors: BTreeMap::new(),
            refused: None,
        };
        let jitter = Sequence::new(number as u64);
        Self { number, api, secret_id: secret_id.to_owned(), jitter, tally }
    }

    /// Writes until told that it is over, or until a refusal that another try does not help.
    pub(super) async fn run(mut self, over: Arc<AtomicBool>) -> Tally {
        while !over.load(Relaxed) {
            let began = Instant::now();
            match self.add(self.tally.acknowledged, &over).await {
                Ok(true) => {
                    self.tally.latencies.record(began.elapsed());
                    self.tally.acknowledged += 1;
                    self.tally.in_time += usize::from(!over.load(Relaxed));
                }
                // Not acknowledged: it may be there or not, and both are right.
                Ok(false) => break,
                Err(status) => {
                    let message = format!("{:?}: {}", status.code(), status.message());
                    self.tally.refused = Some(message);
                    break;
                }
            }
        }
        self.tally
    }

    /// Adds one entry; whether it was acknowledged before the time was over.
    async fn add(&mut self, number: usize, over: &AtomicBool) -> Result<bool, Status> {
        let key = entry_key(self.number, number);
        let mut backoff = BACKOFF_FIRST;
        let mut give_up = None;
        loop {
            let changes = vec![set_entry(&key, entry_value(self.number).to_vec())];
            self.tally.tries += 1;
            // Setting the same entry again changes nothing, so an unknown outcome may be repeated.
            let Err(status) = self.api.add_version(&self.secret_id, changes).await else {
                return Ok(true);
            };
            *self.tally.errors.entry(format!("{:?}", status.code())).or_default() += 1;
            if !may_pass(status.code()) {
                return Err(status);
            }
            if over.load(Relaxed) {
                let end = *give_up.get_or_insert_with(|| Instant::now() + LAST_ENTRY_GRACE);
                if Instant::now() >= end {
                    return Ok(false);
                }
            }
            let part = self.jitter.below(u64::try_from(backoff.as_micros()).unwrap_or(u64::MAX));
            tokio::time::sleep(Duration::from_micros(part)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// Whether another try can succeed. A lost connection is UNKNOWN or CANCELLED to a client.
pub(crate) const fn may_pass(code: Code) -> bool {
    match code {
        Code::Aborted
        | Code::Unavailable
        | Code::ResourceExhausted
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
