//! A cluster on loopback, for machines without root or namespaces. Processes can be killed and
//! stopped here, and nothing else can be broken.
//!
//! Promises that its processes end with the value; those of a killed run are ended by the next one,
//! which finds them by the directory that they name.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::basic_trouble::BasicTrouble;
use super::evidence::ServerPlaces;
use super::ground::Ground;
use super::recorded_faults::RecordedFaults;
use super::site::{NodeSite, Site};
use super::trouble::Trouble;
use crate::client::connection::Address;
use crate::cluster::Programs;
use crate::cluster::files::{Ids, Knobs};
use crate::cluster::part::Part;
use crate::cluster::program::finish;
use crate::cluster::server::{Life, Server};
use crate::history::ids::NodeId;
use crate::plan::Plan;

/// The bases of ports that are tried, and the distances of the ports from them: those of
/// `lockbox local`.
const PORT_BASES: [u16; 8] = [21_450, 22_450, 23_450, 24_450, 25_450, 26_450, 27_450, 28_450];
const PEER: u16 = 10;
const KMS: u16 = 20;
const METRICS: u16 = 1000;

/// See the file.
pub struct Loopback {
    programs: Programs,
    directory: PathBuf,
    base: u16,
    knobs: Knobs,
    servers: BTreeMap<Part, Server>,
}

/// The part of a status that is asked for here; protobuf's JSON writes large numbers as texts.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    leader_id: serde_json::Value,
}

impl Loopback {
    /// Makes it, starts the servers, and forms the cluster.
    ///
    /// # Errors
    /// When something of it is not possible; then nothing of it is left.
    pub fn start(plan: &Plan, programs: &Programs, directory: &Path, logs: &Path) -> Result<Self> {
        fs::create_dir_all(logs).with_context(|| logs.display().to_string())?;
        let parts = (1..=plan.nodes).map(Part::Node).chain([Part::Kms]);
        let servers = parts.map(|part| (part, Server::new(part, logs.join(format!("{part}.log")))));
        let loopback = Self {
            programs: programs.clone(),
            directory: directory.to_owned(),
            base: free_base(plan.nodes)?,
            knobs: plan.knobs,
            servers: servers.collect(),
        };
        loopback.prepare(plan.nodes)?;
        for part in loopback.servers.keys() {
            loopback.launch(*part)?;
        }
        loopback.init(plan.nodes)?;
        Ok(loopback)
    }

    fn prepare(&self, nodes: u16) -> Result<()> {
        let mut command = Command::new(&self.programs.lockbox);
        command
            .arg("local")
            .arg("--dir")
            .arg(&self.directory)
            .args(["--nodes", &nodes.to_string(), "--port-base", &self.base.to_string(), "prepare"])
            .env_clear();
        finish(command, "").map(drop)
    }

    fn init(&self, nodes: u16) -> Result<()> {
        let ids = self.ids()?;
        let mut command = self.operator(1, &["init"]);
        command.arg("--admin-key").arg(self.admin_key());
        command.args(["--cloud-id", &ids.cloud_id, "--folder-id", &ids.folder_id]);
        for node in 1..=nodes {
            let [peer, api] = [self.peer(node), self.api(node)];
            command.args(["--member", &format!("{node}={peer},{api}")]);
        }
        command.args(["--timeout", "60s", "--retry", "-1"]);
        finish(command, "").map(drop)
    }

    /// `lockbox cluster …` against a node.
    fn operator(&self, node: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.lockbox);
        command
            .arg("cluster")
            .args(arguments)
            .args(["--endpoint", &self.peer(node)])
            .args(["--server-name", &Part::Node(node).server_name()])
            .arg("--ca")
            .arg(self.certificate("ca.pem"))
            .arg("--certificate")
            .arg(self.certificate("admin.pem"))
            .arg("--key")
            .arg(self.certificate("admin-key.pem"))
            .env_clear();
        command
    }

    /// Runs a command of the operator to its end, without trying again.
    ///
    /// # Errors
    /// What the command complains.
    pub(super) fn operate(&self, node: u16, arguments: &[&str]) -> Result<String> {
        let mut command = self.operator(node, arguments);
        command.args(["--timeout", "5s", "--retry", "0"]);
        finish(command, "")
    }

    /// The leader, as the first node that answers knows it.
    pub(super) fn leader(&self) -> Option<u16> {
        self.nodes().into_iter().find_map(|node| {
            let runs = matches!(self.server(Part::Node(node)).ok()?.life(), Ok(Life::Runs));
            let text = runs.then(|| self.operate(node, &["status", "--format", "json"]).ok())??;
            let id = serde_json::from_str::<Status>(&text).ok()?.leader_id;
            let id = id.as_u64().or_else(|| id.as_str()?.parse().ok())?;
            u16::try_from(id).ok().filter(|id| *id > 0)
        })
    }

    /// Its nodes.
    pub(super) fn nodes(&self) -> Vec<u16> {
        let node = |part: &Part| match part {
            Part::Node(id) => Some(*id),
            Part::Kms => None,
        };
        self.servers.keys().filter_map(node).collect()
    }

    /// A server.
    pub(super) fn server(&self, part: Part) -> Result<&Server> {
        self.servers.get(&part).ok_or_else(|| anyhow!("there is no {part}"))
    }

    /// All servers.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.servers.keys().copied()
    }

    /// Starts a server that does not run, and does not wait.
    pub(super) fn launch(&self, part: Part) -> Result<()> {
        let (program, config) = match part {
            Part::Kms => (&self.programs.kms_sim, self.kms_config()),
            Part::Node(_) => (&self.programs.lockbox, self.directory.join(format!("{part}.toml"))),
        };
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(config).env_clear();
        if part != Part::Kms {
            let knobs = &self.knobs;
            for (name, value) in [
                ("RAFT__HEARTBEAT_MS", knobs.heartbeat_ms),
                ("RAFT__ELECTION_MIN_MS", knobs.election_min_ms),
                ("RAFT__ELECTION_MAX_MS", knobs.election_max_ms),
                ("RAFT__SNAPSHOT_ENTRIES", knobs.snapshot_entries),
                ("RAFT__ENTRIES_KEPT", knobs.entries_kept),
            ] {
                command.env(format!("LOCKBOX_CONFIG_{name}"), value.to_string());
            }
        }
        self.server(part)?.start(command)
    }

    fn ids(&self) -> Result<Ids> {
        let path = self.directory.join("ids.json");
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    fn admin_key(&self) -> PathBuf {
        self.directory.join("admin-key.json")
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join("certificates").join(name)
    }

    fn api(&self, node: u16) -> String {
        format!("localhost:{}", self.base + node)
    }

    fn peer(&self, node: u16) -> String {
        format!("localhost:{}", self.base + PEER + node)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.certificate(name);
        fs::read(&path).with_context(|| path.display().to_string())
    }

    fn process_of(&self, node: NodeId) -> Option<u32> {
        self.server(Part::Node(u16::try_from(node.0).ok()?)).ok()?.pid()
    }
}

/// Describes it. The site keeps it alive.
fn site_of(loopback: &Arc<Loopback>) -> Result<Site> {
    let named =
        |authority: String, part: Part| Address { authority, server_name: part.server_name() };
    let nodes = loopback.nodes().into_iter().map(|id| NodeSite {
        node: NodeId(id.into()),
        api: named(loopback.api(id), Part::Node(id)),
        peer: named(loopback.peer(id), Part::Node(id)),
    });
    let members: Vec<NodeId> = loopback.nodes().into_iter().map(|id| NodeId(id.into())).collect();
    let processes = Arc::clone(loopback);
    Ok(Site {
        nodes: nodes.collect(),
        kms: named(format!("localhost:{}", loopback.base + KMS), Part::Kms),
        ca: loopback.read("ca.pem")?,
        operator: (loopback.read("admin.pem")?, loopback.read("admin-key.pem")?),
        admin_key: loopback.admin_key(),
        folder: loopback.ids()?.folder_id,
        members: Arc::new(move || members.clone()),
        process_of: Arc::new(move |node| processes.process_of(node)),
        client_address: Arc::new(|_| None),
        observer_address: None,
    })
}

/// The cluster on loopback as the place of a run.
pub struct OnLoopback(Arc<Loopback>);

impl OnLoopback {
    /// This one.
    #[must_use]
    pub fn new(loopback: Loopback) -> Self {
        Self(Arc::new(loopback))
    }
}

impl Ground for OnLoopback {
    fn site(&self) -> Result<Site> {
        site_of(&self.0)
    }

    fn places(&self) -> Result<Vec<ServerPlaces>> {
        let place = |part: Part| {
            let (server, data) = (self.0.server(part)?, self.0.directory.join(part.to_string()));
            let (audit, log) = (data.join("audit.jsonl"), server.log().to_owned());
            Ok(ServerPlaces { name: part.to_string(), data, audit, log, pid: server.pid() })
        };
        self.0.parts().map(place).collect()
    }

    fn kms_config(&self) -> PathBuf {
        self.0.kms_config()
    }

    fn trouble(self: Arc<Self>, plan: &Plan, log: &Arc<RecordedFaults>) -> Box<dyn Trouble> {
        Box::new(BasicTrouble::new(Arc::clone(&self.0), plan.clone(), Arc::clone(log)))
    }
}

impl Loopback {
    fn kms_config(&self) -> PathBuf {
        self.directory.join("kms.toml")
    }
}

/// A base whose ports are all free now.
fn free_base(nodes: u16) -> Result<u16> {
    let ports = |base: u16| {
        let of_nodes =
            (1..=nodes).flat_map(move |id| [base + id, base + PEER + id, base + METRICS + id]);
        of_nodes.chain([base + KMS, base + METRICS + KMS])
    };
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let free = PORT_BASES.into_iter().find(|base| ports(*base).all(is_free));
    free.context("no ports are free for a cluster on loopback")
}
