//! The folder of a command: an id, or a name that is looked up in the cloud.

use lockbox_proto::yandex::cloud::resourcemanager::v1::ListFoldersRequest;
use lockbox_proto::yandex::cloud::resourcemanager::v1::folder_service_client::FolderServiceClient;

use crate::cli::failure::{Exit, Failure};
use crate::cli::filter;
use crate::cli::session::{Kind, Session};

/// The folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Folder {
    /// By its id.
    Id(String),
    /// By its name, which is the only one in the cloud.
    Named {
        /// The cloud.
        cloud_id: String,
        /// The name.
        name: String,
    },
}

impl Folder {
    /// Its id.
    pub(crate) async fn id(&self, session: &Session) -> Result<String, Failure> {
        match self {
            Self::Id(id) => Ok(id.clone()),
            Self::Named { cloud_id, name } => named(session, cloud_id, name).await,
        }
    }
}

async fn named(session: &Session, cloud_id: &str, name: &str) -> Result<String, Failure> {
    let absent = || {
        let message = format_args!("NOT_FOUND: no folder of cloud {cloud_id} is named {name:?}");
        Failure::new(Exit::Refused, message)
    };
    let filter = filter::by_name(name).ok_or_else(absent)?;
    let cloud_id = cloud_id.to_owned();
    let request = ListFoldersRequest { cloud_id, filter, ..ListFoldersRequest::default() };
    let send = async |channel, request| FolderServiceClient::new(channel).list(request).await;
    let found = session.call(Kind::Repeatable, &request, send).await?;
    let folder = found.folders.into_iter().next().ok_or_else(absent)?;
    Ok(folder.id)
}
