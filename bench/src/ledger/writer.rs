//! One writer: fills one secret of its own after the other, entry by entry.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tonic::Status;

use super::book::{Book, Entry, entry_key, entry_value};
use crate::contend::may_pass;
use crate::lockbox::{Api, finished, set_entry, set_value};
use crate::sample::Sequence;

/// Entries of one secret, each a version of its own.
const ENTRIES_PER_SECRET: u32 = 100;
/// The longest pause before another try, at another member.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Metadata of an answer that names the entry of the log.
const INDEX_METADATA: &str = "lockbox-index";

/// See the file.
pub(super) struct Writer {
    number: usize,
    /// The members, and which of them is asked: the next one after each failure.
    apis: Vec<Api>,
    at: usize,
    folder_id: String,
    /// The secrets' own key; empty for the common one.
    kms_key_id: String,
    turns: Interval,
    jitter: Sequence,
    book: Arc<Book>,
}

impl Writer {
    /// A writer that begins at one of the members, adds an entry each time that `every` has passed,
    /// and makes its secrets in a folder, under a key. Needs a runtime.
    pub(super) fn new(
        number: usize,
        apis: Vec<Api>,
        (folder_id, kms_key_id): (String, String),
        every: Duration,
        book: Arc<Book>,
    ) -> Self {
        let mut turns = interval(every);
        // What was not written during an outage is not made up for.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let at = number % apis.len().max(1);
        let jitter = Sequence::new(number as u64);
        Self { number, apis, at, folder_id, kms_key_id, turns, jitter, book }
    }

    /// Writes for as long as it is let; why it cannot go on.
    pub(super) async fn run(mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.fill().await {
                return error;
            }
        }
    }

    /// Makes a secret and adds all its entries.
    async fn fill(&mut self) -> Result<()> {
        let secret_id = self.create().await?;
        for number in 0..ENTRIES_PER_SECRET {
            self.turns.tick().await;
            let entry = self.add(&secret_id, number).await?;
            // ORDER: nothing is awaited between the answer and this, so whoever ends the writer
            // ends it before the one or after the other.
            self.book.note(&entry)?;
        }
        Ok(())
    }

    /// Makes a secret; its id. One whose outcome nobody learned stays, with nothing in it.
    async fn create(&mut self) -> Result<String> {
        let request = wire::CreateSecretRequest {
            folder_id: self.folder_id.clone(),
            name: format!("ledger-{}", self.number),
            kms_key_id: self.kms_key_id.clone(),
            version_payload_entries: set_value(vec![b'0']),
            ..Default::default()
        };
        loop {
            let answer = self.apis[self.at].secrets.create(request.clone()).await;
            match answer.and_then(|answer| finished(answer.into_inner())) {
                Ok(done) => {
                    let metadata = done.metadata.context("the operation has no metadata")?;
                    let metadata: wire::CreateSecretMetadata = metadata.to_msg()?;
                    return Ok(metadata.secret_id);
                }
                Err(status) => self.turn_away(&status).await?,
            }
        }
    }

    /// Adds an entry, however often that has to be tried: setting the same one again changes
    /// nothing.
    async fn add(&mut self, secret_id: &str, number: u32) -> Result<Entry> {
        let change = set_entry(&entry_key(number), entry_value(secret_id, number));
        let request = wire::AddVersionRequest {
            secret_id: secret_id.to_owned(),
            payload_entries: vec![change],
            ..Default::default()
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_add(request.clone()).await {
                Ok(index) => {
                    let (at_ms, secret_id) = (self.book.now_ms(), secret_id.to_owned());
                    return Ok(Entry { at_ms, secret_id, number, index, tries });
                }
                Err(status) => self.turn_away(&status).await?,
            }
        }
    }

    /// The entry of the log that it has become.
    async fn try_to_add(&mut self, request: wire::AddVersionRequest) -> Result<u64, Status> {
        let answer = self.apis[self.at].secrets.add_version(request).await?;
        let named = answer.metadata().get(INDEX_METADATA).and_then(|value| value.to_str().ok());
        let index = named.and_then(|text| text.parse().ok());
        finished(answer.into_inner())?;
        index.ok_or_else(|| Status::internal("the answer names no entry of the log"))
    }

    /// Goes on at the next member after a pause, unless it was told something that does not pass.
    async fn turn_away(&mut self, status: &Status) -> Result<()> {
        self.book.count(status.code());
        let code = status.code();
        ensure!(may_pass(code), "{code:?}: {}", status.message());
        self.at = (self.at + 1) % self.apis.len();
        let longest = u64::try_from(PAUSE_MAX.as_micros()).unwrap_or(u64::MAX);
        sleep(Duration::from_micros(self.jitter.below(longest))).await;
        Ok(())
    }
}
