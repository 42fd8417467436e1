//! The node's configuration: one TOML file, each key overridable by an environment variable.
//!
//! `api.listen` is overridden by `LOCKBOX_CONFIG_API__LISTEN`, and so on: upper case, two
//! underscores between the table and the key. Secrets are named by file paths only.

mod audit_file;
mod backup;
mod disk;
mod files;
mod keyring;
mod kms;
mod limits;
mod log;
mod raft;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_core::{ClusterId, NODE_ID_MAX, NodeId};
use lockbox_platform::audit::DEFAULT_FILE_NAME;
use lockbox_platform::config_check::{self, Mistake};
use lockbox_platform::config_file::{self, ConfigError, WrongValue};
use lockbox_platform::listener::ConnectionsConfig;
use lockbox_platform::trace::TracesConfig;
use serde::Deserialize;

pub use self::audit_file::{AuditConfig, AuditSyncMode};
pub use self::backup::{BackupConfig, BucketConfig};
pub use self::disk::DiskConfig;
pub use self::keyring::KeyringConfig;
pub use self::kms::KmsConfig;
pub use self::limits::LimitsConfig;
pub use self::log::{LogConfig, LogStyle};
pub use self::raft::RaftConfig;

/// What the environment's overrides begin with.
const OVERRIDE_PREFIX: &str = "LOCKBOX_CONFIG_";

/// The whole configuration of one node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node's id: a positive number, never reused within a cluster.
    pub node_id: NodeId,
    /// The id of the cluster, as `lockbox cluster status` prints it. A node whose data are of
    /// another one does not start; without it, which is the default, any cluster's data are taken.
    #[serde(default)]
    pub cluster_id: Option<String>,
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
    /// Backups.
    #[serde(default)]
    pub backup: BackupConfig,
    /// The disk: its room, and damage on it.
    #[serde(default)]
    pub disk: DiskConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
    /// Traces of calls; none unless a collector is named. Of `lockbox serve` alone.
    #[serde(default)]
    pub traces: TracesConfig,
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
        if self.cluster_id.as_deref().is_some_and(|id| ClusterId::parse(id).is_err()) {
            return wrong("cluster_id", "must be the id of a cluster");
        }
        self.raft.check()?;
        self.audit.check()?;
        if self.destroy.purge_within_seconds == 0 {
            return wrong("destroy.purge_within_seconds", "must be positive");
        }
        self.limits.check()?;
        self.keyring.check()?;
        self.backup.check()?;
        self.disk.check()?;
        let lifetime = self.identity.token_lifetime_seconds;
        if lifetime == 0 || lifetime > 12 * 3600 {
            return wrong("identity.token_lifetime_seconds", "must be between 1 and 43200");
        }
        self.connections.check()?;
        self.traces.check()?;
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

    /// All that is wrong with a text, by line; the environment is not asked.
    #[must_use]
    pub fn mistakes(text: &str) -> Vec<Mistake> {
        config_check::mistakes::<Self>(text, Self::check)
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
        assert_eq!((config.backup.every(), config.backup.has_place()), (None, false));
    }

    #[test]
    fn the_environment_overrides_nested_keys() {
        let overrides = [("LOCKBOX_CONFIG_NODE_ID", "3"), ("LOCKBOX_CONFIG_LIMITS__ENTRIES", "7")];
        let config = load(FILE, &overrides).unwrap();
        assert_eq!((config.node_id, config.limits.entries), (3, 7));
        let nested = [("LOCKBOX_CONFIG_AUDIT__SYSLOG__TO", "unix:///dev/log")];
        let config = load(FILE, &nested).unwrap();
        assert_eq!(config.audit.syslog.unwrap().to, "unix:///dev/log");
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
        let cluster = FILE.replace("node_id = 1", "node_id = 1\ncluster_id = \"a b\"");
        assert!(load(&cluster, &[]).unwrap_err().contains("cluster_id must be the id"));
        for (table, problem) in [
            ("[audit.syslog]\nto = \"udp://logs:514\"", "audit.syslog must go to tls://"),
            ("[audit.otlp]\nendpoint = \"logs:4317\"", "audit.otlp must have a ca"),
            ("[traces]\nratio = 1.5", "traces.ratio must be from 0 to 1"),
            ("[traces.otlp]\nendpoint = \"collector\"", "traces.otlp must have an endpoint"),
        ] {
            let error = load(&format!("{FILE}\n{table}"), &[]).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let port = FILE.replace("localhost:8470", "localhost");
        assert!(load(&port, &[]).unwrap_err().contains("kms.address must be host:port"));
        let never = format!("{FILE}\n[destroy]\npurge_within_seconds = 0\n");
        assert!(load(&never, &[]).unwrap_err().contains("purge_within_seconds must be positive"));
        let nobody = format!("{FILE}\n[connections]\nmax = 0\n");
        assert!(load(&nobody, &[]).unwrap_err().contains("connections.max must be positive"));
        let forgets = format!("{FILE}\n[disk]\nretained_bytes_max = 1\n");
        assert!(load(&forgets, &[]).unwrap_err().contains("disk.retained_bytes_max must be at"));
        for (backup, problem) in [
            ("every_seconds = 59", "backup.every_seconds must be 0 or at least 60"),
            ("every_seconds = 60", "backup.every_seconds needs backup.directory or"),
            ("every_seconds = 60\ndirectory = \"b\"", "needs backup.recipients or"),
            ("recipients = [\"nobody\"]", "backup.recipients must be recipients of"),
            ("keep_newest = 0", "backup.keep_newest must be positive"),
            ("destroyed_within_seconds = 0", "destroyed_within_seconds must be positive"),
        ] {
            let error = load(&format!("{FILE}\n[backup]\n{backup}\n"), &[]).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let never = format!("{FILE}\n[keyring]\nrewraps_per_second = 0\n");
        assert!(load(&never, &[]).unwrap_err().contains("keyring.rewraps_per_second must be"));
    }
}
