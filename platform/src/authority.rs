//! A private certificate authority for production, and the certificates that it issues.
//!
//! Promises: nothing that is there is written over unless it is asked for by name; keys are
//! readable by their owner alone, and a certificate lasts no longer than its authority. The
//! authority's key need not be on any server: servers are given `ca.pem` alone. Replacing the
//! authority takes three steps, between which everything goes on trusting everything else. Refuses
//! to know what the names mean.

mod described;

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

pub use self::described::{Described, describe, describe_first};
use crate::certificates::{
    CaFiles, CertificateError, LeafSpec, Terms, issue as issue_leaf, leaf_files, make_authority,
    read, write_private, write_public,
};
use crate::tls::{IdentityFiles, TlsError, read_certificates};

/// How long an authority is valid unless asked otherwise, in days.
pub const AUTHORITY_DAYS: u64 = 3650;
/// How long a certificate is valid unless asked otherwise, in days.
pub const LEAF_DAYS: u64 = 90;
/// The longest that common clients accept of a server, in days.
pub const LEAF_DAYS_MAX: u64 = 397;
/// Milliseconds of a day.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// What a certificate may be shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A server alone.
    Server,
    /// A client alone.
    Client,
    /// Both, as nodes and the KMS are.
    Both,
}

impl Usage {
    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Self::Server => vec![ServerAuth],
            Self::Client => vec![ClientAuth],
            Self::Both => vec![ServerAuth, ClientAuth],
        }
    }
}

/// Why there is no certificate; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written, or a certificate not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A file holds no certificate.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// Something is there that would be written over.
    #[error("{} is there already: nothing was written", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A certificate is not what is needed.
    #[error("certificate {} {problem}", path.display())]
    Unfit {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it, as the rest of the sentence.
        problem: String,
    },
}

/// The files of the authority in a directory.
#[must_use]
pub fn ca_files(dir: &Path) -> CaFiles {
    CaFiles { certificate: dir.join("ca.pem"), key: dir.join("ca-key.pem") }
}

/// Makes an authority in a directory, which is made if need be, for its owner alone.
///
/// # Errors
/// [`AuthorityError::Exists`] when there is one.
pub fn create(dir: &Path, days: u64, now_ms: u64) -> Result<CaFiles, AuthorityError> {
    let files = ca_files(dir);
    refuse_existing([&files.certificate, &files.key])?;
    make_directory(dir)?;
    make_authority(&files, now_ms, days)?;
    for_everybody(&files.certificate)?;
    Ok(files)
}

/// Issues a certificate into `out`, which is made if need be. With `over`, in place of one of the
/// same name.
///
/// # Errors
/// [`AuthorityError::Exists`] when there is one and it is not to be replaced;
/// [`AuthorityError::Unfit`] when the authority does not last as long.
pub fn issue(
    ca: &CaFiles,
    out: &Path,
    leaf: &LeafSpec,
    terms: (Usage, u64),
    now_ms: u64,
    over: bool,
) -> Result<IdentityFiles, AuthorityError> {
    let (usage, days) = terms;
    let files = leaf_files(out, &leaf.file_stem);
    if !over {
        refuse_existing([&files.certificate, &files.key])?;
    }
    let own = describe_first(&ca.certificate)?;
    if own.not_after_ms < now_ms.saturating_add(days.saturating_mul(DAY_MS)) {
        let problem = format!("of the authority ends before {days} days are over: replace it");
        return Err(AuthorityError::Unfit { path: ca.certificate.clone(), problem });
    }
    make_directory(out)?;
    let issuer = issuer(ca)?;
    issue_leaf(out, leaf, &issuer, now_ms, &Terms { purposes: usage.purposes(), days })?;
    for_everybody(&files.certificate)?;
    Ok(files)
}

/// Issues a certificate with the names and the usage that it has, and another key.
///
/// # Errors
/// [`AuthorityError`]; the files are as they were then.
pub fn renew(
    ca: &CaFiles,
    certificate: &Path,
    days: u64,
    now_ms: u64,
) -> Result<Described, AuthorityError> {
    let old = describe_first(certificate)?;
    if old.is_authority {
        let problem = "is that of an authority".to_owned();
        return Err(AuthorityError::Unfit { path: certificate.to_owned(), problem });
    }
    let (dir, file_stem) = (parent(certificate), stem(certificate));
    let key = leaf_files(&dir, &file_stem).key;
    if !key.exists() {
        let problem = format!("has no key beside it: {} is not there", key.display());
        return Err(AuthorityError::Unfit { path: certificate.to_owned(), problem });
    }
    let leaf = LeafSpec { file_stem, dns_names: old.dns_names.clone(), ips: old.ips.clone() };
    issue(ca, &dir, &leaf, (old.usage, days), now_ms, true)?;
    describe_first(certificate)
}

/// The certificates of a directory that have their key beside them, by name; authorities are none.
///
/// # Errors
/// [`AuthorityError`] when the directory or a file in it cannot be read.
pub fn leaves(dir: &Path) -> Result<Vec<(PathBuf, Described)>, AuthorityError> {
    let failed = |source| CertificateError::File { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_pem = path.extension().is_some_and(|kind| kind == "pem");
        if is_pem && leaf_files(dir, &stem(&path)).key.exists() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let described = describe_first(&path)?;
        if !described.is_authority {
            found.push((path, described));
        }
    }
    Ok(found)
}

/// Makes another authority, which issues from now on; the one before it stays trusted. Its key is
/// kept as `ca-key.old.pem`, until the step is over.
///
/// # Errors
/// [`AuthorityError::Exists`] when the authority is being replaced already.
pub fn begin_replacement(ca: &CaFiles, days: u64, now_ms: u64) -> Result<(), AuthorityError> {
    let old_key_path = old_key(ca);
    refuse_existing([&old_key_path])?;
    let old = read(&ca.certificate)?;
    // Fit together, or the replacement would lose something.
    drop(issuer(ca)?);
    // ORDER: the old key is safe before the new one is in its place, and the certificate is last:
    // a pair that does not fit is refused by whoever issues with it.
    write_private(&old_key_path, &Zeroizing::new(read(&ca.key)?))?;
    make_authority(ca, now_ms, days)?;
    let both = read(&ca.certificate)? + &old;
    write_public(&ca.certificate, &both)?;
    Ok(for_everybody(&ca.certificate)?)
}

/// Trusts the newest authority alone, and removes the key of the one before it.
///
/// # Errors
/// [`AuthorityError::Unfit`] when a certificate of `dir` is still of another one.
pub fn finish_replacement(ca: &CaFiles, dir: &Path) -> Result<(), AuthorityError> {
    let newest = describe_first(&ca.certificate)?;
    for (path, leaf) in leaves(dir)? {
        if leaf.authority_key != newest.own_key {
            let problem = "is still of the authority that is to go: renew it first".to_owned();
            return Err(AuthorityError::Unfit { path, problem });
        }
    }
    let text = read(&ca.certificate)?;
    let first = first_pem(&text).unwrap_or(&text);
    write_public(&ca.certificate, first)?;
    for_everybody(&ca.certificate)?;
    let old = old_key(ca);
    match fs::remove_file(&old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CertificateError::File { path: old, source: error }.into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The authority with its key, which fit together.
fn issuer(ca: &CaFiles) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
    let failed = |source| CertificateError::Make { name: "ca".to_owned(), source };
    let key_text = Zeroizing::new(read(&ca.key)?);
    let key = KeyPair::from_pem(&key_text).map_err(failed)?;
    let certificates = read_certificates("certificate authority", &ca.certificate)?;
    let fits = certificates.first().is_some_and(|first| is_of(first, &key));
    if !fits {
        let problem = format!("does not go with the key {}", ca.key.display());
        return Err(AuthorityError::Unfit { path: ca.certificate.clone(), problem });
    }
    Ok(Issuer::from_ca_cert_pem(&read(&ca.certificate)?, key).map_err(failed)?)
}

fn is_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate.as_ref()) else {
        return false;
    };
    parsed.public_key().raw == rcgen::PublicKeyData::subject_public_key_info(key)
}

/// The text of the first certificate of several.
fn first_pem(text: &str) -> Option<&str> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let end = text.find(END)? + END.len();
    text.get(..end)
}

fn old_key(ca: &CaFiles) -> PathBuf {
    ca.key.with_file_name("ca-key.old.pem")
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

fn refuse_existing<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Result<(), AuthorityError> {
    match paths.into_iter().find(|path| path.exists()) {
        Some(path) => Err(AuthorityError::Exists { path: path.clone() }),
        None => Ok(()),
    }
}

/// Lets all read a certificate, whatever the process keeps its other files for.
fn for_everybody(certificate: &Path) -> Result<(), CertificateError> {
    let opened = fs::set_permissions(certificate, Permissions::from_mode(0o644));
    opened.map_err(|source| CertificateError::File { path: certificate.to_owned(), source })
}

fn make_directory(dir: &Path) -> Result<(), CertificateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| CertificateError::File { path: dir.to_owned(), source })
}

#[cfg(test)]
mod tests;
