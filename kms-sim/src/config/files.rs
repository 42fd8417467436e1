//! The files that the configuration of `kms-sim` names: what is wrong with them, and when their
//! certificates end.

use std::path::Path;

use lockbox_platform::authority::describe;
use lockbox_platform::certificate_expiry::{WatchedFile, notice};
use lockbox_platform::receivers::Receivers;
use lockbox_platform::tls::{ClientCertificates, ServerTls, TlsFiles};

use super::{KmsConfig, RootVariables};
use crate::authn::policy::Policy;

impl KmsConfig {
    /// The files of the listener.
    #[must_use]
    pub fn api_tls(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.api.certificate.clone(),
            key: self.api.key.clone(),
            clients: ClientCertificates::Optional(self.api.client_ca.clone()),
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
            file("client_ca", &self.api.client_ca, true),
        ];
        let ca = self.cluster.as_ref().and_then(|cluster| cluster.ca.as_deref());
        files.extend(ca.map(|ca| file("cluster_ca", ca, true)));
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

    /// What keeps the server from starting with these files. The root key is read, and wiped.
    #[must_use]
    pub fn file_mistakes(&self, variables: RootVariables) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(ServerTls::load(&self.api_tls()).err().map(told));
        let ca = self.cluster.as_ref().and_then(|cluster| cluster.ca.as_deref());
        found.extend(ca.and_then(|ca| describe(ca).err()).map(told));
        let policy = self.policy.as_ref().map(|policy| Policy::load(&policy.file));
        found.extend(policy.and_then(Result::err).map(told));
        found.extend(self.load_root_secret(variables).err().map(told));
        found.extend(self.receivers().file_mistakes());
        // One that is not there is made.
        let directory = self.backup.directory.as_deref();
        let taken = directory.filter(|path| path.exists() && !path.is_dir());
        found.extend(taken.map(|path| format!("backup.directory {} is a file", path.display())));
        found
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
