//! The folders of groups that are about folders: each alone in a cloud of its own, for the quota of
//! secrets is a cloud's.

use anyhow::{Context, Result, anyhow};
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use lockbox_proto::yandex::cloud::resourcemanager::v1 as wire;
use prost::{Message, Name};
use tonic::transport::Channel;
use wire::cloud_service_client::CloudServiceClient;
use wire::folder_service_client::FolderServiceClient;

use super::readers::by;
use super::site::Site;
use super::wall_clock::since_epoch;
use crate::client::account_key::Token;
use crate::history::ids::FolderId;

/// Makes so many empty folders.
///
/// # Errors
/// When no node that a login would go to makes them.
pub async fn create_folders(site: &Site, token: &Token, count: usize) -> Result<Vec<FolderId>> {
    let mut last = anyhow!("there is no node to make folders on");
    for node in site.login_dialers()? {
        let made = match node.connect().await {
            Ok(channel) => create_on(&channel, site, token, count).await,
            Err(sentence) => Err(anyhow!(sentence)),
        };
        match made {
            Ok(folders) => return Ok(folders),
            Err(error) => last = error,
        }
    }
    Err(last.context("cannot make the folders of the run"))
}

async fn create_on(
    channel: &Channel,
    site: &Site,
    token: &Token,
    count: usize,
) -> Result<Vec<FolderId>> {
    let mut clouds = CloudServiceClient::new(channel.clone());
    let mut folders = FolderServiceClient::new(channel.clone());
    let request = wire::GetFolderRequest { folder_id: site.folder.clone() };
    let first = folders.get(by(token, request)).await.context("cannot read the run's folder")?;
    let request = wire::GetCloudRequest { cloud_id: first.into_inner().cloud_id };
    let first = clouds.get(by(token, request)).await.context("cannot read the run's cloud")?;
    let organization_id = first.into_inner().organization_id;
    // Names are unique in an organization, which may have seen a run before.
    let mark = since_epoch().as_nanos();
    let mut made = Vec::with_capacity(count);
    for number in 0..count {
        let request = wire::CreateCloudRequest {
            organization_id: organization_id.clone(),
            name: format!("run-{mark}-{number}"),
            ..Default::default()
        };
        let answer = clouds.create(by(token, request)).await.context("cannot create a cloud")?;
        let cloud: wire::Cloud = result(answer.into_inner())?;
        let (cloud_id, name) = (cloud.id, "only".to_owned());
        let request = wire::CreateFolderRequest { cloud_id, name, ..Default::default() };
        let answer = folders.create(by(token, request)).await.context("cannot create a folder")?;
        let folder: wire::Folder = result(answer.into_inner())?;
        made.push(FolderId::from(folder.id.as_str()));
    }
    Ok(made)
}

fn result<M: Message + Name + Default>(done: Operation) -> Result<M> {
    let Some(operation::Result::Response(response)) = done.result else {
        return Err(anyhow!("a node has not finished creating {}", M::full_name()));
    };
    response.to_msg().with_context(|| format!("the answer holds no {}", M::full_name()))
}
