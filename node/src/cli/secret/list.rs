//! Lists: all pages up to a limit, and the tables they are shown in.

use std::fmt::Display;

use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::{
    ListSecretsRequest, ListVersionsRequest, Secret, Version, secret, version,
};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Table;
use crate::cli::session::{Kind, Session};

/// Results of one page at most (`contract §2.11`).
const PAGE_ITEMS_MAX: u64 = 1000;

/// Up to `limit` secrets of a folder.
pub(crate) async fn all_secrets(
    session: &Session,
    folder_id: &str,
    limit: u64,
) -> Result<Vec<Secret>, Failure> {
    let fetch = async |page_size, page_token| {
        let folder_id = folder_id.to_owned();
        let request = ListSecretsRequest { folder_id, page_size, page_token };
        let send = async |channel, request| SecretServiceClient::new(channel).list(request).await;
        let page = session.call(Kind::Repeatable, &request, send).await?;
        Ok((page.secrets, page.next_page_token))
    };
    pages(limit, fetch).await
}

/// Up to `limit` versions of a secret.
pub(crate) async fn all_versions(
    session: &Session,
    secret_id: &str,
    limit: u64,
) -> Result<Vec<Version>, Failure> {
    let fetch = async |page_size, page_token| {
        let secret_id = secret_id.to_owned();
        let request = ListVersionsRequest { secret_id, page_size, page_token };
        let send =
            async |channel, request| SecretServiceClient::new(channel).list_versions(request).await;
        let page = session.call(Kind::Repeatable, &request, send).await?;
        Ok((page.versions, page.next_page_token))
    };
    pages(limit, fetch).await
}

/// Fetches pages, given size and token, until the last or until there are `limit` items.
pub(crate) async fn pages<T>(
    limit: u64,
    fetch: impl AsyncFn(i64, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let left = limit.saturating_sub(items.len() as u64);
        let size = i64::try_from(left.min(PAGE_ITEMS_MAX)).unwrap_or(i64::MAX);
        let (page, next) = fetch(size, token.clone()).await?;
        items.extend(page.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)));
        if next.is_empty() || items.len() as u64 >= limit {
            return Ok(items);
        }
        // A page may be short or empty, but the next one must begin elsewhere.
        if next == token {
            return Err(Failure::new(Exit::Internal, "the server names the same page again"));
        }
        token = next;
    }
}

/// The secrets for people (`contract §11`).
pub(crate) fn secrets_table(secrets: &[Secret]) -> Table {
    let row = |secret: &Secret| {
        let current = secret.current_version.as_ref().map(|version| version.id.clone());
        vec![
            secret.id.clone(),
            secret.name.clone(),
            secret.kms_key_id.clone(),
            text(secret.created_at.as_ref()),
            current.unwrap_or_default(),
            secret::Status::try_from(secret.status).unwrap_or_default().as_str_name().to_owned(),
        ]
    };
    Table {
        columns: vec!["ID", "NAME", "KMS KEY ID", "CREATED AT", "CURRENT VERSION ID", "STATUS"],
        rows: secrets.iter().map(row).collect(),
    }
}

/// The versions for people.
pub(crate) fn versions_table(versions: &[Version]) -> Table {
    let row = |version: &Version| {
        vec![
            version.id.clone(),
            version::Status::try_from(version.status).unwrap_or_default().as_str_name().to_owned(),
            text(version.created_at.as_ref()),
            text(version.destroy_at.as_ref()),
            version.payload_entry_keys.join(","),
            version.description.clone(),
        ]
    };
    Table {
        columns: vec!["ID", "STATUS", "CREATED AT", "DESTROY AT", "ENTRY KEYS", "DESCRIPTION"],
        rows: versions.iter().map(row).collect(),
    }
}

/// A value as text; nothing when it is absent.
pub(crate) fn text(value: Option<&impl Display>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A server with this many items, numbered.
    async fn listed(items: u64, limit: u64) -> (Vec<u64>, Vec<i64>) {
        let sizes = RefCell::new(Vec::new());
        let fetch = async |size: i64, token: String| {
            sizes.borrow_mut().push(size);
            let from = token.parse::<u64>().unwrap_or_default();
            let to = items.min(from + u64::try_from(size).unwrap());
            let next = if to < items { to.to_string() } else { String::new() };
            Ok(((from..to).collect(), next))
        };
        let items = pages(limit, fetch).await.unwrap();
        (items, sizes.into_inner())
    }

    #[tokio::test]
    async fn all_pages_are_read_up_to_the_limit() {
        assert_eq!(listed(2500, u64::MAX).await, ((0..2500).collect(), vec![1000; 3]));
        assert_eq!(listed(2500, 1500).await, ((0..1500).collect(), vec![1000, 500]));
        assert_eq!(listed(2500, 1000).await, ((0..1000).collect(), vec![1000]));
        assert_eq!(listed(3, 10).await, ((0..3).collect(), vec![10]));
        assert_eq!(listed(0, 10).await, (Vec::new(), vec![10]));
    }

    #[tokio::test]
    async fn empty_pages_are_passed_and_a_circle_is_noticed() {
        let fetch = async |_: i64, token: String| match token.as_str() {
            "" => Ok((vec![1], "a".to_owned())),
            "a" => Ok((Vec::new(), "b".to_owned())),
            _ => Ok((vec![2], String::new())),
        };
        assert_eq!(pages(10, fetch).await, Ok(vec![1, 2]));
        let circle = async |_: i64, _: String| Ok((vec![1], "a".to_owned()));
        assert!(pages(10, circle).await.is_err());
    }
}
