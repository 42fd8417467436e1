//! The listener for peers over mutual TLS: the operator's calls and the KMS's questions.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use lockbox::app::App;
use lockbox::router;
use lockbox_core::NodeId;
use lockbox_platform::authorized_key::{KeyAlgorithm, generate_key_pair};
use lockbox_platform::certificates::{LeafSpec, issue_all, leaf_files};
use lockbox_platform::listener::{Security, bind};
use lockbox_platform::metrics::Metrics;
use lockbox_platform::system::SystemClock;
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{
    ClientCertificates, ClientTlsFiles, ServerTls, TlsFiles, client_tls, endpoint,
};
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_proto::lockbox::cluster::v1::admin_service_client::AdminServiceClient;
use lockbox_proto::lockbox::cluster::v1::cluster_service_client::ClusterServiceClient;
use lockbox_proto::lockbox::cluster::v1::introspection_service_client::IntrospectionServiceClient;
use lockbox_raft::store::FORMAT_VERSION;
use tempfile::TempDir;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::fixture::{Fresh, Node, WAIT, loopback};
use crate::messages::binding;

const SERVER: &str = "node-1.lockbox.internal";
const LEAVES: [(&str, &str); 6] = [
    ("node", SERVER),
    ("other-node", "node-2.lockbox.internal"),
    ("admin", "admin.lockbox.internal"),
    ("operator", "operator.lockbox.internal"),
    ("kms", "kms.lockbox.internal"),
    ("stranger", "stranger.lockbox.internal"),
];

/// The listener of one node, and who may call it.
pub(crate) struct Peers {
    certificates: TempDir,
    address: SocketAddr,
}

impl Peers {
    pub(crate) async fn start(app: &Arc<App>, tasks: &Tasks, metrics: &Metrics) -> Self {
        let certificates = TempDir::new().unwrap();
        let dir = certificates.path();
        let leaf = |(stem, name): (&str, &str)| LeafSpec {
            file_stem: stem.into(),
            dns_names: vec![name.into()],
            ips: vec![Ipv4Addr::LOCALHOST.into()],
        };
        let ca = issue_all(dir, &LEAVES.map(leaf), &SystemClock::new()).unwrap();
        let own = leaf_files(dir, "node");
        let tls = ServerTls::load(&TlsFiles {
            certificate: own.certificate,
            key: own.key,
            clients: ClientCertificates::Required(ca.certificate),
        });
        let security = Security::Tls(tls.unwrap());
        let bound = bind("peer", loopback(), security).await.unwrap();
        let address = bound.local_addr();
        let peer = router::peer(app, metrics.rpc.clone());
        bound.start(peer, tasks, router::peer_limits(), metrics.tls.clone());
        Self { certificates, address }
    }

    fn dir(&self) -> &Path {
        self.certificates.path()
    }

    /// The flags with which the program calls this node, as whoever has this certificate.
    pub(crate) fn flags(&self, stem: &str) -> Vec<String> {
        let leaf = leaf_files(self.dir(), stem);
        let (endpoint, ca) = (self.address.to_string(), self.dir().join("ca.pem"));
        let shown = |path: &Path| path.display().to_string();
        [
            ("--endpoint", endpoint),
            ("--ca", shown(&ca)),
            ("--certificate", shown(&leaf.certificate)),
            ("--key", shown(&leaf.key)),
            ("--server-name", SERVER.to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// A channel of whoever has this certificate.
    pub(crate) fn channel(&self, stem: &str) -> Channel {
        let identity = Some(leaf_files(self.dir(), stem));
        let files = ClientTlsFiles { ca: self.dir().join("ca.pem"), identity };
        let tls = client_tls(&files, SERVER).unwrap();
        endpoint(&self.address.to_string(), Some(tls)).unwrap().connect_lazy()
    }

    pub(crate) fn cluster(&self, stem: &str) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel(stem))
    }

    pub(crate) fn admin(&self, stem: &str) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel(stem))
    }

    pub(crate) async fn status(&self) -> wire::StatusResponse {
        let answer = self.cluster("admin").status(wire::StatusRequest {}).await;
        answer.unwrap().into_inner()
    }

    async fn introspect(&self, token: &str) -> wire::IntrospectResponse {
        let mut client = IntrospectionServiceClient::new(self.channel("kms"));
        let request = wire::IntrospectRequest { token: token.into() };
        client.introspect(request).await.unwrap().into_inner()
    }
}

fn member(node_id: NodeId) -> wire::Member {
    let address = || "localhost:1".to_owned();
    wire::Member { node_id, peer_address: address(), api_address: address() }
}

fn init(public_key: &str) -> wire::InitRequest {
    wire::InitRequest {
        members: vec![member(1)],
        folder_id: "b1gchosen".into(),
        folder_name: "chosen".into(),
        admin_public_key: public_key.into(),
        ..Default::default()
    }
}

fn public_key() -> String {
    generate_key_pair(KeyAlgorithm::Rsa2048).unwrap().public_key_pem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialisation_repeats_its_answer_to_the_same_key_only() {
    let node = Fresh::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let (own, other) = (public_key(), public_key());
    let mut client = peers.cluster("admin");

    // Before it there is a status: sealed, nobody leads.
    let fresh = peers.status().await;
    assert!(fresh.sealed && !fresh.sealed_reason.is_empty());
    assert_eq!((fresh.cluster_id.as_str(), fresh.leader_id, fresh.node_id), ("", 0, 1));
    assert!(fresh.members.is_empty());

    node.kms.set_down(true);
    let refused = client.init(init(&own)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(peers.status().await.members.is_empty(), "something changed without the KMS");
    node.kms.set_down(false);

    let made = client.init(init(&own)).await.unwrap().into_inner();
    assert_eq!((made.folder_id.as_str(), made.admin_public_key.as_str()), ("b1gchosen", &*own));
    // The answer may have been lost: the operator asks again, with another spelling of the key.
    let repeat = client.init(init(&own.replace('\n', "\r\n"))).await.unwrap().into_inner();
    assert_eq!(made, repeat);
    node.kms.set_down(true);
    assert_eq!(client.init(init(&own)).await.unwrap().into_inner(), made);
    let refused = client.init(init(&other)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);

    node.kms.set_down(false);
    tokio::time::timeout(WAIT, node.app.readiness.wait_ready()).await.unwrap();
    let status = peers.status().await;
    assert_eq!(status.cluster_id, made.cluster_id);
    assert_eq!((status.role.as_str(), status.leader_id), ("leader", 1));
    assert_eq!((status.sealed, status.sealed_reason.as_str()), (false, ""));
    assert!(status.term >= 1 && status.applied_index >= 1 && status.log_time_ms > 0);
    assert_eq!((status.format_version, status.protocol_version), (FORMAT_VERSION, 1));
    let [only] = status.members.as_slice() else { panic!("one member") };
    assert!(only.voter && only.peer_address == "localhost:1");
    let audit = std::fs::read_to_string(node.app.config.audit_path()).unwrap();
    assert_eq!(audit.lines().filter(|l| l.contains("InitCluster")).count(), 5);
    assert!(audit.contains("\"subject_id\":\"admin.lockbox.internal\""));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialisation_names_what_is_wrong_and_changes_nothing() {
    let node = Fresh::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let key = public_key();
    let mut client = peers.cluster("admin");
    let with = |members: Vec<wire::Member>| wire::InitRequest { members, ..init(&key) };
    let at = |peer_address: &str| wire::Member { peer_address: peer_address.into(), ..member(1) };
    let wrong = [
        with(vec![]),
        with(vec![member(2)]),
        with(vec![member(1), member(1)]),
        with(vec![member(1), member(0)]),
        with((1..=8).map(member).collect()),
        with(vec![at("")]),
        with(vec![at("localhost")]),
        with(vec![at("https://localhost:1")]),
        with(vec![at("localhost:1 ")]),
        init(""),
        init("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"),
        wire::InitRequest { cloud_id: "b1g/..".into(), ..init(&key) },
        wire::InitRequest { folder_name: "No Name".into(), ..init(&key) },
    ];
    for (position, request) in wrong.into_iter().enumerate() {
        let refused = client.init(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "request {position}");
    }
    assert!(peers.status().await.members.is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_certificates_decide_who_may_call_what() {
    let node = Fresh::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    for (stem, _) in LEAVES {
        let init = peers.cluster(stem).init(init("")).await.unwrap_err().code();
        let expected = if stem == "admin" { Code::InvalidArgument } else { Code::PermissionDenied };
        assert_eq!(init, expected, "{stem}");
        let status = peers.cluster(stem).status(wire::StatusRequest {}).await.map(drop);
        let allowed = matches!(stem, "admin" | "operator" | "node" | "other-node");
        assert_eq!(status.is_ok(), allowed, "{stem}");
        let remove = wire::RemoveMemberRequest { node_id: 9, ..Default::default() };
        let removed = peers.admin(stem).remove_member(remove).await.unwrap_err().code();
        let operates = matches!(stem, "admin" | "operator");
        let expected = if operates { Code::Unavailable } else { Code::PermissionDenied };
        assert_eq!(removed, expected, "{stem}");
        let hash = peers.admin(stem).state_hash(wire::StateHashRequest::default()).await;
        assert_eq!(hash.is_ok(), operates, "{stem}");
        if stem != "kms" {
            let mut client = IntrospectionServiceClient::new(peers.channel(stem));
            let request = wire::IntrospectRequest { token: "t1.a.b".into() };
            let refused = client.introspect(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{stem}");
        }
    }
    // Whoever was refused is in the audit by the name that the authority has given it.
    let audit = std::fs::read_to_string(node.app.config.audit_path()).unwrap();
    let records = audit.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let is_init = |record: &serde_json::Value| {
        record["event_type"].as_str().unwrap().ends_with("InitCluster")
    };
    let tried: Vec<_> = records.filter(is_init).collect();
    assert_eq!(tried.len(), LEAVES.len());
    for (record, (stem, name)) in tried.iter().zip(LEAVES) {
        assert_eq!(record["authentication"]["subject_id"], name, "{record}");
        assert_eq!(record["authentication"]["authenticated"], true, "{record}");
        assert_eq!(record["authorization"]["authorized"], stem == "admin", "{record}");
    }
    // Without a certificate there is not even a connection.
    let files = ClientTlsFiles { ca: peers.dir().join("ca.pem"), identity: None };
    let tls = client_tls(&files, SERVER).unwrap();
    let channel = endpoint(&peers.address.to_string(), Some(tls)).unwrap().connect_lazy();
    let nobody = ClusterServiceClient::new(channel).status(wire::StatusRequest {}).await;
    // Which code the transport fails with is a matter of timing; that nobody answered is not.
    let answered = |status: &tonic::Status| status.metadata().contains_key("lockbox-served-by");
    assert!(!answered(&nobody.unwrap_err()));
    let refused = peers.cluster("stranger").status(wire::StatusRequest {}).await.unwrap_err();
    assert!(answered(&refused));
    node.stop().await;
}

/// Whoever has another release of the program sees which method it asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_not_there_is_named() {
    let node = Fresh::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    for path in ["/lockbox.cluster.v1.AdminService/Steal", "/no.such.Service/Get"] {
        let mut client = tonic::client::Grpc::new(peers.channel("operator"));
        client.ready().await.unwrap();
        let (at, codec) = (PathAndQuery::from_static(path), ProstCodec::<(), ()>::default());
        let refused = client.unary(Request::new(()), at, codec).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert_eq!(refused.message(), format!("this server has no method {path}"));
    }
    node.stop().await;
}

fn has(answer: &wire::IntrospectResponse, kind: &str, id: &str, role: &str) -> bool {
    let grants = answer.grants.iter();
    let fits =
        |g: &&wire::Grant| g.resource_type == kind && g.resource_id == id && g.role_id == role;
    grants.filter(fits).count() == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_tells_living_tokens_from_dead_ones() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let folder = node.made.folder_id.to_string();
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;

    let bare = peers.introspect(&token).await;
    assert!(bare.active && bare.grants.is_empty() && bare.folders.is_empty());
    assert_eq!((bare.subject_type.as_str(), &bare.subject_id), ("serviceAccount", &account.id));
    assert_eq!(bare.subject_name, "robot");
    assert_eq!(bare.credential_id, key.key.clone().unwrap().id);
    assert!(bare.token_id.starts_with("ait") && bare.expires_at.is_some() && bare.index > 0);

    node.bind(binding("kms.keys.encrypterDecrypter", "serviceAccount", &account.id)).await;
    node.bind(binding("kms.viewer", "system", "allAuthenticatedUsers")).await;
    node.bind(binding("kms.viewer", "system", "allUsers")).await;
    node.bind(binding("kms.admin", "serviceAccount", "ajesomebody")).await;
    let bound = peers.introspect(&token).await;
    let on_folder = |role| has(&bound, "resource-manager.folder", &folder, role);
    assert!(on_folder("kms.keys.encrypterDecrypter") && on_folder("kms.viewer"));
    assert_eq!(bound.grants.len(), 2);
    let path = wire::FolderPath {
        folder_id: folder.clone(),
        cloud_id: node.made.cloud_id.to_string(),
        organization_id: node.made.organization_id.to_string(),
    };
    assert_eq!(bound.folders, [path]);
    assert!(bound.index > bare.index);

    let admin = peers.introspect(node.token()).await;
    let (organization, cloud) = (&node.made.organization_id, &node.made.cloud_id);
    assert!(has(&admin, "organization-manager.organization", organization.as_str(), "admin"));
    let owner = "resource-manager.clouds.owner";
    assert!(has(&admin, "resource-manager.cloud", cloud.as_str(), owner));
    assert_eq!(admin.folders.len(), 1);

    let cut = token.split_at(token.len() - 2).0;
    for garbage in ["", "t1.a.b", "no token at all", cut, &"x".repeat(5_000)] {
        let answer = peers.introspect(garbage).await;
        assert_eq!(answer, wire::IntrospectResponse::default(), "{garbage}");
    }
    node.delete_key(&key).await;
    let dead = peers.introspect(&token).await;
    assert!(!dead.active && dead.subject_id.is_empty() && dead.grants.is_empty());
    assert!(dead.index > bound.index);
    let audit = node.audit();
    assert!(audit.contains("IntrospectToken") && !audit.contains(&token));
    node.stop().await;
}

/// A node that has just started knows no signing key yet, and must not call a good token bad.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_node_introspects_and_one_without_a_leader_does_not() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let none: [lockbox_raft::domain::keyring::KeyringKeyRecord; 0] = [];
    node.app.authenticator.trust(&node.made.cluster_id, &none);
    assert!(peers.introspect(node.token()).await.active);
    node.app.replica.shutdown().await;
    let mut client = IntrospectionServiceClient::new(peers.channel("kms"));
    let request = wire::IntrospectRequest { token: node.token().into() };
    let refused = client.introspect(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    node.stop().await;
}

/// What an operator does is in the audit under the name of its certificate, with the index of
/// the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_does_is_checked_recorded_and_placed_in_the_log() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![crate::client::text("k", "plainly-secret")], "").await;
    let mut client = peers.admin("operator");

    let wrong = wire::AddMemberRequest { member: Some(member(0)), ..Default::default() };
    assert_eq!(client.add_member(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    let token = "not a token".to_owned();
    let wrong = wire::RemoveMemberRequest { node_id: 1, membership_token: token };
    assert_eq!(client.remove_member(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    let last = wire::RemoveMemberRequest { node_id: 1, ..Default::default() };
    let refused = client.remove_member(last).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "node 1 is the only voter");
    assert_eq!(refused.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
    assert_eq!(refused.metadata().get("lockbox-served-by").unwrap(), "1");

    let hashed = client.state_hash(wire::StateHashRequest::default()).await.unwrap();
    let index = hashed.metadata().get("lockbox-index").unwrap().to_str().unwrap().to_owned();
    let hashed = hashed.into_inner();
    assert_eq!(hashed.index.to_string(), index);
    let at = wire::StateHashRequest { at_index: hashed.index, exact: false };
    let again = client.state_hash(at).await.unwrap().into_inner();
    assert!(again.index > hashed.index || again == hashed);
    let gone = wire::StateHashRequest { at_index: 1, exact: true };
    assert_eq!(client.state_hash(gone).await.unwrap_err().code(), Code::FailedPrecondition);

    let log = client.read_log(wire::ReadLogRequest::default()).await.unwrap().into_inner();
    let created = log.entries.iter().find(|entry| entry.secret_id == secret.id).unwrap();
    assert_eq!((created.kind.as_str(), created.effect.as_str()), ("create_secret", "applied"));
    assert!(!created.operation_id.is_empty() && created.log_time_ms > 0);
    assert!(!format!("{log:?}").contains("plainly-secret"));
    let snapshot = client.take_snapshot(wire::TakeSnapshotRequest { purge: true }).await.unwrap();
    assert!(snapshot.into_inner().snapshot_index >= created.index);
    let audit = node.audit();
    for event in ["RemoveClusterMember", "GetStateHash", "ReadLog", "TakeSnapshot"] {
        let line = audit.lines().find(|line| line.contains(event)).unwrap();
        assert!(line.contains("\"subject_id\":\"operator.lockbox.internal\""), "{line}");
    }
    node.stop().await;
}
