//! Whether traces are recorded, and where they go, as configuration files say it.

use serde::Deserialize;

use crate::config_file::WrongValue;
use crate::otlp::OtlpConfig;

/// Traces. Off as long as no collector is named.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// The part of traces that is kept, from 0 to 1; 1, all of them, when absent. The same on every
    /// server, so that they keep the same traces.
    pub ratio: f64,
    /// The collector; no traces when absent.
    pub otlp: Option<OtlpConfig>,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { ratio: 1.0, otlp: None }
    }
}

impl TracesConfig {
    /// What is wrong with it.
    ///
    /// # Errors
    /// [`WrongValue`].
    pub fn check(&self) -> Result<(), WrongValue> {
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err(WrongValue { key: "traces.ratio", problem: "must be from 0 to 1" });
        }
        match self.otlp.as_ref().map(OtlpConfig::check) {
            Some(Err(problem)) => Err(WrongValue { key: "traces.otlp", problem }),
            Some(Ok(())) | None => Ok(()),
        }
    }
}
