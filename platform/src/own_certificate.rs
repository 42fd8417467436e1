//! Whether others will accept this process's certificate, asked before anybody is called.
//!
//! A certificate of another authority or for another name shows in the handshakes of others, far
//! from its cause. Promises one sentence at start instead. Knows no name of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{ServerName, UnixTime};

use crate::tls::{TlsError, authorities, provider, read_certificates};

/// Checks that a certificate chain, as a server and as a client, is one of this authority, carries
/// the name and is valid at `now` (since the Unix epoch).
///
/// # Errors
/// [`TlsError`], one sentence that names the file and what is wrong with it.
pub fn check(certificate: &Path, ca: &Path, name: &str, now: Duration) -> Result<(), TlsError> {
    let chain = read_certificates("certificate", certificate)?;
    let roots: Arc<RootCertStore> = Arc::new(authorities(ca)?);
    let refused = |reason: String| TlsError::NotOwn { path: certificate.to_owned(), reason };
    let unusable = |reason: String| TlsError::Authority { path: ca.to_owned(), reason };
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| refused("is empty".into()))?;
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|_malformed| refused(format!("{name} is no name of a certificate")))?;
    let now = UnixTime::since_unix_epoch(now);

    let server = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider());
    let server = server.build().map_err(|error| unusable(error.to_string()))?;
    let client = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let client = client.build().map_err(|error| unusable(error.to_string()))?;
    let as_server = server.verify_server_cert(leaf, intermediates, &server_name, &[], now);
    let as_client = client.verify_client_cert(leaf, intermediates, now);
    as_server.map(drop).and(as_client.map(drop)).map_err(|error| refused(why(&error, ca, name)))
}

/// The two mistakes that operators make, in their words; the others in those of TLS.
fn why(error: &rustls::Error, ca: &Path, name: &str) -> String {
    let rustls::Error::InvalidCertificate(reason) = error else { return error.to_string() };
    if matches!(reason, CertificateError::UnknownIssuer | CertificateError::BadSignature) {
        return format!("was not issued by the authority in {}", ca.display());
    }
    let wrong_name = CertificateError::NotValidForName;
    if *reason == wrong_name || matches!(reason, CertificateError::NotValidForNameContext { .. }) {
        return format!("does not carry the name {name}");
    }
    format!("is not accepted: {reason}")
}

#[cfg(test)]
mod tests {
    use lockbox_core::Clock;

    use super::*;
    use crate::certificates::{LeafSpec, issue_all, leaf_files};
    use crate::system::SystemClock;

    #[test]
    fn the_wrong_authority_the_wrong_name_and_the_wrong_time_are_one_sentence_each() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let clock = SystemClock::new();
        let leaf = LeafSpec {
            file_stem: "node".to_owned(),
            dns_names: vec!["node-1.test".to_owned()],
            ips: Vec::new(),
        };
        let ca = issue_all(own.path(), std::slice::from_ref(&leaf), &clock).unwrap().certificate;
        let other_ca = issue_all(other.path(), &[leaf], &clock).unwrap().certificate;
        let certificate = leaf_files(own.path(), "node").certificate;
        let now = Duration::from_millis(clock.wall_ms());
        let checked = |ca: &Path, name: &str, now: Duration| {
            let checked = check(&certificate, ca, name, now);
            checked.map_err(|error| error.to_string())
        };
        checked(&ca, "node-1.test", now).unwrap();
        let name = checked(&ca, "node-2.test", now).unwrap_err();
        assert!(name.ends_with("node.pem does not carry the name node-2.test"), "{name}");
        let authority = checked(&other_ca, "node-1.test", now).unwrap_err();
        assert!(authority.contains("node.pem was not issued by the authority in "), "{authority}");
        assert!(authority.ends_with("ca.pem"), "{authority}");
        let ten_years = Duration::from_secs(10 * 365 * 86_400);
        let expired = checked(&ca, "node-1.test", now + ten_years).unwrap_err();
        assert!(expired.contains("is not accepted: ") && !expired.contains('\n'), "{expired}");
    }
}
