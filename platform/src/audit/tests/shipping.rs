//! Copies of the audit for others: whole and in order, whatever becomes of the receiver and of the
//! process that ships.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, UnixDatagram};

use super::*;
use crate::audit::shipping::{Origin, Shipping, SyslogConfig, start};
use crate::certificates::{LeafSpec, issue_all, leaf_files};
use crate::listener::{ListenerLimits, Security, bind};
use crate::otlp::messages::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse, Value as Any,
};
use crate::otlp::{LOGS_EXPORT, OtlpConfig};
use crate::tasks::TaskKind;
use crate::tls::{ClientCertificates, ServerTls, TlsFiles};

/// Long enough for some ten records.
const FILE_BYTES: u64 = 6_000;

/// What a receiver does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Ends it at once, unread.
    Refuse,
    /// Reads some of it, and ends it.
    Break,
    /// Reads all of it.
    Take,
}

/// The numbers of the records that a receiver has taken, in their order; some may come twice.
#[derive(Debug, Clone, Default)]
struct Taken(Arc<Mutex<Vec<u64>>>);

impl Taken {
    fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers);
    }

    fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn wait_for(&self, number: u64) {
        let deadline = soon();
        while !self.all().contains(&number) {
            assert!(Instant::now() < deadline, "{number} does not come: {:?}", self.all());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A receiver that takes connections in these manners, and all after that whole.
async fn receiver(tasks: &Tasks, manners: &[Manner]) -> (SyslogConfig, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    let taken = Taken::default();
    let (mut manners, into) = (VecDeque::from(manners.to_vec()), taken.clone());
    let stop = tasks.token();
    tasks.spawn(TaskKind::Background, "receiver", async move {
        let receiving = async {
            while let Ok((stream, _from)) = listener.accept().await {
                into.add(received(stream, manners.pop_front().unwrap_or(Manner::Take)).await);
            }
        };
        tokio::select! {
            () = receiving => {}
            () = stop.cancelled() => {}
        }
        Ok::<(), Infallible>(())
    });
    (config(&to), taken)
}

async fn received(mut stream: impl AsyncRead + Unpin, manner: Manner) -> Vec<u64> {
    let mut bytes = Vec::new();
    match manner {
        Manner::Refuse => return Vec::new(),
        Manner::Break => {
            // Not before it is sending; the rest of it stays unread.
            stream.read_u8().await.ok();
            return Vec::new();
        }
        Manner::Take => {
            if stream.read_to_end(&mut bytes).await.is_err() {
                return Vec::new();
            }
        }
    }
    let mut rest = std::str::from_utf8(&bytes).unwrap();
    let mut numbers = Vec::new();
    while let Some((length, behind)) = rest.split_once(' ') {
        let (message, next) = behind.split_at(length.parse().unwrap());
        numbers.push(number_of(message));
        rest = next;
    }
    assert_eq!(rest, "");
    numbers
}

/// The number of the record in a message, which is the same in its head and in its line.
fn number_of(message: &str) -> u64 {
    let (head, line) = message.split_once("] ").unwrap();
    assert!(
        head.starts_with("<110>1 2027-01-15T08:00:00.123Z node-1 lockbox - Encrypt ["),
        "{head}"
    );
    let record: Value = serde_json::from_str(line).unwrap();
    let number = record["sequence"].as_u64().unwrap();
    assert!(head.contains(&format!("sequence=\"{number}\"")), "{head}");
    number
}

fn config(to: &str) -> SyslogConfig {
    SyslogConfig {
        to: to.to_owned(),
        ca: None,
        server_name: None,
        certificate: None,
        key: None,
        plaintext: false,
    }
}

fn small(files: &AuditFiles) -> AuditConfig {
    AuditConfig { file_bytes_max: FILE_BYTES, ..AuditConfig::new(files.active()) }
}

/// An audit that is open, and ships or does not.
struct Open {
    tasks: Tasks,
    auditor: AuditorHandle,
    metrics: AuditMetrics,
}

impl Open {
    fn new(files: &AuditFiles, syslog: Option<SyslogConfig>, otlp: Option<OtlpConfig>) -> Self {
        let (tasks, metrics) = (tasks(), metrics());
        let auditor = open(&small(files), clock(), &tasks, metrics.clone()).expect("an audit");
        let shipping = Shipping {
            path: files.active().to_owned(),
            synced: auditor.synced_head(),
            origin: Origin { program: "lockbox", host: "node-1".to_owned() },
            syslog,
            otlp,
        };
        start(shipping, &tasks, &metrics.shipping).expect("receivers");
        Self { tasks, auditor, metrics }
    }

    async fn write(&self, count: usize) {
        for number in 0..count {
            assert_eq!(write(&self.auditor, &format!("e{number}")).await, Ok(()));
        }
    }

    async fn close(self) {
        drop(self.auditor);
        assert_eq!(self.tasks.shutdown(PATIENCE).await, Ok(()));
    }

    /// Closes once this receiver has confirmed all: it has a record before that is remembered.
    async fn close_when_confirmed(self, receiver: &str) {
        let deadline = soon();
        let lag = self.metrics.shipping.lag.with_label_values(&[receiver]);
        let mut head = self.auditor.synced_head();
        while lag.get() > 0 || head.borrow_and_update().is_none() {
            assert!(Instant::now() < deadline, "{} are not confirmed", lag.get());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.close().await;
    }
}

/// Whether every record is there, and none came before an earlier one that was new.
#[track_caller]
fn whole(taken: &[u64], numbers: std::ops::Range<u64>) {
    let mut seen = BTreeSet::new();
    for number in taken {
        assert!(seen.contains(number) || seen.last().is_none_or(|last| last < number), "{taken:?}");
        seen.insert(*number);
    }
    assert_eq!(seen, numbers.collect::<BTreeSet<_>>(), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_has_every_record_through_its_outages_and_those_of_the_process() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let of_receiver = tasks();
    let manners = [Manner::Refuse, Manner::Break, Manner::Refuse];
    let (syslog, taken) = receiver(&of_receiver, &manners).await;
    // Many files are finished, and compressed, before the first record arrives.
    let first = Open::new(&files, Some(syslog.clone()), None);
    first.write(100).await;
    taken.wait_for(99).await;
    let failures = first.metrics.shipping.failures.with_label_values(&["syslog"]).get();
    assert!(failures >= 3, "{failures} of three connections have failed");
    first.close_when_confirmed("syslog").await;
    whole(&taken.all(), 0..100);

    // Nobody ships for a while.
    let before = taken.all().len();
    let second = Open::new(&files, None, None);
    second.write(60).await;
    second.close().await;
    let third = Open::new(&files, Some(syslog), None);
    third.write(10).await;
    taken.wait_for(169).await;
    assert_eq!(taken.all()[before], 100, "it goes on where it was");
    third.close_when_confirmed("syslog").await;
    whole(&taken.all(), 0..170);
    assert!(files.finished().expect("a directory").len() > 3);
    assert_eq!(of_receiver.shutdown(PATIENCE).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_before_it_is_shipped_is_counted_and_the_rest_arrives() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let of_receiver = tasks();
    let (syslog, taken) = receiver(&of_receiver, &[]).await;
    let first = Open::new(&files, Some(syslog.clone()), None);
    first.write(3).await;
    taken.wait_for(2).await;
    first.close_when_confirmed("syslog").await;
    let second = Open::new(&files, None, None);
    second.write(60).await;
    second.close().await;
    let finished = files.finished().expect("a directory");
    let (gone, next) = (finished[1], finished[1] + 1);
    for last in &finished[..2] {
        for path in [files.plain(*last), files.compressed(*last)] {
            std::fs::remove_file(path).ok();
        }
    }
    let third = Open::new(&files, Some(syslog), None);
    third.write(1).await;
    taken.wait_for(63).await;
    let missed = third.metrics.shipping.missed.with_label_values(&["syslog"]).get();
    assert_eq!(missed, gone - 2, "those behind the last that was shipped");
    third.close_when_confirmed("syslog").await;
    assert_eq!(taken.all()[3], next);
    assert_eq!(of_receiver.shutdown(PATIENCE).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_that_was_begun_anew_is_shipped_from_its_begin() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let of_receiver = tasks();
    let (syslog, taken) = receiver(&of_receiver, &[]).await;
    let first = Open::new(&files, Some(syslog.clone()), None);
    first.write(5).await;
    taken.wait_for(4).await;
    first.close_when_confirmed("syslog").await;
    std::fs::remove_file(files.active()).expect("a file");
    let before = taken.all().len();
    let second = Open::new(&files, Some(syslog), None);
    second.write(2).await;
    let deadline = soon();
    while taken.all().len() < before + 2 {
        assert!(Instant::now() < deadline, "{:?}", taken.all());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.close().await;
    assert_eq!(taken.all()[before..before + 2], [0, 1]);
    assert_eq!(of_receiver.shutdown(PATIENCE).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_datagrams_gets_one_message_for_each_record() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let open = Open::new(&files, Some(config(&format!("unix://{}", path.display()))), None);
    open.write(3).await;
    let mut buffer = vec![0; 64 << 10];
    for number in 0..3 {
        let received = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        let bytes = received.expect("in time").expect("a message");
        assert_eq!(number_of(std::str::from_utf8(&buffer[..bytes]).unwrap()), number);
    }
    open.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_is_reached_by_tls_and_under_its_own_name_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let leaf = |stem: &str, name: &str| LeafSpec {
        file_stem: stem.to_owned(),
        dns_names: vec![name.to_owned()],
        ips: Vec::new(),
    };
    let leaves = [leaf("logs", "logs.example"), leaf("node", "node-1.lockbox.internal")];
    let ca = issue_all(dir.path(), &leaves, &SystemClock::new()).expect("certificates").certificate;
    let (logs, own) = (leaf_files(dir.path(), "logs"), leaf_files(dir.path(), "node"));
    let clients = ClientCertificates::Required(ca.clone());
    let tls = TlsFiles { certificate: logs.certificate, key: logs.key, clients };
    let tls = ServerTls::load(&tls).expect("a server's TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = format!("tls://{}", listener.local_addr().expect("an address"));
    let (of_receiver, taken) = (tasks(), Taken::default());
    let (into, stop) = (taken.clone(), of_receiver.token());
    of_receiver.spawn(TaskKind::Background, "receiver", async move {
        let receiving = async {
            while let Ok((stream, _from)) = listener.accept().await {
                if let Ok(stream) = tls.accept(stream).await {
                    into.add(received(stream, Manner::Take).await);
                }
            }
        };
        tokio::select! {
            () = receiving => {}
            () = stop.cancelled() => {}
        }
        Ok::<(), Infallible>(())
    });
    let named = |name: &str| SyslogConfig {
        ca: Some(ca.clone()),
        server_name: Some(name.to_owned()),
        certificate: Some(own.certificate.clone()),
        key: Some(own.key.clone()),
        ..config(&to)
    };
    let files = AuditFiles::of(&dir.path().join("first.jsonl"));
    let right = Open::new(&files, Some(named("logs.example")), None);
    right.write(5).await;
    taken.wait_for(4).await;
    right.close_when_confirmed("syslog").await;
    whole(&taken.all(), 0..5);

    let files = AuditFiles::of(&dir.path().join("second.jsonl"));
    let wrong = Open::new(&files, Some(named("other.example")), None);
    wrong.write(1).await;
    let failures = wrong.metrics.shipping.failures.with_label_values(&["syslog"]);
    let deadline = soon();
    while failures.get() == 0 {
        assert!(Instant::now() < deadline, "another name is not refused");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(taken.all().len(), 5, "somebody else has got a record");
    wrong.close().await;
    assert_eq!(of_receiver.shutdown(PATIENCE).await, Ok(()));
}

/// How a collector answers.
#[derive(Debug, Clone)]
struct AsTold {
    taken: Taken,
    /// Status codes of gRPC; OK once they are used up.
    codes: Arc<Mutex<VecDeque<u8>>>,
}

async fn collect(State(told): State<AsTold>, request: axum::extract::Request) -> Response {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // A message of gRPC: a flag and a length before it.
    let request = ExportLogsServiceRequest::decode(&body[5..]).unwrap();
    let code = told.codes.lock().unwrap().pop_front().unwrap_or(0);
    let answer = Response::builder().header("content-type", "application/grpc");
    if code != 0 {
        return answer.header("grpc-status", code.to_string()).body(Body::empty()).unwrap();
    }
    let logs = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
    let records: Vec<_> = logs.flat_map(|scope| &scope.log_records).collect();
    told.taken.add(records.iter().map(|record| {
        assert_eq!(record.time_unix_nano, 1_800_000_000_123_000_000);
        assert_eq!(record.severity_text, "INFO");
        let Some(Any::String(line)) = record.body.as_ref().and_then(|body| body.value.as_ref())
        else {
            panic!("{record:?}")
        };
        let line: Value = serde_json::from_str(line).unwrap();
        line["sequence"].as_u64().unwrap()
    }));
    let partial = ExportLogsPartialSuccess { rejected_log_records: 1, ..Default::default() };
    let message = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&message);
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let body = Full::new(bytes::Bytes::from(frame));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    answer.body(Body::new(body)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_has_every_record_that_it_did_not_refuse_for_good() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = AuditFiles::at(dir.path());
    let of_collector = tasks();
    // UNAVAILABLE, RESOURCE_EXHAUSTED, UNAUTHENTICATED: an operator mends the last.
    let codes = Arc::new(Mutex::new(VecDeque::from([14, 8, 16])));
    let told = AsTold { taken: Taken::default(), codes };
    let routes = axum::Router::new().route(LOGS_EXPORT, post(collect)).with_state(told.clone());
    let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = bind("collector", loopback, Security::PlaintextLoopback).await.unwrap();
    let address = bound.local_addr();
    let of_tls = Metrics::new(Prefix::Lockbox).expect("distinct names").tls;
    let serving = bound.start(routes, &of_collector, ListenerLimits::default(), of_tls);
    let otlp = OtlpConfig {
        endpoint: address.to_string(),
        ca: None,
        server_name: None,
        certificate: None,
        key: None,
        plaintext: false,
    };
    let open = Open::new(&files, None, Some(otlp));
    open.write(40).await;
    told.taken.wait_for(39).await;
    let count = |of: &prometheus::IntCounterVec| of.with_label_values(&["otlp"]).get();
    let metrics = open.metrics.shipping.clone();
    open.close_when_confirmed("otlp").await;
    whole(&told.taken.all(), 0..40);
    assert_eq!(count(&metrics.failures), 3);
    let refused = count(&metrics.missed);
    assert!(refused >= 1, "each answer has refused one");
    assert_eq!(count(&metrics.shipped), 40 - refused);
    serving.stop(Duration::ZERO).await;
    assert_eq!(of_collector.shutdown(PATIENCE).await, Ok(()));
}
