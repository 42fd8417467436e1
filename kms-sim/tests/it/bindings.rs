//! Bindings of a key: who they let in, from when on, and until when.

use std::collections::BTreeSet;

use lockbox_core::{KmsKeyId, Subject, SubjectKind};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::{Caller, Via};
use lockbox_kms_sim::error::{KmsError, Rejection};
use lockbox_kms_sim::keys::Done;
use lockbox_kms_sim::keys::bindings;
use lockbox_kms_sim::keys::command::{BindingDelta, BindingsChange, UpdateKey};
use lockbox_kms_sim::keys::page::PageRequest;
use lockbox_kms_sim::keys::service;
use lockbox_kms_sim::store::records::KeyBinding;

use crate::support::{
    Running, admin, decrypt, encrypt, no_update, nobody, open, rejection, through_node, user,
};

fn binding(role: &str, subject: Subject) -> KeyBinding {
    KeyBinding { role_id: role.to_owned(), subject }
}

fn account(role: &str, id: &str) -> KeyBinding {
    let kind = SubjectKind::ServiceAccount;
    binding(role, Subject { kind, id: id.to_owned() })
}

fn system(role: &str, id: &str) -> KeyBinding {
    binding(role, Subject { kind: SubjectKind::System, id: id.to_owned() })
}

async fn change(
    kms: &Running,
    caller: &Caller,
    key: &KmsKeyId,
    change: BindingsChange,
) -> Result<Done, KmsError> {
    bindings::change(&kms.engine, caller, key, &change, None, &mut None).await
}

async fn add(kms: &Running, key: &KmsKeyId, added: KeyBinding) {
    let deltas = vec![BindingDelta::Add(added)];
    change(kms, &admin(), key, BindingsChange::Update(deltas)).await.unwrap();
}

async fn remove(kms: &Running, key: &KmsKeyId, removed: KeyBinding) {
    let deltas = vec![BindingDelta::Remove(removed)];
    change(kms, &admin(), key, BindingsChange::Update(deltas)).await.unwrap();
}

fn listed(kms: &Running, key: &KmsKeyId, size: i64) -> Vec<KeyBinding> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = PageRequest::new(size, &token).unwrap();
        let answer = bindings::list(&kms.engine, &admin(), key, &page, &mut None).unwrap();
        assert!(size == 0 || answer.value.rows.len() <= size as usize);
        found.extend(answer.value.rows);
        token = answer.value.next_token;
        if token.is_empty() {
            return found;
        }
        assert!(token.len() <= 100);
    }
}

#[tokio::test]
async fn a_role_on_a_key_counts_from_its_answer_on_and_for_this_key_alone() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let other = kms.create(&admin(), Algorithm::Aes256).await;
    let sealed = kms.encrypt(&admin(), &key, b"value").await.ciphertext.unwrap();
    let reader = nobody("reader");
    let of_node = through_node(&reader, &[1; 16]);
    assert_eq!(rejection(kms.call(&reader, decrypt(&key, &sealed)).await), Rejection::Denied);
    let role = || account("kms.keys.decrypter", "reader");
    add(&kms, &key, role()).await;
    for caller in [&reader, &of_node] {
        let opened = kms.call(caller, decrypt(&key, &sealed)).await.unwrap();
        assert_eq!(opened.plaintext.unwrap().expose(), b"value");
    }
    assert_eq!(rejection(kms.call(&reader, encrypt(&key, b"x")).await), Rejection::Denied);
    assert_eq!(rejection(kms.call(&reader, encrypt(&other, b"x")).await), Rejection::Denied);
    let stranger = nobody("stranger");
    let refused = kms.call(&stranger, decrypt(&key, &sealed)).await;
    assert_eq!(rejection(refused), Rejection::Denied);
    service::attachable(&kms.engine, &of_node, &key, &mut None).unwrap();
    kms.stop().await;

    let kms = open(directory.path()).await;
    kms.call(&reader, decrypt(&key, &sealed)).await.unwrap();
    remove(&kms, &key, role()).await;
    // Another id: a repeat of a request would be told what was told the first time by nobody.
    let of_node = through_node(&reader, &[2; 16]);
    for caller in [&reader, &of_node] {
        let refused = kms.call(caller, decrypt(&key, &sealed)).await;
        assert_eq!(rejection(refused), Rejection::Denied);
    }
    kms.stop().await;
}

#[tokio::test]
async fn bindings_are_replaced_and_changed_in_order_and_listed_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let other = kms.create(&admin(), Algorithm::Aes256).await;
    let set: BTreeSet<_> = (0..7).map(|n| account("kms.viewer", &format!("a{n}"))).collect();
    change(&kms, &admin(), &key, BindingsChange::Set(set.clone())).await.unwrap();
    for size in [0, 1, 3, 7, 1000] {
        let found = listed(&kms, &key, size);
        assert_eq!(found.len(), 7, "{size}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), set);
    }
    let page = PageRequest::new(3, "").unwrap();
    let begun = bindings::list(&kms.engine, &admin(), &key, &page, &mut None).unwrap();
    let page = PageRequest::new(3, &begun.value.next_token).unwrap();
    let foreign = bindings::list(&kms.engine, &admin(), &other, &page, &mut None).unwrap_err();
    assert!(foreign.to_string().contains("page_token"), "{foreign}");

    let (there, new) = (account("kms.viewer", "a0"), account("kms.editor", "b"));
    let deltas = vec![
        BindingDelta::Add(there.clone()),
        BindingDelta::Remove(there.clone()),
        BindingDelta::Remove(there),
        BindingDelta::Add(new.clone()),
    ];
    change(&kms, &admin(), &key, BindingsChange::Update(deltas)).await.unwrap();
    let found = listed(&kms, &key, 0);
    assert_eq!(found.len(), 7);
    assert!(found.contains(&new));
    change(&kms, &admin(), &key, BindingsChange::Set(BTreeSet::new())).await.unwrap();
    assert_eq!(listed(&kms, &key, 0), []);

    let many: BTreeSet<_> = (0..1000).map(|n| account("kms.viewer", &format!("m{n}"))).collect();
    change(&kms, &admin(), &key, BindingsChange::Set(many)).await.unwrap();
    let more = BindingsChange::Update(vec![BindingDelta::Add(new)]);
    let refused = change(&kms, &admin(), &key, more).await;
    assert_eq!(rejection(refused), Rejection::TooManyBindings);
    assert_eq!(listed(&kms, &key, 1000).len(), 1000);
    kms.stop().await;
}

#[tokio::test]
async fn roles_that_give_nothing_here_and_unknown_sets_are_not_bound() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    for fitting in [
        account("kms.keys.user", "a"),
        account("viewer", "a"),
        system("kms.viewer", "allUsers"),
        system("kms.viewer", "allAuthenticatedUsers"),
        system("kms.viewer", "group:organization:organization:users"),
    ] {
        add(&kms, &key, fitting).await;
    }
    let before = listed(&kms, &key, 0);
    for (wrong, field) in [
        (account("kms.god", "a"), "role_id"),
        (account("lockbox.admin", "a"), "role_id"),
        (account("resource-manager.clouds.owner", "a"), "role_id"),
        (system("kms.viewer", "everybody"), "subject.id"),
        (system("kms.viewer", "group:organization:other:users"), "subject.id"),
    ] {
        for wrong in [
            BindingsChange::Update(vec![BindingDelta::Add(wrong.clone())]),
            BindingsChange::Set(BTreeSet::from([wrong])),
        ] {
            let refused = change(&kms, &admin(), &key, wrong).await.unwrap_err();
            assert!(matches!(refused, KmsError::Invalid { .. }), "{refused}");
            assert!(refused.to_string().starts_with(field), "{refused}");
        }
    }
    assert_eq!(listed(&kms, &key, 0), before);
    // What is taken away may be anything.
    remove(&kms, &key, account("kms.god", "a")).await;
    kms.stop().await;
}

#[tokio::test]
async fn only_administrators_grant_and_not_by_a_borrowed_token() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let grant = || {
        let everybody = system("kms.admin", "allAuthenticatedUsers");
        BindingsChange::Update(vec![BindingDelta::Add(everybody)])
    };
    for caller in [user("editor", "kms.editor"), nobody("nobody"), Caller::node("node-1")] {
        let refused = change(&kms, &caller, &key, grant()).await;
        assert_eq!(rejection(refused), Rejection::Denied, "{}", caller.subject);
    }
    let borrowed = Caller { borrowed: true, via: Via::Token, ..admin() };
    assert_eq!(rejection(change(&kms, &borrowed, &key, grant()).await), Rejection::Denied);
    assert_eq!(listed(&kms, &key, 0), []);
    // An administrator of the key alone grants, and takes the right from itself.
    add(&kms, &key, account("kms.admin", "owner")).await;
    let owner = nobody("owner");
    let none = || BindingsChange::Set(BTreeSet::new());
    change(&kms, &owner, &key, none()).await.unwrap();
    assert_eq!(rejection(change(&kms, &owner, &key, none()).await), Rejection::Denied);
    kms.stop().await;
}

/// A right that is taken while changes are under way is used by none that is made after.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_not_made_under_a_right_that_was_taken_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let kms = open(directory.path()).await;
    let key = kms.create(&admin(), Algorithm::Aes256).await;
    let editor = nobody("editor");
    let role = || account("kms.editor", "editor");
    for _ in 0..8 {
        add(&kms, &key, role()).await;
        let renames = (0..16).map(|n| {
            let update = UpdateKey { name: Some(format!("n{n}")), ..no_update(&key) };
            service_update(&kms, &editor, update)
        });
        let taken = async {
            let deltas = BindingsChange::Update(vec![BindingDelta::Remove(role())]);
            change(&kms, &admin(), &key, deltas).await.unwrap().index
        };
        // The end of the right is in the queue first; the renames are judged while it waits there.
        let (taken, renames) = tokio::join!(taken, futures::future::join_all(renames));
        for renamed in renames {
            match renamed {
                Ok(index) => assert!(index < taken, "{index} came after {taken}"),
                Err(error) => assert_eq!(error.rejection(), Some(&Rejection::Denied), "{error}"),
            }
        }
    }
    kms.stop().await;
}

async fn service_update(
    kms: &Running,
    caller: &Caller,
    update: UpdateKey,
) -> Result<u64, KmsError> {
    let done = service::update(&kms.engine, caller, update, None, &mut None).await;
    done.map(|done| done.index)
}
