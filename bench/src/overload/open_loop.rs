//! Calls that come at a rate, whatever becomes of those before them.
//!
//! A client of a closed loop that is made to wait asks less, and so hides what it waits for. Here
//! each call is due at its time. Only so many may be unanswered at once, for the memory of this
//! process is not what is measured; what is due beyond that is counted as not sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use lockbox_proto::google::rpc;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::arguments::Operation;
use crate::latency::Latencies;
use crate::sample::Sequence;
use crate::target::{Call, Target};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// One operation in so many is a write in a mix.
const MIX_READS_TO_A_WRITE: u64 = 10;

/// The load.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenLoad {
    pub(super) operation: Operation,
    /// Calls that are due in a second.
    pub(super) per_second: f64,
    pub(super) secrets: usize,
    /// Calls that may be unanswered at one time.
    pub(super) outstanding: usize,
    pub(super) duration: Duration,
}

/// What became of the calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Those that were due and not sent.
    pub(super) unsent: u64,
    /// How long those took that were answered well, from when they were sent.
    pub(super) accepted: Latencies,
    /// How long those took that were refused with RESOURCE_EXHAUSTED.
    pub(super) refused: Latencies,
    /// Of those, the ones that were told when to come back.
    pub(super) told_when: u64,
    /// All others by code.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, took: Duration, answer: Result<(), Status>) {
        match answer {
            Ok(()) => self.accepted.record(took),
            Err(status) if status.code() == Code::ResourceExhausted => {
                self.refused.record(took);
                self.told_when += u64::from(tells_when(&status));
            }
            Err(status) => *self.failed.entry(format!("{:?}", status.code())).or_default() += 1,
        }
    }
}

/// Whether a refusal says when to come back.
fn tells_when(status: &Status) -> bool {
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    details.iter().any(|any| any.to_msg::<rpc::RetryInfo>().is_ok())
}

/// Runs the load over these connections, and waits for the last answer.
///
/// # Errors
/// When there is no connection, or a call's task has panicked.
pub(super) async fn run(connections: &[Target], load: &OpenLoad) -> Result<Counts> {
    ensure!(!connections.is_empty(), "there is no connection");
    let places = Arc::new(Semaphore::new(load.outstanding));
    let (mut calls, mut counts) = (JoinSet::new(), Counts::default());
    let mut targets = connections.iter().cycle();
    let mut sequence = Sequence::new(0);
    let (began, mut sent_or_not) = (Instant::now(), 0);
    while began.elapsed() < load.duration {
        // Positive and far below the range of the integer.
        let due = (load.per_second * began.elapsed().as_secs_f64()) as u64;
        for _ in sent_or_not..due {
            let (Ok(place), Some(target)) =
                (Arc::clone(&places).try_acquire_owned(), targets.next())
            else {
                counts.unsent += 1;
                continue;
            };
            calls.spawn(one(target.clone(), next(load, &mut sequence), place));
        }
        sent_or_not = due;
        while let Some(ended) = calls.try_join_next() {
            let (took, answer) = ended?;
            counts.add(took, answer);
        }
        tokio::time::sleep(TICK).await;
    }
    while let Some(ended) = calls.join_next().await {
        let (took, answer) = ended?;
        counts.add(took, answer);
    }
    Ok(counts)
}

async fn one(
    mut target: Target,
    call: Call,
    _place: OwnedSemaphorePermit,
) -> (Duration, Result<(), Status>) {
    let began = Instant::now();
    let answer = target.call(call).await;
    (began.elapsed(), answer)
}

fn next(load: &OpenLoad, sequence: &mut Sequence) -> Call {
    let slot = sequence.below(load.secrets as u64) as usize;
    match load.operation {
        Operation::Get => Call::Get(slot),
        Operation::Put => Call::Put(slot),
        Operation::Mix if sequence.below(MIX_READS_TO_A_WRITE) == 0 => Call::Put(slot),
        Operation::Mix => Call::Get(slot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_as_told_only_with_its_time() {
        let retry_delay = Some(prost_types::Duration { seconds: 0, nanos: 1 });
        let told = prost_types::Any::from_msg(&rpc::RetryInfo { retry_delay }).unwrap();
        let details = rpc::Status { details: vec![told], ..Default::default() }.encode_to_vec();
        let full = Status::with_details(Code::ResourceExhausted, "full", details.into());
        let mut counts = Counts::default();
        counts.add(Duration::from_millis(1), Err(full));
        counts.add(Duration::from_millis(1), Err(Status::resource_exhausted("full")));
        counts.add(Duration::from_millis(1), Err(Status::unavailable("no leader")));
        counts.add(Duration::from_millis(1), Ok(()));
        assert_eq!((counts.refused.count(), counts.told_when), (2, 1));
        assert_eq!((counts.accepted.count(), counts.failed["Unavailable"]), (1, 1));
    }
}
