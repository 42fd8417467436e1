//! What is in the memory of a node: no key of the KMS, in no spelling (`peers.md` S13).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;

use lockbox_core::codec;
use lockbox_kms_sim::engine::db_directory;
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_kms_sim::material::{MaterialPlace, WrappedMaterial, unwrap};
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::store::Db;
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
fn memory(pid: u32) -> io::Result<Vec<u8>> {
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

/// The keys that never leave the KMS: the root key, and the material of every version.
fn keys_of_the_kms(cluster: &Cluster) -> Vec<Canary> {
    let file = cluster.directory().join("kms-root.key");
    let root = RootKey::read_file(&file).unwrap();
    let mut bytes = [0; 32];
    let digits = std::fs::read_to_string(&file).unwrap();
    hex::decode_to_slice(digits.trim(), &mut bytes).unwrap();
    let mut keys = vec![Canary { name: "root key".to_owned(), bytes: bytes.to_vec() }];
    let db = Db::open_read_only(&db_directory(&cluster.data(Part::Kms))).unwrap();
    let view = db.view();
    for key in read_keys(&view).unwrap() {
        for version in read_versions(&view, &key).unwrap() {
            let row = tables::version(&version.key_id, &version.id);
            let wrapped = view.get(Table::Materials, &row).unwrap().unwrap();
            let wrapped: WrappedMaterial = codec::decode(&wrapped).unwrap();
            let place = MaterialPlace {
                key_id: &version.key_id,
                version_id: &version.id,
                algorithm: version.algorithm,
            };
            let material = unwrap(&root, &wrapped, &place).ok().unwrap();
            let name = format!("material of {}", version.key_id);
            keys.push(Canary { name, bytes: material.expose().to_vec() });
        }
    }
    keys
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
        let found = match memory(cluster.pid(part)) {
            Ok(memory) => scanner.bytes(&part.to_string(), &memory),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{part}: {error}");
                closed += 1;
                continue;
            }
        };
        let names: BTreeSet<&str> = found.iter().map(|found: &Found| &*found.canary).collect();
        match part {
            // The search finds what is there.
            Part::Kms => assert!(names.contains("root key"), "{names:?}"),
            Part::Node(_) => assert_eq!(names, BTreeSet::new(), "{part}"),
        }
    }
    let is_left_out = std::env::var_os(WITHOUT_ROOT).is_some();
    let line = verdict(closed, is_left_out).unwrap_or_else(|sentence| panic!("{sentence}"));
    // Past the harness, which does not show what a test prints that passes.
    writeln!(io::stderr().lock(), "{line}").unwrap();
}

/// What the search tells; an error when it has not looked and nobody has said that it need not.
fn verdict(closed: usize, is_left_out: bool) -> Result<String, String> {
    // Whoever is not root sees nothing at all, which is what S21 promises.
    assert!([0, PARTS.len()].contains(&closed), "{closed} of {} are closed", PARTS.len());
    if closed == 0 {
        return Ok(format!("S13: the memory of {} processes was searched", PARTS.len()));
    }
    let blind = "S13: NOT LOOKED AT: the memory of the servers is closed to this user; run it as \
                 root, or under `unshare -Ur`";
    if is_left_out {
        Ok(blind.to_owned())
    } else {
        Err(format!("{blind}, or set {WITHOUT_ROOT}=1"))
    }
}

#[test]
fn a_search_that_has_not_looked_passes_only_where_it_is_left_out_on_purpose() {
    assert!(verdict(0, false).unwrap().ends_with("processes was searched"));
    assert!(verdict(PARTS.len(), false).unwrap_err().contains("NOT LOOKED AT"));
    assert!(verdict(PARTS.len(), true).unwrap().contains("NOT LOOKED AT"));
}
