//! Switches the run's own key off for a moment, again and again, while secrets are used with it:
//! what is read when it is off is for law L6 to judge.
//!
//! Each switch is asked for until it is acknowledged, under one idempotency key: so the order of
//! switches is the order of their acknowledgements, whatever the KMS is done to, and no attempt
//! that was given up takes effect later.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lockbox_proto::yandex::cloud::kms::v1 as kms;
use lockbox_proto::yandex::cloud::operation::operation;
use prost_types::FieldMask;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::readers::by;
use super::site::Site;
use super::wall_clock::since_epoch;
use crate::client::account_key::Token;
use crate::client::connection::Dialer;
use crate::history::ids::KmsKeyId;
use crate::history::key_switch::{KeySwitch, SwitchStep};
use crate::history::recorder::Recorder;

/// How long the key is on between two switches. Most uses are to succeed, for the bill's sake.
const ON: Duration = Duration::from_millis(1_600);
/// How long it is off: some uses, and less than a second, which a cache might bridge.
const OFF: Duration = Duration::from_millis(400);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the last switches may take when everything is mended.
const LAST: Duration = Duration::from_secs(60);

/// See the file. Ends with this value, and then perhaps with the key off: see [`Self::stop`].
pub struct KeySwitcher {
    switching: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl KeySwitcher {
    /// Begins.
    ///
    /// # Errors
    /// When the KMS's certificates cannot be used.
    pub fn start(
        site: &Site,
        token: &Token,
        key: KmsKeyId,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let stop = CancellationToken::new();
        let switch = Switch {
            dialer: site.kms_dialer()?,
            token: token.clone(),
            key,
            recorder: Arc::clone(recorder),
            stop: stop.clone(),
            channel: None,
            // Other runs may have asked the same KMS.
            mark: since_epoch().as_secs(),
            number: 0,
        };
        let mut switching = JoinSet::new();
        switching.spawn(switch.go_on());
        Ok(Self { switching, stop })
    }

    /// Ends it, with the key on.
    ///
    /// # Errors
    /// When the key cannot be switched on, or something cannot be recorded.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.switching.join_next().await {
            ended.context("whoever switches the key has panicked")??;
        }
        Ok(())
    }
}

struct Switch {
    dialer: Dialer,
    token: Token,
    key: KmsKeyId,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    channel: Option<Channel>,
    mark: u64,
    number: u64,
}

impl Switch {
    async fn go_on(mut self) -> Result<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = sleep(ON) => {}
            }
            self.switch(false).await?;
            sleep(OFF).await;
            self.switch(true).await?;
        }
    }

    /// Asks until it is acknowledged. Not even an end of the run comes between: what is asked for
    /// would be done at any time after it.
    async fn switch(&mut self, on: bool) -> Result<()> {
        self.number += 1;
        let name = format!("{:08x}-0000-4000-8000-{:012x}", self.mark & 0xffff_ffff, self.number);
        let name: MetadataValue<Ascii> = name.parse().context("an idempotency key is no header")?;
        self.record(on, SwitchStep::Asked)?;
        let mut stopped = None;
        while let Err(why) = self.ask(on, &name).await {
            if self.stop.is_cancelled() {
                let since: Instant = *stopped.get_or_insert_with(Instant::now);
                if since.elapsed() > LAST {
                    bail!("the run's own key cannot be switched: {why}");
                }
            }
            sleep(PAUSE).await;
        }
        self.record(on, SwitchStep::Acknowledged)
    }

    fn record(&self, on: bool, step: SwitchStep) -> Result<()> {
        let key = self.key.clone();
        Ok(self.recorder.key_switch(|at| KeySwitch { at, key, on, step })?)
    }

    /// Asks once; why there was no acknowledgement, if there was none.
    async fn ask(&mut self, on: bool, name: &MetadataValue<Ascii>) -> Result<(), String> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.dialer.connect().await?,
        };
        let status = match on {
            true => kms::symmetric_key::Status::Active,
            false => kms::symmetric_key::Status::Inactive,
        };
        let message = kms::UpdateSymmetricKeyRequest {
            key_id: self.key.to_string(),
            update_mask: Some(FieldMask { paths: vec!["status".to_owned()] }),
            status: status.into(),
            ..Default::default()
        };
        let mut request = by(&self.token, message);
        request.set_timeout(ATTEMPT);
        request.metadata_mut().insert("idempotency-key", name.clone());
        let mut keys =
            kms::symmetric_key_service_client::SymmetricKeyServiceClient::new(channel.clone());
        let answer = timeout(ATTEMPT, keys.update(request)).await;
        // Of a connection that did not bring an answer nothing more is expected.
        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
        let operation = answer.map_err(|status| status.message().to_owned())?.into_inner();
        self.channel = Some(channel);
        match operation.result {
            Some(operation::Result::Response(_)) => Ok(()),
            Some(operation::Result::Error(error)) => Err(error.message),
            None => Err("the KMS has not finished".to_owned()),
        }
    }
}
