//! The ceiling: a server that answers at once, and the same load against it.
//!
//! The server runs in a process of its own, as those that are compared with it do. It ends when
//! its standard input does, so it cannot outlive the run.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::arguments::{Members, Output, Servers, Shape, Watched, seconds};
use crate::connect::Connector;
use crate::run::{connection_count, measure};
use crate::sample;
use crate::target::{Call, Target, check_length};

/// Generated from `proto/echo.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod wire {
    tonic::include_proto!("lockbox.bench.echo");
}

use wire::echo_client::EchoClient;
use wire::echo_server::{Echo, EchoServer};

/// Options of `echo`.
#[derive(Debug, Args)]
pub struct EchoArguments {
    /// The load.
    #[command(flatten)]
    pub shape: Shape,
    /// Directory of `ca.pem`, `server.pem` and `server-key.pem`; without it, plain HTTP/2.
    #[arg(long)]
    pub certificates: Option<PathBuf>,
    /// How the result is told.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `echo-server`.
#[derive(Debug, Args)]
pub struct EchoServerArguments {
    /// Length of the value that every read answers.
    #[arg(long)]
    pub value_bytes: usize,
    /// Directory of `server.pem` and `server-key.pem`.
    #[arg(long)]
    pub certificates: Option<PathBuf>,
}

/// A connection to the echo server.
#[derive(Debug, Clone)]
pub struct Session {
    client: EchoClient<Channel>,
    value: Bytes,
}

impl Session {
    /// Makes one call and checks the answer.
    ///
    /// # Errors
    /// The server's status; DATA_LOSS when the answer has another length.
    pub async fn call(&mut self, call: Call) -> Result<(), Status> {
        match call {
            Call::Get(slot) => {
                let request = wire::GetRequest { key: key(slot) };
                let answer = self.client.get(request).await?.into_inner();
                check_length(answer.value.len(), self.value.len())
            }
            Call::Put(slot) => {
                let request = wire::PutRequest { key: key(slot), value: self.value.clone() };
                self.client.put(request).await.map(drop)
            }
        }
    }
}

fn key(slot: usize) -> String {
    format!("bench-{slot:06}")
}

/// Starts the server beside this process, runs the load, and stops it.
///
/// # Errors
/// When the server does not start or not one operation succeeded.
pub async fn run(arguments: &EchoArguments) -> Result<()> {
    let EchoArguments { shape, certificates, output } = arguments;
    let server = ServerProcess::start(shape.value_bytes, certificates.as_ref())?;
    let servers = Servers {
        endpoints: vec![server.endpoint.clone()],
        ca: certificates.as_ref().map(|directory| directory.join("ca.pem")),
        deadline: seconds("10").map_err(anyhow::Error::msg)?,
    };
    let connector = Connector::new(&servers)?;
    let value = Bytes::from(sample::value(shape.value_bytes));
    let targets: Vec<Target> = connector
        .connect_all(&servers.endpoints, connection_count(shape, 1))
        .await?
        .into_iter()
        .map(|channel| Session { client: EchoClient::new(channel), value: value.clone() })
        .map(Target::Echo)
        .collect();
    let watched = Watched { server_pids: vec![server.child.id()], ..Watched::default() };
    measure(&targets, shape, Members::Leader, &watched, output).await?;
    server.stop()
}

/// The server as a child of this process.
struct ServerProcess {
    child: Child,
    endpoint: String,
}

impl ServerProcess {
    fn start(value_bytes: usize, certificates: Option<&PathBuf>) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.args(["echo-server", "--value-bytes", &value_bytes.to_string()]);
        if let Some(directory) = certificates {
            command.arg("--certificates").arg(directory);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the echo server")?;
        let output = child.stdout.take().context("the echo server has no output")?;
        let mut endpoint = String::new();
        BufReader::new(output).read_line(&mut endpoint).context("the echo server is silent")?;
        let endpoint = endpoint.trim().to_owned();
        ensure!(!endpoint.is_empty(), "the echo server ended before it was ready");
        Ok(Self { child, endpoint })
    }

    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("cannot wait for the echo server")?;
        ensure!(status.success(), "the echo server failed: {status}");
        Ok(())
    }
}

/// Serves until standard input ends. Prints `host:port` when it is ready.
///
/// # Errors
/// When it cannot listen or the certificates cannot be used.
pub async fn serve(arguments: &EchoServerArguments) -> Result<()> {
    let mut builder = Server::builder();
    if let Some(directory) = &arguments.certificates {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = Identity::from_pem(read("server.pem")?, read("server-key.pem")?);
        builder = builder.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
    let port = listener.local_addr()?.port();
    let mut output = io::stdout().lock();
    writeln!(output, "localhost:{port}").and_then(|()| output.flush())?;
    drop(output);

    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let answers = Answers { value: Bytes::from(sample::value(arguments.value_bytes)) };
    builder
        .add_service(EchoServer::new(answers))
        .serve_with_incoming_shutdown(incoming, input_ended())
        .await
        .context("the echo server failed")
}

/// Waits for the end of standard input.
async fn input_ended() {
    let reading = tokio::task::spawn_blocking(|| io::stdin().lock().read_to_end(&mut Vec::new()));
    // Whatever ends the reading, nobody is there any more.
    drop(reading.await);
}

struct Answers {
    value: Bytes,
}

#[tonic::async_trait]
impl Echo for Answers {
    async fn get(
        &self,
        _request: Request<wire::GetRequest>,
    ) -> Result<Response<wire::GetResponse>, Status> {
        Ok(Response::new(wire::GetResponse { value: self.value.clone() }))
    }

    async fn put(
        &self,
        _request: Request<wire::PutRequest>,
    ) -> Result<Response<wire::PutResponse>, Status> {
        Ok(Response::new(wire::PutResponse { index: 1 }))
    }
}
