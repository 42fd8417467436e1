//! The security checklist as a whole: `docs/security.md` cannot name a test that does not exist, no
//! secret can be compared by `==`, and what we build from is what we have looked at.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    /// The items of the checklist (`peers.md` §6c).
    const ITEMS: u32 = 25;
    /// How a test of an item is called, before the item's number.
    const TEST: &str = "security_s";
    const CRATES: [&str; 6] = ["proto", "platform/core", "platform", "raft", "kms-sim", "node"];
    /// Types whose content an attacker must not find out by how long a comparison takes.
    const NEVER_COMPARED: [(&str, &str); 10] = [
        ("platform/core/src/mac.rs", "RequestMac"),
        ("platform/core/src/sensitive.rs", "Sensitive"),
        ("kms-sim/src/mac.rs", "MacKey"),
        ("kms-sim/src/material.rs", "KeyMaterial"),
        ("kms-sim/src/material.rs", "WrappedMaterial"),
        ("kms-sim/src/root_key.rs", "RootKey"),
        ("kms-sim/src/root_secret.rs", "Passphrase"),
        ("kms-sim/src/shares.rs", "Share"),
        ("node/src/seal.rs", "SealedMessage"),
        ("node/src/seal.rs", "SymmetricKey"),
    ];
    /// Names of values that `==` must not meet, whatever their type.
    const SECRET_NAMES: [&str; 10] = [
        "bearer",
        "checksum",
        "commitment",
        "data_key",
        "iam_token",
        "input_mac",
        "mac",
        "private_key",
        "request_mac",
        "seed",
    ];

    fn read(path: &str) -> String {
        let path = Path::new(ROOT).join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The sources of all crates, by their path from the root.
    fn sources() -> BTreeMap<String, String> {
        let root = Path::new(ROOT);
        let mut open: Vec<PathBuf> = CRATES.iter().map(|name| root.join(name)).collect();
        let mut found = BTreeMap::new();
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        found
    }

    /// What is before the tests of a file; nothing of a file that is all tests.
    fn product<'a>(path: &str, text: &'a str) -> &'a str {
        let is_test = path.contains("/tests/")
            || ["/tests.rs", "_tests.rs", "/two_keys.rs"].iter().any(|end| path.ends_with(end));
        if is_test { "" } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap() }
    }

    /// The tests of the tree that carry an item's number, as the table names them.
    fn named_tests(sources: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (path, text) in sources {
            for line in text.lines() {
                let name = line.split_once("fn ").and_then(|(_, rest)| rest.split('(').next());
                let name = name.filter(|name| name.starts_with(TEST));
                found.extend(name.map(|name| format!("{path}::{name}")));
            }
        }
        found
    }

    /// The rows of the table: an item's number, and what is between backticks as `path::test`.
    fn rows() -> BTreeMap<u32, Vec<String>> {
        let table = read("docs/security.md");
        let rows = table.lines().filter_map(|line| {
            let (number, rest) = line.strip_prefix("| S")?.split_once(' ')?;
            let quoted = rest.split('`').skip(1).step_by(2);
            let tests = quoted.filter(|text| text.contains(".rs::")).map(str::to_owned);
            Some((number.parse().unwrap(), tests.collect()))
        });
        rows.collect()
    }

    #[test]
    fn security_the_table_names_tests_that_exist_and_all_of_them() {
        let (sources, rows) = (sources(), rows());
        assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=ITEMS).collect::<Vec<_>>());
        for (item, tests) in &rows {
            assert!(!tests.is_empty(), "S{item} names no test");
            for test in tests {
                let (path, name) = test.split_once("::").unwrap();
                let text = sources.get(path).unwrap_or_else(|| panic!("S{item}: no file {path}"));
                let is_there = text.lines().any(|line| {
                    line.split_once("fn ").is_some_and(|(_, rest)| {
                        rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
                    })
                });
                assert!(is_there, "S{item}: there is no {test}");
            }
            let own = format!("::{TEST}{item:02}_");
            assert!(tests.iter().any(|test| test.contains(&own)), "S{item} has no {own}...");
        }
        let listed: BTreeSet<String> = rows.into_values().flatten().collect();
        let missing: Vec<String> =
            named_tests(&sources).into_iter().filter(|test| !listed.contains(test)).collect();
        assert!(missing.is_empty(), "not in docs/security.md: {missing:#?}");
    }

    /// The last name of an operand: `a.b.mac` and `*claim.mac()` are both `mac`.
    fn operand(text: &str, is_left: bool) -> &str {
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let text = text.trim().trim_matches(|c: char| "*&()".contains(c));
        if is_left {
            let begin = text.rfind(|c| !is_of_name(c)).map_or(0, |at| at + 1);
            return &text[begin..];
        }
        let end = text.find(|c| !is_of_name(c) && !".:".contains(c)).unwrap_or(text.len());
        text[..end].rsplit(['.', ':']).next().unwrap_or_default()
    }

    fn compares_a_secret(line: &str) -> bool {
        let code = line.split("//").next().unwrap_or_default();
        ["==", "!="].iter().any(|operator| {
            let mut parts = code.split(operator);
            let Some(mut left) = parts.next() else { return false };
            parts.any(|right| {
                let names = [operand(left, true), operand(right, false)];
                left = right;
                names.iter().any(|name| SECRET_NAMES.contains(name))
            })
        })
    }

    #[test]
    fn security_s07_no_secret_is_compared_by_equals() {
        for wrong in [
            "if record.request_mac == claim.request_mac {",
            "    && *self.commitment != other",
            "let same = expected == &message.commitment;",
            "a == b && c == d.seed;",
            "(context.bearer() == Some(x))",
        ] {
            assert!(compares_a_secret(wrong), "{wrong}");
        }
        for right in ["// mac == mac", "if mac.is(&other) {", "let mac_key_id == other", "a => b"] {
            assert!(!compares_a_secret(right), "{right}");
        }
        let mut looked_at = 0;
        for (path, text) in sources() {
            for (number, line) in product(&path, &text).lines().enumerate() {
                assert!(!compares_a_secret(line), "{path}:{}: {line}", number + 1);
                looked_at += 1;
            }
        }
        assert!(looked_at > 30_000, "{looked_at} lines: this test looks at nothing any more");
    }

    #[test]
    fn security_s07_types_of_secrets_have_no_equals() {
        for (path, name) in NEVER_COMPARED {
            let text = read(path);
            let declared = ["(", "<", " {"]
                .iter()
                .find_map(|next| text.find(&format!("pub struct {name}{next}")));
            let before = &text[..declared.unwrap_or_else(|| panic!("{path} has no {name}"))];
            let attributes = before.lines().rev().take_while(|line| line.starts_with(['#', '/']));
            for line in attributes.filter(|line| line.starts_with("#[derive(")) {
                assert!(!line.contains("PartialEq"), "{path}: {name}: {line}");
            }
            for by_hand in [format!("PartialEq for {name}"), format!("PartialEq<[u8]> for {name}")]
            {
                assert!(!text.contains(&by_hand), "{path}: {by_hand}");
            }
        }
    }

    /// Every dependency is locked, by its hash, and from the one registry; nothing of ours is
    /// unsafe, and no member of the workspace can leave that out.
    #[test]
    fn security_s25_dependencies_are_locked_and_no_code_of_ours_is_unsafe() {
        let lock = read("Cargo.lock");
        let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        let mut foreign = 0;
        for package in lock.split("[[package]]\n").skip(1) {
            let name = package.lines().next().unwrap_or_default();
            if name.starts_with("name = \"lockbox-") {
                assert!(!package.contains("\nsource = "), "{name}");
                continue;
            }
            assert!(package.contains(registry), "{name} is from somewhere else");
            let hash = package.split("checksum = \"").nth(1).and_then(|rest| rest.get(..64));
            let is_hash = hash.is_some_and(|hash| hash.chars().all(|c| c.is_ascii_hexdigit()));
            assert!(is_hash, "{name} has no hash");
            foreign += 1;
        }
        assert!(foreign > 100, "{foreign}: this test reads nothing any more");
        let workspace = read("Cargo.toml");
        assert!(workspace.contains("unsafe_code = \"forbid\""));
        let members = workspace.lines().find(|line| line.starts_with("members = [")).unwrap();
        for member in members.split('"').skip(1).step_by(2) {
            let manifest = read(&format!("{member}/Cargo.toml"));
            assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
        }
        let deny = read("deny.toml");
        for rule in ["unknown-registry = \"deny\"", "unknown-git = \"deny\""] {
            assert!(deny.contains(rule), "{rule}");
        }
        // What needs more than the lock: `make check` and `scripts/supply-chain.sh`.
        assert!(read("Makefile").contains("cargo deny --offline check bans licenses sources"));
    }
}
