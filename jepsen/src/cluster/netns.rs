//! Network namespaces: one for each server; the clients and the observer are in the run's own.
//!
//! Works inside the enclosure only (`enclosure.rs`), so that the namespaces end with the run and
//! no address outside them can be reached. Each has one device, an end of the switch.

use std::fmt::Write as _;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tappers::{Interface, Tun};

use super::addresses::{CLIENTS, Host, PREFIX_LENGTH};
use super::program::{finish, run};
use super::switch::Port;

/// The device in each namespace.
const DEVICE: &str = "tun0";
/// Larger than Ethernet's: fewer packets for the same bytes, and each costs two system calls.
const MTU: u32 = 9000;

/// The namespace that a server is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it, and the device in it.
    ///
    /// # Errors
    /// When the machine refuses: not root, or not inside the enclosure.
    pub fn make(host: Host) -> Result<(Self, Port)> {
        let namespace = Self { name: host.to_string() };
        run("ip", ["netns", "add", &namespace.name])?;
        let device = namespace.within(create_device)?;
        let addresses = vec![host.address()];
        configure(Some(&namespace.name), &addresses)?;
        Ok((namespace, Port { device, addresses }))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Does something from a thread that has moved into the namespace, and ends. Sockets that are
    /// opened there stay there.
    ///
    /// # Errors
    /// When the thread cannot move, and what is done.
    pub fn within<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path();
        let moved = move || -> Result<T> {
            let namespace = File::open(&path).with_context(|| path.display().to_string())?;
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind)
                .with_context(|| format!("cannot move into {}", path.display()))?;
            what()
        };
        let joined = std::thread::spawn(moved).join();
        joined.map_err(|_| anyhow!("what was done in {} panicked", self.name))?
    }

    /// A program that is to run in the namespace. The process that is started becomes it.
    #[must_use]
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Replaces the packet filter of the namespace.
    ///
    /// # Errors
    /// When `nft` is not there or refuses the rules.
    pub(crate) fn filter(&self, rules: &str) -> Result<()> {
        let mut command = self.command(std::path::Path::new("nft"));
        command.args(["-f", "-"]);
        finish(command, rules).map(drop)
    }

    /// What `nft` says of the packet filter.
    ///
    /// # Errors
    /// When `nft` is not there.
    pub(crate) fn filter_state(&self) -> Result<String> {
        let mut command = self.command(std::path::Path::new("nft"));
        command.args(["list", "ruleset"]);
        finish(command, "")
    }
}

/// The end of the switch in the run's own namespace, where clients and the observer are.
///
/// # Errors
/// As [`Namespace::make`].
pub fn own_port() -> Result<Port> {
    let device = create_device()?;
    let clients = (0..CLIENTS).map(|number| Host::Client(number).address());
    // The observer's is the first, so it is what is used when nobody asks for another.
    let addresses: Vec<_> = std::iter::once(Host::Observer.address()).chain(clients).collect();
    configure(None, &addresses)?;
    Ok(Port { device, addresses })
}

fn create_device() -> Result<Tun> {
    let name = Interface::new(DEVICE).context("the device's name")?;
    Tun::new_named(name).context("cannot make a TUN device")
}

fn configure(namespace: Option<&str>, addresses: &[Ipv4Addr]) -> Result<()> {
    let mut batch = String::from("link set lo up\n");
    for address in addresses {
        // Writing to a string cannot fail.
        writeln!(batch, "address add {address}/{PREFIX_LENGTH} dev {DEVICE}").ok();
    }
    writeln!(batch, "link set {DEVICE} mtu {MTU} txqueuelen 2000 up").ok();
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-batch", "-"]);
    finish(command, &batch).map(drop)
}
