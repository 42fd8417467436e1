//! What a running node has forgotten: values and keys, searched for in its memory by another
//! process (`peers.md` S14, S15).
//!
//! The clients that wrote and read the values are in this process or have ended, and their
//! connections are closed. What is found is named with its spelling.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use lockbox::keyring::associated_data;
use lockbox::seal::{self, SealPlace};
use lockbox::sealer::keyring_name;
use lockbox_core::{KmsKeyId, KmsKeyVersionId, Randomness, SecretId, VersionId};
use lockbox_kms_sim::ciphertext::Ciphertext;
use lockbox_kms_sim::material::{KeyMaterial, MaterialPlace, WrappedMaterial, unwrap};
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::store::records::VersionRecord;
use lockbox_platform::system::SystemRandom;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_raft::domain::version::WrappedDataKey;
use lockbox_raft::state::{StateRead, tables};
use lockbox_raft::store::{Engines, RocksEngines};
use sha2::Sha256;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, NODES, Part, success};
use crate::http1;
use crate::memory::{materials, root_key_file, searchable, wrapped_materials};
use crate::messages::{binary, pairs, response, text};
use crate::scan::{Canary, Scanner};
use crate::waiting::{PAUSE, WAIT, until};

/// At once, as far as a test can tell.
const PURGE_WITHIN_SECONDS: u32 = 1;
/// Longer than any buffer of a small message: an allocation of its own, everywhere.
const LARGE_BYTES: usize = 48 << 10;

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SystemRandom.fill(&mut bytes);
    bytes
}

/// A version, and the values in it.
struct Written {
    secret: String,
    version: String,
    values: Vec<Canary>,
    /// Anything of it that a node keeps: by this one sees that memory was searched.
    description: Canary,
}

impl Written {
    /// Writes a secret at one node, and reads it at every node in every way.
    async fn at(cluster: &Cluster, node: u16, kms_key_id: &str) -> Self {
        let (word, blob, piece) = (hex::encode(random(32)), random(64), random(64));
        let large = piece.repeat(LARGE_BYTES / piece.len());
        let description = hex::encode(random(32));
        let admin = cluster.admin(Part::Node(node));
        let entries = vec![text("t", &word), binary("b", &blob), binary("l", &large)];
        let mut request = admin.new_secret(kms_key_id, entries);
        request.description.clone_from(&description);
        let created = admin.secrets().create(admin.request(request)).await.unwrap().into_inner();
        let secret: wire::Secret = response(&created);
        let version = secret.current_version.unwrap().id;
        let expected = pairs(&[("t", word.as_bytes()), ("b", &blob), ("l", &large)]);
        for node in NODES {
            let admin = cluster.admin(Part::Node(node));
            assert_eq!(admin.read(&secret.id).await.unwrap(), expected);
            let bearer = format!("Bearer {}", cluster.variable("LOCKBOX_TOKEN"));
            let head = format!("GET /lockbox/v1/secrets/{}/payload", secret.id);
            let (port, headers) = (cluster.ports().api(node), [("authorization", &*bearer)]);
            let answer = http1::rest(port, &cluster.ca(), &head, &headers, b"").await;
            assert!(answer.text().contains(&STANDARD.encode(&large)), "{}", answer.status);
        }
        // A merge opens it, too.
        let added = admin.add(&secret.id, vec![text("more", "nothing")]).await.unwrap();
        let merged: wire::Version = response(&added);
        assert_ne!(merged.id, version);
        let canary = |name: &str, bytes: Vec<u8>| {
            let name = format!("{name} under {kms_key_id:?}");
            Canary { name, bytes }
        };
        let values = vec![
            canary("text", word.into_bytes()),
            canary("bytes", blob),
            canary("large value", piece),
        ];
        let description = canary("description", description.into_bytes());
        Self { secret: secret.id, version, values, description }
    }

    /// Has all of its versions destroyed, and waits until that is done in the files of all nodes.
    async fn destroy(&self, cluster: &Cluster, node: u16) {
        let admin = cluster.admin(Part::Node(node));
        let list =
            wire::ListVersionsRequest { secret_id: self.secret.clone(), ..Default::default() };
        let listed = admin.secrets().list_versions(admin.request(list)).await.unwrap();
        for version in listed.into_inner().versions {
            let schedule = wire::ScheduleVersionDestructionRequest {
                secret_id: self.secret.clone(),
                version_id: version.id.clone(),
                pending_period: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            };
            let mut secrets = admin.secrets();
            secrets.schedule_version_destruction(admin.request(schedule)).await.unwrap();
            until("clean files everywhere", async || {
                let command = ["admin", "verify-destroyed", &self.secret, &version.id];
                let output =
                    cluster.operator(node, &[&command[..], &["--format", "json"]].concat());
                let answers: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
                let answers = answers.as_array()?.clone();
                // What is none is left out.
                let none = |answer: &serde_json::Value| answer.get("pending").is_none();
                (output.status.success() && answers.iter().all(none)).then_some(())
            })
            .await;
        }
    }
}

/// Keys that a node has had in memory, as whoever has the KMS's root key finds them out: those of
/// the keyring, and the data keys of versions.
struct Keys {
    keyring: Vec<Canary>,
    data: Vec<Canary>,
}

impl Keys {
    /// From a snapshot that a node takes now.
    fn of(cluster: &Cluster, node: u16, written: &[&Written]) -> Self {
        success(&cluster.operator(node, &["cluster", "snapshot"]));
        let snapshots = cluster.data(Part::Node(node)).join("snapshots");
        let newest = std::fs::read_dir(snapshots).unwrap().map(|entry| entry.unwrap().path());
        let newest = newest.filter(|path| path.extension().is_none()).max().unwrap();
        let copy = tempfile::tempdir().unwrap();
        copy_files(&newest, copy.path());
        let state = RocksEngines::new().open_state(copy.path()).unwrap();
        let root = RootKey::read_file(&root_key_file(cluster)).unwrap();
        let kms = Kms(materials(cluster, &root));
        let mut keys = None;
        state.with_view(&mut |view| keys = Some(Self::in_view(view, &kms, written)));
        keys.unwrap()
    }

    fn in_view(view: &dyn StateRead, kms: &Kms, written: &[&Written]) -> Self {
        let cluster = tables::cluster(view).unwrap().unwrap();
        let mut keyring = Vec::new();
        for record in tables::keyring(view).unwrap() {
            let data = associated_data(cluster.id.as_str(), record.id, record.purpose);
            let bytes = kms.decrypt(&record.wrapped, &data);
            keyring.push((record.id, Canary { name: format!("keyring key {}", record.id), bytes }));
        }
        let mut data_keys = Vec::new();
        for one in written {
            let secret = SecretId::parse(&one.secret).unwrap();
            let version = VersionId::parse(&one.version).unwrap();
            let sealed = tables::payload(view, &secret, &version).unwrap().unwrap();
            let record = tables::secret(view, &secret).unwrap().unwrap();
            let folder = tables::folder(view, &record.folder_id).unwrap().unwrap();
            let place = SealPlace {
                cloud: &folder.cloud_id,
                folder: &record.folder_id,
                secret: &secret,
                version: &version,
            };
            let bytes = match &sealed.wrapped_key {
                WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext } => {
                    let (_, key) = keyring.iter().find(|(id, _)| id == keyring_key_id).unwrap();
                    let key = seal::SymmetricKey::from_slice(&key.bytes).unwrap();
                    let data = place.wrap_data(&keyring_name(*keyring_key_id));
                    seal::unwrap(&key, salt, ciphertext, &data).unwrap().expose().to_vec()
                }
                WrappedDataKey::Kms { kms_key_id, ciphertext, .. } => {
                    kms.decrypt(ciphertext, &place.wrap_data(kms_key_id.as_str()))
                }
            };
            data_keys.push(Canary { name: format!("data key of {}", one.secret), bytes });
        }
        let keyring = keyring.into_iter().map(|(_, key)| key).collect();
        Self { keyring, data: data_keys }
    }
}

/// What the KMS opens, without asking it.
struct Kms(Vec<(KmsKeyId, KmsKeyVersionId, KeyMaterial)>);

impl Kms {
    fn decrypt(&self, ciphertext: &[u8], data: &[u8]) -> Vec<u8> {
        let ciphertext = Ciphertext::parse(ciphertext).unwrap();
        let (key, _, material) =
            self.0.iter().find(|(_, version, _)| *version == ciphertext.version_id).unwrap();
        ciphertext.open(material, key, data).unwrap().expose().clone()
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// What of these is in a node's memory; nothing when that is closed.
fn found(cluster: &Cluster, part: Part, scanner: &Scanner) -> Option<BTreeSet<String>> {
    let memory = searchable(cluster, part)?;
    let found = scanner.bytes(&part.to_string(), &memory);
    Some(found.into_iter().map(|found| format!("{} ({})", found.canary, found.spelling)).collect())
}

/// Waits until none of these is in a node's memory: connections that were closed take a moment to
/// end. Says whether it could look.
async fn forgets(cluster: &Cluster, part: Part, secrets: Vec<Canary>, control: &Canary) -> bool {
    let (control, name) = (Scanner::new(vec![control.clone()]), control.name.clone());
    let Some(seen) = found(cluster, part, &control) else { return false };
    assert!(!seen.is_empty(), "{part}: the search does not see {name}, which is there");
    let (scanner, deadline) = (Scanner::new(secrets), Instant::now() + WAIT / 2);
    loop {
        let left = found(cluster, part, &scanner).unwrap_or_default();
        if left.is_empty() {
            return true;
        }
        assert!(Instant::now() < deadline, "still in the memory of {part}: {left:#?}");
        sleep(PAUSE).await;
    }
}

async fn start() -> (Cluster, u16, [Written; 2]) {
    let within = PURGE_WITHIN_SECONDS.to_string();
    let environment = vec![("LOCKBOX_CONFIG_DESTROY__PURGE_WITHIN_SECONDS", within)];
    let cluster = Cluster::start(environment).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let leader = cluster.leader().await;
    let written =
        [Written::at(&cluster, leader, "").await, Written::at(&cluster, leader, &own_key).await];
    (cluster, leader, written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s14_a_destroyed_payload_is_in_no_nodes_memory() {
    let (cluster, leader, written) = start().await;
    let keys = Keys::of(&cluster, leader, &written.each_ref());
    for one in &written {
        one.destroy(&cluster, leader).await;
    }
    let values = written.iter().flat_map(|one| one.values.clone());
    let secrets: Vec<Canary> = values.chain(keys.data).collect();
    let mut searched = 0;
    for node in NODES {
        let control = &written[0].description;
        searched +=
            usize::from(forgets(&cluster, Part::Node(node), secrets.clone(), control).await);
    }
    println!("S14: the memory of {searched} nodes was searched for {} things", secrets.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s15_a_sealed_node_has_no_value_and_no_key_in_memory() {
    let (cluster, leader, written) = start().await;
    let keys = Keys::of(&cluster, leader, &written.each_ref());
    let keyring = Scanner::new(keys.keyring.clone());
    let values = written.iter().flat_map(|one| one.values.clone());
    let secrets: Vec<Canary> = values.chain(keys.data).chain(keys.keyring).collect();
    let mut searched = 0;
    for node in NODES {
        let before = found(&cluster, Part::Node(node), &keyring);
        assert!(before.is_none_or(|found| !found.is_empty()), "a node that serves has its keys");
        success(&cluster.operator(node, &["admin", "seal", &node.to_string()]));
        let control = &written[0].description;
        searched +=
            usize::from(forgets(&cluster, Part::Node(node), secrets.clone(), control).await);
    }
    println!("S15: the memory of {searched} nodes was searched for {} things", secrets.len());
}

/// What a version's wrapped material and the root key give: who has either of the last two opens what
/// the version has encrypted.
fn keys_of(version: &VersionRecord, wrapped: &WrappedMaterial, root: &RootKey) -> Vec<Canary> {
    let derived = |key: &[u8], salt: Option<&[u8]>, info: &str| {
        let mut output = vec![0; 32];
        Hkdf::<Sha256>::new(salt, key).expand(info.as_bytes(), &mut output).unwrap();
        output
    };
    let place = MaterialPlace {
        key_id: &version.key_id,
        version_id: &version.id,
        algorithm: version.algorithm,
    };
    let material = unwrap(root, wrapped, &place).ok().unwrap();
    let message = derived(material.expose(), None, "lockbox kms ciphertext v1 message key");
    let canary = |name: &str, bytes| Canary { name: name.to_owned(), bytes };
    vec![canary("material", material.expose().to_vec()), canary("message key", message)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s14_a_deleted_key_is_not_in_the_memory_of_the_kms() {
    let retention = ("KMS_CONFIG_LIMITS__DELETED_KEY_RETENTION_S", "1".to_owned());
    let cluster = Cluster::start(vec![retention]).await;
    let admin = cluster.admin(Part::Node(cluster.leader().await));
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let secret = admin.create(&own_key, vec![text("k", "v")]).await;
    for node in NODES {
        let read = cluster.admin(Part::Node(node)).read(&secret).await;
        assert_eq!(read.unwrap(), pairs(&[("k", b"v")]));
    }
    let root = RootKey::read_file(&root_key_file(&cluster)).unwrap();
    let stored = wrapped_materials(&cluster).into_iter();
    let of_key = stored.filter(|(version, _)| version.key_id.as_str() == own_key);
    let keys: Vec<Canary> =
        of_key.flat_map(|(version, wrapped)| keys_of(&version, &wrapped, &root)).collect();
    assert_eq!(keys.len(), 2);
    cluster.destroy_key(&own_key).await;
    // Its id stays in the records of the ledger.
    let control = Canary { name: "id of the key".to_owned(), bytes: own_key.clone().into_bytes() };
    let searched = usize::from(forgets(&cluster, Part::Kms, keys, &control).await);
    println!("S14: the memory of {searched} KMS was searched for the keys of a deleted one");
}
