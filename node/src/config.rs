//! The node's configuration: one TOML file, each key overridable by an environment variable.
//!
//! `api.listen` is overridden by `LOCKBOX_CONFIG_API__LISTEN`, and so on: upper case, two
//! underscores between the table and the key. Secrets are named by file paths only.

mod audit_file;
mod keyring;
mod kms;
mod limits;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_core::{NODE_ID_MAX, NodeId};
use lockbox_platform::audit::DEFAULT_FILE_NAME;
use lockbox_platform::config_file::{self, ConfigError, WrongValue};
use lockbox_platform::listener::ConnectionsConfig;
use serde::Deserialize;

pub use self::audit_file::{AuditConfig, AuditSyncMode};
pub use self::keyring::KeyringConfig;
pub use self::kms::KmsConfig;
pub use self::limits::LimitsConfig;

/// What the environment's overrides begin with.
const OVERRIDE_PREFIX: &str = "LOCKBOX_CONFIG_";

/// The whole configuration of one node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node's id: a positive number, never reused within a cluster.
    pub node_id: NodeId,
    /// Where the node keeps its data.
    pub data_dir: PathBuf,
    /// The listener for clients.
    pub api: ApiConfig,
    /// The listener for other nodes.
    pub peer: PeerConfig,
    /// The listener for metrics and health.
    pub metrics: MetricsConfig,
    /// The KMS that holds the system key and the customers' own keys.
    pub kms: KmsConfig,
    /// The keyring: when its key is replaced.
    #[serde(default)]
    pub keyring: KeyringConfig,
    /// The audit file.
    #[serde(default)]
    pub audit: AuditConfig,
    /// The connections of clients.
    #[serde(default)]
    pub connections: ConnectionsConfig,
    /// Quotas and limits.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Identity: tokens and logins.
    #[serde(default)]
    pub identity: IdentityConfig,
    /// Consensus: timing and snapshots.
    #[serde(default)]
    pub raft: RaftConfig,
    /// What becomes of destroyed payloads.
    #[serde(default)]
    pub destroy: DestroyConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
    /// Whether `lockbox serve` keeps all of its memory out of the swap, and does not start where it
    /// may not: it takes `ulimit -l unlimited`.
    #[serde(default)]
    pub lock_memory: bool,
}

/// The listener for clients: gRPC and REST on one port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` that clients are told to use.
    pub advertise: String,
    /// PEM file of the certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// The listener for other nodes: mutual TLS, names checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` that other nodes use.
    pub advertise: String,
    /// PEM file of this node's certificate chain; its name is `node-<id>.lockbox.internal`.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the private CA that signed every node's certificate.
    pub ca: PathBuf,
}

/// The listener for metrics and health.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address to listen on: plain HTTP on loopback, elsewhere TLS with the API's certificate.
    pub listen: SocketAddr,
    /// Plain HTTP elsewhere too: for scrapers without TLS, on a network of their own.
    #[serde(default)]
    pub plaintext: bool,
}

/// Tokens and logins.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// JWT audiences accepted beside the standard ones (`contract §0.2`).
    pub accepted_audiences: Vec<String>,
    /// Life of an IAM token, in seconds; at most 12 hours.
    pub token_lifetime_seconds: u64,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { accepted_audiences: Vec::new(), token_lifetime_seconds: 12 * 3600 }
    }
}

impl IdentityConfig {
    /// Life of an IAM token.
    #[must_use]
    pub const fn token_lifetime(&self) -> Duration {
        Duration::from_secs(self.token_lifetime_seconds)
    }
}

/// Consensus: timing and snapshots (`openraft.md §5.4`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// Time between heartbeats; also the deadline of one, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest election timeout, in milliseconds.
    pub election_min_ms: u64,
    /// Longest election timeout, in milliseconds.
    pub election_max_ms: u64,
    /// Entries between snapshots.
    pub snapshot_entries: u64,
    /// Entries kept in the log behind a snapshot.
    pub entries_kept: u64,
    /// Entries kept at most for a peer that is being sent a snapshot, so that it needs no second
    /// one: the log may grow by so many on disk.
    pub entries_held_max: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            snapshot_entries: 50_000,
            entries_kept: 20_000,
            entries_held_max: 200_000,
        }
    }
}

/// What becomes of destroyed payloads (`design §6`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DestroyConfig {
    /// From its destruction on, a payload is out of every file of this node within so many seconds,
    /// while the node runs. Each time takes a snapshot and purges the log past the destruction.
    pub purge_within_seconds: u64,
}

impl Default for DestroyConfig {
    fn default() -> Self {
        Self { purge_within_seconds: 600 }
    }
}

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

impl Config {
    /// Reads, overrides and validates a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        config_file::load(path, environment, OVERRIDE_PREFIX, Self::check)
    }

    fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.node_id == 0 || self.node_id > NODE_ID_MAX {
            return wrong("node_id", "must be a positive number of at most 4294967295");
        }
        let raft = &self.raft;
        if raft.heartbeat_ms == 0 || raft.election_min_ms < 2 * raft.heartbeat_ms {
            return wrong("raft.election_min_ms", "must be at least twice raft.heartbeat_ms");
        }
        if raft.election_max_ms <= raft.election_min_ms {
            return wrong("raft.election_max_ms", "must be larger than raft.election_min_ms");
        }
        if raft.snapshot_entries == 0 {
            return wrong("raft.snapshot_entries", "must be positive");
        }
        self.audit.check()?;
        if self.destroy.purge_within_seconds == 0 {
            return wrong("destroy.purge_within_seconds", "must be positive");
        }
        self.limits.check()?;
        self.keyring.check()?;
        let lifetime = self.identity.token_lifetime_seconds;
        if lifetime == 0 || lifetime > 12 * 3600 {
            return wrong("identity.token_lifetime_seconds", "must be between 1 and 43200");
        }
        self.connections.check()?;
        for (key, address) in [
            ("api.advertise", &self.api.advertise),
            ("peer.advertise", &self.peer.advertise),
            ("kms.address", &self.kms.address),
        ] {
            if address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                return wrong(key, "must be host:port");
            }
        }
        Ok(())
    }

    /// The audit file.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.audit.path.clone().unwrap_or_else(|| self.data_dir.join(DEFAULT_FILE_NAME))
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::KMS_AUDIT_ID;

    use super::*;

    const FILE: &str = r#"
        node_id = 1
        data_dir = "/data"
        [api]
        listen = "127.0.0.1:8443"
        advertise = "localhost:8443"
        certificate = "a.pem"
        key = "a-key.pem"
        [peer]
        listen = "127.0.0.1:8444"
        advertise = "localhost:8444"
        certificate = "a.pem"
        key = "a-key.pem"
        ca = "ca.pem"
        [metrics]
        listen = "127.0.0.1:9464"
        [kms]
        address = "localhost:8470"
    "#;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment: Vec<_> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &environment).map_err(|e| e.to_string())
    }

    #[test]
    fn a_small_file_has_the_documented_defaults() {
        let config = load(FILE, &[]).unwrap();
        assert_eq!(config.limits.versions_per_secret, 1000);
        assert_eq!(config.audit_path(), Path::new("/data/audit.jsonl"));
        assert_eq!(config.audit.file_bytes_max, 64 << 20);
        assert_eq!(config.audit.finished_files_max, None);
        assert_eq!(config.audit.head_interval_seconds, 10);
        assert_eq!(config.raft.election_max_ms, 800);
        assert_eq!(config.destroy.purge_within_seconds, 600);
        assert_eq!(config.keyring.rotate_after(), None);
    }

    #[test]
    fn the_environment_overrides_nested_keys() {
        let overrides = [("LOCKBOX_CONFIG_NODE_ID", "3"), ("LOCKBOX_CONFIG_LIMITS__ENTRIES", "7")];
        let config = load(FILE, &overrides).unwrap();
        assert_eq!((config.node_id, config.limits.entries), (3, 7));
    }

    #[test]
    fn a_cloud_may_have_a_quota_of_its_own() {
        let text = format!("{FILE}[limits.secrets_of_clouds]\nb1glarge = 20000\n");
        let limits = load(&text, &[]).unwrap().limits;
        assert_eq!(
            (limits.secrets_of("b1glarge"), limits.secrets_of("b1gsmall")),
            (20_000, 10_000)
        );
        let nameless = text.replace("b1glarge", "\"\"");
        assert!(load(&nameless, &[]).unwrap_err().contains("must name clouds by their ids"));
    }

    #[test]
    fn another_kms_takes_an_address_and_a_token() {
        let own = load(FILE, &[]).unwrap().kms;
        assert_eq!((own.server_name(), own.ca()), ("kms.lockbox.internal", None));
        let text = FILE.replace("localhost:8470", "kms.example:443") + "token_file = \"token\"\n";
        let other = load(&text, &[]).unwrap().kms;
        assert_eq!(other.server_name(), "kms.example");
        assert_eq!(other.ca(), Some(Path::new("/etc/ssl/certs/ca-certificates.crt")));
        let named = load(&(text + "server_name = \"n\"\nca = \"c.pem\"\n"), &[]).unwrap().kms;
        assert_eq!((named.server_name(), named.ca()), ("n", Some(Path::new("c.pem"))));
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = FILE.replace("node_id = 1", "node_id = 1\nnode_idd = 1");
        assert!(load(&unknown, &[]).unwrap_err().contains("node_idd"));
        let missing = FILE.replace("advertise = \"localhost:8443\"", "");
        assert!(load(&missing, &[]).unwrap_err().contains("advertise"));
        let zero = FILE.replace("node_id = 1", "node_id = 0");
        assert!(load(&zero, &[]).unwrap_err().contains("node_id must be a positive"));
        // It would pass for the KMS among the heads of audits.
        let kms = FILE.replace("node_id = 1", &format!("node_id = {KMS_AUDIT_ID}"));
        assert!(load(&kms, &[]).unwrap_err().contains("at most 4294967295"));
        let short = format!("{FILE}\n[limits]\ndestroyed_versions_retention_seconds = 172799");
        assert!(load(&short, &[]).unwrap_err().contains("retention_seconds must be at least"));
        let small = format!("{FILE}\n[limits]\nrequest_bytes_in_memory = 17825791");
        assert!(load(&small, &[]).unwrap_err().contains("request_bytes_in_memory must be at"));
        for (key, value) in
            [("file_bytes_max", 4095), ("finished_files_max", 0), ("head_interval_seconds", 0)]
        {
            let wrong = format!("{FILE}\n[audit]\n{key} = {value}");
            let error = load(&wrong, &[]).unwrap_err();
            assert!(error.contains(&format!("audit.{key} must be")), "{error}");
        }
        let port = FILE.replace("localhost:8470", "localhost");
        assert!(load(&port, &[]).unwrap_err().contains("kms.address must be host:port"));
        let never = format!("{FILE}\n[destroy]\npurge_within_seconds = 0\n");
        assert!(load(&never, &[]).unwrap_err().contains("purge_within_seconds must be positive"));
        let nobody = format!("{FILE}\n[connections]\nmax = 0\n");
        assert!(load(&nobody, &[]).unwrap_err().contains("connections.max must be positive"));
        let never = format!("{FILE}\n[keyring]\nrewraps_per_second = 0\n");
        assert!(load(&never, &[]).unwrap_err().contains("keyring.rewraps_per_second must be"));
    }
}
