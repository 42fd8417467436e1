//! What generators promise, each family against a fake service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockbox_jepsen::client::request::{Plaintext, Request};
use lockbox_jepsen::history::answer::Answer;
use lockbox_jepsen::history::call::Call;
use lockbox_jepsen::history::ids::{FolderId, KmsKeyId, SecretId, Subject, TokenId};
use lockbox_jepsen::history::op::Outcome;
use lockbox_jepsen::random::Random;
use lockbox_jepsen::workload::{Family, Mix, Premises, SEATS_MAX, generator};

use crate::fake_secrets::FakeSecrets;

const FAMILIES: [Family; 10] = [
    Family::Register,
    Family::Activation,
    Family::Deletion,
    Family::MergeRace,
    Family::OwnKey,
    Family::Canary,
    Family::Rights,
    Family::Destruction,
    Family::Paging,
    Family::Quota,
];

const FOLDER: &str = "folder-1";

fn mix(seed: u64) -> Mix {
    Mix { keyed_percent: 40, ..Mix::draw(&mut Random::new(seed)) }
}

/// What all workers of one group ask: each has one request open, and answers come in the order of
/// the questions.
fn run(family: Family, seed: u64, turns: usize) -> Vec<(usize, Request, Outcome)> {
    let premises = Premises {
        own_key: Some(KmsKeyId::from("key-1")),
        readers: ["ann", "bob"].map(Subject::from).to_vec(),
        folders: vec![FolderId::from(FOLDER)],
    };
    let mut generator = generator(family, 3, seed, &mix(seed), &premises);
    let mut service = FakeSecrets::default();
    let mut open: VecDeque<(usize, Request)> = VecDeque::new();
    let mut asked = Vec::new();
    for turn in 0..turns {
        let seat = turn % SEATS_MAX;
        if open.len() == SEATS_MAX
            && let Some((seat, request)) = open.pop_front()
        {
            let outcome = service.ask(&request);
            generator.observe(&request, &outcome);
            asked.push((seat, request, outcome));
        }
        match generator.next(seat) {
            Some(request) => open.push_back((seat, request)),
            None => {
                // Everybody waits for the creation.
                while let Some((seat, request)) = open.pop_front() {
                    let outcome = service.ask(&request);
                    generator.observe(&request, &outcome);
                    asked.push((seat, request, outcome));
                }
            }
        }
    }
    asked
}

#[test]
fn the_same_seed_asks_the_same() {
    for family in FAMILIES {
        let requests = |seed| -> Vec<Request> {
            run(family, seed, 2000).into_iter().map(|(_, request, _)| request).collect()
        };
        let (first, again, other) = (requests(1), requests(1), requests(2));
        assert!(first.len() > 1000, "{family:?}");
        assert_eq!(first, again, "{family:?}");
        assert_ne!(first, other, "{family:?}");
    }
}

#[test]
fn no_secret_is_asked_about_more_often_than_allowed() {
    for family in FAMILIES {
        let mut asked: BTreeMap<SecretId, u64> = BTreeMap::new();
        for (_, request, _) in run(family, 5, 6000) {
            if let Some(secret) = request.call().secret() {
                *asked.entry(secret.clone()).or_default() += 1;
            }
        }
        let counts: Vec<u64> = asked.into_values().collect();
        assert!(counts.iter().all(|count| *count < 300), "{family:?}: {counts:?}");
        assert!(counts.len() >= 10, "{family:?} stays with one secret: {counts:?}");
        let distinct: BTreeSet<_> = counts.iter().collect();
        assert!(distinct.len() > 2, "{family:?} does not blur: {counts:?}");
    }
}

#[test]
fn values_and_descriptions_are_unique_but_in_repeats() {
    for family in FAMILIES {
        let (mut values, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut keys = BTreeMap::new();
        for (_, request, _) in run(family, 9, 4000) {
            if let Some(key) = request.idempotency_key.clone()
                && let Some(first) = keys.insert(key, request.clone())
            {
                assert_eq!(first, request, "a key names one request");
                continue;
            }
            for value in request.values().iter().flatten() {
                assert!(values.insert(value.hash()), "{family:?}");
            }
            let name = match request.call() {
                Call::CreateSecret(call) => call.name.clone(),
                Call::AddVersion(call) => call.description.clone(),
                _ => continue,
            };
            assert!(names.insert(name), "{family:?}");
        }
    }
}

#[test]
fn what_nobody_answered_is_asked_again_under_its_key() {
    let asked = run(Family::Register, 4, 4000);
    let mut unanswered = BTreeSet::new();
    let mut repeated = 0;
    for (_, request, outcome) in asked {
        let Some(key) = request.idempotency_key.clone() else { continue };
        if unanswered.contains(&key) {
            repeated += 1;
        }
        if matches!(outcome, Outcome::Info(_)) {
            unanswered.insert(key);
        }
    }
    assert!(repeated > 10, "{repeated} of {}", unanswered.len());
}

#[test]
fn each_family_asks_what_it_is_for() {
    let names = |family| -> BTreeSet<&'static str> {
        run(family, 6, 4000).iter().map(|(_, request, _)| request.call().name()).collect()
    };
    let register = [
        "create_secret",
        "add_version",
        "set_current_version",
        "update_secret",
        "get_secret",
        "get_payload",
        "list_versions",
    ];
    assert_eq!(names(Family::Register), BTreeSet::from(register));
    assert!(names(Family::Activation).is_superset(&BTreeSet::from(["activate", "deactivate"])));
    let destruction = ["schedule_destruction", "cancel_destruction"];
    assert!(names(Family::Destruction).is_superset(&BTreeSet::from(destruction)));
    assert!(names(Family::Deletion).is_superset(&BTreeSet::from(["delete_secret"])));
    let asked = run(Family::Rights, 6, 4000);
    let reads = asked.iter().filter(|(_, request, _)| request.subject.is_some());
    assert!(reads.clone().all(|(_, request, _)| !request.call().is_mutation()));
    assert!(reads.count() > 1000, "readers read");
    let changes = asked.iter().filter_map(|(_, request, _)| match request.call() {
        Call::ChangeBinding(call) => Some(call.grant),
        _ => None,
    });
    assert_eq!(changes.collect::<BTreeSet<_>>(), BTreeSet::from([false, true]));
    let revoked = asked.iter().filter_map(|(_, request, _)| match request.call() {
        Call::RevokeToken(call) => Some(call.token.clone()),
        _ => None,
    });
    let revoked: Vec<_> = revoked.collect();
    let different: BTreeSet<_> = revoked.iter().collect();
    assert!(revoked.len() >= 10 && different.len() == revoked.len(), "each is revoked once");
    let late = |token: &TokenId| {
        let is_revocation = |request: &Request| matches!(request.call(), Call::RevokeToken(call) if call.token == *token);
        let later = asked.iter().skip_while(|(_, request, _)| !is_revocation(request));
        later.filter(|(_, request, _)| request.token.as_ref() == Some(token)).count()
    };
    assert!(late(&revoked[0]) >= 6, "readers go on with what was revoked");
    for (_, request, _) in run(Family::OwnKey, 6, 500) {
        if let Call::CreateSecret(call) = request.call() {
            assert_eq!(call.kms_key, Some(KmsKeyId::from("key-1")));
        }
    }
}

#[test]
fn a_register_names_bases_conditions_and_removals() {
    let asked = run(Family::Register, 6, 4000);
    let adds = asked.iter().filter_map(|(_, request, _)| match request.call() {
        Call::AddVersion(call) => Some(call),
        _ => None,
    });
    let adds: Vec<_> = adds.collect();
    assert!(adds.iter().any(|call| call.base.is_some() && !call.changes.is_empty()));
    assert!(adds.iter().any(|call| call.base.is_some() && call.changes.is_empty()));
    assert!(adds.iter().any(|call| call.if_version.is_some()));
    assert!(adds.iter().any(|call| call.changes.iter().any(|change| change.value.is_none())));
    let never_empty = |call: &&lockbox_jepsen::history::call::AddVersion| {
        call.changes.is_empty() || call.changes.iter().any(|change| change.value.is_some())
    };
    assert!(adds.iter().all(never_empty));
}

#[test]
fn keys_of_a_merge_race_are_disjoint() {
    let mut seen = BTreeMap::new();
    for (seat, request, _) in run(Family::MergeRace, 8, 3000) {
        let Call::AddVersion(call) = request.call() else { continue };
        assert_eq!(call.base, None);
        for change in &call.changes {
            let before = seen.insert(change.key.clone(), request.clone());
            // A repeat may come from any seat.
            assert!(before.is_none_or(|before| before == request));
            if request.idempotency_key.is_none() {
                assert!(change.key.as_str().starts_with(&format!("seat-{seat}/")));
            }
        }
    }
}

#[test]
fn reads_go_on_after_a_deletion() {
    let mut gone = BTreeSet::new();
    let mut after = 0;
    for (_, request, outcome) in run(Family::Deletion, 8, 3000) {
        let secret = request.call().secret().cloned();
        if secret.as_ref().is_some_and(|secret| gone.contains(secret)) {
            after += 1;
        }
        let deleted = matches!(request.call(), Call::DeleteSecret(_));
        if let (true, Outcome::Ok(reply), Some(secret)) = (deleted, &outcome, secret)
            && reply.answer.is_success()
        {
            gone.insert(secret);
        }
    }
    assert!(gone.len() > 10 && after > gone.len(), "{} deleted, {after} after", gone.len());
}

/// Every page goes on where an answered one of the same walk ended, and walks come to their ends.
#[test]
fn pages_of_a_walk_follow_one_another_and_the_folder_changes_meanwhile() {
    for family in [Family::Paging, Family::Quota] {
        let (mut ends, mut tokens) = (0, BTreeMap::new());
        let mut calls = BTreeSet::new();
        for (_, request, outcome) in run(family, 6, 4000) {
            calls.insert(request.call().name());
            match request.call() {
                Call::CreateSecret(call) => {
                    assert_eq!(call.folder, Some(FolderId::from(FOLDER)));
                    assert!(call.first.is_some(), "its description tells who made it");
                }
                Call::ListSecrets(call) => {
                    assert_eq!(call.folder, FolderId::from(FOLDER));
                    let known = tokens.get(&call.walk).cloned().unwrap_or_default();
                    assert_eq!(call.token, known, "walk {}", call.walk);
                    if let Outcome::Ok(reply) = &outcome
                        && let Answer::Secrets(page) = &reply.answer
                    {
                        ends += u64::from(page.next.is_none());
                        tokens.insert(call.walk.clone(), page.next.clone());
                    }
                }
                _ => {}
            }
        }
        let expected =
            ["create_secret", "delete_secret", "get_secret", "list_secrets", "update_secret"];
        assert_eq!(calls, BTreeSet::from(expected));
        assert!(ends >= 20, "{family:?}: only {ends} walks came to their ends");
    }
}

#[test]
fn canaries_are_values_of_at_least_32_bytes() {
    for (_, request, _) in run(Family::Canary, 2, 500) {
        let short = |value: &Plaintext| value.bytes().len() < 32;
        assert!(!request.values().iter().flatten().any(short));
    }
}
