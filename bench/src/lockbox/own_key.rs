//! The customer's key of the secrets that are measured with one.

use anyhow::{Context, Result};
use lockbox_proto::yandex::cloud::kms::v1 as wire;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use wire::symmetric_key_service_client::SymmetricKeyServiceClient;

use super::session::{Bearer, finished};

/// Its name in the folder.
const KEY_NAME: &str = "lockbox-bench";
/// Keys on one page: the most that the API gives.
const PAGE_SIZE: i64 = 1000;

/// The id of the key, which is made when it is not there.
///
/// # Errors
/// When the KMS refuses.
pub(super) async fn find_or_create(
    channel: Channel,
    bearer: &Bearer,
    folder_id: &str,
) -> Result<String> {
    let service = InterceptedService::new(channel, bearer.clone());
    let mut keys = SymmetricKeyServiceClient::new(service);
    let folder_id = folder_id.to_owned();
    let request = wire::ListSymmetricKeysRequest {
        folder_id: folder_id.clone(),
        page_size: PAGE_SIZE,
        ..Default::default()
    };
    let page = keys.list(request).await.context("cannot list the KMS keys")?.into_inner();
    if let Some(key) = page.keys.into_iter().find(|key| key.name == KEY_NAME) {
        return Ok(key.id);
    }
    let request = wire::CreateSymmetricKeyRequest {
        folder_id,
        name: KEY_NAME.to_owned(),
        default_algorithm: wire::SymmetricAlgorithm::Aes256 as i32,
        ..Default::default()
    };
    let created = keys.create(request).await.context("cannot create a KMS key")?.into_inner();
    let metadata = finished(created)?.metadata.context("the operation has no metadata")?;
    let metadata: wire::CreateSymmetricKeyMetadata = metadata.to_msg()?;
    Ok(metadata.key_id)
}
