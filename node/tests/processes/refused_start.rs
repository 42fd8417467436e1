//! A server that is pointed at what is not its own, or cannot be used: it ends at once with one
//! sentence and its code, and has changed nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lockbox_platform::certificates::issue_all;
use lockbox_platform::system::SystemClock;

use crate::cluster::{Cluster, PARTS, Part};
use crate::messages::{pairs, text};

/// What a server is told by its environment, and how it must end.
struct Case {
    part: Part,
    environment: Vec<(&'static str, String)>,
    code: i32,
    says: &'static str,
}

impl Case {
    /// A case with one variable.
    fn of(part: Part, name: &'static str, value: &Path, code: i32, says: &'static str) -> Self {
        let environment = vec![(name, value.to_str().unwrap().to_owned())];
        Self { part, environment, code, says }
    }

    async fn ends_refused(self, cluster: &mut Cluster) {
        let Self { part, environment, code, says } = self;
        let log = cluster.directory().join(format!("{part}.log"));
        let before = fs::read_to_string(log).unwrap_or_default().len();
        cluster.set_environment(environment);
        cluster.launch(part);
        let ended = cluster.ended(part).await;
        cluster.set_environment(Vec::new());
        let log = cluster.log(part);
        let said = &log[before..];
        assert_eq!(ended, Some(code), "{says}: {said}");
        let programs = ["lockbox: ", "kms-sim: "];
        let is_reason = |line: &&str| programs.iter().any(|program| line.starts_with(program));
        let reasons: Vec<&str> = said.lines().filter(is_reason).collect();
        assert_eq!(reasons.len(), 1, "{says}: {said}");
        assert!(reasons[0].contains(says), "{says}: {said}");
    }
}

const NODE_DATA: &str = "LOCKBOX_CONFIG_DATA_DIR";
const KMS_DATA: &str = "KMS_CONFIG_DATA_DIR";

/// Data that are somebody else's, or not what they were.
fn foreign_data(cluster: &Cluster) -> Vec<Case> {
    let (first, kms) = (cluster.data(Part::Node(1)), cluster.data(Part::Kms));
    let file = cluster.directory().join("a-file");
    fs::write(&file, "").unwrap();
    let root = cluster.directory().join("another-root.key");
    fs::write(&root, [7; 32]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    let another = vec![("LOCKBOX_CONFIG_CLUSTER_ID", "lbcanother".to_owned())];
    let (node, absent) = (Part::Node(1), Path::new("/proc/lockbox"));
    vec![
        Case::of(Part::Node(2), NODE_DATA, &first, 13, "belongs to node 1, not to node 2"),
        Case::of(node, NODE_DATA, &kms, 13, "holds the data of the KMS, and this is a node"),
        Case::of(Part::Kms, KMS_DATA, &first, 13, "holds the data of a node, and this is the KMS"),
        Case { part: node, environment: another, code: 13, says: "not to cluster lbcanother" },
        Case::of(Part::Kms, "KMS_CONFIG_ROOT_KEY__FILE", &root, 13, "is not the one they were"),
        Case::of(node, NODE_DATA, absent, 10, "/proc/lockbox"),
        Case::of(node, NODE_DATA, &file, 10, "a-file"),
    ]
}

/// Files of certificates and keys that do not fit.
fn wrong_files(cluster: &Cluster, other_ca: &Path) -> Vec<Case> {
    let file = |name: &str| cluster.certificates().join(name);
    let exposed = cluster.directory().join("exposed-key.pem");
    fs::copy(file("node-1-key.pem"), &exposed).unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let others = vec![
        ("LOCKBOX_CONFIG_PEER__CERTIFICATE", text("node-2.pem")),
        ("LOCKBOX_CONFIG_PEER__KEY", text("node-2-key.pem")),
    ];
    let (node, own_name) = (Part::Node(1), "does not carry the name node-1.lockbox.internal");
    let own_key = "LOCKBOX_CONFIG_API__KEY";
    let unknown = vec![("LOCKBOX_CONFIG_NODE_IDD", "1".to_owned())];
    let authority = "was not issued by the authority in";
    vec![
        Case::of(node, "LOCKBOX_CONFIG_PEER__CA", other_ca, 2, authority),
        Case { part: node, environment: others, code: 2, says: own_name },
        Case::of(node, own_key, &file("node-2-key.pem"), 2, "cannot be used"),
        Case::of(node, own_key, &exposed, 2, "chmod 600"),
        Case::of(node, own_key, &file("absent.pem"), 2, "cannot read the private key"),
        Case { part: node, environment: unknown, code: 2, says: "node_idd" },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_not_start_on_what_is_not_its_own_and_changes_nothing() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let client = cluster.admin(Part::Node(1));
    let secret = client.create("", vec![text("value", "kept")]).await;
    // Beside a running node of the same directory.
    cluster.stop_part(Part::Node(2)).await;
    let first = cluster.data(Part::Node(1));
    let busy = Case::of(Part::Node(2), NODE_DATA, &first, 13, "is in use by another process");
    busy.ends_refused(&mut cluster).await;
    for part in [Part::Node(1), Part::Node(3), Part::Kms] {
        cluster.stop_part(part).await;
    }

    for case in foreign_data(&cluster) {
        case.ends_refused(&mut cluster).await;
    }
    let another = tempfile::tempdir().unwrap();
    issue_all(another.path(), &[], &SystemClock::new()).unwrap();
    for case in wrong_files(&cluster, &another.path().join("ca.pem")) {
        case.ends_refused(&mut cluster).await;
    }
    let held = TcpListener::bind(("127.0.0.1", cluster.ports().api(1))).unwrap();
    let taken = Case { part: Part::Node(1), environment: Vec::new(), code: 14, says: "is in use" };
    taken.ends_refused(&mut cluster).await;
    drop(held);

    let (log, away) = (first.join("raft"), first.join("raft-away"));
    fs::rename(&log, &away).unwrap();
    let wiped = Case { part: Part::Node(1), environment: Vec::new(), code: 16, says: "new id" };
    wiped.ends_refused(&mut cluster).await;
    assert!(!log.exists(), "an empty log was made");
    fs::rename(&away, &log).unwrap();

    let marker = first.join("IDENTITY");
    let own = fs::read_to_string(&marker).unwrap();
    let mut newer: serde_json::Value = serde_json::from_str(&own).unwrap();
    newer["format_version"] = 99.into();
    fs::write(&marker, newer.to_string()).unwrap();
    let format = Case { part: Part::Node(1), environment: Vec::new(), code: 13, says: "format 99" };
    format.ends_refused(&mut cluster).await;
    fs::write(&marker, own).unwrap();

    for part in PARTS {
        cluster.launch(part);
    }
    cluster.wait_all_ready().await;
    let found = cluster.admin(Part::Node(1)).read(&secret).await.unwrap();
    assert_eq!(found, pairs(&[("value", b"kept")]));
}
