//! What is under test: one process with everything in it, or a follower of three.
//!
//! Started when the first item needs it, kept for all of them, ended by [`Targets::stop`].

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use lockbox_platform::tls::{ClientTlsFiles, client_tls, endpoint};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::cluster::{Cluster, NODES};
use crate::programs;
use crate::waiting::until;

/// The two installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    OneProcess,
    Follower,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::OneProcess, Self::Follower];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneProcess => "one_process",
            Self::Follower => "follower_of_three",
        }
    }
}

/// One server and its port.
pub(crate) struct Endpoint {
    pub(crate) channel: Channel,
    pub(crate) port: u16,
}

/// Where to ask, and as whom.
pub(crate) struct Target {
    pub(crate) lockbox: Endpoint,
    pub(crate) kms: Endpoint,
    /// The node's port for metrics and health.
    pub(crate) metrics: u16,
    pub(crate) ca: PathBuf,
    /// The administrator's.
    pub(crate) token: String,
    pub(crate) folder: String,
    pub(crate) cloud: String,
    /// Where the target keeps its files.
    pub(crate) data: PathBuf,
    /// Everything that the servers write is below it.
    pub(crate) directory: PathBuf,
}

/// A started installation; ends with the value.
#[allow(dead_code, reason = "what it holds is held until then")]
enum Running {
    One(Child, TempDir),
    Three(Box<Cluster>),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::One(process, _) = self {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

type Started = BTreeMap<Kind, (Running, Arc<Target>)>;

/// All installations of this run.
#[derive(Clone)]
pub(crate) struct Targets {
    runtime: Arc<Runtime>,
    started: Arc<Mutex<Started>>,
}

impl Targets {
    pub(crate) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        Self { runtime: Arc::new(runtime), started: Arc::default() }
    }

    pub(crate) fn block_on(&self, item: impl Future<Output = ()>) {
        self.runtime.block_on(item);
    }

    /// The target, started if it is not yet. Who comes second waits.
    pub(crate) fn get(&self, kind: Kind) -> Arc<Target> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, target) = started.entry(kind).or_insert_with(|| {
            let (running, target) = self.runtime.block_on(async {
                match kind {
                    Kind::OneProcess => start_one().await,
                    Kind::Follower => start_three().await,
                }
            });
            (running, Arc::new(target))
        });
        Arc::clone(target)
    }

    /// Ends all that was started.
    pub(crate) fn stop(&self) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        // A cluster's processes are waited for by code that needs a runtime.
        let _entered = self.runtime.enter();
        started.clear();
    }
}

async fn start_one() -> (Running, Target) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("dev.log");
    let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    let free = ["--api-port", "--kms-port", "--peer-port", "--metrics-port", "--kms-metrics-port"];
    let mut process = Command::new(programs::lockbox())
        .arg("dev")
        .arg("--dir")
        .arg(directory.path())
        .args(free.into_iter().flat_map(|flag| [flag, "0"]))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let file = directory.path().join("env");
    until("connection file", async || {
        if let Some(status) = process.try_wait().unwrap() {
            let said = std::fs::read_to_string(directory.path().join("dev.log"));
            panic!("lockbox dev has ended with {status}: {}", said.unwrap_or_default());
        }
        file.exists().then_some(())
    })
    .await;
    let variables = variables(&file);
    let target = target(&variables, directory.path(), 0);
    (Running::One(process, directory), target)
}

async fn start_three() -> (Running, Target) {
    let cluster = Cluster::start(Vec::new()).await;
    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|id| *id != leader).unwrap();
    let variables = variables(&cluster.directory().join("env"));
    let target = target(&variables, cluster.directory(), usize::from(follower) - 1);
    (Running::Three(Box::new(cluster)), target)
}

/// The node at this position of the file's lists.
fn target(variables: &BTreeMap<String, String>, directory: &Path, node: usize) -> Target {
    let listed = |name: &str| variables[name].split(' ').nth(node).unwrap().to_owned();
    let ca = PathBuf::from(&variables["LOCKBOX_CA"]);
    let connect = |port: u16| {
        let files = ClientTlsFiles { ca: ca.clone(), identity: None };
        let tls = client_tls(&files, "localhost").unwrap();
        let channel = endpoint(&format!("localhost:{port}"), Some(tls)).unwrap().connect_lazy();
        Endpoint { channel, port }
    };
    Target {
        lockbox: connect(port_of(&listed("LOCKBOX_ENDPOINTS"))),
        kms: connect(port_of(&variables["KMS_ENDPOINT"])),
        metrics: port_of(listed("LOCKBOX_METRICS").trim_end_matches("/metrics")),
        token: variables["LOCKBOX_TOKEN"].clone(),
        folder: variables["LOCKBOX_FOLDER_ID"].clone(),
        cloud: variables["LOCKBOX_CLOUD_ID"].clone(),
        data: PathBuf::from(listed("LOCKBOX_DATA")),
        directory: directory.to_owned(),
        ca,
    }
}

fn variables(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap();
    let variables = text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    });
    variables.collect()
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}
