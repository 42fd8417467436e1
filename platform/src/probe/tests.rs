//! A real listener for metrics, in clear and over TLS, asked as a health check does.

use super::*;
use crate::certificates::{LeafSpec, issue_all, leaf_files};
use crate::exit::{ExitCode, FatalExit};
use crate::health::{self, Readiness};
use crate::listener::{self, ListenerLimits, Security, Serving};
use crate::metrics::{Metrics, Prefix};
use crate::system::SystemClock;
use crate::tasks::Tasks;
use crate::tls::{ClientCertificates, IdentityFiles, ServerTls, TlsFiles};

/// Longest wait for an answer that comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Certificates of two stems, and a server that shows the first one where it has TLS.
struct Server {
    directory: tempfile::TempDir,
    readiness: Readiness,
    fatal: FatalExit,
    tasks: Tasks,
    serving: Serving,
}

impl Server {
    async fn start(listen: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let leaf = |stem: &str| LeafSpec {
            file_stem: stem.to_owned(),
            dns_names: vec![format!("{stem}.test")],
            ips: Vec::new(),
        };
        let leaves = [leaf("own"), leaf("other")];
        issue_all(directory.path(), &leaves, &SystemClock::new()).expect("certificates");
        let IdentityFiles { certificate, key } = leaf_files(directory.path(), "own");
        let tls = TlsFiles { certificate, key, clients: ClientCertificates::None };
        let tls = ServerTls::load(&tls).expect("files that fit");
        let address: SocketAddr = listen.parse().expect("an address");
        let security = Security::of_metrics(address, false, &tls);
        let bound = listener::bind("metrics", address, security).await.expect("a free port");
        let (readiness, fatal) = (Readiness::new(), FatalExit::new());
        let tasks = Tasks::new(fatal.clone());
        let metrics = Metrics::new(Prefix::Lockbox).expect("a registry");
        let tls_metrics = metrics.tls.clone();
        let routes = health::router(metrics, readiness.clone(), fatal.clone());
        let serving = bound.start(routes, &tasks, ListenerLimits::default(), tls_metrics);
        Self { directory, readiness, fatal, tasks, serving }
    }

    async fn ask(&self, stem: &str, question: Question) -> Result<Answer, ProbeError> {
        let certificate = leaf_files(self.directory.path(), stem).certificate;
        let listen = self.serving.local_addr();
        let target = Target { listen, plaintext: false, certificate: &certificate };
        ask(&target, question, PATIENCE).await
    }

    async fn stop(self) {
        self.serving.stop(Duration::ZERO).await;
        assert_eq!(self.tasks.shutdown(PATIENCE).await, Ok(()));
    }
}

fn yes(text: &str) -> Answer {
    Answer { is_yes: true, text: text.to_owned() }
}

#[tokio::test]
async fn a_server_says_whether_it_lives_and_whether_it_serves() {
    for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = Server::start(listen).await;
        let (keyring, replica) =
            (server.readiness.component("keyring"), server.readiness.component("replica"));
        keyring.not_ready("sealed");
        replica.not_ready("no leader");
        let answer = server.ask("own", Question::Ready).await.expect("an answer");
        let expected = Answer { is_yes: false, text: "keyring: sealed; replica: no leader".into() };
        assert_eq!(answer, expected, "{listen}");
        let alive = server.ask("own", Question::Live).await.expect("an answer");
        assert_eq!(alive, yes("alive"), "{listen}");
        keyring.ready();
        replica.ready();
        assert_eq!(server.ask("own", Question::Ready).await.expect("an answer"), yes("ready"));
        server.fatal.raise(ExitCode::Storage, "disk");
        let dying = server.ask("own", Question::Live).await.expect("an answer");
        assert_eq!(dying, Answer { is_yes: false, text: "stopping".into() });
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_with_another_certificate_is_another_server() {
    let server = Server::start("0.0.0.0:0").await;
    let other = server.ask("other", Question::Live).await;
    assert!(matches!(other, Err(ProbeError::Unreachable { .. })), "{other:?}");
    let absent = server.ask("absent", Question::Live).await;
    assert!(matches!(absent, Err(ProbeError::Tls(TlsError::Read { .. }))), "{absent:?}");
    server.stop().await;
}

#[tokio::test]
async fn nobody_somebody_silent_and_somebody_else_are_told_apart() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listen = silent.local_addr().expect("an address");
    let target = Target { listen, plaintext: true, certificate: Path::new("unused") };
    let late = ask(&target, Question::Live, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(ProbeError::Late { .. })), "{late:?}");
    drop(silent);
    let nobody = ask(&target, Question::Live, PATIENCE).await;
    assert!(matches!(nobody, Err(ProbeError::Unreachable { .. })), "{nobody:?}");
    for other in [&b"SSH-2.0-x\r\n\r\n"[..], b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", b"\xff"] {
        assert_eq!(parse(other), None);
    }
}

#[test]
fn whoever_listens_everywhere_is_reached_on_this_machine() {
    for (listen, reached) in [
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:2", "[::1]:2"),
        ("10.0.0.1:3", "10.0.0.1:3"),
        ("127.0.0.1:4", "127.0.0.1:4"),
    ] {
        let listen: SocketAddr = listen.parse().expect("an address");
        assert_eq!(reachable(listen).to_string(), reached);
    }
}
