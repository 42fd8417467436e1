//! The files that a node's configuration names: what is wrong with them, and when their
//! certificates end.

use std::path::Path;
use std::time::Duration;

use lockbox_platform::authority::describe;
use lockbox_platform::certificate_expiry::{WatchedFile, notice};
use lockbox_platform::disk_space::{DiskGauge, FileSystems};
use lockbox_platform::receivers::Receivers;
use lockbox_platform::tls::{ClientCertificates, ServerTls, TlsFiles};
use lockbox_platform::{credentials, own_certificate};

use super::Config;
use crate::backup::destination;
use crate::mutual_tls::node_dns_name;

impl Config {
    /// The files of the listener for clients.
    #[must_use]
    pub fn api_tls(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.api.certificate.clone(),
            key: self.api.key.clone(),
            clients: ClientCertificates::None,
        }
    }

    /// The files of the listener for other nodes.
    #[must_use]
    pub fn peer_tls(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.peer.certificate.clone(),
            key: self.peer.key.clone(),
            clients: ClientCertificates::Required(self.peer.ca.clone()),
        }
    }

    /// The files of certificates, each with what it is for.
    #[must_use]
    pub fn certificates(&self) -> Vec<WatchedFile> {
        let file = |role, path: &Path, authorities| {
            let path = path.to_owned();
            WatchedFile { role, path, authorities }
        };
        let mut files = vec![
            file("api", &self.api.certificate, false),
            file("peer", &self.peer.certificate, false),
            file("peer_ca", &self.peer.ca, true),
        ];
        // With a token it may be the system's collection, of which there is always one that ends.
        let kms_ca = self.kms.ca().filter(|_| self.kms.token_file.is_none());
        files.extend(kms_ca.map(|ca| file("kms_ca", ca, true)));
        files.extend(self.receivers().certificates());
        files
    }

    fn receivers(&self) -> Receivers<'_> {
        Receivers {
            syslog: self.audit.syslog.as_ref(),
            otlp: self.audit.otlp.as_ref(),
            traces: self.traces.otlp.as_ref(),
        }
    }

    /// What keeps the node from starting, from calling the KMS, or from storing backups, with these
    /// files. Nobody is called.
    #[must_use]
    pub fn file_mistakes(&self, now_ms: u64) -> Vec<String> {
        let mut found = Vec::new();
        let api = ServerTls::load(&self.api_tls()).map(drop);
        let peer = ServerTls::load(&self.peer_tls()).map(drop);
        let (own, ca) = (&self.peer.certificate, &self.peer.ca);
        let name = node_dns_name(self.node_id);
        let named = match &peer {
            Ok(()) => own_certificate::check(own, ca, &name, Duration::from_millis(now_ms)),
            // What cannot be read was told of.
            Err(_) => Ok(()),
        };
        found.extend([api, peer, named].into_iter().filter_map(Result::err).map(told));
        if let Some(ca) = self.kms.ca() {
            found.extend(describe(ca).err().map(told));
        }
        if let Some(path) = &self.kms.token_file {
            let problem = match std::fs::metadata(path) {
                Ok(file) if credentials::is_private(path, &file) => None,
                Ok(_) => Some("others can read it".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            let sentence = |problem| format!("kms.token_file {}: {problem}", path.display());
            found.extend(problem.map(sentence));
        }
        found.extend(self.receivers().file_mistakes());
        found.extend(self.place_mistake());
        found.extend(self.disk_mistake());
        found
    }

    /// What is wrong with the place of the backups, as far as this machine knows it.
    fn place_mistake(&self) -> Option<String> {
        if let Some(directory) = &self.backup.directory {
            let sentence = || format!("backup.directory {} is no directory", directory.display());
            return (!directory.is_dir()).then(sentence);
        }
        let error = destination::check_files(self.backup.bucket.as_ref()?).err()?;
        Some(format!("backup.bucket: {error}"))
    }

    /// A disk that would always be low.
    fn disk_mistake(&self) -> Option<String> {
        let total = FileSystems.space(&self.data_dir).ok()?.total;
        let (low, ballast) = (self.disk.low_bytes(total), self.disk.ballast_bytes(total));
        // Some file systems have no size.
        (total > 0 && low.saturating_add(ballast) >= total).then(|| {
            format!(
                "disk.low_bytes and disk.ballast_bytes, {low} and {ballast}, are no less than the \
                 disk of {}, which has {total} bytes",
                self.data_dir.display()
            )
        })
    }

    /// What will keep it from that before long.
    #[must_use]
    pub fn file_warnings(&self, now_ms: u64) -> Vec<String> {
        let files = self.certificates().into_iter();
        let told = files.filter_map(|file| {
            let notice = notice(&file, now_ms)?;
            Some(format!("{}: {notice}", file.path.display()))
        });
        told.collect()
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
