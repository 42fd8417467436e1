//! Certificates for the servers that we are compared with, so that all speak TLS.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Options of `certificates`.
#[derive(Debug, Args)]
pub struct CertificatesArguments {
    /// Where `ca.pem`, `server.pem` and `server-key.pem` are written.
    #[arg(long)]
    pub directory: PathBuf,
}

/// Makes an authority, whose key is thrown away, and one certificate for `localhost`.
///
/// # Errors
/// When a file cannot be written.
pub fn run(arguments: &CertificatesArguments) -> Result<()> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;

    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "lockbox-bench");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(["localhost".to_owned()])?;
    server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    // Members of an etcd cluster are clients of each other with the same certificate.
    server.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = server.signed_by(&key, &issuer)?;

    write(directory, "ca.pem", &authority.pem())?;
    write(directory, "server.pem", &certificate.pem())?;
    write(directory, "server-key.pem", &key.serialize_pem())
}

fn write(directory: &Path, name: &str, pem: &str) -> Result<()> {
    let path = directory.join(name);
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(pem.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
