//! The operations on one resource, newest first (`contract §2.11`).

use lockbox_core::{AuthorizedKeyId, ResourcePath, ResourceRef};
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::domain::operation::OperationRecord;
use lockbox_raft::state::{StateRead, TimedView, tables};

use crate::authn::Caller;
use crate::call::Call;
use crate::page::List;
use crate::refused::Refused;
use crate::{convert, page};

/// A page, and where the next one begins.
pub(super) type Page = (Vec<Operation>, Option<u64>);

/// Which page is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    list: List<'a>,
    before: u64,
    size: usize,
}

impl<'a> Asked<'a> {
    /// The page that a request of this list names.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a token that is none of this list.
    pub(super) fn new(list: List<'a>, token: &str, size: i64) -> Result<Self, ApiError> {
        let before = list.place(token)?.unwrap_or(u64::MAX);
        Ok(Self { list, before, size: page::size(size) })
    }

    /// The page with the token of the next one, for whom `look` lets through.
    pub(super) async fn answer(
        self,
        call: &mut Call<'_>,
        caller: &Caller,
        look: impl FnOnce(&TimedView<'_>, Self) -> Result<(Page, ResourcePath), Refused>,
    ) -> Result<(Vec<Operation>, String), ApiError> {
        let (page, path) = call.read(caller, |view| look(view, self)).await?;
        call.path = Some(path);
        Ok(self.tokened(page))
    }

    /// A page of the operations on a resource.
    pub(super) fn of_resource(
        &self,
        view: &dyn StateRead,
        of: &ResourceRef,
    ) -> Result<Page, Refused> {
        shown(tables::operations_page(view, of, self.before, self.size)?)
    }

    /// The same of an authorized key.
    pub(super) fn of_key(
        &self,
        view: &dyn StateRead,
        key: &AuthorizedKeyId,
    ) -> Result<Page, Refused> {
        shown(tables::key_operations_page(view, key, self.before, self.size)?)
    }

    /// The page with the token of the next one.
    pub(super) fn tokened(&self, (operations, next): Page) -> (Vec<Operation>, String) {
        (operations, next.map(|place| self.list.token(place)).unwrap_or_default())
    }
}

fn shown((records, next): (Vec<OperationRecord>, Option<u64>)) -> Result<Page, Refused> {
    page::fill(records, next, |record| Ok((record.index, convert::operation(&record))))
}
