//! What a certificate says of itself: names, usage, when it ends, and whose it is.

use std::net::IpAddr;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::{AuthorityError, Usage};
use crate::tls::read_certificates;

/// A certificate, as far as it matters to whoever renews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// What it may be shown as.
    pub usage: Usage,
    /// From when on it is valid, in milliseconds since the Unix epoch.
    pub not_before_ms: u64,
    /// Until when it is valid, likewise.
    pub not_after_ms: u64,
    /// Whether it may issue others.
    pub is_authority: bool,
    /// Identifies its own key, if it says so.
    pub own_key: Option<Vec<u8>>,
    /// Identifies the key of who issued it, if it says so.
    pub authority_key: Option<Vec<u8>>,
}

impl Described {
    /// How long it is valid from `now_ms` on, in milliseconds; 0 when it has ended.
    #[must_use]
    pub const fn left_ms(&self, now_ms: u64) -> u64 {
        self.not_after_ms.saturating_sub(now_ms)
    }

    /// Whether it should be renewed: less than a third of its life is left.
    #[must_use]
    pub const fn is_due(&self, now_ms: u64) -> bool {
        let life_ms = self.not_after_ms.saturating_sub(self.not_before_ms);
        self.left_ms(now_ms) < life_ms / 3
    }
}

/// Every certificate in a file, in their order.
///
/// # Errors
/// [`AuthorityError`] when the file cannot be read, or holds something else.
pub fn describe(path: &Path) -> Result<Vec<Described>, AuthorityError> {
    let certificates = read_certificates("certificate", path)?;
    let unreadable = || AuthorityError::Unfit {
        path: path.to_owned(),
        problem: "cannot be read as X.509".to_owned(),
    };
    certificates.iter().map(|der| of(der).ok_or_else(unreadable)).collect()
}

/// The first certificate in a file: a leaf before its intermediates, the newest of authorities.
///
/// # Errors
/// As [`describe`].
pub fn describe_first(path: &Path) -> Result<Described, AuthorityError> {
    let first = describe(path)?.into_iter().next();
    first.ok_or_else(|| AuthorityError::Unfit {
        path: path.to_owned(),
        problem: "is empty".to_owned(),
    })
}

fn of(der: &CertificateDer<'_>) -> Option<Described> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der.as_ref()).ok()?;
    let at = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    let (dns_names, ips) = names(&parsed)?;
    Some(Described {
        dns_names,
        ips,
        usage: usage(&parsed)?,
        not_before_ms: at(parsed.validity().not_before.timestamp()),
        not_after_ms: at(parsed.validity().not_after.timestamp()),
        is_authority: parsed.is_ca(),
        own_key: own_key(&parsed),
        authority_key: authority_key(&parsed),
    })
}

fn names(parsed: &X509Certificate<'_>) -> Option<(Vec<String>, Vec<IpAddr>)> {
    let (mut dns_names, mut ips) = (Vec::new(), Vec::new());
    let Some(names) = parsed.subject_alternative_name().ok()? else {
        return Some((dns_names, ips));
    };
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => ips.push(address(bytes)?),
            _ => {}
        }
    }
    Some((dns_names, ips))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

/// One that does not say may be shown as either.
fn usage(parsed: &X509Certificate<'_>) -> Option<Usage> {
    let Some(extension) = parsed.extended_key_usage().ok()? else { return Some(Usage::Both) };
    let allowed = extension.value;
    Some(match (allowed.any || allowed.server_auth, allowed.any || allowed.client_auth) {
        (true, false) => Usage::Server,
        (false, true) => Usage::Client,
        (true, true) | (false, false) => Usage::Both,
    })
}

fn own_key(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
        _ => None,
    })
}

fn authority_key(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => {
            authority.key_identifier.as_ref().map(|key| key.0.to_vec())
        }
        _ => None,
    })
}
