//! `lockbox.watch.v1.WatchService`: what happens to a folder's secrets, in order and without gaps.
//!
//! A stream begins behind the read barrier and then follows what this node applies: every look at
//! the state judges the caller and takes the changes in one view, so a change is told only to who
//! may see it in a state that has it. A node that has lost the others is found out by the barrier
//! that a stream passes every ten seconds.

mod answers;
mod follow;
mod told;

use std::sync::Arc;

use lockbox_core::{FolderId, Permission, ResourceKind, ResourcePath, Subject};
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_platform::until_sent::UntilSent;
use lockbox_proto::lockbox::watch::v1 as wire;
use lockbox_raft::apply::require;
use lockbox_raft::domain::Rejection;
use lockbox_raft::state::{TimedView, tables};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use wire::watch_request::Begin;
use wire::watch_service_server::WatchService;

use self::follow::Follower;
use crate::app::App;
use crate::call::{Call, detached};
use crate::describe;
use crate::refused::{Refused, within};

/// The service over the node's parts.
#[derive(Clone)]
pub struct WatchGrpc {
    app: Arc<App>,
}

impl WatchGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl WatchService for WatchGrpc {
    type WatchStream = ReceiverStream<Result<wire::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().folder_id;
            let source = EventSource::Lockbox;
            let details = describe::request_event(source, "WatchSecrets", "folder_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = begin(&app, &mut call, request.get_ref()).await;
            let result = result
                .and_then(|follower| Ok((app.streams.slot(&follower.caller.subject)?, follower)));
            // The one record of the stream is written before its first answer.
            let begun = call.finish(result).await?;
            let (metadata, (slot, follower), mut extensions) = begun.into_parts();
            // No payload is in a stream, and it ends by itself when the node is sealed.
            extensions.remove::<UntilSent>();
            let (answers, stream) = answers::stream();
            app.streams.run(slot, |stop| follower.run(answers, stop));
            Ok(Response::from_parts(metadata, stream, extensions))
        })
        .await
    }
}

/// The first look: whether the caller may follow, and from where.
async fn begin(
    app: &Arc<App>,
    call: &mut Call<'_>,
    request: &wire::WatchRequest,
) -> Result<Follower, ApiError> {
    let caller = call.admit(request)?;
    let folder = FolderId::parse(&request.folder_id)
        .map_err(|error| ApiError::invalid("folder_id", error.to_string()))?;
    let (begin, path) = call
        .read(&caller, |view| {
            let path = allowed(view, &caller.subject, &folder)?;
            Ok((tables::changes_begin(view)?, path))
        })
        .await?;
    call.path = Some(path);
    let now = call.observed().map_or(0, |at| at.index);
    let after = match request.begin {
        Some(Begin::AfterIndex(index)) => index,
        None => now,
    };
    if after > now {
        // Of a cluster that was restored, or of another one: what it means is not known here.
        return Err(ApiError::invalid("after_index", "is ahead of the log"));
    }
    all_known(begin.or_else(|| Some(now.saturating_add(1))), after, &folder)?;
    let context = Arc::clone(&call.context);
    Ok(Follower { app: Arc::clone(app), caller, folder, context, told: after })
}

/// Refuses to go on behind an index when changes behind it are forgotten: all are known from
/// `begin` on, or were since the stream began when there is none.
fn all_known(begin: Option<u64>, after: u64, folder: &FolderId) -> Result<(), ApiError> {
    let Some(begin) = begin.filter(|begin| after.saturating_add(1) < *begin) else {
        return Ok(());
    };
    let missing = Precondition {
        kind: "CHANGES_FORGOTTEN",
        subject: folder.to_string(),
        description: format!("changes are known from index {begin} on"),
    };
    let message = format!("changes behind index {after} are forgotten: begin with a list");
    Err(ApiError::new(ErrorKind::FailedPrecondition(missing), message, Outcome::NotProposed))
}

/// The path of a folder whose changes the caller may see.
fn allowed(
    view: &TimedView<'_>,
    subject: &Subject,
    folder: &FolderId,
) -> Result<ResourcePath, Refused> {
    let path = tables::folder_path(view, folder)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
    let ((), path) = within(path, |path| {
        require(view, subject, Permission::SecretsList, path)?;
        require(view, subject, Permission::SecretsGet, path)
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn only_behind_what_is_forgotten_there_is_a_gap() {
        let folder = FolderId::parse("b1gfolder").unwrap();
        let known = |begin, after| all_known(begin, after, &folder).map_err(|error| error.code());
        assert_eq!(known(Some(10), 9), Ok(()));
        assert_eq!(known(Some(10), 8), Err(Code::FailedPrecondition));
        assert_eq!(known(Some(0), 0), Ok(()));
        assert_eq!(known(None, 0), Ok(()));
        assert_eq!(known(Some(u64::MAX), u64::MAX), Ok(()));
    }
}
