//! Partitions by the kernel: packet filters where the packets arrive, the second implementation
//! beside the switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::cluster::addresses::{Host, Link};
use crate::cluster::part::Part;

/// Drops what comes over these links, in place of what was dropped before; servers that nothing is
/// dropped at get an empty filter.
///
/// # Errors
/// When `nft` refuses.
pub(super) fn install(cluster: &Cluster, links: &BTreeSet<Link>, servers: &[Part]) -> Result<()> {
    let mut senders: BTreeMap<Host, Vec<Host>> = BTreeMap::new();
    for link in links {
        senders.entry(link.to).or_default().push(link.from);
    }
    for server in servers {
        let from = senders.get(&server.host()).map(Vec::as_slice).unwrap_or_default();
        cluster.namespace(*server)?.filter(&rules(from))?;
    }
    Ok(())
}

/// Packets that a server has dropped since its filter was installed.
///
/// # Errors
/// When `nft` does not answer.
pub(super) fn dropped(cluster: &Cluster, server: Part) -> Result<u64> {
    Ok(count(&cluster.namespace(server)?.filter_state()?))
}

/// A table that drops what these hosts send. The old one goes in the same transaction.
fn rules(from: &[Host]) -> String {
    // Naming a table makes it, so that removing it never fails.
    let mut text = String::from("table inet jepsen\ndelete table inet jepsen\n");
    if from.is_empty() {
        return text;
    }
    text.push_str("table inet jepsen {\n chain arriving {\n");
    text.push_str("  type filter hook input priority -300; policy accept;\n");
    let addresses: Vec<_> = from.iter().map(|host| host.address().to_string()).collect();
    // Writing to a string cannot fail.
    writeln!(text, "  ip saddr {{ {} }} counter drop", addresses.join(", ")).ok();
    text.push_str(" }\n}\n");
    text
}

/// The packets that the rules of a listing have counted.
fn count(listing: &str) -> u64 {
    let words: Vec<_> = listing.split_whitespace().collect();
    let counts = words.windows(2).filter(|pair| pair.first() == Some(&"packets"));
    counts.filter_map(|pair| pair.get(1)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_the_senders() {
        let text = rules(&[Host::Node(2), Host::Kms]);
        assert!(text.contains("ip saddr { 10.77.0.2, 10.77.1.1 } counter drop\n }\n}\n"), "{text}");
        assert!(!rules(&[]).contains("drop"));
    }

    #[test]
    fn counters_of_a_listing_are_added() {
        let listing = "ip saddr { 10.77.0.2 } counter packets 7 bytes 420 drop\n\
                       ip saddr { 10.77.0.3 } counter packets 5 bytes 300 drop";
        assert_eq!(count(listing), 12);
        assert_eq!(count(""), 0);
    }
}
