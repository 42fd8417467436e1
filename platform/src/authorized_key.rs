//! Authorized keys of service accounts: making one, its file, and signing a JWT with it.
//!
//! Promises: the private key is only in [`Sensitive`](lockbox_core::Sensitive) text and in the
//! file, which is written with mode 0600; no error quotes the file. Refuses to know accounts.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lockbox_core::SensitiveString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How a private key in PEM begins. The Python SDK insists on this text (`contract §0.2`).
const PRIVATE_KEY_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
/// Characters of one line of PEM.
const PEM_LINE_CHARS: usize = 64;

/// The kinds of authorized keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl KeyAlgorithm {
    /// The name on the wire and in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA_2048",
            Self::Rsa4096 => "RSA_4096",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Rsa2048, Self::Rsa4096].into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// Why a key cannot be made, read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizedKeyError {
    /// The generator failed.
    #[error("cannot generate an RSA key")]
    Generate,
    /// The file cannot be read or written.
    #[error("cannot read or write the key file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The text is not the JSON of an authorized key.
    #[error("not an authorized key in JSON (line {line}, column {column})")]
    Json {
        /// Where the text is wrong.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The key's algorithm is not one of [`KeyAlgorithm`].
    #[error("the algorithm of the key is neither RSA_2048 nor RSA_4096")]
    Algorithm,
    /// There is no private key in the file.
    #[error("the private key does not hold {PRIVATE_KEY_BEGIN:?}")]
    NoPrivateKey,
    /// The private key does not sign.
    #[error("the private key cannot be used to sign")]
    Unusable,
}

/// A new key pair.
#[derive(Debug, Clone)]
pub struct GeneratedKeyPair {
    /// The public key, X.509 SPKI in PEM.
    pub public_key_pem: String,
    /// The private key, PKCS #8 in PEM.
    pub private_key_pem: SensitiveString,
}

/// Makes an RSA key pair. Takes tenths of a second, more for 4096 bits: call it off the runtime.
///
/// # Errors
/// [`AuthorizedKeyError::Generate`].
pub fn generate_key_pair(algorithm: KeyAlgorithm) -> Result<GeneratedKeyPair, AuthorizedKeyError> {
    let size = match algorithm {
        KeyAlgorithm::Rsa2048 => KeySize::Rsa2048,
        KeyAlgorithm::Rsa4096 => KeySize::Rsa4096,
    };
    let failed = |_unspecified| AuthorizedKeyError::Generate;
    let pair = KeyPair::generate(size).map_err(failed)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    let private_pem = to_pem("PRIVATE KEY", private.as_ref());
    Ok(GeneratedKeyPair {
        public_key_pem: to_pem("PUBLIC KEY", public.as_ref()).to_string(),
        private_key_pem: SensitiveString::new(private_pem.to_string()),
    })
}

pub(crate) fn to_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // Enough at once: a growing string would leave copies of a private key behind.
    let capacity = encoded.len() + encoded.len() / PEM_LINE_CHARS + 2 * label.len() + 40;
    let mut pem = Zeroizing::new(String::with_capacity(capacity));
    for part in ["-----BEGIN ", label, "-----\n"] {
        pem.push_str(part);
    }
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE_CHARS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    for part in ["-----END ", label, "-----\n"] {
        pem.push_str(part);
    }
    pem
}

/// An authorized key as its file holds it (`contract §0.2`).
#[derive(Debug, Clone)]
pub struct AuthorizedKeyFile {
    /// The key's id, the `kid` of its JWTs.
    pub id: String,
    /// The account.
    pub service_account_id: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Its kind.
    pub key_algorithm: KeyAlgorithm,
    /// The public key in PEM.
    pub public_key: String,
    /// The private key in PEM, perhaps behind a warning.
    pub private_key: SensitiveString,
}

/// The file's JSON. Both spellings are accepted, snake_case is written.
#[derive(Serialize, Deserialize)]
struct FileJson<T> {
    id: String,
    #[serde(alias = "serviceAccountId")]
    service_account_id: String,
    #[serde(alias = "createdAt", default)]
    created_at: String,
    #[serde(alias = "keyAlgorithm")]
    key_algorithm: String,
    #[serde(alias = "publicKey", default)]
    public_key: String,
    #[serde(alias = "privateKey")]
    private_key: T,
}

impl AuthorizedKeyFile {
    /// Reads the JSON.
    ///
    /// # Errors
    /// [`AuthorizedKeyError`], without quoting the text.
    pub fn parse(json: &str) -> Result<Self, AuthorizedKeyError> {
        let read: FileJson<String> = serde_json::from_str(json).map_err(|error| {
            AuthorizedKeyError::Json { line: error.line(), column: error.column() }
        })?;
        let private_key = SensitiveString::new(read.private_key);
        let key_algorithm =
            KeyAlgorithm::parse(&read.key_algorithm).ok_or(AuthorizedKeyError::Algorithm)?;
        private_pem(private_key.expose())?;
        Ok(Self {
            id: read.id,
            service_account_id: read.service_account_id,
            created_at: read.created_at,
            key_algorithm,
            public_key: read.public_key,
            private_key,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`AuthorizedKeyError`], without quoting the file.
    pub fn read(path: &Path) -> Result<Self, AuthorizedKeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| AuthorizedKeyError::File { path: path.to_owned(), source })?;
        Self::parse(&Zeroizing::new(text))
    }

    /// The JSON that the SDKs read.
    ///
    /// # Errors
    /// [`AuthorizedKeyError::Unusable`] never in practice: the fields are text.
    pub fn to_json(&self) -> Result<SensitiveString, AuthorizedKeyError> {
        let json = FileJson {
            id: self.id.clone(),
            service_account_id: self.service_account_id.clone(),
            created_at: self.created_at.clone(),
            key_algorithm: self.key_algorithm.as_str().to_owned(),
            public_key: self.public_key.clone(),
            private_key: self.private_key.expose().as_str(),
        };
        serde_json::to_string_pretty(&json)
            .map(|text| SensitiveString::new(text + "\n"))
            .map_err(|_impossible| AuthorizedKeyError::Unusable)
    }

    /// Writes the file with mode 0600, under another name first.
    ///
    /// # Errors
    /// [`AuthorizedKeyError::File`].
    pub fn write(&self, path: &Path) -> Result<(), AuthorizedKeyError> {
        let json = self.to_json()?;
        let temporary = path.with_extension("tmp");
        let written = || {
            if temporary.exists() {
                std::fs::remove_file(&temporary)?;
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(json.expose().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        written().map_err(|source| AuthorizedKeyError::File { path: path.to_owned(), source })
    }
}

/// The PEM within the text: newer files have a warning before it (`contract §0.2`).
fn private_pem(text: &str) -> Result<&str, AuthorizedKeyError> {
    let begin = text.find(PRIVATE_KEY_BEGIN).ok_or(AuthorizedKeyError::NoPrivateKey)?;
    Ok(&text[begin..])
}

/// The claims of a JWT of ours.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

/// Signs a JWT that can be exchanged for a token.
///
/// # Errors
/// [`AuthorizedKeyError::Unusable`] when the key does not sign.
pub fn sign_jwt(
    key: &AuthorizedKeyFile,
    audience: &str,
    now_ms: u64,
    lifetime: Duration,
) -> Result<SensitiveString, AuthorizedKeyError> {
    let unusable = |_error| AuthorizedKeyError::Unusable;
    let iat = now_ms / 1_000;
    let claims = Claims {
        iss: &key.service_account_id,
        aud: audience,
        iat,
        exp: iat.saturating_add(lifetime.as_secs()),
    };
    let mut header = Header::new(Algorithm::PS256);
    header.kid = Some(key.id.clone());
    let pem = private_pem(key.private_key.expose())?;
    let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(unusable)?;
    jsonwebtoken::encode(&header, &claims, &signing).map(SensitiveString::new).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::jwt::{AUDIENCE, AcceptedAudiences, verify};

    fn key(algorithm: KeyAlgorithm) -> Result<AuthorizedKeyFile, AuthorizedKeyError> {
        let pair = generate_key_pair(algorithm)?;
        Ok(AuthorizedKeyFile {
            id: "ajk1".to_owned(),
            service_account_id: "aje1".to_owned(),
            created_at: "2026-11-24T00:00:00Z".to_owned(),
            key_algorithm: algorithm,
            public_key: pair.public_key_pem,
            private_key: pair.private_key_pem,
        })
    }

    #[test]
    fn a_written_key_signs_what_its_public_half_verifies() -> Result<(), AuthorizedKeyError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key.json");
        let made = key(KeyAlgorithm::Rsa2048)?;
        made.write(&path)?;
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut read = AuthorizedKeyFile::read(&path)?;
        assert_eq!(read.key_algorithm, KeyAlgorithm::Rsa2048);
        let warned = format!("PLEASE DO NOT REMOVE THIS LINE!\n{}", read.private_key.expose());
        read.private_key = SensitiveString::new(warned);
        let now_ms = 1_800_000_000_000;
        let jwt = sign_jwt(&read, AUDIENCE, now_ms, Duration::from_secs(3600))?;
        let accepted = AcceptedAudiences::new(&[], &[]);
        let claims = verify(jwt.expose(), &read.public_key, &accepted, now_ms);
        assert!(claims.is_ok_and(|c| c.kid == "ajk1" && c.iss == "aje1"));
        Ok(())
    }

    #[test]
    fn keys_have_the_promised_pem_labels() -> Result<(), AuthorizedKeyError> {
        let made = key(KeyAlgorithm::Rsa2048)?;
        let private = made.private_key.expose();
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(private.ends_with("-----END PRIVATE KEY-----\n"));
        assert!(private.lines().all(|line| line.len() <= 64));
        assert!(made.public_key.starts_with("-----BEGIN PUBLIC KEY-----\n"));
        Ok(())
    }

    #[test]
    fn camel_case_is_read_and_errors_quote_nothing() -> Result<(), AuthorizedKeyError> {
        let pem = "-----BEGIN PRIVATE KEY-----\\nAA==\\n-----END PRIVATE KEY-----\\n";
        let camel = format!(
            r#"{{"id":"a","serviceAccountId":"b","keyAlgorithm":"RSA_4096","privateKey":"{pem}"}}"#
        );
        assert_eq!(AuthorizedKeyFile::parse(&camel)?.service_account_id, "b");
        let wrong = r#"{"id":"a","service_account_id":"b","key_algorithm":"RSA_2048",
            "private_key":["canary"]}"#;
        let text = AuthorizedKeyFile::parse(wrong).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(text, Err("not an authorized key in JSON (line 2, column 26)".to_owned()));
        let none = r#"{"id":"a","service_account_id":"b","key_algorithm":"RSA_2048",
            "private_key":"canary"}"#;
        let text = AuthorizedKeyFile::parse(none).map(|_| ()).map_err(|e| e.to_string());
        assert!(text.is_err_and(|t| !t.contains("canary")));
        Ok(())
    }
}
