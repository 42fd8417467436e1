//! The result of one run, as a line of JSON and as a table.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::arguments::{Members, Operation, Output, Shape};
use crate::closed_loop::Measured;
use crate::latency::Percentiles;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name in reports.
    pub label: String,
    /// The round that it belongs to.
    pub round: u32,
    /// What each client did.
    pub operation: Operation,
    /// Which members were asked.
    pub members: Members,
    /// Clients.
    pub clients: usize,
    /// Connections.
    pub connections: usize,
    /// Length of a value.
    pub value_bytes: usize,
    /// Secrets or keys.
    pub secrets: usize,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// Operations answered without an error inside the window.
    pub operations: u64,
    /// The same for each second.
    pub operations_per_second: f64,
    /// Latency.
    pub latency_us: Percentiles,
    /// Errors by gRPC code, also those of the warm-up.
    pub errors: BTreeMap<String, u64>,
    /// The text of the first one.
    pub first_error: Option<String>,
    /// Processor time of the servers for each operation, in microseconds; absent when no process
    /// was watched.
    pub server_cpu_us: Option<f64>,
    /// Processor time of the load generator for each operation, in microseconds.
    pub client_cpu_us: f64,
    /// Processors that other processes kept busy.
    pub other_cores: f64,
    /// Processors taken away by the hypervisor.
    pub stolen_cores: f64,
    /// Syncs to disk for each operation; absent when no counter was watched.
    pub syncs_per_operation: Option<f64>,
}

impl Record {
    /// Puts a finished run into figures.
    #[must_use]
    pub fn new(
        measured: &Measured,
        shape: &Shape,
        members: Members,
        output: &Output,
        servers_watched: bool,
    ) -> Self {
        let tally = &measured.tally;
        let seconds = measured.window.as_secs_f64();
        let operations = tally.answered as f64;
        let each = |time: std::time::Duration| time.as_secs_f64() * 1e6 / operations;
        Self {
            label: output.label.clone(),
            round: output.round,
            operation: shape.operation,
            members,
            clients: shape.clients,
            connections: measured.connections,
            value_bytes: shape.value_bytes,
            secrets: shape.secrets,
            seconds,
            operations: tally.answered,
            operations_per_second: operations / seconds,
            latency_us: tally.latencies.percentiles(),
            errors: tally.errors.clone(),
            first_error: tally.first_error.clone(),
            server_cpu_us: servers_watched.then(|| each(measured.usage.servers)),
            client_cpu_us: each(measured.usage.own),
            other_cores: measured.usage.others().as_secs_f64() / seconds,
            stolen_cores: measured.usage.stolen.as_secs_f64() / seconds,
            syncs_per_operation: measured.syncs.map(|syncs| syncs / operations),
        }
    }

    /// The table that a person reads: a line of names and a line of figures.
    #[must_use]
    pub fn table(&self) -> String {
        let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
        let each = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let errors: Vec<String> =
            self.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let columns = [
            ("operation", format!("{:?}", self.operation).to_lowercase()),
            ("clients", self.clients.to_string()),
            ("operations/s", format!("{:.0}", self.operations_per_second)),
            ("p50 ms", ms(self.latency_us.p50)),
            ("p99 ms", ms(self.latency_us.p99)),
            ("p99.9 ms", ms(self.latency_us.p999)),
            ("max ms", ms(self.latency_us.max)),
            ("server us/op", each(self.server_cpu_us, 1)),
            ("client us/op", each(Some(self.client_cpu_us), 1)),
            ("syncs/op", each(self.syncs_per_operation, 3)),
            ("other cores", format!("{:.2}", self.other_cores)),
            ("errors", if errors.is_empty() { "0".to_owned() } else { errors.join(", ") }),
        ];
        let (mut names, mut figures) = (String::new(), String::new());
        for (name, figure) in columns {
            let width = name.len().max(figure.len()) + 2;
            names.push_str(&format!("{name:>width$}"));
            figures.push_str(&format!("{figure:>width$}"));
        }
        let first = self.first_error.iter().map(|text| format!("first error: {text}\n"));
        format!("{names}\n{figures}\n{}", first.collect::<String>())
    }
}

/// Tells a result as [`Output`] asks.
///
/// # Errors
/// When the file or standard output cannot be written.
pub fn tell<R: Serialize>(result: &R, table: &str, json: Option<&Path>) -> Result<()> {
    let line = serde_json::to_string(result).context("the result cannot be encoded")?;
    if json == Some(Path::new("-")) {
        return print(&format!("{line}\n"));
    }
    if let Some(path) = json {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(table)
}

/// Writes to standard output.
///
/// # Errors
/// When it is closed.
pub fn print(text: &str) -> Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot write the output")
}
