//! The configuration of `kms-sim`: one TOML file, each key overridable by the environment.
//!
//! `api.listen` is overridden by `KMS_CONFIG_API__LISTEN`, and so on: upper case, two underscores
//! between the table and the key. Secrets are named by file paths only, but for the root key,
//! which may come from `KMS_ROOT_KEY` or `KMS_ROOT_PASSPHRASE`.

mod backup;
mod files;
mod root_key;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockbox_platform::audit::shipping::SyslogConfig;
use lockbox_platform::audit::{self, AuditSync, FILE_BYTES_DEFAULT, FILE_BYTES_MIN};
use lockbox_platform::body_budget;
use lockbox_platform::config_check::{self, Mistake};
use lockbox_platform::config_file::{self, ConfigError, WrongValue};
use lockbox_platform::listener::ConnectionsConfig;
use lockbox_platform::otlp::OtlpConfig;
use lockbox_platform::rate::Rate;
use lockbox_platform::telemetry::LogFormat;
use lockbox_platform::trace::TracesConfig;
use serde::Deserialize;

pub use self::backup::BackupConfig;
pub use self::root_key::{RootKeyConfig, RootVariables};
use crate::authn::introspect::ClusterNode;
use crate::authn::names::NodeName;
use crate::keys::command::Quotas;

/// Time until a version is destroyed when the request does not say (`contract §3.2`).
pub(crate) const PENDING_DEFAULT: Duration = Duration::from_hours(7 * 24);

/// What the environment's overrides begin with.
const OVERRIDE_PREFIX: &str = "KMS_CONFIG_";

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsConfig {
    /// Where keys, ledger and audit are kept.
    pub data_dir: PathBuf,
    /// The listener for nodes and direct users.
    pub api: ApiConfig,
    /// The listener for metrics and health; none when absent.
    pub metrics: Option<MetricsConfig>,
    /// Where the root key is.
    #[serde(default)]
    pub root_key: RootKeyConfig,
    /// Which client certificates are nodes.
    #[serde(default)]
    pub nodes: NodesConfig,
    /// Which client certificates are operators.
    #[serde(default)]
    pub operators: OperatorsConfig,
    /// The cluster that is asked about tokens; none for a KMS that stands alone.
    pub cluster: Option<ClusterConfig>,
    /// The static policy; none when the cluster alone knows the callers.
    pub policy: Option<PolicyConfig>,
    /// The audit file.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Scheduled backups.
    #[serde(default)]
    pub backup: BackupConfig,
    /// The connections of nodes and direct users.
    #[serde(default)]
    pub connections: ConnectionsConfig,
    /// Quotas and limits.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Logging.
    #[serde(default)]
    pub log: LogConfig,
    /// Traces of calls; none unless a collector is named.
    #[serde(default)]
    pub traces: TracesConfig,
    /// Whether `kms-sim serve` keeps all of its memory out of the swap, and does not start where it
    /// may not: it takes `ulimit -l unlimited`.
    #[serde(default)]
    pub lock_memory: bool,
}

/// The listener for nodes and direct users.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// PEM file of the certificate chain; its name for nodes is `kms.lockbox.internal`.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the private CA that signed the nodes' certificates.
    pub client_ca: PathBuf,
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

/// Which client certificates are nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodesConfig {
    /// DNS names; one `*` in the first label stands for letters, digits and hyphens.
    pub names: Vec<String>,
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self { names: vec!["node-*.lockbox.internal".to_owned()] }
    }
}

/// Which client certificates are operators: of whoever may take the deletion of a key back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorsConfig {
    /// DNS names, whole; none at all leaves nobody.
    pub names: Vec<String>,
}

impl Default for OperatorsConfig {
    fn default() -> Self {
        let names = ["operator.lockbox.internal", "admin.lockbox.internal"];
        Self { names: names.map(str::to_owned).to_vec() }
    }
}

/// The cluster that is asked about tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Its nodes.
    pub nodes: Vec<ClusterNodeConfig>,
    /// PEM file of the CA that signed their certificates; `api.client_ca` when absent.
    pub ca: Option<PathBuf>,
}

/// One node of the cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterNodeConfig {
    /// `host:port` that serves introspection.
    pub address: String,
    /// The name in its certificate.
    pub server_name: String,
}

/// The static policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The file.
    pub file: PathBuf,
}

/// How surely an audit record is on disk before its reply leaves (`design §10`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditSyncMode {
    /// In the kernel at once, on disk within 100 ms: survives SIGKILL.
    #[default]
    Batched,
    /// On disk: survives power loss.
    Each,
}

impl From<AuditSyncMode> for AuditSync {
    fn from(mode: AuditSyncMode) -> Self {
        match mode {
            AuditSyncMode::Batched => Self::Batched,
            AuditSyncMode::Each => Self::Each,
        }
    }
}

/// The audit's files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The file that is written to; `audit.jsonl` in the data directory when absent. Finished ones
    /// are beside it.
    pub path: Option<PathBuf>,
    /// When records are synced.
    pub sync: AuditSyncMode,
    /// The length at which a file is finished and the next one begun, in bytes.
    pub file_bytes_max: u64,
    /// Finished files that are kept; all of them when absent. With `[cluster]` the others go once the
    /// cluster's log says so.
    pub finished_files_max: Option<u32>,
    /// A receiver of copies by syslog; none when absent.
    pub syslog: Option<SyslogConfig>,
    /// A collector of copies by OTLP; none when absent.
    pub otlp: Option<OtlpConfig>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            path: None,
            sync: AuditSyncMode::default(),
            file_bytes_max: FILE_BYTES_DEFAULT,
            finished_files_max: None,
            syslog: None,
            otlp: None,
        }
    }
}

/// Quotas and limits (`contract §9`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Keys in one cloud.
    pub keys_per_cloud: u32,
    /// Versions of one key that are not destroyed.
    pub versions_per_key: u32,
    /// Shortest rotation period accepted, in seconds (`contract §13` no. 21).
    pub rotation_period_min_s: u64,
    /// Shortest time until a version's destruction accepted, in seconds (`contract §13` no. 2).
    pub pending_period_min_s: u64,
    /// Time until what a deleted key holds is destroyed, in seconds (`contract §3.2`).
    pub deleted_key_retention_s: u64,
    /// Requests of one subject that are taken in a second, its own and those that nodes make for
    /// it; 0 is no limit.
    pub requests_per_second: u32,
    /// Requests of one subject at once after a pause; 0 is as many as in a second.
    pub requests_burst: u32,
    /// Bytes of requests that are in memory at one time: of those that are not finished, and of
    /// those whose calls are under way. A quarter is for callers without a certificate; one address
    /// has half of the quarter and half of the rest at most.
    pub request_bytes_in_memory: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            keys_per_cloud: 100,
            versions_per_key: 100,
            rotation_period_min_s: 24 * 3600,
            pending_period_min_s: 24 * 3600,
            deleted_key_retention_s: 72 * 3600,
            requests_per_second: 0,
            requests_burst: 0,
            request_bytes_in_memory: body_budget::BYTES_DEFAULT,
        }
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

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Json => Self::Json,
            LogStyle::Human => Self::Human,
        }
    }
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

/// The times that requests are held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Periods {
    /// Shortest rotation period accepted.
    pub(crate) rotation_min: Duration,
    /// Shortest time until a version's destruction accepted.
    pub(crate) pending_min: Duration,
    /// Time until what a deleted key holds is destroyed.
    pub(crate) deleted: Duration,
}

impl KmsConfig {
    /// Reads, overrides and validates a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        config_file::load(path, environment, OVERRIDE_PREFIX, Self::check)
    }

    fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if self.nodes.names.iter().any(|name| NodeName::parse(name).is_none()) {
            return wrong("nodes.names", "holds a name that is neither exact nor like node-*.x.y");
        }
        let addresses = self.cluster.iter().flat_map(|cluster| &cluster.nodes);
        for node in addresses {
            let port = node.address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                return wrong("cluster.nodes", "holds an address that is not host:port");
            }
        }
        if self.cluster.as_ref().is_some_and(|cluster| cluster.nodes.is_empty()) {
            return wrong("cluster.nodes", "must name at least one node");
        }
        self.root_key.check()?;
        if self.limits.pending_period_min_s > PENDING_DEFAULT.as_secs() {
            return wrong("limits.pending_period_min_s", "must be at most 7 days, the default");
        }
        if self.limits.keys_per_cloud == 0 || self.limits.versions_per_key == 0 {
            return wrong("limits", "must be positive");
        }
        if self.limits.request_bytes_in_memory < body_budget::BYTES_MIN {
            return wrong("limits.request_bytes_in_memory", "must be at least 17825792 (17 MiB)");
        }
        if self.audit.file_bytes_max < FILE_BYTES_MIN {
            return wrong("audit.file_bytes_max", "must be at least 4096");
        }
        self.backup.check()?;
        if self.audit.finished_files_max == Some(0) {
            return wrong("audit.finished_files_max", "must be positive");
        }
        if let Some(Err(problem)) = self.audit.syslog.as_ref().map(SyslogConfig::receiver) {
            return wrong("audit.syslog", problem);
        }
        if let Some(Err(problem)) = self.audit.otlp.as_ref().map(OtlpConfig::check) {
            return wrong("audit.otlp", problem);
        }
        self.traces.check()?;
        self.connections.check()
    }

    /// All that is wrong with a text, by line; the environment is not asked.
    #[must_use]
    pub fn mistakes(text: &str) -> Vec<Mistake> {
        config_check::mistakes::<Self>(text, Self::check)
    }

    /// The audit file.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        let default = || self.data_dir.join(audit::DEFAULT_FILE_NAME);
        self.audit.path.clone().unwrap_or_else(default)
    }

    /// What the audit's writer takes.
    #[must_use]
    pub(crate) fn audit_writer(&self) -> audit::AuditConfig {
        audit::AuditConfig {
            path: self.audit_path(),
            sync: self.audit.sync.into(),
            file_bytes_max: self.audit.file_bytes_max,
            finished_files_max: self.audit.finished_files_max,
            // A cluster's log says first what goes; who stands alone has nobody to tell.
            removal: match self.cluster {
                Some(_) => audit::Removal::WhenPermitted,
                None => audit::Removal::AtOnce,
            },
        }
    }

    /// The names that make a client certificate a node's.
    #[must_use]
    pub fn node_names(&self) -> Vec<NodeName> {
        self.nodes.names.iter().filter_map(|name| NodeName::parse(name)).collect()
    }

    /// The quotas.
    #[must_use]
    pub const fn quotas(&self) -> Quotas {
        Quotas {
            keys_per_cloud: self.limits.keys_per_cloud,
            versions_per_key: self.limits.versions_per_key,
        }
    }

    /// The times that requests are held to.
    #[must_use]
    pub(crate) const fn periods(&self) -> Periods {
        Periods {
            rotation_min: Duration::from_secs(self.limits.rotation_period_min_s),
            pending_min: Duration::from_secs(self.limits.pending_period_min_s),
            deleted: Duration::from_secs(self.limits.deleted_key_retention_s),
        }
    }

    /// Requests of one subject.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        Rate { per_second: self.limits.requests_per_second, burst: self.limits.requests_burst }
    }
}

impl ClusterConfig {
    /// The nodes to ask.
    #[must_use]
    pub fn cluster_nodes(&self) -> Vec<ClusterNode> {
        let node = |node: &ClusterNodeConfig| ClusterNode {
            address: node.address.clone(),
            server_name: node.server_name.clone(),
        };
        self.nodes.iter().map(node).collect()
    }
}

#[cfg(test)]
mod tests;
