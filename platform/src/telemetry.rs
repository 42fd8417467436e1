//! Structured logs on standard error, human or JSON, with an environment filter.
//!
//! Promises: the consensus library cannot print log entries (and so sealed commands) unless the
//! operator names it in the filter; the text of a panic is logged only if it is a literal of the
//! source, for a formatted one may hold anything. Refuses to know what is logged.

use std::any::Any;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::trace::{self, TraceLayer};

/// The variable that filters logs, in the syntax of `tracing`'s directives.
pub const FILTER_VARIABLE: &str = "LOCKBOX_LOG";
/// What is logged when nothing is said.
const FILTER_DEFAULT: &str = "info";
/// What is logged of the consensus library unless the filter names it. Its debug level prints
/// whole entries (`openraft.md`, traps). Some of its modules are held down further: they warn of
/// each call to a peer that is down, several a second (the network below logs when a peer falls
/// silent and when it is back), and of each answer that nobody takes, as whenever a client's time
/// is up before the write is done.
const FILTER_CONSENSUS: &str = "openraft=warn,openraft::replication=error,\
                                openraft::engine::handler::replication_handler=error,\
                                openraft::core::heartbeat=error,\
                                openraft::raft::responder::impls::progress_responder=error";

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Reads `human` or `json`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter {filter:?} is not understood: {source}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber was installed before.
    #[error("logging is already set up")]
    AlreadySet,
}

/// Sets up logging for the process.
///
/// `filter` wins over [`FILTER_VARIABLE`], which wins over `info`.
///
/// # Errors
/// [`TelemetryError`] when the filter does not parse or logging is already set up.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter_of(filter)?).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_already| TelemetryError::AlreadySet)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The same, and records traces. They do not depend on what is logged.
///
/// # Errors
/// As [`init`].
pub fn init_with_traces(
    format: LogFormat,
    filter: Option<&str>,
    traces: TraceLayer,
) -> Result<(), TelemetryError> {
    let spans = Targets::new().with_target(trace::TARGET, LevelFilter::TRACE);
    let recording = tracing_subscriber::registry().with(traces.with_filter(spans));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let filter = filter_of(filter)?;
    let installed = match format {
        LogFormat::Human => recording.with(lines.with_filter(filter)).try_init(),
        LogFormat::Json => {
            recording.with(lines.json().flatten_event(true).with_filter(filter)).try_init()
        }
    };
    installed.map_err(|_already| TelemetryError::AlreadySet)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn filter_of(filter: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let chosen = match filter {
        Some(filter) => filter.to_owned(),
        None => std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.to_owned()),
    };
    let directives = with_quiet_consensus(&chosen);
    EnvFilter::try_new(&directives)
        .map_err(|source| TelemetryError::Filter { filter: chosen, source })
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(location, thread, reason = printable_reason(info.payload()), "panic");
}

/// The text of a panic, when it is a literal.
fn printable_reason(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("[redacted]")
}

/// The filter with the consensus library held at [`FILTER_CONSENSUS`], unless the filter names it.
fn with_quiet_consensus(filter: &str) -> String {
    if filter.contains("openraft") {
        return filter.to_owned();
    }
    let filter = if filter.is_empty() { FILTER_DEFAULT } else { filter };
    format!("{filter},{FILTER_CONSENSUS}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Which of some events a filter lets through, by their numbers.
    fn passed(filter: &str) -> String {
        let written = Written::default();
        let made = written.clone();
        let directives = with_quiet_consensus(filter);
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(directives).expect("directives"))
            .without_time()
            .with_ansi(false)
            .with_level(false)
            .with_target(false)
            .with_writer(move || made.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "rpc", "1");
            tracing::debug!(target: "openraft::core", "2");
            tracing::warn!(target: "openraft::core", "3");
            tracing::warn!(target: "openraft::raft::responder::impls::progress_responder", "4");
            tracing::error!(target: "openraft::raft::responder::impls::progress_responder", "5");
        });
        let written = written.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).split_whitespace().collect()
    }

    #[test]
    fn the_consensus_library_is_quiet_unless_named() {
        for filter in ["", "info", "debug"] {
            assert_eq!(passed(filter), "135", "{filter}");
        }
        assert_eq!(passed("warn"), "35");
        assert_eq!(passed("info,openraft=debug"), "12345");
    }

    #[test]
    fn a_wrong_filter_is_named_in_the_error() {
        let error = init(LogFormat::Human, Some("lockbox=loudest")).map_err(|e| e.to_string());
        assert!(error.is_err_and(|text| text.contains("lockbox=loudest")));
    }

    #[test]
    fn a_formatted_panic_is_not_printed() {
        assert_eq!(printable_reason(&"a literal"), "a literal");
        assert_eq!(printable_reason(&"a canary".to_owned()), "[redacted]");
    }

    #[test]
    fn formats_are_two() {
        assert_eq!(LogFormat::parse("json"), Some(LogFormat::Json));
        assert_eq!(LogFormat::parse("human"), Some(LogFormat::Human));
        assert_eq!(LogFormat::parse("xml"), None);
    }
}
