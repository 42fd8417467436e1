//! `lockbox cert issue`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use lockbox_platform::authority::{self, Usage};
use lockbox_platform::certificates::LeafSpec;

use super::{LeafDays, Place, failed};
use crate::cli::failure::Failure;
use crate::mutual_tls::node_dns_name;
use crate::peer_name;

/// A certificate to issue.
#[derive(Debug, Args)]
pub(super) struct Issue {
    /// Whose it is: node-ID, kms, operator or admin, which have the names that servers go by; or
    /// server, for the API under public names.
    #[arg(value_name = "NAME", value_parser = parse_holder)]
    holder: Holder,
    /// A name or an address that clients connect to; may be given several times.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Where the certificate and its key are written; the authority's directory when not given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    life: LeafDays,
    /// Write over a certificate of the same name.
    #[arg(long)]
    force: bool,
}

/// Whose a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    stem: String,
    /// The name that servers know it by.
    name: Option<String>,
    usage: Usage,
}

fn parse_holder(text: &str) -> Result<Holder, String> {
    let holder = |name: Option<String>, usage| Holder { stem: text.to_owned(), name, usage };
    Ok(match text {
        "kms" => holder(Some(peer_name::KMS.to_owned()), Usage::Both),
        "operator" => holder(Some(peer_name::OPERATOR.to_owned()), Usage::Client),
        "admin" => holder(Some(peer_name::ADMIN.to_owned()), Usage::Client),
        "server" => holder(None, Usage::Server),
        _ => {
            let id = text.strip_prefix("node-").and_then(|id| id.parse::<u64>().ok());
            let id = id.filter(|id| *id > 0 && text == format!("node-{id}"));
            let id = id.ok_or("is none of node-ID, kms, operator, admin and server")?;
            holder(Some(node_dns_name(id)), Usage::Both)
        }
    })
}

impl Issue {
    pub(super) fn run(&self, place: &Place, now_ms: u64) -> Result<String, Failure> {
        let (mut dns_names, mut ips) = (Vec::from_iter(self.holder.name.clone()), Vec::new());
        for host in &self.host {
            match host.parse::<IpAddr>() {
                Ok(ip) => ips.push(ip),
                Err(_) if is_dns_name(host) => dns_names.push(host.clone()),
                Err(_) => {
                    let sentence = format_args!("{host:?} is neither a name nor an address");
                    return Err(Failure::usage(sentence));
                }
            }
        }
        if dns_names.is_empty() && ips.is_empty() {
            return Err(Failure::usage("a certificate for a server needs at least one --host"));
        }
        let leaf = LeafSpec { file_stem: self.holder.stem.clone(), dns_names, ips };
        let out = self.out.as_ref().unwrap_or(&place.authority);
        let terms = (self.holder.usage, self.life.days);
        let issued = authority::issue(&place.files(), out, &leaf, terms, now_ms, self.force);
        let files = issued.map_err(|error| failed(&error))?;
        let (certificate, key) = (files.certificate.display(), files.key.display());
        Ok(format!("issued {certificate} with {key}, for {} days\n", self.life.days))
    }
}

/// Labels of letters, digits and hyphens; the first may be a `*`.
fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let named = text.strip_prefix("*.").unwrap_or(text);
    text.len() <= 253 && named.split('.').all(label)
}
