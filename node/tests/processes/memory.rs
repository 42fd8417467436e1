//! What is in the memory of a node: no key of the KMS, in no spelling (`peers.md` S13).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use lockbox_core::{KmsKeyId, KmsKeyVersionId, codec};
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_kms_sim::material::{KeyMaterial, MaterialPlace, WrappedMaterial, unwrap};
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::store::records::VersionRecord;
use lockbox_kms_sim::store::tables::{self, Table};

use crate::cluster::{Cluster, NODES, PARTS, Part};
use crate::messages::{pairs, text};
use crate::scan::{Canary, Found, Scanner};

/// Set where nobody may read the memory of the servers: the search is left out then, loudly.
const WITHOUT_ROOT: &str = "LOCKBOX_TESTS_WITHOUT_ROOT";

const PAGE_BYTES: usize = 4096;
/// Pages that are read at a time.
const READ_PAGES: usize = 256;

/// Every page of a process that it may write to and that is not empty: heap, stacks, data.
pub(crate) fn memory(pid: u32) -> io::Result<Vec<u8>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; READ_PAGES * PAGE_BYTES];
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (begin, end) = range.split_once('-').unwrap();
        let address = |digits| u64::from_str_radix(digits, 16).unwrap();
        let (mut at, end) = (address(begin), address(end));
        while at < end {
            let wanted = usize::try_from(end - at).unwrap().min(buffer.len());
            // The process goes on, and may have given pages back since.
            let Ok(read) = memory.read_at(&mut buffer[..wanted], at) else { break };
            if read == 0 {
                break;
            }
            let pages = buffer[..read].chunks(PAGE_BYTES);
            pages.filter(|page| *page != &[0; PAGE_BYTES][..page.len()]).for_each(|page| {
                found.extend_from_slice(page);
            });
            at += read as u64;
        }
    }
    Ok(found)
}

/// The memory of a part, for a search. Nothing where it is closed, which is what S21 promises to
/// whoever is not root, and where the search is left out on purpose.
pub(crate) fn searchable(cluster: &Cluster, part: Part) -> Option<Vec<u8>> {
    let error = match memory(cluster.pid(part)) {
        Ok(memory) => return Some(memory),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{part}: {error}");
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    assert!(!is_root, "root is to see the memory of {part}, and does not: {error}");
    let is_left_out = std::env::var_os(WITHOUT_ROOT).is_some();
    let line = unsearched(&part.to_string(), is_left_out);
    let line = line.unwrap_or_else(|sentence| panic!("{sentence}"));
    writeln!(io::stderr().lock(), "{line}").unwrap();
    None
}

/// What is told of memory that was not searched; an error when nobody has said that it need not be.
fn unsearched(part: &str, is_left_out: bool) -> Result<String, String> {
    let blind = format!(
        "NOT LOOKED AT: the memory of {part} is closed to this user; run this as root, or under \
         `unshare -Ur`"
    );
    if is_left_out { Ok(blind) } else { Err(format!("{blind}, or set {WITHOUT_ROOT}=1")) }
}

pub(crate) fn root_key_file(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("kms-root.key")
}

/// The keys that never leave the KMS: the root key, and the material of every version.
pub(crate) fn keys_of_the_kms(cluster: &Cluster) -> Vec<Canary> {
    let file = root_key_file(cluster);
    let root = RootKey::read_file(&file).unwrap();
    let mut bytes = [0; 32];
    let digits = std::fs::read_to_string(&file).unwrap();
    hex::decode_to_slice(digits.trim(), &mut bytes).unwrap();
    let mut keys = vec![Canary { name: "root key".to_owned(), bytes: bytes.to_vec() }];
    let materials = materials(cluster, &root).into_iter();
    keys.extend(materials.map(|(key_id, _, material)| {
        let name = format!("material of {key_id}");
        Canary { name, bytes: material.expose().to_vec() }
    }));
    keys
}

/// The material of every version of every key of the KMS.
pub(crate) fn materials(
    cluster: &Cluster,
    root: &RootKey,
) -> Vec<(KmsKeyId, KmsKeyVersionId, KeyMaterial)> {
    let wrapped = wrapped_materials(cluster).into_iter();
    let unwrapped = wrapped.map(|(version, wrapped)| {
        let place = MaterialPlace {
            key_id: &version.key_id,
            version_id: &version.id,
            algorithm: version.algorithm,
        };
        let material = unwrap(root, &wrapped, &place).ok().unwrap();
        (version.key_id, version.id, material)
    });
    unwrapped.collect()
}

/// Every version of every key of the KMS whose material is there, as it is stored.
pub(crate) fn wrapped_materials(cluster: &Cluster) -> Vec<(VersionRecord, WrappedMaterial)> {
    let mut materials = Vec::new();
    let db = Db::open_read_only(&db_directory(&cluster.data(Part::Kms))).unwrap();
    let view = db.view();
    for key in read_keys(&view).unwrap() {
        for version in read_versions(&view, &key).unwrap() {
            let row = tables::version(&version.key_id, &version.id);
            let wrapped = view.get(Table::Materials, &row).unwrap();
            materials.extend(wrapped.map(|wrapped| (version, codec::decode(&wrapped).unwrap())));
        }
    }
    materials
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s13_no_key_of_the_kms_is_in_a_nodes_memory() {
    let cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    for node in NODES {
        let admin = cluster.admin(Part::Node(node));
        for key in [String::new(), own_key.clone()] {
            let secret = admin.create(&key, vec![text("k", "v")]).await;
            assert_eq!(admin.read(&secret).await.unwrap(), pairs(&[("k", b"v")]));
        }
    }
    let keys = keys_of_the_kms(&cluster);
    assert!(keys.len() >= 3, "the root, the system's and the customer's");
    let scanner = Scanner::new(keys);
    let mut closed = 0;
    for part in PARTS {
        let Some(memory) = searchable(&cluster, part) else {
            closed += 1;
            continue;
        };
        let found = scanner.bytes(&part.to_string(), &memory);
        let names: BTreeSet<&str> = found.iter().map(|found: &Found| &*found.canary).collect();
        match part {
            // The search finds what is there.
            Part::Kms => assert!(names.contains("root key"), "{names:?}"),
            Part::Node(_) => assert_eq!(names, BTreeSet::new(), "{part}"),
        }
    }
    assert!([0, PARTS.len()].contains(&closed), "{closed} of {} are closed", PARTS.len());
    if closed == 0 {
        // Past the harness, which does not show what a test prints that passes.
        writeln!(io::stderr().lock(), "S13: the memory of {} processes was searched", PARTS.len())
            .unwrap();
    }
}

#[test]
fn a_search_that_has_not_looked_passes_only_where_it_is_left_out_on_purpose() {
    assert!(unsearched("node 1", false).unwrap_err().contains("NOT LOOKED AT"));
    assert!(unsearched("node 1", true).unwrap().contains("NOT LOOKED AT"));
}
