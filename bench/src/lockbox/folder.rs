//! The secrets that a load needs: found by name, made when they are missing.
//!
//! A run finds what an earlier one left, so rounds do not fill the folder with new secrets.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::StreamExt;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::Status;

use super::session::{Api, finished, set_value};
use crate::sample;

/// Secrets that are made at the same time.
const PREPARING: usize = 32;
/// Secrets on one page: the most that the API gives.
const PAGE_SIZE: i64 = 1000;

/// What is wanted of a folder.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Part of the names, so that loads of different kinds have different secrets.
    pub purpose: &'static str,
    /// How many secrets.
    pub count: usize,
    /// Length of the value that each holds.
    pub value_bytes: usize,
    /// Their key; the common key when absent.
    pub kms_key_id: Option<String>,
}

impl Wanted {
    fn name(&self, number: usize) -> String {
        format!("bench-{}-{}-{number:06}", self.purpose, self.value_bytes)
    }
}

/// Makes one secret under the common key, which no other run uses; its id.
///
/// # Errors
/// The server's status.
pub async fn create_fresh(api: &Api, folder_id: &str, purpose: &'static str) -> Result<String> {
    let wanted = Wanted { purpose, count: 1, value_bytes: 1, kms_key_id: None };
    // Names need not be unique, and this one is never looked for.
    let (_name, id) = create(api.clone(), folder_id, &wanted, 0, sample::value(1)).await?;
    Ok(id)
}

/// The secrets of a load.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Their ids, in the order of their numbers.
    pub ids: Vec<String>,
    /// How many of them had to be made.
    pub created: usize,
}

impl Secrets {
    /// Finds the secrets, and makes those that are missing.
    ///
    /// # Errors
    /// When the folder cannot be listed or a secret cannot be made.
    pub async fn prepare(api: &Api, folder_id: &str, wanted: &Wanted) -> Result<Self> {
        let mut known = names(api.clone(), folder_id).await.context("cannot list the folder")?;
        let missing: Vec<usize> =
            (0..wanted.count).filter(|n| !known.contains_key(&wanted.name(*n))).collect();
        let value = sample::value(wanted.value_bytes);
        let mut made = futures::stream::iter(missing.iter().copied())
            .map(|number| create(api.clone(), folder_id, wanted, number, value.clone()))
            .buffer_unordered(PREPARING);
        while let Some(created) = made.next().await {
            let (name, id) = created.context("cannot create a secret")?;
            known.insert(name, id);
        }
        drop(made);
        let ids = (0..wanted.count).filter_map(|n| known.remove(&wanted.name(n))).collect();
        Ok(Self { ids, created: missing.len() })
    }
}

/// Every secret of the folder: its id by its name.
async fn names(mut api: Api, folder_id: &str) -> Result<BTreeMap<String, String>, Status> {
    let mut names = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let folder_id = folder_id.to_owned();
        let request = wire::ListSecretsRequest { folder_id, page_size: PAGE_SIZE, page_token };
        let page = api.secrets.list(request).await?.into_inner();
        names.extend(page.secrets.into_iter().map(|secret| (secret.name, secret.id)));
        if page.next_page_token.is_empty() {
            return Ok(names);
        }
        page_token = page.next_page_token;
    }
}

/// Makes one secret with its first version; its name and id.
async fn create(
    mut api: Api,
    folder_id: &str,
    wanted: &Wanted,
    number: usize,
    value: Vec<u8>,
) -> Result<(String, String)> {
    let name = wanted.name(number);
    let request = wire::CreateSecretRequest {
        folder_id: folder_id.to_owned(),
        name: name.clone(),
        kms_key_id: wanted.kms_key_id.clone().unwrap_or_default(),
        version_payload_entries: set_value(value),
        ..Default::default()
    };
    let done = finished(api.secrets.create(request).await?.into_inner())?;
    let metadata = done.metadata.context("the operation has no metadata")?;
    let metadata: wire::CreateSecretMetadata = metadata.to_msg()?;
    Ok((name, metadata.secret_id))
}
