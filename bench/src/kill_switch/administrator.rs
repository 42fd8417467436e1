//! Who takes rights and gives them back: asks any node that is not stopped, and the KMS, again and
//! again under one idempotency key until there is an answer.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::connect::Connector;
use crate::contend::may_pass;
use crate::lockbox::Bearer;

/// How long one attempt may take: a node that waits for a leader is not the only one to ask.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How long all attempts of one call may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Puts the token and the name of the logical call on each attempt.
#[derive(Clone)]
pub(super) struct Dressed {
    bearer: Bearer,
    key: MetadataValue<Ascii>,
}

impl Interceptor for Dressed {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let mut request = self.bearer.call(request)?;
        request.metadata_mut().insert("idempotency-key", self.key.clone());
        Ok(request)
    }
}

/// What an attempt goes through.
pub(super) type Attempt = InterceptedService<Channel, Dressed>;

/// See the file.
pub(super) struct Administrator {
    nodes: Vec<Channel>,
    kms: Channel,
    bearer: Bearer,
    folder_id: String,
    /// Tells this run's names from those of every other one.
    run: u32,
    asked: AtomicU64,
}

impl Administrator {
    /// Connects to all nodes and the KMS.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub(super) async fn connect(
        connector: &Connector,
        endpoints: &[String],
        kms: &str,
        bearer: Bearer,
        folder_id: &str,
    ) -> Result<Self> {
        let mut nodes = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            nodes.push(connector.connect(endpoint).await?);
        }
        let kms = connector.connect(kms).await?;
        let (folder_id, asked) = (folder_id.to_owned(), AtomicU64::new(0));
        Ok(Self { nodes, kms, bearer, folder_id, run: random()?, asked })
    }

    /// The folder of everything.
    pub(super) fn folder_id(&self) -> &str {
        &self.folder_id
    }

    /// A name that no other run has given.
    pub(super) fn name(&self, what: &str, number: usize) -> String {
        format!("ks-{:08x}-{what}-{number}", self.run)
    }

    /// Asks the nodes, the one with this number excepted.
    ///
    /// # Errors
    /// A refusal, or that nobody answers in time.
    pub(super) async fn ask<T>(
        &self,
        stopped: Option<usize>,
        call: impl AsyncFn(Attempt) -> Result<T, Status>,
    ) -> Result<T> {
        let running = self.nodes.iter().enumerate().filter(|(n, _)| Some(*n) != stopped);
        let running: Vec<&Channel> = running.map(|(_, channel)| channel).collect();
        self.until_answered(&running, call).await
    }

    /// Asks the KMS.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn ask_kms<T>(
        &self,
        call: impl AsyncFn(Attempt) -> Result<T, Status>,
    ) -> Result<T> {
        self.until_answered(&[&self.kms], call).await
    }

    async fn until_answered<T>(
        &self,
        channels: &[&Channel],
        call: impl AsyncFn(Attempt) -> Result<T, Status>,
    ) -> Result<T> {
        let number = self.asked.fetch_add(1, Relaxed);
        let key = format!("{:08x}-0000-4000-8000-{number:012x}", self.run);
        let key: MetadataValue<Ascii> = key.parse().context("a UUID is no header")?;
        let deadline = Instant::now() + PATIENCE;
        for channel in channels.iter().cycle() {
            let dressed = Dressed { bearer: self.bearer.clone(), key: key.clone() };
            let attempt = InterceptedService::new((*channel).clone(), dressed);
            let status = match timeout(ATTEMPT, call(attempt)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::deadline_exceeded("no answer in time"),
            };
            if !may_pass(status.code()) || Instant::now() >= deadline {
                bail!("the administrator was refused: {:?}: {}", status.code(), status.message());
            }
            sleep(PAUSE).await;
        }
        bail!("there is nobody to ask")
    }
}

fn random() -> Result<u32> {
    let mut bytes = [0; 4];
    let source = File::open("/dev/urandom").context("cannot draw a number")?;
    (&source).read_exact(&mut bytes).context("cannot draw a number")?;
    Ok(u32::from_ne_bytes(bytes))
}
