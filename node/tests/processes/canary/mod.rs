//! Canaries: 32 random bytes, written as a secret through every path, are in no file and in no
//! output of any server, in no spelling.
//!
//! What is searched: every file below the cluster's directory (logs of both kinds, tables,
//! snapshots, audit, standard output and error at a fine level), while everything runs and
//! after the end; the records of audits, compressed ones too; the rows of every database; the
//! metrics; and all that was answered to a call which does not read values. What a client must
//! keep for itself is found, and only there: the administrator's private key in its file, its
//! token in the file `env`, the root key in its.

mod identity;
mod kms;
mod paths;
mod refused;

use std::collections::BTreeSet;
use std::process::Output;

use lockbox_core::Randomness;
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::system::SystemRandom;
use tempfile::TempDir;

use crate::cluster::{Cluster, NODES, PARTS, Part};
use crate::scan::{Canary, Found, Scanner};

/// What the servers are told: to say all that they have to say, also of the libraries below
/// them, and to make snapshots all the time.
fn environment() -> Vec<(&'static str, String)> {
    let set = |name, value: &str| (name, value.to_owned());
    vec![
        // A library's finest level is 50 MB of polled futures.
        set("LOCKBOX_LOG", "debug,lockbox=trace"),
        set("LOCKBOX_CONFIG_RAFT__SNAPSHOT_ENTRIES", "20"),
        set("LOCKBOX_CONFIG_RAFT__ENTRIES_KEPT", "5"),
        // Audits are compressed once their files are finished.
        set("LOCKBOX_CONFIG_AUDIT__FILE_BYTES_MAX", "20000"),
        set("KMS_CONFIG_AUDIT__FILE_BYTES_MAX", "20000"),
    ]
}

/// The canaries that were made, and what servers and programs said.
pub(crate) struct Run {
    canaries: Vec<Canary>,
    said: Vec<(String, Vec<u8>)>,
    /// Files of clients, outside of what is searched.
    files: TempDir,
    /// The key of a customer.
    own_key: String,
}

impl Run {
    /// A new canary.
    fn bytes(&mut self, name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        SystemRandom.fill(&mut bytes);
        self.watch(name, bytes.clone());
        bytes
    }

    /// The same as text: in base64 without what a URL or a quoted text would spell differently.
    fn text(&mut self, name: &str) -> String {
        use base64::Engine as _;
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        self.watch(name, text.clone().into_bytes());
        text
    }

    /// A value that somebody else has made.
    fn watch(&mut self, name: &str, bytes: Vec<u8>) {
        self.canaries.push(Canary { name: name.to_owned(), bytes });
    }

    /// Keeps an answer.
    fn heard(&mut self, from: &str, answer: &impl std::fmt::Debug) {
        self.said.push((from.to_owned(), format!("{answer:?}").into_bytes()));
    }

    /// Keeps what a program said, which is nobody's value.
    fn printed(&mut self, command: &str, output: &Output) {
        self.said.push((format!("output of {command}"), output.stdout.clone()));
        self.said.push((format!("complaint of {command}"), output.stderr.clone()));
    }

    /// What the clients' own files hold on purpose.
    fn watch_clients_files(&mut self, cluster: &Cluster) -> BTreeSet<(String, String)> {
        let admin = AuthorizedKeyFile::read(&cluster.directory().join("admin-key.json")).unwrap();
        self.watch_private_key("administrator's private key", admin.private_key.expose());
        self.watch_token("administrator's token", cluster.variable("LOCKBOX_TOKEN"));
        let root = std::fs::read_to_string(cluster.directory().join("kms-root.key")).unwrap();
        let root = root.trim();
        let digits = (0..root.len()).step_by(2).map(|at| u8::from_str_radix(&root[at..at + 2], 16));
        self.watch("root key", digits.map(Result::unwrap).collect());
        let kept = [
            ("admin-key.json", "administrator's private key"),
            ("env", "administrator's token"),
            ("kms-root.key", "root key"),
        ];
        kept.map(|(file, canary)| (file.to_owned(), canary.to_owned())).into()
    }

    /// Fails when a canary is anywhere but where it may be, or is not where it must be.
    fn search(&self, cluster: &Cluster, kept: &BTreeSet<(String, String)>) {
        let scanner = Scanner::new(self.canaries.clone());
        let (mut found, size) = scanner.directory(cluster.directory());
        for (place, said) in &self.said {
            found.extend(scanner.bytes(place, said));
        }
        for part in PARTS {
            let (in_audit, records) = scanner.audit(&cluster.data(part));
            assert!(records > 0, "{part} has no audit");
            found.extend(in_audit);
        }
        let bare = |found: &Found| (found.place.clone(), found.canary.clone());
        let places: BTreeSet<_> = found.iter().map(bare).collect();
        assert_eq!(&places, kept, "{found:#?}");
        println!("{} canaries are in none of {size} bytes", self.canaries.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s20_no_canary_is_in_any_file_or_output() {
    let mut cluster = Cluster::start(environment()).await;
    let mut run = Run {
        canaries: Vec::new(),
        said: Vec::new(),
        files: tempfile::tempdir().unwrap(),
        own_key: cluster.admin(Part::Kms).create_kms_key().await,
    };
    let kept = run.watch_clients_files(&cluster);
    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|node| *node != leader).unwrap();
    for node in [leader, follower] {
        for key in [String::new(), run.own_key.clone()] {
            paths::grpc(&mut run, &cluster.admin(Part::Node(node)), &key).await;
        }
        paths::rest(&mut run, &cluster, node).await;
        refused::grpc(&mut run, &cluster.admin(Part::Node(node))).await;
        refused::rest(&mut run, &cluster, node).await;
    }
    paths::command_line(&mut run, &cluster);
    refused::command_line(&mut run, &cluster);
    kms::direct(&mut run, &cluster.admin(Part::Kms)).await;
    identity::logins(&mut run, &cluster, leader, follower).await;
    kms::away(&mut run, &mut cluster, leader).await;
    paths::killed(&mut run, &mut cluster, leader, follower).await;
    paths::crashed(&mut run, &mut cluster, follower).await;

    for part in PARTS {
        let metrics = cluster.health(part, "/metrics").await.unwrap();
        assert!(metrics.text().contains("_rpc_"), "{part}");
        run.said.push((format!("metrics of {part}"), metrics.body));
    }
    run.search(&cluster, &kept);
    cluster.stop().await;
    run.search(&cluster, &kept);
    let (found, rows) = Scanner::new(run.canaries).rows(cluster.directory());
    assert_eq!(found, BTreeSet::new());
    assert!(rows > 100, "only {rows} rows were read");
}
