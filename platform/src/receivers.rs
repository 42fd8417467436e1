//! What a server sends out beside its answers, as far as its files go: copies of the audit by
//! syslog and OTLP, and traces.
//!
//! Promises: what a server would not start with is told before, by the key of the configuration;
//! nobody is called for it. Refuses to know what is sent.

use crate::audit::shipping::{SyslogConfig, SyslogReceiver};
use crate::certificate_expiry::WatchedFile;
use crate::otlp::OtlpConfig;
use crate::tls::ClientTlsFiles;

/// The receivers of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Receivers<'c> {
    /// Of copies of the audit by syslog.
    pub syslog: Option<&'c SyslogConfig>,
    /// Of copies of the audit by OTLP.
    pub otlp: Option<&'c OtlpConfig>,
    /// Of traces.
    pub traces: Option<&'c OtlpConfig>,
}

/// One that is called by TLS.
struct ByTls {
    /// Its key in the configuration.
    key: &'static str,
    /// What the certificate that it is shown is for, as [`WatchedFile`] says it.
    role: &'static str,
    files: ClientTlsFiles,
    server_name: String,
}

impl Receivers<'_> {
    fn by_tls(self) -> Vec<ByTls> {
        let syslog = self.syslog.and_then(|config| match config.receiver() {
            Ok(SyslogReceiver::Tls { server_name, .. }) => Some((config.tls_files()?, server_name)),
            Ok(SyslogReceiver::Tcp { .. } | SyslogReceiver::Unix { .. }) | Err(_) => None,
        });
        let of = |config: &OtlpConfig| Some((config.tls_files()?, config.server_name().to_owned()));
        let found = [
            ("audit.syslog", "audit_syslog", syslog),
            ("audit.otlp", "audit_otlp", self.otlp.and_then(of)),
            ("traces.otlp", "traces", self.traces.and_then(of)),
        ];
        let found = found.into_iter().filter_map(|(key, role, tls)| {
            let (files, server_name) = tls?;
            Some(ByTls { key, role, files, server_name })
        });
        found.collect()
    }

    /// What keeps a server from starting with these receivers, a sentence each.
    #[must_use]
    pub fn file_mistakes(self) -> Vec<String> {
        let told = self.by_tls().into_iter().filter_map(|receiver| {
            let error = receiver.files.check(&receiver.server_name).err()?;
            Some(format!("{}: {error}", receiver.key))
        });
        told.collect()
    }

    /// The certificates that receivers are shown, each with what it is for.
    #[must_use]
    pub fn certificates(self) -> Vec<WatchedFile> {
        let own = self.by_tls().into_iter().filter_map(|ByTls { role, files, .. }| {
            let path = files.identity?.certificate;
            Some(WatchedFile { role, path, authorities: false })
        });
        own.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::certificates::{LeafSpec, issue_all, leaf_files};
    use crate::system::SystemClock;

    fn syslog(to: &str, ca: &Path, certificate: Option<PathBuf>) -> SyslogConfig {
        SyslogConfig {
            to: to.to_owned(),
            ca: Some(ca.to_owned()),
            server_name: None,
            key: certificate.as_ref().map(|file| file.with_file_name("shipper-key.pem")),
            certificate,
            plaintext: false,
        }
    }

    fn otlp(ca: Option<&Path>, server_name: &str) -> OtlpConfig {
        OtlpConfig {
            endpoint: "localhost:4317".to_owned(),
            ca: ca.map(Path::to_owned),
            server_name: Some(server_name.to_owned()),
            certificate: None,
            key: None,
            plaintext: false,
        }
    }

    #[test]
    fn files_that_receivers_need_are_looked_at_before_a_server_starts() {
        let directory = tempfile::tempdir().unwrap();
        let leaf = LeafSpec {
            file_stem: "shipper".to_owned(),
            dns_names: vec!["localhost".to_owned()],
            ips: Vec::new(),
        };
        let ca = issue_all(directory.path(), &[leaf], &SystemClock::new()).unwrap().certificate;
        let own = leaf_files(directory.path(), "shipper").certificate;
        let absent = directory.path().join("absent.pem");

        let right = syslog("tls://localhost:6514", &ca, Some(own.clone()));
        let collector = otlp(Some(&ca), "collector.example");
        let all = Receivers { syslog: Some(&right), otlp: Some(&collector), traces: None };
        assert_eq!(all.file_mistakes(), Vec::<String>::new());
        let watched = WatchedFile { role: "audit_syslog", path: own, authorities: false };
        assert_eq!(all.certificates(), [watched]);

        let no_ca = syslog("tls://localhost:6514", &absent, None);
        let (no_name, lost) = (otlp(Some(&ca), "no name"), otlp(Some(&absent), "localhost"));
        let all = Receivers { syslog: Some(&no_ca), otlp: Some(&no_name), traces: Some(&lost) };
        let told = all.file_mistakes();
        assert_eq!(told.len(), 3, "{told:#?}");
        let begins = ["audit.syslog: ", "audit.otlp: ", "traces.otlp: "];
        for (sentence, begin) in told.iter().zip(begins) {
            assert!(sentence.starts_with(begin), "{sentence}");
        }

        // In clear nothing of them is read.
        let in_clear = syslog("tcp://localhost:601", &absent, None);
        let bare = otlp(None, "no name");
        let all = Receivers { syslog: Some(&in_clear), otlp: None, traces: Some(&bare) };
        assert_eq!(all.file_mistakes(), Vec::<String>::new());
    }
}
