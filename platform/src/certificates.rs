//! A private certificate authority and leaf certificates, for `dev` and local clusters.
//!
//! Promises: keys are written with mode 0600 before anything can read them; an authority that is
//! still valid is kept, so that clients which trust it go on trusting. Not for production use:
//! the authority's key lies beside the certificates; there [`crate::authority`] is.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockbox_core::Clock;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use crate::tls::IdentityFiles;

/// How long an authority is valid.
const CA_DAYS: u64 = 3650;
/// How long a leaf is valid: the longest that common clients accept.
const LEAF_DAYS: u64 = 397;
/// An authority with less than this left is replaced.
const CA_DAYS_LEFT_MIN: u64 = LEAF_DAYS;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// One certificate to issue, for servers and clients alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// The files are `<file_stem>.pem` and `<file_stem>-key.pem`.
    pub file_stem: String,
    /// DNS names; the first is also the common name.
    pub dns_names: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

/// Where the authority is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaFiles {
    /// What clients must trust, in PEM.
    pub certificate: PathBuf,
    /// The authority's private key, in PEM.
    pub key: PathBuf,
}

/// Why certificates could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot write or read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A certificate cannot be made, mostly because of a malformed name.
    #[error("cannot make the certificate {name}: {source}")]
    Make {
        /// Which.
        name: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// The clock is outside the years that a certificate can hold.
    #[error("the clock is outside the range of certificates")]
    Clock,
}

/// The files of the leaf that was issued with this stem.
#[must_use]
pub fn leaf_files(dir: &Path, file_stem: &str) -> IdentityFiles {
    IdentityFiles {
        certificate: dir.join(format!("{file_stem}.pem")),
        key: dir.join(format!("{file_stem}-key.pem")),
    }
}

/// Makes `ca.pem` and `ca-key.pem` in `dir` unless valid ones are there, and issues every leaf.
///
/// # Errors
/// [`CertificateError`] when a file cannot be written or a name is malformed.
pub fn issue_all(
    dir: &Path,
    leaves: &[LeafSpec],
    clock: &dyn Clock,
) -> Result<CaFiles, CertificateError> {
    let now_ms = clock.wall_ms();
    fs::create_dir_all(dir)
        .map_err(|source| CertificateError::File { path: dir.to_owned(), source })?;
    let files = CaFiles { certificate: dir.join("ca.pem"), key: dir.join("ca-key.pem") };
    if !is_usable(&files, now_ms) {
        make_authority(&files, now_ms, CA_DAYS)?;
    }
    let key_text = Zeroizing::new(read(&files.key)?);
    let failed = |source| CertificateError::Make { name: "ca".to_owned(), source };
    let key = KeyPair::from_pem(&key_text).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_pem(&read(&files.certificate)?, key).map_err(failed)?;
    let purposes = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let terms = Terms { purposes, days: LEAF_DAYS };
    for leaf in leaves {
        issue(dir, leaf, &issuer, now_ms, &terms)?;
    }
    Ok(files)
}

/// Whether the authority's files are there, fit together and are valid long enough.
fn is_usable(files: &CaFiles, now_ms: u64) -> bool {
    let (Ok(certificate), Ok(key)) = (read(&files.certificate), read(&files.key)) else {
        return false;
    };
    let key = Zeroizing::new(key);
    let Ok(key_pair) = KeyPair::from_pem(&key) else { return false };
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()) else {
        return false;
    };
    let Ok(parsed) = pem.parse_x509() else { return false };
    let until_ms = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0) * 1_000;
    let same_key =
        parsed.public_key().raw == rcgen::PublicKeyData::subject_public_key_info(&key_pair);
    same_key && until_ms >= now_ms + CA_DAYS_LEFT_MIN * DAY_MS
}

/// Makes an authority, in place of what is there.
pub(crate) fn make_authority(
    files: &CaFiles,
    now_ms: u64,
    days: u64,
) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::Make { name: "ca".to_owned(), source };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Lockbox private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now_ms, days)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    // ORDER: the key first, so that a certificate never stands without its key.
    write_private(&files.key, &Zeroizing::new(key.serialize_pem()))?;
    write_public(&files.certificate, &certificate.pem())
}

/// What a certificate is for, and for how long.
pub(crate) struct Terms {
    /// What it may be shown as.
    pub(crate) purposes: Vec<ExtendedKeyUsagePurpose>,
    /// How long it is valid.
    pub(crate) days: u64,
}

/// Issues a certificate, in place of what is there.
pub(crate) fn issue(
    dir: &Path,
    leaf: &LeafSpec,
    issuer: &Issuer<'_, KeyPair>,
    now_ms: u64,
    terms: &Terms,
) -> Result<(), CertificateError> {
    let failed = |source| CertificateError::Make { name: leaf.file_stem.clone(), source };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common_name = leaf.dns_names.first().unwrap_or(&leaf.file_stem);
    params.distinguished_name.push(DnType::CommonName, common_name.as_str());
    for name in &leaf.dns_names {
        let name = Ia5String::try_from(name.as_str()).map_err(failed)?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(leaf.ips.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages.clone_from(&terms.purposes);
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now_ms, terms.days)?;
    let certificate = params.signed_by(&key, issuer).map_err(failed)?;
    let files = leaf_files(dir, &leaf.file_stem);
    write_private(&files.key, &Zeroizing::new(key.serialize_pem()))?;
    write_public(&files.certificate, &certificate.pem())
}

/// Valid from yesterday, so that a client whose clock lags accepts it.
fn set_validity(
    params: &mut CertificateParams,
    now_ms: u64,
    days: u64,
) -> Result<(), CertificateError> {
    let day = |ms: u64| {
        let ms = i64::try_from(ms).map_err(|_range| CertificateError::Clock)?;
        let at = Timestamp::from_millisecond(ms).map_err(|_range| CertificateError::Clock)?;
        let date = at.to_zoned(TimeZone::UTC).date();
        let month = u8::try_from(date.month()).map_err(|_range| CertificateError::Clock)?;
        let day = u8::try_from(date.day()).map_err(|_range| CertificateError::Clock)?;
        Ok(date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = day(now_ms.saturating_sub(DAY_MS))?;
    params.not_after = day(now_ms.saturating_add(days * DAY_MS))?;
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path)
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), CertificateError> {
    write(path, text, 0o600)
}

pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), CertificateError> {
    write(path, text, 0o644)
}

/// Writes a file whole, under another name first, so that no reader sees half of it.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let temporary = path.with_extension("tmp");
    let written = || {
        if temporary.exists() {
            fs::remove_file(&temporary)?;
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    written().map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::system::SystemClock;
    use crate::tls::{ClientCertificates, ServerTls, TlsFiles};

    fn leaf(stem: &str) -> LeafSpec {
        LeafSpec {
            file_stem: stem.to_owned(),
            dns_names: vec!["localhost".to_owned(), stem.to_owned()],
            ips: vec![IpAddr::from([127, 0, 0, 1])],
        }
    }

    #[test]
    fn issued_files_load_and_keys_are_private() -> Result<(), CertificateError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = issue_all(dir.path(), &[leaf("a"), leaf("b")], &SystemClock::new())?;
        for stem in ["a", "b"] {
            let files = leaf_files(dir.path(), stem);
            let clients = ClientCertificates::Required(ca.certificate.clone());
            let mode = fs::metadata(&files.key).expect("a key file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let tls = TlsFiles { certificate: files.certificate, key: files.key, clients };
            assert!(ServerTls::load(&tls).is_ok());
        }
        let crossed = TlsFiles {
            certificate: leaf_files(dir.path(), "a").certificate,
            key: leaf_files(dir.path(), "b").key,
            clients: ClientCertificates::None,
        };
        assert!(ServerTls::load(&crossed).is_err());
        Ok(())
    }

    /// The system clock moved forward.
    struct Later(Duration);

    impl Clock for Later {
        fn wall_ms(&self) -> u64 {
            let ahead = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
            SystemClock::new().wall_ms() + ahead
        }

        fn monotonic(&self) -> Duration {
            self.0
        }
    }

    #[test]
    fn an_authority_is_kept_while_it_is_valid() -> Result<(), CertificateError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = issue_all(dir.path(), &[], &SystemClock::new())?;
        let first = read(&ca.certificate)?;
        issue_all(dir.path(), &[leaf("a")], &SystemClock::new())?;
        assert_eq!(read(&ca.certificate)?, first);
        let nine_years = Duration::from_millis(9 * 365 * DAY_MS);
        issue_all(dir.path(), &[], &Later(nine_years))?;
        assert_ne!(read(&ca.certificate)?, first);
        Ok(())
    }

    #[test]
    fn an_authority_without_its_key_is_replaced() -> Result<(), CertificateError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca = issue_all(dir.path(), &[], &SystemClock::new())?;
        let first = read(&ca.certificate)?;
        let other = tempfile::tempdir().expect("a temporary directory");
        let other_ca = issue_all(other.path(), &[], &SystemClock::new())?;
        fs::copy(&other_ca.key, &ca.key).expect("a copied key");
        issue_all(dir.path(), &[], &SystemClock::new())?;
        assert_ne!(read(&ca.certificate)?, first);
        Ok(())
    }
}
