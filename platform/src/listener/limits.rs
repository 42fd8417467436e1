//! The bounds of a listener, and how a configuration file sets those of the one for clients.

use std::time::Duration;

use serde::Deserialize;

use crate::config_file::WrongValue;
use crate::file_limit::connections_within_file_limit;

/// Open connections of a listener, unless configured.
const CONNECTIONS_MAX: usize = 16_384;
/// How long a connection may stay without a call, unless configured. Clients connect anew by
/// themselves, and lose no call: they are told before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a client may leave unread what it asked for, unless configured.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that either may be configured.
const TIMEOUT_SECONDS_MAX: u64 = 86_400;
/// Calls at one time on one HTTP/2 connection, unless configured.
const STREAMS_MAX: u32 = 1024;
/// Receive window of one HTTP/2 stream in bytes, unless configured: more than the largest request.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Receive window of one HTTP/2 connection in bytes, unless configured.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The bounds of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open connections; more wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a connection may stay without a call before it is told to end.
    pub idle_timeout: Duration,
    /// How long a client may take no more of an answer before the call is broken off; over
    /// HTTP/1.1 the connection.
    pub unread_timeout: Duration,
    /// Calls at one time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Receive window of one HTTP/2 stream, in bytes.
    pub stream_window_bytes: u32,
    /// Receive window of one HTTP/2 connection, in bytes.
    pub connection_window_bytes: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            idle_timeout: IDLE_TIMEOUT,
            unread_timeout: UNREAD_TIMEOUT,
            streams_max: STREAMS_MAX,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
        }
    }
}

/// The connections of clients, as the table `[connections]` of a configuration file sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsConfig {
    /// Open connections; more wait until one ends. Fewer where the system allows fewer open files.
    pub max: usize,
    /// How long a connection may stay without a call, in seconds.
    pub idle_timeout_seconds: u64,
    /// How long a client may leave an answer unread, in seconds.
    pub unread_timeout_seconds: u64,
}

impl Default for ConnectionsConfig {
    fn default() -> Self {
        Self {
            max: CONNECTIONS_MAX,
            idle_timeout_seconds: IDLE_TIMEOUT.as_secs(),
            unread_timeout_seconds: UNREAD_TIMEOUT.as_secs(),
        }
    }
}

impl ConnectionsConfig {
    /// Looks for values that cannot be.
    ///
    /// # Errors
    /// [`WrongValue`] with the key.
    pub fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.max == 0 {
            return wrong("connections.max", "must be positive");
        }
        let timeouts = [
            ("connections.idle_timeout_seconds", self.idle_timeout_seconds),
            ("connections.unread_timeout_seconds", self.unread_timeout_seconds),
        ];
        match timeouts.iter().find(|(_, seconds)| !(1..=TIMEOUT_SECONDS_MAX).contains(seconds)) {
            Some(&(key, _)) => wrong(key, "must be between 1 and 86400"),
            None => Ok(()),
        }
    }

    /// The bounds of the listener for clients, as far as the system allows them.
    #[must_use]
    pub fn limits(&self) -> ListenerLimits {
        ListenerLimits {
            connections_max: connections_within_file_limit(self.max),
            idle_timeout: Duration::from_secs(self.idle_timeout_seconds),
            unread_timeout: Duration::from_secs(self.unread_timeout_seconds),
            ..ListenerLimits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_are_named() {
        let fine = ConnectionsConfig::default();
        assert_eq!(fine.check(), Ok(()));
        for (config, key) in [
            (ConnectionsConfig { max: 0, ..fine }, "connections.max"),
            (
                ConnectionsConfig { idle_timeout_seconds: 0, ..fine },
                "connections.idle_timeout_seconds",
            ),
            (
                ConnectionsConfig { unread_timeout_seconds: 86_401, ..fine },
                "connections.unread_timeout_seconds",
            ),
        ] {
            assert_eq!(config.check().map_err(|wrong| wrong.key), Err(key));
        }
    }
}
