//! What the system knows of this process: memory, CPU, files, and which build it is.
//!
//! Read from `/proc/self` at each scrape. A system that does not tell leaves a series out.

use crate::metrics::{Metrics, MetricsError};
use crate::sampled::{Reading, Series};

const MEMORY: Series =
    Series::gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.");
const CPU: Series =
    Series::counter("process_cpu_seconds_total", "Seconds of CPU that the process has used.");
const FILES: Series = Series::gauge("process_open_files", "Files and sockets that are open.");
const FILES_MAX: Series =
    Series::gauge("process_open_files_max", "Files and sockets that may be open.");
const THREADS: Series = Series::gauge("process_threads", "Threads of the process.");
const STARTED: Series =
    Series::gauge("process_start_timestamp_seconds", "When the process began to serve metrics.");
const BUILD: Series =
    Series::gauge("build_info", "1, with the version of the program.").by(&["version"]);

const SERIES: [Series; 7] = [MEMORY, CPU, FILES, FILES_MAX, THREADS, STARTED, BUILD];

/// Clock ticks in a second: what Linux gives to every program, whatever its kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers them. `started_ms` is the wall clock now, in milliseconds since the Unix epoch.
///
/// # Errors
/// [`MetricsError`] when they are registered already.
pub fn register(metrics: &Metrics, started_ms: u64) -> Result<(), MetricsError> {
    metrics.sampled(&SERIES, move |reading| {
        reading.count(&STARTED, &[], started_ms / 1000);
        reading.set(&BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
        read(reading);
    })
}

fn read(reading: &mut Reading) {
    let file = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    if let Some(status) = file("status") {
        if let Some(kib) = field(&status, "VmRSS:") {
            reading.count(&MEMORY, &[], kib * 1024);
        }
        if let Some(threads) = field(&status, "Threads:") {
            reading.count(&THREADS, &[], threads);
        }
    }
    if let Some(seconds) = file("stat").as_deref().and_then(cpu_seconds) {
        reading.set(&CPU, &[], seconds);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        reading.count(&FILES, &[], open.count() as u64);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(max) = limit {
        reading.count(&FILES_MAX, &[], max);
    }
}

/// The number behind a field's name.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time, the 14th and 15th field. The second is the program's name in brackets,
/// which may hold blanks.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Prefix;

    #[test]
    fn this_process_is_described() {
        let metrics = Metrics::new(Prefix::Lockbox).unwrap();
        register(&metrics, 1_800_000_000_000).unwrap();
        let text = metrics.text();
        for series in SERIES {
            let sample = format!("\nlockbox_{}", series.name.name);
            assert!(text.contains(&sample), "{sample} is not in {text}");
        }
        assert!(text.contains("lockbox_process_start_timestamp_seconds 1800000000\n"), "{text}");
    }

    #[test]
    fn a_name_with_blanks_and_brackets_hides_no_field() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t  42 kB\n", "VmRSS:"), Some(42));
    }
}
