//! The log of the process.

use serde::Deserialize;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStyle {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Human,
}

/// Logging.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogStyle,
    /// Filter, as in `LOCKBOX_LOG`.
    pub filter: Option<String>,
}
