//! `KeyService`: authorized keys of service accounts (`contract §1.11`).
//!
//! `Create` makes the pair here and answers with the private half, once: it is neither stored nor
//! logged. For that reason it ignores an `idempotency-key` (`contract §10`): a repeat could not
//! answer the same, so it makes another key, and the caller deletes what it does not use.

mod changes;
mod pairs;

use std::sync::Arc;

use lockbox_core::{
    AuthorizedKeyId, Permission, ResourceKind, ResourcePath, ServiceAccountId, Subject, SubjectKind,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::AuthorizedKeyDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::authorized_key::KeyAlgorithm as PairAlgorithm;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{
    account_of, account_path, require, require_key_maker, require_over_keys, require_own_token,
    room_for_authorized_key,
};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, CreateAuthorizedKey};
use lockbox_raft::domain::identity::{AuthorizedKeyRecord, KeyAlgorithm};
use lockbox_raft::domain::operation::OperationResult;
use lockbox_raft::state::{TimedView, tables};
use tonic::{Request, Response, Status};
use wire::key_service_server::KeyService;

use self::pairs::PairMaker;
use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, detached};
use crate::grpc::operations_of;
use crate::page::{self, List};
use crate::refused::{Refused, within};
use crate::{convert, describe};

/// The service over the node's parts.
#[derive(Clone)]
pub struct KeyGrpc {
    app: Arc<App>,
    pairs: PairMaker,
}

impl KeyGrpc {
    /// The service.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app, pairs: PairMaker::default() }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl KeyService for KeyGrpc {
    async fn get(&self, request: Request<wire::GetKeyRequest>) -> Answer<wire::Key> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let source = EventSource::Iam;
            let details = describe::request_event(source, "GetKey", "key_id", &message.key_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = get(&mut call, message).await;
            call.finish(result).await
        })
        .await
    }

    async fn list(
        &self,
        request: Request<wire::ListKeysRequest>,
    ) -> Answer<wire::ListKeysResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let id = &request.get_ref().service_account_id;
            let source = EventSource::Iam;
            let details = describe::request_event(source, "ListKeys", "service_account_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn create(
        &self,
        request: Request<wire::CreateKeyRequest>,
    ) -> Answer<wire::CreateKeyResponse> {
        let (app, pairs) = (Arc::clone(&self.app), self.pairs.clone());
        let calls = app.calls.clone();
        detached(&calls, async move {
            let details = AuditDetails::CreateKey(AuthorizedKeyDetails {
                service_account_id: describe::named_id(&request.get_ref().service_account_id),
                ..AuthorizedKeyDetails::default()
            });
            let mut call = Call::begin(&app, &request, details)?;
            let result = create(&mut call, &pairs, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }

    async fn update(&self, request: Request<wire::UpdateKeyRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let source = EventSource::Iam;
            let details = describe::request_event(source, "UpdateKey", "key_id", &message.key_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::update(&mut call, request.into_inner()).await;
            call.finish(result).await
        })
        .await
    }

    async fn delete(&self, request: Request<wire::DeleteKeyRequest>) -> Answer<Operation> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let source = EventSource::Iam;
            let details = describe::request_event(source, "DeleteKey", "key_id", &message.key_id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = changes::delete(&mut call, message).await;
            call.finish(result).await
        })
        .await
    }

    async fn list_operations(
        &self,
        request: Request<wire::ListKeyOperationsRequest>,
    ) -> Answer<wire::ListKeyOperationsResponse> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let (source, id) = (EventSource::Iam, &request.get_ref().key_id);
            let details = describe::request_event(source, "ListKeyOperations", "key_id", id);
            let mut call = Call::begin(&app, &request, details)?;
            let result = list_operations(&mut call, request.get_ref()).await;
            call.finish(result).await
        })
        .await
    }
}

fn parse_key_id(text: &str) -> Result<AuthorizedKeyId, ApiError> {
    AuthorizedKeyId::parse(text).map_err(|error| ApiError::invalid("key_id", error.to_string()))
}

/// The account that a request names; empty means the caller itself (`contract §1.11`).
fn named_account(text: &str, caller: &Caller) -> Result<ServiceAccountId, ApiError> {
    let invalid = |description: String| ApiError::invalid("service_account_id", description);
    let is_account = caller.subject.kind == SubjectKind::ServiceAccount;
    let text = match text {
        "" if is_account => &caller.subject.id,
        "" => return Err(invalid("is required of a caller that is no service account".into())),
        named => named,
    };
    ServiceAccountId::parse(text).map_err(|error| invalid(error.to_string()))
}

/// What a caller wants of an account's keys.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// See them.
    Look,
    /// Make one.
    Make,
    /// Change or delete one, under this permission.
    Change(Permission),
}

/// The path of an account, for who may do this with its keys: the account itself may.
fn account_for(
    view: &TimedView<'_>,
    caller: &Caller,
    id: &ServiceAccountId,
    wanted: Wanted,
) -> Result<ResourcePath, Refused> {
    let account = tables::service_account(view, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::ServiceAccount, id.as_str()))?;
    let path = account_path(view, &account)?;
    let subject = &caller.subject;
    let ((), path) = within(path, |path| match wanted {
        Wanted::Look if *subject == Subject::service_account(id) => Ok(()),
        Wanted::Look => require(view, subject, Permission::ServiceAccountsGet, path),
        Wanted::Make => {
            require_own_token(Some(&caller.token))?;
            require_key_maker(view, subject, id, path)
        }
        Wanted::Change(permission) => {
            require_own_token(Some(&caller.token))?;
            require_over_keys(view, subject, permission, id, path)
        }
    })?;
    Ok(path)
}

/// A key with the path of its account, under the same rule.
fn key_for(
    view: &TimedView<'_>,
    caller: &Caller,
    id: &AuthorizedKeyId,
    wanted: Wanted,
) -> Result<(AuthorizedKeyRecord, ResourcePath), Refused> {
    let key =
        tables::authorized_key(view, id)?.ok_or_else(|| Rejection::KeyNotFound(id.to_string()))?;
    let account = account_of(view, &key)?;
    let path = account_for(view, caller, &account.id, wanted)?;
    Ok((key, path))
}

async fn get(call: &mut Call<'_>, request: &wire::GetKeyRequest) -> Result<wire::Key, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_key_id(&request.key_id)?;
    let (key, path) = call.read(&caller, |view| key_for(view, &caller, &id, Wanted::Look)).await?;
    call.path = Some(path);
    Ok(convert::authorized_key(&key))
}

async fn list(
    call: &mut Call<'_>,
    request: &wire::ListKeysRequest,
) -> Result<wire::ListKeysResponse, ApiError> {
    let caller = call.admit(request)?;
    let account = named_account(&request.service_account_id, &caller)?;
    let list = List { kind: "keys", of: account.as_str() };
    let after = list.place(&request.page_token)?.unwrap_or(0);
    let size = page::size(request.page_size);
    let ((records, next), path) = call
        .read(&caller, |view| {
            let path = account_for(view, &caller, &account, Wanted::Look)?;
            Ok((tables::authorized_keys_page(view, &account, after, size)?, path))
        })
        .await?;
    call.path = Some(path);
    let made =
        |key: AuthorizedKeyRecord| Ok::<_, ApiError>((key.sequence, convert::authorized_key(&key)));
    let (keys, next) = page::fill(records, next, made)?;
    let next_page_token = next.map(|place| list.token(place)).unwrap_or_default();
    Ok(wire::ListKeysResponse { keys, next_page_token })
}

async fn list_operations(
    call: &mut Call<'_>,
    request: &wire::ListKeyOperationsRequest,
) -> Result<wire::ListKeyOperationsResponse, ApiError> {
    let caller = call.admit(request)?;
    let id = parse_key_id(&request.key_id)?;
    let list = List { kind: "operations on a key", of: id.as_str() };
    let asked = operations_of::Asked::new(list, &request.page_token, request.page_size)?;
    let (operations, next_page_token) = asked
        .answer(call, &caller, |view, asked| {
            let (_, path) = key_for(view, &caller, &id, Wanted::Look)?;
            Ok((asked.of_key(view, &id)?, path))
        })
        .await?;
    Ok(wire::ListKeyOperationsResponse { operations, next_page_token })
}

async fn create(
    call: &mut Call<'_>,
    pairs: &PairMaker,
    request: &wire::CreateKeyRequest,
) -> Result<wire::CreateKeyResponse, ApiError> {
    let caller = call.admit(request)?;
    let account = named_account(&request.service_account_id, &caller)?;
    let (algorithm, stored_algorithm) = match request.key_algorithm() {
        wire::key::Algorithm::Unspecified | wire::key::Algorithm::Rsa2048 => {
            (PairAlgorithm::Rsa2048, KeyAlgorithm::Rsa2048)
        }
        wire::key::Algorithm::Rsa4096 => (PairAlgorithm::Rsa4096, KeyAlgorithm::Rsa4096),
    };
    let wanted = Wanted::Make;
    // Before the pair is made: who may not have one must not cost a core.
    let keys_max = call.app.config.limits.keys_per_service_account;
    let look = |view: &TimedView<'_>| {
        let path = account_for(view, &caller, &account, wanted)?;
        Ok(within(path, |_| room_for_authorized_key(view, &account, keys_max))?.1)
    };
    let path = call.prepare(&caller, look).await?;
    call.path = Some(path);
    let pair = pairs.make(algorithm, call.context.deadline).await?;
    let command = Command::CreateAuthorizedKey(CreateAuthorizedKey {
        id: AuthorizedKeyId::generate(call.app.random.as_ref()),
        service_account_id: account,
        description: request.description.clone(),
        algorithm: stored_algorithm,
        public_key_pem: pair.public_key_pem,
        keys_per_account_max: keys_max,
    });
    let operation = call.propose(&caller, None, command).await?;
    let OperationResult::AuthorizedKey(record) = &operation.result else {
        return Err(ApiError::internal("a key was created and another thing came back"));
    };
    call.details = AuditDetails::CreateKey(AuthorizedKeyDetails {
        key_id: record.id.to_string(),
        service_account_id: record.service_account_id.to_string(),
        key_algorithm: Some(algorithm.as_str()),
        description: record.description.clone(),
    });
    Ok(wire::CreateKeyResponse {
        key: Some(convert::authorized_key(record)),
        private_key: pair.private_key_pem.expose().clone(),
    })
}
