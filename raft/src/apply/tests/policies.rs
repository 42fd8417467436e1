//! The evaluator beside another one, on random policies, and its table beside the contract's.

use std::collections::{BTreeMap, BTreeSet};

use lockbox_core::{Permission, ResourcePath, Role};

use super::*;
use crate::apply::authorize;

/// Which roles give which permission, by the contract and not by the role table.
const GIVES: &str = include_str!("../../../../platform/core/tests/shared/roles.txt");
const POLICIES: u64 = 100_000;
const QUESTIONS: u64 = 4;

/// The rows of [`GIVES`].
fn gives() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows = GIVES.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_once(": ").unwrap())
        .map(|(permission, roles)| (permission, roles.split(' ').collect()))
        .collect()
}

/// A tree of resources, and who is bound where: `(resource, role, subject)`.
struct Policy {
    parents: BTreeMap<&'static str, &'static str>,
    bound: Vec<(&'static str, &'static str, &'static str)>,
}

impl Policy {
    /// The whole of the rules again, in other words (`contract §4.1`, `§4.2`, `§4.6`).
    fn may(&self, who: &str, gives: &BTreeSet<&str>, mut on: &'static str) -> bool {
        const EVERYBODY: [&str; 3] = [
            "system:allUsers",
            "system:allAuthenticatedUsers",
            "system:group:organization:o:users",
        ];
        loop {
            let here = self.bound.iter().filter(|(at, _, _)| *at == on);
            for (_, role, whom) in here {
                if gives.contains(role) && (*whom == who || EVERYBODY.contains(whom)) {
                    return true;
                }
            }
            let Some(parent) = self.parents.get(on) else { return false };
            on = parent;
        }
    }
}

const TREE: [(&str, &str); 8] = [
    ("cloud:c1", "organization:o"),
    ("cloud:c2", "organization:o"),
    ("folder:f1", "cloud:c1"),
    ("folder:f2", "cloud:c1"),
    ("folder:f3", "cloud:c2"),
    ("secret:s1", "folder:f1"),
    ("secret:s2", "folder:f2"),
    ("account:a1", "folder:f1"),
];
const CALLERS: [&str; 4] =
    ["serviceAccount:a1", "serviceAccount:a2", "userAccount:a1", "federatedUser:a2"];
const STRANGE_ROLES: [&str; 4] = ["", "Admin", "lockbox.owner", "lockbox.payloadviewer"];
const SETS: [&str; 5] = [
    "system:allUsers",
    "system:allAuthenticatedUsers",
    "system:group:organization:o:users",
    "system:internal",
    "group:a1",
];

fn resource(name: &str) -> ResourceRef {
    let (kind, id) = name.split_once(':').unwrap();
    let kind = match kind {
        "organization" => ResourceKind::Organization,
        "cloud" => ResourceKind::Cloud,
        "folder" => ResourceKind::Folder,
        "secret" => ResourceKind::Secret,
        "account" => ResourceKind::ServiceAccount,
        other => panic!("{other}"),
    };
    ResourceRef::new(kind, id)
}

fn subject(name: &str) -> Subject {
    let (kind, id) = name.split_once(':').unwrap();
    Subject { kind: SubjectKind::parse(kind).unwrap(), id: id.to_owned() }
}

/// The path that the evaluator is given, from the tree.
fn path(policy: &Policy, on: &'static str) -> ResourcePath {
    let mut way = vec![resource(on)];
    let mut on = on;
    while let Some(parent) = policy.parents.get(on) {
        way.push(resource(parent));
        on = parent;
    }
    way.reverse();
    ResourcePath::new(way)
}

/// Numbers from a seed: a step of splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[test]
fn the_evaluator_agrees_with_another_one_on_a_hundred_thousand_policies() {
    let gives = gives();
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let resources: Vec<&str> =
        TREE.iter().map(|(child, _)| *child).chain(["organization:o"]).collect();
    let (mut allowed, mut denied) = (0_u64, 0_u64);
    for seed in 0..POLICIES {
        let mut numbers = Numbers(seed);
        let mut policy = Policy { parents: TREE.into(), bound: Vec::new() };
        for _ in 0..numbers.below(7) {
            let role = match numbers.below(12) {
                0 => numbers.pick(&STRANGE_ROLES),
                _ => numbers.pick(&roles),
            };
            let whom = match numbers.below(5) {
                0 => numbers.pick(&SETS),
                _ => numbers.pick(&CALLERS),
            };
            policy.bound.push((numbers.pick(&resources), role, whom));
        }
        let mut state = Map::default();
        for at in &resources {
            let here = policy.bound.iter().filter(|(on, _, _)| on == at);
            let bound = here.map(|(_, role, whom)| AccessBinding::new(role, subject(whom)));
            let set = BindingSet::new(bound.collect());
            state.0.insert((Space::Records, keys::bindings(&resource(at))), codec::encode(&set));
        }
        for _ in 0..QUESTIONS {
            let (who, on) = (numbers.pick(&CALLERS), numbers.pick(&resources));
            let permission = numbers.pick(Permission::ALL);
            let expected = policy.may(who, &gives[permission.as_str()], on);
            let decision = authorize(&state, &subject(who), permission, &path(&policy, on));
            let decision = decision.unwrap().allowed();
            assert_eq!(
                decision,
                expected,
                "policy {seed}: {who}, {}, {on}, {:?}",
                permission.as_str(),
                policy.bound
            );
            *(if expected { &mut allowed } else { &mut denied }) += 1;
        }
    }
    // Both answers were asked for often enough to mean something.
    assert!(allowed > POLICIES / 10 && denied > POLICIES / 10, "{allowed} {denied}");
}

#[test]
fn the_role_table_is_the_contracts() {
    let gives = gives();
    assert_eq!(gives.len(), Permission::ALL.len());
    for permission in Permission::ALL {
        for role in Role::ALL {
            let expected = gives[permission.as_str()].contains(role.as_str());
            assert_eq!(role.grants(*permission), expected, "{role:?} {permission:?}");
        }
    }
    let known: BTreeSet<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    assert!(gives.values().all(|roles| roles.is_subset(&known)), "a role that does not exist");
}

/// An installation has one organization; the users of another one are nobody here.
#[test]
fn only_the_users_of_our_own_organization_can_be_bound() {
    let mut world = World::new();
    let set = |id: &str| Command::SetAccessBindings {
        resource: ResourceRef::new(ResourceKind::Folder, "folder"),
        bindings: vec![AccessBinding::new("lockbox.viewer", subject(&format!("system:{id}")))],
    };
    world.run(set("group:organization:organization:users"));
    for wrong in ["group:organization:another:users", "group:federation:organization:users"] {
        let refused = world.refuse(set(wrong));
        assert!(matches!(refused, Rejection::InvalidArgument { .. }), "{wrong}");
    }
}
