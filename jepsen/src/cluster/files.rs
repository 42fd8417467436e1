//! The files of a cluster: certificates, configurations, data, logs; all below one directory.
//!
//! Certificates of the first nodes, the root key and the first ids are made by `lockbox local`,
//! as for every local cluster; the configurations are ours, because here every server has an
//! address of its own.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use serde::{Deserialize, Serialize};

use super::addresses::Network;
use super::part::{API_PORT, KMS_PORT, METRICS_PORT, PEER_PORT, Part};
use super::program::run;
use crate::model::quota::SECRETS_MAX;

/// The quota of the first cloud: more secrets than an hour's run makes there, for most groups have
/// other things to test. Every other cloud has [`SECRETS_MAX`].
const FIRST_CLOUD_MAX: u32 = 100_000;
/// `raft.entries_held_max`: some seconds of load, so that the bound is met at times.
const ENTRIES_HELD_MAX: u64 = 5_000;

/// `audit.file_bytes_max`: more than an audit of a run grows to. Of a finished file, which is
/// compressed, neither the books nor the search for canaries could read the lines.
const AUDIT_BYTES_MAX: u64 = 1 << 40;

/// What nodes do by themselves (`destroy.purge_within_seconds`): longer than a run waits for.
pub const PURGE_WITHIN_S: u64 = 600;

/// What is chosen for a whole run: how eagerly the cluster snapshots, purges, erases and elects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knobs {
    /// `raft.heartbeat_ms`.
    pub heartbeat_ms: u64,
    /// `raft.election_min_ms`.
    pub election_min_ms: u64,
    /// `raft.election_max_ms`.
    pub election_max_ms: u64,
    /// `raft.snapshot_entries`.
    pub snapshot_entries: u64,
    /// `raft.entries_kept`.
    pub entries_kept: u64,
    /// `audit.sync = "each"` instead of batched.
    pub audit_synced: bool,
    /// `destroy.purge_within_seconds`.
    #[serde(default = "purge_within_s", skip_serializing_if = "is_usual")]
    pub purge_within_s: u64,
}

impl Knobs {
    /// Within how many seconds destroyed payloads are to be gone, if that is soon enough for a run
    /// to wait for it.
    #[must_use]
    pub const fn erased_within_s(&self) -> Option<u64> {
        if self.purge_within_s < PURGE_WITHIN_S { Some(self.purge_within_s) } else { None }
    }
}

/// For plans that do not choose it.
const fn purge_within_s() -> u64 {
    PURGE_WITHIN_S
}

const fn is_usual(purge_within_s: &u64) -> bool {
    *purge_within_s == PURGE_WITHIN_S
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            snapshot_entries: 100,
            entries_kept: 20,
            audit_synced: false,
            purge_within_s: PURGE_WITHIN_S,
        }
    }
}

/// Where a cluster's files are.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    network: Network,
}

/// The ids of the first cloud and folder.
#[derive(Debug, Clone, Deserialize)]
pub struct Ids {
    /// The cloud.
    pub cloud_id: String,
    /// The folder.
    pub folder_id: String,
}

impl Files {
    /// Makes what does not depend on a single server: the authority, the keys, the ids.
    ///
    /// # Errors
    /// When `lockbox local` fails.
    pub(crate) fn make(directory: &Path, network: Network, lockbox: &Path) -> Result<Self> {
        let files = Self { directory: directory.to_owned(), network };
        let lockbox = lockbox.to_string_lossy();
        let directory = directory.to_string_lossy();
        run(&lockbox, ["local", "--dir", &directory, "--nodes", "1", "prepare"])?;
        Ok(files)
    }

    /// Where the servers are.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network
    }

    /// The directory of everything.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// PEM file of the private authority: what clients must trust.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.certificate("ca")
    }

    /// PEM file of a certificate, by the stem of its name.
    #[must_use]
    pub fn certificate(&self, stem: &str) -> PathBuf {
        self.directory.join("certificates").join(format!("{stem}.pem"))
    }

    /// PEM file of its key.
    #[must_use]
    pub fn key(&self, stem: &str) -> PathBuf {
        self.directory.join("certificates").join(format!("{stem}-key.pem"))
    }

    /// The administrator's authorized key, once the cluster is formed.
    #[must_use]
    pub fn admin_key(&self) -> PathBuf {
        self.directory.join("admin-key.json")
    }

    /// The ids of the first cloud and folder.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn ids(&self) -> Result<Ids> {
        let path = self.directory.join("ids.json");
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// A server's configuration.
    #[must_use]
    pub fn config(&self, part: Part) -> PathBuf {
        self.directory.join(format!("{part}.toml"))
    }

    /// The directory that a server's disk is mounted on.
    #[must_use]
    pub fn disk(&self, part: Part) -> PathBuf {
        self.directory.join("disks").join(part.to_string())
    }

    /// A server's data, on its disk.
    #[must_use]
    pub fn data(&self, part: Part) -> PathBuf {
        self.disk(part).join("data")
    }

    /// Writes a node's certificate and configuration.
    ///
    /// # Errors
    /// When the authority or the ids cannot be read or a file cannot be written.
    pub(crate) fn write_node(&self, id: u16, knobs: &Knobs) -> Result<()> {
        let part = Part::Node(id);
        self.issue(part)?;
        let (stem, address) = (part.to_string(), self.network.address(part.host()));
        let (certificate, key) = (self.certificate(&stem), self.key(&stem));
        let identity = format!("certificate = {certificate:?}\nkey = {key:?}\n");
        let Knobs { heartbeat_ms, election_min_ms, election_max_ms, .. } = knobs;
        let Knobs { snapshot_entries, entries_kept, purge_within_s, .. } = knobs;
        let sync = if knobs.audit_synced { "each" } else { "batched" };
        let (data, ca, kms) = (self.data(part), self.ca(), Part::Kms.api(self.network));
        let known = part.known_peer(self.network);
        let first_cloud = self.ids()?.cloud_id;
        let text = format!(
            "node_id = {id}\ndata_dir = {data:?}\n\
             [api]\nlisten = \"{address}:{API_PORT}\"\nadvertise = \"{address}:{API_PORT}\"\n\
             {identity}\
             [peer]\nlisten = \"{address}:{PEER_PORT}\"\nadvertise = \"{known}\"\n\
             {identity}ca = {ca:?}\n\
             [metrics]\nlisten = \"{address}:{METRICS_PORT}\"\nplaintext = true\n\
             [kms]\naddress = \"{kms}\"\n\
             [audit]\nsync = \"{sync}\"\nfile_bytes_max = {AUDIT_BYTES_MAX}\n\
             [raft]\nheartbeat_ms = {heartbeat_ms}\nelection_min_ms = {election_min_ms}\n\
             election_max_ms = {election_max_ms}\nsnapshot_entries = {snapshot_entries}\n\
             entries_kept = {entries_kept}\n\
             entries_held_max = {ENTRIES_HELD_MAX}\n\
             [destroy]\npurge_within_seconds = {purge_within_s}\n\
             [limits]\nsecrets_per_cloud = {SECRETS_MAX}\n\
             secrets_of_clouds = {{ {first_cloud:?} = {FIRST_CLOUD_MAX} }}\n\
             [log]\nformat = \"json\"\n"
        );
        write(&self.config(part), &text)
    }

    /// Writes the KMS's configuration; it asks the nodes up to this one about tokens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_kms(&self, last: u16) -> Result<()> {
        let address = self.network.address(Part::Kms.host());
        let (certificate, key) = (self.certificate("kms"), self.key("kms"));
        let (data, ca) = (self.data(Part::Kms), self.ca());
        let root_key = self.directory.join("kms-root.key");
        let mut asked = String::new();
        for part in (1..=last).map(Part::Node) {
            let (address, name) = (part.known_peer(self.network), part.server_name());
            // Writing to a string cannot fail.
            write!(asked, "{{ address = \"{address}\", server_name = \"{name}\" }}, ").ok();
        }
        let text = format!(
            "data_dir = {data:?}\n\
             [api]\nlisten = \"{address}:{KMS_PORT}\"\n\
             certificate = {certificate:?}\nkey = {key:?}\nclient_ca = {ca:?}\n\
             [metrics]\nlisten = \"{address}:{METRICS_PORT}\"\nplaintext = true\n\
             [root_key]\nfile = {root_key:?}\n\
             [cluster]\nnodes = [{asked}]\n\
             [audit]\nfile_bytes_max = {AUDIT_BYTES_MAX}\n\
             [log]\nformat = \"json\"\n"
        );
        write(&self.config(Part::Kms), &text)
    }

    /// Makes a node's certificate, signed by the cluster's authority.
    fn issue(&self, part: Part) -> Result<()> {
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let authority = KeyPair::from_pem(&read(self.key("ca"))?)?;
        let issuer = Issuer::from_ca_cert_pem(&read(self.ca())?, authority)?;
        let name = part.server_name();
        let mut params = CertificateParams::new(vec![name.clone(), "localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let stem = part.to_string();
        write_private(&self.key(&stem), &key.serialize_pem())?;
        write(&self.certificate(&stem), &certificate.pem())
    }
}

/// A key that others could read is refused by the servers.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
