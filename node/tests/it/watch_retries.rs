//! `lockbox secret watch` against a server that answers by a script: how often it asks again.

use std::pin::Pin;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::Stream;
use lockbox_platform::certificates::leaf_files;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{ClientCertificates, ServerTls, TlsFiles};
use lockbox_proto::lockbox::watch::v1::change::Type;
use lockbox_proto::lockbox::watch::v1::watch_service_server::{WatchService, WatchServiceServer};
use lockbox_proto::lockbox::watch::v1::{Change, WatchRequest, WatchResponse};
use tonic::{Request, Response, Status};

use crate::fixture::loopback;
use crate::served::{certificates, program};

type Answers = Vec<Result<WatchResponse, Status>>;

/// Answers each call by its number.
#[derive(Clone)]
struct Scripted {
    script: fn(usize) -> Result<Answers, Status>,
    calls: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl WatchService for Scripted {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        _request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let answers = (self.script)(self.calls.fetch_add(1, Ordering::SeqCst))?;
        Ok(Response::new(Box::pin(futures::stream::iter(answers))))
    }
}

fn no_leader() -> Status {
    Status::unavailable("no leader")
}

fn reached(index: u64) -> WatchResponse {
    WatchResponse { index, change: None }
}

fn change(index: u64) -> WatchResponse {
    let change = Change { r#type: Type::SecretCreated.into(), ..Change::default() };
    WatchResponse { index, change: Some(change) }
}

/// Watches with this flag; what came of it, and how often the server was asked.
async fn watch(script: fn(usize) -> Result<Answers, Status>, retry: &str) -> (Output, usize) {
    let directory = tempfile::tempdir().unwrap();
    let ca = certificates(directory.path());
    let leaf = leaf_files(directory.path(), "server");
    let clients = ClientCertificates::None;
    let files = TlsFiles { certificate: leaf.certificate, key: leaf.key, clients };
    let security = Security::Tls(ServerTls::load(&files).unwrap());
    let bound = bind("watch", loopback(), security).await.unwrap();
    let address = format!("localhost:{}", bound.local_addr().port());
    let server = Scripted { script, calls: Arc::default() };
    let services = GrpcServices::new().with(WatchServiceServer::new(server.clone()));
    let tasks = Tasks::new(FatalExit::new());
    let metrics = Metrics::new(Prefix::Lockbox).unwrap();
    bound.start(services.into_service(), &tasks, ListenerLimits::default(), metrics.tls);
    let mut command = program(&address, &ca, "token");
    command.env("LOCKBOX_FOLDER_ID", "b1gfolder").stdin(Stdio::null());
    command.args(["secret", "watch", "--limit", "1", "--retry", retry]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    tasks.shutdown(Duration::from_secs(10)).await.unwrap();
    (output, server.calls.load(Ordering::SeqCst))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_asked_for_as_often_as_the_flag_says() {
    // An election: the first call meets it.
    let elects = |call: usize| if call == 0 { Err(no_leader()) } else { Ok(vec![Ok(change(7))]) };
    let (output, calls) = watch(elects, "1").await;
    assert_eq!((output.status.code(), calls), (Some(0), 2), "{}", complaint(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("SECRET_CREATED"));
    let (output, calls) = watch(elects, "0").await;
    assert_eq!((output.status.code(), calls), (Some(3), 1), "{}", complaint(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_answered_is_not_asked_for_again_for_ever() {
    let stops = |call: usize| {
        if call == 0 { Ok(vec![Ok(reached(7)), Err(no_leader())]) } else { Err(no_leader()) }
    };
    let (output, calls) = watch(stops, "0").await;
    assert_eq!((output.status.code(), calls), (Some(3), 1), "{}", complaint(&output));
    assert!(complaint(&output).contains("no leader"), "{}", complaint(&output));
    // Twice more after the answer, and each time with two tries of its own.
    let (output, calls) = watch(stops, "2").await;
    assert_eq!((output.status.code(), calls), (Some(3), 7), "{}", complaint(&output));
    // An answer in between, and it goes on.
    let (output, calls) = watch(
        |call: usize| match call {
            0 | 1 => Ok(vec![Ok(reached(7)), Err(no_leader())]),
            _ => Ok(vec![Ok(change(8))]),
        },
        "1",
    )
    .await;
    assert_eq!((output.status.code(), calls), (Some(0), 3), "{}", complaint(&output));
}
