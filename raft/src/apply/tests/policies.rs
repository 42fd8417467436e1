//! The evaluator beside another one, on random policies, and its table beside the contract's.

use std::collections::{BTreeMap, BTreeSet};

use lockbox_core::{Permission, ResourcePath, Role};

use super::*;
use crate::apply::{authorize, require_payload};

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

/// Who is bound where, and the conditions of it.
#[derive(Debug, Clone, Copy)]
struct Bound {
    on: &'static str,
    role: &'static str,
    whom: &'static str,
    /// The first moment at which it counts no more.
    end: Option<u64>,
    only_current: bool,
}

/// A tree of resources, who is bound where, and which version of each secret is current.
struct Policy {
    parents: BTreeMap<&'static str, &'static str>,
    bound: Vec<Bound>,
    current: BTreeMap<&'static str, &'static str>,
}

impl Policy {
    /// The same bindings without their conditions.
    fn unconditional(&self) -> Self {
        let plain = |bound: &Bound| Bound { end: None, only_current: false, ..*bound };
        let bound = self.bound.iter().map(plain).collect();
        Self { parents: self.parents.clone(), bound, current: BTreeMap::new() }
    }

    /// The whole of the rules again, in other words (`contract §4.1`, `§4.2`, `§4.6`, and
    /// `docs/access.md`).
    fn may(&self, who: &str, gives: &BTreeSet<&str>, asked: &'static str, now: u64) -> bool {
        const EVERYBODY: [&str; 3] = [
            "system:allUsers",
            "system:allAuthenticatedUsers",
            "system:group:organization:o:users",
        ];
        let asked_is_current = self.current.values().any(|current| *current == asked);
        let mut on = asked;
        loop {
            for bound in self.bound.iter().filter(|bound| bound.on == on) {
                let ended = matches!(bound.end, Some(end) if now >= end);
                let counts = !ended && (asked_is_current || !bound.only_current);
                let whose = bound.whom == who || EVERYBODY.contains(&bound.whom);
                if counts && whose && gives.contains(bound.role) {
                    return true;
                }
            }
            let Some(parent) = self.parents.get(on) else { return false };
            on = parent;
        }
    }
}

const TREE: [(&str, &str); 11] = [
    ("cloud:c1", "organization:o"),
    ("cloud:c2", "organization:o"),
    ("folder:f1", "cloud:c1"),
    ("folder:f2", "cloud:c1"),
    ("folder:f3", "cloud:c2"),
    ("secret:s1", "folder:f1"),
    ("secret:s2", "folder:f2"),
    ("account:a1", "folder:f1"),
    ("version:v1", "secret:s1"),
    ("version:v2", "secret:s1"),
    ("version:v3", "secret:s2"),
];
/// What may be current: of each secret one of its versions, or none.
const CURRENT: [(&str, &[&str]); 2] =
    [("secret:s1", &["", "version:v1", "version:v2"]), ("secret:s2", &["", "version:v3"])];
/// Moments, and so ends of bindings.
const MOMENTS: u64 = 4;
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
        "version" => ResourceKind::SecretVersion,
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

    fn moment(&mut self) -> u64 {
        self.below(usize::try_from(MOMENTS).unwrap()) as u64
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn random_policy(numbers: &mut Numbers, roles: &[&'static str]) -> Policy {
    let resources = resources();
    let mut policy = Policy { parents: TREE.into(), bound: Vec::new(), current: BTreeMap::new() };
    for _ in 0..numbers.below(7) {
        let role = match numbers.below(12) {
            0 => numbers.pick(&STRANGE_ROLES),
            1 | 2 => "lockbox.payloadViewer",
            _ => numbers.pick(roles),
        };
        let whom = match numbers.below(5) {
            0 => numbers.pick(&SETS),
            _ => numbers.pick(&CALLERS),
        };
        let end = (numbers.below(3) == 0).then(|| numbers.moment());
        let only_current = numbers.below(3) == 0;
        let on = numbers.pick(&resources);
        policy.bound.push(Bound { on, role, whom, end, only_current });
    }
    for (secret, versions) in CURRENT {
        policy.current.insert(secret, numbers.pick(versions));
    }
    policy
}

fn resources() -> Vec<&'static str> {
    TREE.iter().map(|(child, _)| *child).chain(["organization:o"]).collect()
}

/// The state that a policy is in; `like` is a record of any secret.
fn state_of(policy: &Policy, like: &SecretRecord) -> Map {
    let mut state = Map::default();
    let mut put = |key, record| state.0.insert((Space::Records, key), record);
    for at in resources() {
        let here = policy.bound.iter().filter(|bound| bound.on == at);
        let bound = here.map(|bound| AccessBinding {
            not_after: bound.end.map(LogTime::from_ms),
            versions: bound.only_current.then_some(Versions::Current),
            ..AccessBinding::new(bound.role, subject(bound.whom))
        });
        let set = BindingSet::new(bound.collect());
        put(keys::bindings(&resource(at)), codec::encode(&set));
    }
    for (secret, current) in &policy.current {
        let id = secret_id(&resource(secret).id);
        let current = (!current.is_empty()).then(|| version_id(&resource(current).id));
        let secret = SecretRecord { id, current_version: current, ..like.clone() };
        put(keys::secret(&secret.id), codec::encode(&secret));
    }
    state
}

#[test]
fn security_s04_the_evaluator_agrees_with_another_one_on_a_hundred_thousand_policies() {
    let gives = gives();
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let resources = resources();
    let mut world = World::new();
    world.create("any", None);
    let like = world.secret("any");
    let (mut allowed, mut denied, mut by_condition) = (0_u64, 0_u64, 0_u64);
    for seed in 0..POLICIES {
        let mut numbers = Numbers(seed);
        let policy = random_policy(&mut numbers, &roles);
        let state = state_of(&policy, &like);
        let unconditional = policy.unconditional();
        for _ in 0..QUESTIONS {
            let (who, on) = (numbers.pick(&CALLERS), numbers.pick(&resources));
            let permission = match numbers.below(3) {
                0 => Permission::PayloadGet,
                _ => numbers.pick(Permission::ALL),
            };
            let now = numbers.moment();
            let gives = &gives[permission.as_str()];
            let expected = policy.may(who, gives, on, now);
            let view = TimedView::new(&state, LogTime::from_ms(now));
            let (path, who) = (path(&policy, on), subject(who));
            let decision = authorize(&view, &who, permission, &path).unwrap().allowed();
            let asked = || format!("policy {seed}: {who}, {permission:?}, {on} at {now}");
            assert_eq!(decision, expected, "{}: {:?}", asked(), policy.bound);
            // A reader comes with the secret's path and the version beside it.
            let version = on.strip_prefix("version:").map(version_id);
            if let Some(version) = version.filter(|_| permission == Permission::PayloadGet) {
                let secret = ResourcePath::new(path.resources()[..4].to_vec());
                let read = require_payload(&view, &who, &secret, Some(&version));
                assert_eq!(read.is_ok(), expected, "{}: {:?}", asked(), policy.bound);
            }
            *(if expected { &mut allowed } else { &mut denied }) += 1;
            let without = unconditional.may(&who.to_string(), gives, on, now);
            by_condition += u64::from(without != expected);
        }
    }
    // Each answer was asked for often enough to mean something, and so were the conditions.
    assert!(allowed > POLICIES / 10 && denied > POLICIES / 10, "{allowed} {denied}");
    assert!(by_condition > POLICIES / 50, "{by_condition}");
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
