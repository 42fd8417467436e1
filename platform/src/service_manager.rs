//! What the service manager of the machine is told: that the process is up, how it is, that it
//! ends.
//!
//! The protocol of `sd_notify(3)`: datagrams to the socket that the environment names. Promises
//! that a manager which does not listen holds nothing up for longer than [`SEND_TIMEOUT`], and that
//! a process which nobody manages runs as well. Refuses to know what the process serves.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::health::Readiness;

/// The variable of the environment that names the socket.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// Longest wait for room in the manager's queue. A lost "ready" would be a start that never ends,
/// so it is waited for at all.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Said of a process that serves.
const READY: &str = "STATUS=ready";
/// Said of one that waits: for its peers, for the cluster to be formed, for the KMS.
const NOT_READY: &str = "STATUS=up, not ready: /readyz of the metrics port says why";

/// Whoever started this process and wants to hear of it; nobody by default. Clones share the
/// socket.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager(Option<Arc<Contact>>);

#[derive(Debug)]
struct Contact {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl ServiceManager {
    /// The one that the environment names. One that cannot be told anything is logged, and is
    /// nobody: what the process is for does not depend on it.
    #[must_use]
    pub fn of_environment(environment: &[(String, String)]) -> Self {
        let named = environment.iter().find(|(name, _)| name == SOCKET_VARIABLE);
        let Some((_, name)) = named.filter(|(_, name)| !name.is_empty()) else {
            return Self::default();
        };
        match Contact::at(name) {
            Ok(contact) => Self(Some(Arc::new(contact))),
            Err(error) => {
                tracing::warn!(socket = name, %error, "the service manager cannot be told");
                Self::default()
            }
        }
    }

    /// The process is up: its ports are taken and its data is open. It need not be ready to serve.
    pub fn up(&self) {
        self.tell("READY=1\nSTATUS=up");
    }

    /// The process has been told to end, and does.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Tells whether the process serves, and again whenever that changes, until `cancelled`.
    ///
    /// # Errors
    /// Never; a task of [`crate::tasks`] has an error type.
    pub async fn keep_told(
        self,
        readiness: Readiness,
        cancelled: CancellationToken,
    ) -> Result<(), Infallible> {
        while !cancelled.is_cancelled() {
            let ready = readiness.is_ready();
            // Without the reasons: they change more often, and an old one would be a lie.
            self.tell(if ready { READY } else { NOT_READY });
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = readiness.wait_for(!ready) => {}
            }
        }
        Ok(())
    }

    fn tell(&self, message: &str) {
        let Some(contact) = &self.0 else { return };
        let sent = contact.socket.send_to_addr(message.as_bytes(), &contact.manager);
        if let Err(error) = sent {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

impl Contact {
    fn at(name: &str) -> io::Result<Self> {
        let manager = address(name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket, manager })
    }
}

/// A path, or `@` and a name that is in no file system.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => abstract_address(name),
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::FatalExit;
    use crate::tasks::{TaskKind, Tasks};

    /// Longest wait for what has been sent already, or is about to be.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn named(name: &str) -> ServiceManager {
        ServiceManager::of_environment(&[(SOCKET_VARIABLE.to_owned(), name.to_owned())])
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("the manager is told something");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn the_manager_hears_of_the_beginning_and_of_the_end() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let told = named(path.to_str().expect("a path in UTF-8"));
        told.up();
        told.stopping();
        assert_eq!(heard(&manager), "READY=1\nSTATUS=up");
        assert_eq!(heard(&manager), "STOPPING=1\nSTATUS=stopping");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_outside_of_the_file_system_will_do() {
        let name = format!("lockbox-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&abstract_address(&name).expect("a name"));
        let manager = manager.expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        named(&format!("@{name}")).up();
        assert_eq!(heard(&manager), "READY=1\nSTATUS=up");
    }

    #[test]
    fn nobody_and_somebody_who_does_not_listen_hold_nothing_up() {
        ServiceManager::default().up();
        for name in ["", "vsock:2:1", "/nowhere/notify", "@"] {
            named(name).up();
        }
        let other = [("OTHER".to_owned(), "/nowhere".to_owned())];
        assert!(ServiceManager::of_environment(&other).0.is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_manager_hears_when_the_process_serves_and_when_it_does_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (readiness, tasks) = (Readiness::new(), Tasks::new(FatalExit::new()));
        let replica = readiness.component("replica");
        let told = named(path.to_str().expect("a path in UTF-8"));
        let telling = told.keep_told(readiness.clone(), tasks.token());
        tasks.spawn(TaskKind::Background, "telling", telling);
        assert_eq!(heard(&manager), NOT_READY);
        replica.ready();
        assert_eq!(heard(&manager), READY);
        replica.not_ready("no leader");
        assert_eq!(heard(&manager), NOT_READY);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    }
}
