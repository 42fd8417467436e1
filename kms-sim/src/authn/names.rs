//! Which certificates are nodes: a static list of names, known before any cluster is up.

/// The name of a node in its certificate, or a pattern of such names.
///
/// One `*` in the first label stands for letters, digits and hyphens: `node-*.lockbox.internal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    before: String,
    after: Option<String>,
}

impl NodeName {
    /// Reads a name or pattern; none when the `*` is not alone in the first label.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let Some((before, after)) = text.split_once('*') else {
            return Some(Self { before: text.to_ascii_lowercase(), after: None });
        };
        // A bare `*` would make every certificate of the CA a node.
        if before.is_empty() || before.contains('.') || after.contains('*') {
            return None;
        }
        if !after.contains('.') {
            return None;
        }
        let after = Some(after.to_ascii_lowercase());
        Some(Self { before: before.to_ascii_lowercase(), after })
    }

    /// Whether a certificate with this DNS name is such a node.
    #[must_use]
    pub fn matches(&self, dns_name: &str) -> bool {
        let name = dns_name.to_ascii_lowercase();
        let Some(after) = &self.after else { return name == self.before };
        let Some(middle) = name.strip_prefix(&self.before).and_then(|n| n.strip_suffix(after))
        else {
            return false;
        };
        !middle.is_empty() && middle.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_one_label_of_nodes_and_nothing_else() {
        let pattern = NodeName::parse("node-*.lockbox.internal").unwrap();
        for name in ["node-1.lockbox.internal", "NODE-12.Lockbox.Internal"] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in [
            "node-.lockbox.internal",
            "node-1.evil.lockbox.internal",
            "kms.lockbox.internal",
            "node-1.lockbox.internal.evil",
            "xnode-1.lockbox.internal",
        ] {
            assert!(!pattern.matches(name), "{name}");
        }
        let exact = NodeName::parse("a.example").unwrap();
        assert!(exact.matches("A.example") && !exact.matches("b.example"));
        for wrong in ["", "*", "*.lockbox.internal", "node.*.internal", "node-*", "a*b*.c"] {
            assert_eq!(NodeName::parse(wrong), None, "{wrong}");
        }
    }
}
