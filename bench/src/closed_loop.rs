//! The load: clients that ask, wait for the answer, and ask again.
//!
//! Throughput counts the answers that came inside the measured window. Latency is that of the
//! calls that began inside it, also when the answer came later, so that a stall at the end of the
//! window is not hidden.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

use crate::arguments::{Operation, Shape, Spread, Watched};
use crate::counters;
use crate::latency::Latencies;
use crate::machine::Usage;
use crate::sample::Sequence;
use crate::target::{Call, Target};

/// How long a client waits after an error: a server that refuses at once is not fast.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(5);
/// One operation in so many is a write in a mix.
const MIX_READS_TO_A_WRITE: u64 = 10;

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// What one client, or all of them, saw.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Answers without an error inside the window.
    pub answered: u64,
    /// Latency of the successful calls that began inside the window.
    pub latencies: Latencies,
    /// Errors of the whole run by gRPC code: one during warm-up is a finding too.
    pub errors: BTreeMap<String, u64>,
    /// The text of the first one.
    pub first_error: Option<String>,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What the clients saw.
    pub tally: Tally,
    /// Connections that the clients shared.
    pub connections: usize,
    /// Length of the window.
    pub window: Duration,
    /// Processor time inside the window.
    pub usage: Usage,
    /// How far the sync counters went inside the window; absent when none are watched.
    pub syncs: Option<f64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.latencies.add(&other.latencies);
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn count_error(&mut self, status: &Status) {
        *self.errors.entry(format!("{:?}", status.code())).or_default() += 1;
        if self.first_error.is_none() {
            self.first_error = Some(status.message().to_owned());
        }
    }
}

/// Runs the load over these connections.
///
/// # Errors
/// When a watched process or metrics listener is gone, or when not one call succeeded.
pub async fn run(connections: &[Target], shape: &Shape, watched: &Watched) -> Result<Measured> {
    ensure!(!connections.is_empty(), "there is no connection");
    let phase = Arc::new(AtomicU8::new(WARMING_UP));
    let mut clients = JoinSet::new();
    for (number, target) in (0..shape.clients).zip(connections.iter().cycle()) {
        let choice = Choice::new(number, shape);
        clients.spawn(client(target.clone(), choice, Arc::clone(&phase)));
    }

    tokio::time::sleep(shape.warm_up).await;
    let syncs_before = syncs(watched).await?;
    let before = Usage::read(&watched.server_pids)?;
    phase.store(MEASURING, Relaxed);
    let began = Instant::now();
    tokio::time::sleep(shape.duration).await;
    phase.store(OVER, Relaxed);
    let window = began.elapsed();
    let usage = Usage::read(&watched.server_pids)?.since(&before);
    let syncs_after = syncs(watched).await?;

    let mut tally = Tally::default();
    while let Some(one) = clients.join_next().await {
        tally.add(one?);
    }
    let first = tally.first_error.as_deref().unwrap_or("none was answered in time");
    ensure!(tally.answered > 0, "no operation succeeded: {first}");
    let syncs = syncs_after.zip(syncs_before).map(|(after, before)| after - before);
    Ok(Measured { tally, connections: connections.len(), window, usage, syncs })
}

async fn syncs(watched: &Watched) -> Result<Option<f64>> {
    if watched.sync_counters.is_empty() {
        return Ok(None);
    }
    counters::sum(&watched.metrics, &watched.sync_counters).await.map(Some)
}

async fn client(mut target: Target, mut choice: Choice, phase: Arc<AtomicU8>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let began_in = phase.load(Relaxed);
        if began_in == OVER {
            return tally;
        }
        let call = choice.next();
        let began = Instant::now();
        match target.call(call).await {
            Ok(()) => {
                if began_in == MEASURING {
                    tally.latencies.record(began.elapsed());
                }
                if phase.load(Relaxed) == MEASURING {
                    tally.answered += 1;
                }
            }
            Err(status) => {
                tally.count_error(&status);
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// What a client does next, and where.
#[derive(Debug)]
struct Choice {
    operation: Operation,
    sequence: Sequence,
    /// The client's slots are `first`, `first + step`, and so on.
    first: usize,
    step: usize,
    count: usize,
}

impl Choice {
    fn new(number: usize, shape: &Shape) -> Self {
        let (first, step, count) = match shape.spread {
            Spread::All => (0, 1, shape.secrets),
            Spread::Clients if number < shape.secrets => {
                (number, shape.clients, (shape.secrets - number).div_ceil(shape.clients))
            }
            // More clients than slots: some have to share one.
            Spread::Clients => (number % shape.secrets, 1, 1),
        };
        let sequence = Sequence::new(number as u64);
        Self { operation: shape.operation, sequence, first, step, count }
    }

    fn next(&mut self) -> Call {
        let slot = self.first + self.step * (self.sequence.below(self.count as u64) as usize);
        match self.operation {
            Operation::Get => Call::Get(slot),
            Operation::Put => Call::Put(slot),
            Operation::Mix if self.sequence.below(MIX_READS_TO_A_WRITE) == 0 => Call::Put(slot),
            Operation::Mix => Call::Get(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn shape(operation: Operation, clients: usize, secrets: usize) -> Shape {
        Shape {
            operation,
            clients,
            connections: 1,
            value_bytes: 1,
            secrets,
            spread: Spread::Clients,
            duration: Duration::ZERO,
            warm_up: Duration::ZERO,
        }
    }

    fn slots_of(number: usize, shape: &Shape) -> BTreeSet<usize> {
        let mut choice = Choice::new(number, shape);
        let slot = |call| match call {
            Call::Get(slot) | Call::Put(slot) => slot,
        };
        (0..2000).map(|_| slot(choice.next())).collect()
    }

    #[test]
    fn clients_share_no_slot_and_together_touch_all() {
        for (clients, secrets) in [(1, 7), (3, 7), (7, 7)] {
            let shape = shape(Operation::Put, clients, secrets);
            let mut seen = BTreeSet::new();
            for number in 0..clients {
                for slot in slots_of(number, &shape) {
                    assert!(seen.insert(slot), "slot {slot} of {clients} clients is shared");
                }
            }
            assert_eq!(seen, (0..secrets).collect());
        }
    }

    #[test]
    fn more_clients_than_slots_share_them() {
        assert_eq!(slots_of(9, &shape(Operation::Get, 16, 4)), BTreeSet::from([1]));
    }

    #[test]
    fn a_tenth_of_a_mix_is_written() {
        let mut choice = Choice::new(3, &shape(Operation::Mix, 4, 100));
        let writes = (0..10_000).filter(|_| matches!(choice.next(), Call::Put(_))).count();
        assert!((800..1200).contains(&writes), "{writes} writes in 10,000 operations");
    }
}
