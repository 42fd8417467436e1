//! Structured logs on standard error, human or JSON, with an environment filter.
//!
//! Promises: the consensus library cannot print log entries (and so sealed commands) unless the
//! operator names it in the filter; the text of a panic is logged only if it is a literal of the
//! source, for a formatted one may hold anything. Refuses to know what is logged.

use std::any::Any;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

/// The variable that filters logs, in the syntax of `tracing`'s directives.
pub const FILTER_VARIABLE: &str = "LOCKBOX_LOG";
/// What is logged when nothing is said.
const FILTER_DEFAULT: &str = "info";

/// What is added for the consensus library unless the filter names it. It prints whole entries at
/// debug level (`openraft.md`, traps), and each call to a peer that is down as a warning, several
/// a second: the network below it logs when a peer falls silent and when it is back.
const CONSENSUS: &str = "openraft=warn,openraft::replication=error,\
                         openraft::engine::handler::replication_handler=error,\
                         openraft::core::heartbeat=error";

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
    let chosen = match filter {
        Some(filter) => filter.to_owned(),
        None => std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.to_owned()),
    };
    let directives = with_quiet_consensus(&chosen);
    let parsed = EnvFilter::try_new(&directives)
        .map_err(|source| TelemetryError::Filter { filter: chosen, source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_already| TelemetryError::AlreadySet)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
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

/// The filter with the consensus library held down, unless the filter names it.
fn with_quiet_consensus(filter: &str) -> String {
    if filter.contains("openraft") {
        return filter.to_owned();
    }
    let filter = if filter.is_empty() { FILTER_DEFAULT } else { filter };
    format!("{filter},{CONSENSUS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consensus_library_is_quiet_unless_named() {
        assert_eq!(with_quiet_consensus("debug"), format!("debug,{CONSENSUS}"));
        assert_eq!(with_quiet_consensus(""), format!("info,{CONSENSUS}"));
        assert_eq!(with_quiet_consensus("info,openraft=debug"), "info,openraft=debug");
        assert!(EnvFilter::try_new(CONSENSUS).is_ok());
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
