//! Who this node is to the KMS: by its certificate to one of ours, by a token to another one.
//!
//! Another KMS that speaks the same API knows none of our callers. It takes the node for whoever
//! the token stands for, and the rights of callers on its keys are judged before it is asked
//! (`design §7`). Promises: it is told nothing about callers, and nobody else gets its token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockbox_core::{Sensitive, SensitiveString};
use lockbox_platform::credentials;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use prost::Message;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tonic::metadata::{Ascii, BinaryMetadataValue, MetadataValue};
use tonic::{Request, Status};
use zeroize::Zeroizing;

/// Metadata that carries the caller's assertion.
const ASSERTION_HEADER: &str = "lockbox-assertion-bin";
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Who this node is to the KMS.
#[derive(Debug, Clone, Default)]
pub enum KmsIdentity {
    /// Whom its certificate names. The KMS is ours: each call says on whose behalf it is.
    #[default]
    Certificate,
    /// Whoever the token in this file stands for.
    Token(Arc<Path>),
}

impl KmsIdentity {
    /// By the token in a file, if there is one.
    #[must_use]
    pub fn by(token_file: Option<&PathBuf>) -> Self {
        token_file.map_or(Self::Certificate, |file| Self::Token(file.as_path().into()))
    }

    /// Whether the KMS is told of callers, and judges their rights.
    pub(super) const fn knows_callers(&self) -> bool {
        matches!(self, Self::Certificate)
    }

    /// The request as one of the node itself.
    pub(super) async fn own<T>(&self, mut request: Request<T>) -> Result<Request<T>, Status> {
        let Self::Token(file) = self else { return Ok(request) };
        let bearer = bearer(file).await.map_err(|error| {
            tracing::error!(%error, file = %file.display(), "no token for the KMS");
            // As if the KMS were away: it is tried again, and the file may be right then.
            Status::unavailable("this node has no token for the KMS")
        })?;
        request.metadata_mut().insert("authorization", bearer);
        Ok(request)
    }

    /// The request as one on behalf of a caller.
    pub(super) async fn on_behalf<T>(
        &self,
        request: Request<T>,
        assertion: &CallerAssertion,
    ) -> Result<Request<T>, Status> {
        let mut request = self.own(request).await?;
        if self.knows_callers() {
            let value = BinaryMetadataValue::from_bytes(&assertion.encode_to_vec());
            request.metadata_mut().insert_bin(ASSERTION_HEADER, value);
        }
        Ok(request)
    }
}

/// The header's value; it is not printed.
async fn bearer(file: &Path) -> io::Result<MetadataValue<Ascii>> {
    let token = read(file).await?;
    let text = Zeroizing::new(format!("Bearer {}", token.expose().trim()));
    let value = MetadataValue::<Ascii>::try_from(text.as_str());
    let mut value = value.map_err(|_| io::Error::other("it does not hold a token"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(path: &Path) -> io::Result<SensitiveString> {
    let file = File::open(path).await?;
    // Asked of the open file: the name could be moved to another one in between.
    if !credentials::is_private(path, &file.metadata().await?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others can read it"));
    }
    // As large as it may get: a growing buffer would leave copies behind.
    let mut token = Sensitive::new(String::with_capacity(TOKEN_BYTES_MAX));
    file.take(TOKEN_BYTES_MAX as u64).read_to_string(token.expose_mut()).await?;
    if token.expose().trim().is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn a_token_is_read_anew_and_nothing_is_said_of_the_caller() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let identity = KmsIdentity::by(Some(&path));
        assert!(!identity.knows_callers());
        let caller = CallerAssertion { subject_id: "ajesomebody".into(), ..Default::default() };
        let shown = async || {
            let request = identity.on_behalf(Request::new(()), &caller).await?;
            assert!(request.metadata().get_bin(ASSERTION_HEADER).is_none());
            let value = request.metadata().get("authorization").unwrap();
            assert!(!format!("{value:?}").contains("t1."), "it is printed");
            Ok::<_, Status>(value.to_str().unwrap().to_owned())
        };
        assert_eq!(shown().await.unwrap_err().code(), tonic::Code::Unavailable);
        write(&path, "t1.first\n", 0o600);
        assert_eq!(shown().await.unwrap(), "Bearer t1.first");
        write(&path, "t1.second", 0o400);
        assert_eq!(shown().await.unwrap(), "Bearer t1.second");
        write(&path, "t1.open", 0o640);
        assert_eq!(shown().await.unwrap_err().code(), tonic::Code::Unavailable);
        for wrong in ["", "\n", "t1.\u{e9}\u{1}"] {
            write(&path, wrong, 0o600);
            assert!(shown().await.is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn ours_is_told_of_the_caller_and_gets_no_token() {
        let caller = CallerAssertion { subject_id: "ajesomebody".into(), ..Default::default() };
        let asked = KmsIdentity::default().on_behalf(Request::new(()), &caller).await.unwrap();
        let told = asked.metadata().get_bin(ASSERTION_HEADER).unwrap().to_bytes().unwrap();
        assert_eq!(CallerAssertion::decode(told).unwrap(), caller);
        assert!(asked.metadata().get("authorization").is_none());
    }
}
