//! What the service manager of the machine is told: that the process is up, how it is, that it
//! ends.
//!
//! The protocol of `sd_notify(3)`: datagrams to the socket that the environment names. Promises
//! that a manager which does not listen holds nothing up for longer than a second, and that a
//! process which nobody manages runs as well. Refuses to know what the process serves.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::health::Readiness;

/// The variable of the environment that names the socket.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// The variable that says within how many microseconds the manager wants to hear of the process,
/// else it takes it for dead.
pub const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
/// The variable that says of which process, where it is set.
const WATCHDOG_PID_VARIABLE: &str = "WATCHDOG_PID";

/// Longest wait for room in the manager's queue. A lost "ready" would be a start that never ends,
/// so it is waited for at all.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Said of a process whose tasks run.
const ALIVE: &str = "WATCHDOG=1";
/// Said of a process that serves.
const READY: &str = "STATUS=ready";
/// Said of one that waits: for its peers, for the cluster to be formed, for the KMS.
const NOT_READY: &str = "STATUS=up, not ready: /readyz of the metrics port says why";

/// Whoever started this process and wants to hear of it; nobody by default. Clones share the
/// socket.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    contact: Option<Arc<Contact>>,
    watchdog: Option<Duration>,
}

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
        let value = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let Some(socket) = value(SOCKET_VARIABLE) else { return Self::default() };
        let is_meant = value(WATCHDOG_PID_VARIABLE)
            .is_none_or(|pid| pid.parse::<u32>() == Ok(std::process::id()));
        let period_us = value(WATCHDOG_VARIABLE).and_then(|period| period.parse().ok());
        let watchdog = period_us.filter(|_| is_meant).map(Duration::from_micros);
        match Contact::at(socket) {
            Ok(contact) => Self { contact: Some(Arc::new(contact)), watchdog },
            Err(error) => {
                tracing::warn!(socket, %error, "the service manager cannot be told");
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

    /// Tells that the process lives, twice in the time that the manager has set, until `cancelled`.
    /// A runtime that no longer runs tasks tells nothing, and is started anew.
    ///
    /// # Errors
    /// Never; a task of [`crate::tasks`] has an error type.
    pub async fn keep_watched(self, cancelled: CancellationToken) -> Result<(), Infallible> {
        let Some(period) = self.watchdog else { return Ok(()) };
        while !cancelled.is_cancelled() {
            self.tell(ALIVE);
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = tokio::time::sleep(period / 2) => {}
            }
        }
        Ok(())
    }

    fn tell(&self, message: &str) {
        let Some(contact) = &self.contact else { return };
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
        assert!(ServiceManager::of_environment(&other).contact.is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_manager_that_watches_hears_again_and_again_that_the_process_lives() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let of = |pid: u32, period_us: &str| {
            let pid = pid.to_string();
            let path = path.to_str().expect("a path in UTF-8");
            let variables = [
                (SOCKET_VARIABLE, path),
                (WATCHDOG_VARIABLE, period_us),
                (WATCHDOG_PID_VARIABLE, pid.as_str()),
            ];
            let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            ServiceManager::of_environment(&owned)
        };
        let own = std::process::id();
        assert_eq!(of(own, "many").watchdog, None);
        assert_eq!(of(own + 1, "1000").watchdog, None, "another process is watched");
        let told = of(own, "1000");
        assert_eq!(told.watchdog, Some(Duration::from_millis(1)));
        let tasks = Tasks::new(FatalExit::new());
        tasks.spawn(TaskKind::Background, "telling", told.keep_watched(tasks.token()));
        for _ in 0..3 {
            assert_eq!(heard(&manager), ALIVE);
        }
        // Who listens no longer holds nothing up.
        drop(manager);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
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
        let telling = told.keep_told(readiness, tasks.token());
        tasks.spawn(TaskKind::Background, "telling", telling);
        assert_eq!(heard(&manager), NOT_READY);
        replica.ready();
        assert_eq!(heard(&manager), READY);
        replica.not_ready("no leader");
        assert_eq!(heard(&manager), NOT_READY);
        assert_eq!(tasks.shutdown(PATIENCE).await, Ok(()));
    }
}
