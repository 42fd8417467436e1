//! A cluster of real processes in a network of its own.
//!
//! Owns namespaces, switch, disks, files and processes. Promises that all of it ends with the
//! value, and with the enclosure when that is not dropped. On a machine without the rights for an
//! enclosure the servers are on loopback, with a door before each node. Refuses to know when a
//! fault is due and what clients see.

pub mod addresses;
pub mod admin;
pub mod audit_files;
pub mod backups;
pub mod disk;
pub mod enclosure;
pub mod files;
pub mod kept_audit;
mod looks;
mod loopback;
pub mod netns;
pub mod observe;
pub mod part;
pub mod power;
pub mod preload;
mod probe;
pub mod program;
pub mod proxy;
pub mod scratch;
pub mod server;
pub mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use self::addresses::Network;
use self::admin::Admin;
use self::backups::Backups;
use self::disk::Disk;
use self::files::{Files, Knobs};
use self::loopback::Block;
use self::netns::Namespace;
use self::part::Part;
use self::preload::{Preload, Steering};
use self::proxy::Proxy;
use self::server::Server;
use self::switch::Switch;

/// How long the first start may take on a busy machine.
const START: Duration = Duration::from_secs(120);
/// Keys that a build before this one would refuse in a file that both read. What a run leaves free
/// on its smallest disk is far more than the mark ([`disk::LOW_BYTES`]). Damage is looked for
/// several times in a run, and states are compared; in the kill matrix neither
/// (`kill_matrix::disguise`).
const OF_THIS_BUILD: [&str; 4] = [
    "LOCKBOX_CONFIG_DISK__LOW_BYTES=16777216",
    "LOCKBOX_CONFIG_DISK__BALLAST_BYTES=0",
    "LOCKBOX_CONFIG_DISK__SCRUB_INTERVAL_SECONDS=30",
    "LOCKBOX_CONFIG_DISK__STATE_CHECK_INTERVAL_SECONDS=120",
];

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `lockbox`.
    pub lockbox: PathBuf,
    /// `kms-sim`.
    pub kms_sim: PathBuf,
    /// `lockbox` of another build, if one is tried beside it: a node changes to the other of the
    /// two with each orderly restart, which makes an upgrade of it, or a way back.
    pub other_lockbox: Option<PathBuf>,
}

impl Programs {
    /// Those in a directory.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn in_directory(directory: &Path) -> Result<Self> {
        let find = |name: &str| {
            let path = directory.join(name);
            path.canonicalize().with_context(|| format!("there is no {}", path.display()))
        };
        Ok(Self { lockbox: find("lockbox")?, kms_sim: find("kms-sim")?, other_lockbox: None })
    }

    /// The same, beside `lockbox` in another directory.
    ///
    /// # Errors
    /// When it is not there.
    pub fn beside(self, directory: Option<&Path>) -> Result<Self> {
        let other = directory.map(Self::in_directory).transpose()?;
        Ok(Self { other_lockbox: other.map(|other| other.lockbox), ..self })
    }
}

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The programs.
    pub programs: Programs,
    /// Whether it gets a network of its own: for the inside of the enclosure only. Else its servers
    /// are on loopback.
    pub enclosed: bool,
    /// Where everything is kept.
    pub directory: PathBuf,
    /// Where the servers' logs are kept.
    pub logs: PathBuf,
    /// Its first members are the nodes from 1 to this.
    pub nodes: u16,
    /// How many more ids there are for nodes that join.
    pub spares: u16,
    /// Its configuration.
    pub knobs: Knobs,
    /// Size of each server's disk.
    pub disk_mebibytes: u32,
    /// Whether unsynced data can be lost.
    pub forgetful: bool,
    /// For the dice of the switch.
    pub seed: u64,
}

/// The running cluster.
pub struct Cluster {
    spec: Spec,
    network: Network,
    files: Files,
    admin: Admin,
    preload: Preload,
    switch: Option<Switch>,
    doors: BTreeMap<Part, Proxy>,
    namespaces: BTreeMap<Part, Namespace>,
    disks: BTreeMap<Part, Disk>,
    servers: BTreeMap<Part, Server>,
    members: Mutex<BTreeSet<u16>>,
    backups: Backups,
    /// The nodes that are started by the other build.
    on_other_build: Mutex<BTreeSet<Part>>,
    /// Its addresses on loopback: the last to go.
    _block: Option<Block>,
}

impl Cluster {
    /// Makes it, starts the servers, forms the cluster, and waits until every part is ready.
    ///
    /// # Errors
    /// When something of it is not possible; then nothing of it is left.
    pub fn start(spec: Spec) -> Result<Self> {
        let nodes: Vec<u16> = (1..=spec.nodes).collect();
        let cluster = Self::make(spec, &nodes)?;
        cluster.launch(Part::Kms)?;
        for node in &nodes {
            cluster.launch(Part::Node(*node))?;
        }
        cluster.wait_ready(Part::Kms, START)?;
        // A node that ends by a wrong configuration says so itself; who calls it could not.
        for node in &nodes {
            cluster.wait_listening(Part::Node(*node), START)?;
        }
        cluster.admin.init(&nodes)?;
        for node in &nodes {
            cluster.wait_ready(Part::Node(*node), START)?;
        }
        Ok(cluster)
    }

    fn make(spec: Spec, nodes: &[u16]) -> Result<Self> {
        std::fs::create_dir_all(&spec.logs)?;
        let preload = Preload::make(&spec.directory, spec.forgetful)?;
        // One more than there can be members: see `restored_node`.
        let ids = spec.nodes + spec.spares + 1;
        let block = if spec.enclosed { None } else { Some(Block::take(ids)?) };
        let network = block.as_ref().map_or(Network::Private, Block::network);
        let files = Files::make(&spec.directory, network, &spec.programs.lockbox)?;
        let admin = Admin::new(spec.programs.lockbox.clone(), files.clone());
        // One from the beginning: the cluster may use no more than both builds understand.
        let on_other_build = nodes.last().map(|id| Part::Node(*id)).into_iter().collect();
        let mut cluster = Self {
            network,
            files,
            admin,
            preload,
            switch: None,
            doors: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            disks: BTreeMap::new(),
            servers: BTreeMap::new(),
            members: Mutex::new(nodes.iter().copied().collect()),
            backups: Backups::default(),
            on_other_build: Mutex::new(on_other_build),
            spec,
            _block: block,
        };
        let all: Vec<_> = (1..=ids).map(Part::Node).chain([Part::Kms]).collect();
        match network {
            Network::Private => cluster.make_private(&all)?,
            Network::Loopback(_) => cluster.make_doors(&all)?,
        }
        for part in all {
            cluster.make_server(part)?;
        }
        Ok(cluster)
    }

    /// A namespace and a disk for each server, and the switch between them.
    fn make_private(&mut self, all: &[Part]) -> Result<()> {
        let mut ports = vec![netns::own_port()?];
        for part in all {
            let (namespace, port) = Namespace::make(part.host())?;
            ports.push(port);
            self.namespaces.insert(*part, namespace);
            let disk = Disk::mount(&self.files.disk(*part), self.spec.disk_mebibytes)?;
            self.disks.insert(*part, disk);
        }
        self.switch = Some(Switch::start(ports, self.spec.seed)?);
        Ok(())
    }

    fn make_doors(&mut self, all: &[Part]) -> Result<()> {
        let network = self.network;
        for part in all.iter().filter(|part| **part != Part::Kms) {
            let (door, target) = (part.known_peer(network), part.peer(network));
            self.doors.insert(*part, Proxy::open(door.parse()?, target.parse()?)?);
        }
        Ok(())
    }

    fn make_server(&mut self, part: Part) -> Result<()> {
        std::fs::create_dir_all(self.files.data(part))?;
        Steering::make(&self.files.disk(part).join("steering"))?;
        let log = self.spec.logs.join(format!("{part}.log"));
        self.servers.insert(part, Server::new(part, log));
        match part {
            Part::Node(id) => self.files.write_node(id, &self.spec.knobs),
            // Also those that join later: in the end the first ones may all have been replaced.
            Part::Kms => self.files.write_kms(self.restored_node()),
        }
    }

    /// What it was made from.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where its servers are.
    #[must_use]
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Its files.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// Its operator.
    #[must_use]
    pub const fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Its network.
    ///
    /// # Errors
    /// On loopback: there are no links to break.
    pub fn switch(&self) -> Result<&Switch> {
        self.switch.as_ref().context("there is no switch on loopback")
    }

    /// The door before a node.
    ///
    /// # Errors
    /// In a private network: links are broken there.
    pub fn door(&self, part: Part) -> Result<&Proxy> {
        self.doors.get(&part).ok_or_else(|| anyhow!("there is no door before {part}"))
    }

    /// Which of the preloaded libraries it runs with.
    pub(crate) const fn preload(&self) -> &Preload {
        &self.preload
    }

    /// A server.
    ///
    /// # Errors
    /// When the cluster has no such part.
    pub fn server(&self, part: Part) -> Result<&Server> {
        self.servers.get(&part).ok_or_else(|| anyhow!("there is no {part}"))
    }

    /// A server's namespace.
    ///
    /// # Errors
    /// When the cluster has no such part.
    pub fn namespace(&self, part: Part) -> Result<&Namespace> {
        self.namespaces.get(&part).ok_or_else(|| anyhow!("there is no {part}"))
    }

    /// A server's disk.
    ///
    /// # Errors
    /// When the cluster has no such part.
    pub fn disk(&self, part: Part) -> Result<&Disk> {
        self.disks.get(&part).ok_or_else(|| anyhow!("there is no {part}"))
    }

    /// What steers a server's preloaded libraries.
    #[must_use]
    pub fn steering(&self, part: Part) -> Steering {
        Steering::at(&self.files.disk(part).join("steering"))
    }

    /// Forgets what would be durable of a server's data, for all of that is removed.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(crate) fn forget_durable(&self, part: Part) -> Result<()> {
        let durable = self.steering(part).durable();
        std::fs::remove_dir_all(&durable).with_context(|| durable.display().to_string())?;
        std::fs::create_dir(&durable).with_context(|| durable.display().to_string())
    }

    fn lock_members(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        // A set of numbers is whole at any moment.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes that are voters, as far as the harness has made them so.
    #[must_use]
    pub fn members(&self) -> Vec<u16> {
        self.lock_members().iter().copied().collect()
    }

    /// Remembers which nodes are voters.
    pub fn set_members(&self, members: &[u16]) {
        *self.lock_members() = members.iter().copied().collect();
    }

    fn lock_on_other_build(&self) -> MutexGuard<'_, BTreeSet<Part>> {
        // A set of parts is whole at any moment.
        self.on_other_build.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the other build start a node from now on. False when there is one build alone.
    pub(crate) fn change_build(&self, node: Part) -> bool {
        let mut on_other = self.lock_on_other_build();
        if !on_other.remove(&node) {
            on_other.insert(node);
        }
        self.spec.programs.other_lockbox.is_some()
    }

    fn program(&self, part: Part) -> &Path {
        let programs = &self.spec.programs;
        match (part, &programs.other_lockbox) {
            (Part::Kms, _) => &programs.kms_sim,
            (Part::Node(_), Some(other)) if self.lock_on_other_build().contains(&part) => other,
            (Part::Node(_), _) => &programs.lockbox,
        }
    }

    /// Starts a server that does not run, and does not wait.
    ///
    /// # Errors
    /// When it runs, or cannot be started.
    pub fn launch(&self, part: Part) -> Result<()> {
        let program = self.program(part);
        // `env` sets the libraries for the server alone, not for what starts it.
        let env = Path::new("env");
        let mut command = match self.network {
            Network::Private => self.namespace(part)?.command(env),
            Network::Loopback(_) => Command::new(env),
        };
        command.arg("-i");
        if let Part::Node(_) = part {
            let data = self.files.data(part);
            let steering = self.steering(part);
            for (name, value) in self.preload.environment(&data, &steering) {
                let mut assignment = std::ffi::OsString::from(name);
                assignment.push("=");
                assignment.push(value);
                command.arg(assignment);
            }
        }
        if matches!(part, Part::Node(_)) && program == self.spec.programs.lockbox.as_path() {
            command.args(OF_THIS_BUILD);
        }
        command.arg(program).args(["serve", "--config"]).arg(self.files.config(part));
        self.server(part)?.start(command)
    }
}
