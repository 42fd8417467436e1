//! An administrator that cannot log in, and the one who holds the cluster's certificate.

use super::*;
use crate::domain::command::RecoverAdmin;
use crate::domain::identity::ServiceAccountStatus;

const ADMIN_ROLES: [(ResourceKind, &str, &str); 2] = [
    (ResourceKind::Organization, "organization", "admin"),
    (ResourceKind::Cloud, "cloud", "resource-manager.clouds.owner"),
];

fn recover(key: &str, keep_keys: bool) -> RecoverAdmin {
    RecoverAdmin {
        key_id: id(AuthorizedKeyId::parse, key),
        algorithm: KeyAlgorithm::Rsa2048,
        public_key_pem: format!("pem of {key}"),
        keep_keys,
        name: "admin".into(),
        replacement_id: id(ServiceAccountId::parse, "replacement"),
    }
}

impl World {
    fn recovery(&mut self, recover: RecoverAdmin) -> Envelope {
        let mut envelope = self.envelope(Command::RecoverAdmin(Box::new(recover)));
        envelope.subject = Subject::internal();
        envelope.token = None;
        envelope
    }

    #[track_caller]
    fn recovered(&mut self, recover: RecoverAdmin) -> (String, Vec<String>) {
        let envelope = self.recovery(recover);
        let operation = self.done(&envelope);
        assert!(!operation.metadata.is_listed());
        let OperationMetadata::RecoverAdmin { key_id, deleted_key_ids } = operation.metadata else {
            panic!("{:?}", operation.metadata)
        };
        let OperationResult::AuthorizedKey(key) = operation.result else { panic!("no key") };
        assert_eq!(key.id, key_id);
        let deleted = deleted_key_ids.iter().map(ToString::to_string).collect();
        (key_id.to_string(), deleted)
    }

    /// Whether an administrator with this key may administrate.
    fn administrates(&mut self, subject: &str, key: &str) -> bool {
        let number = self.index;
        let made = service_account(&format!("made-at-{number}"));
        let mut envelope = self.envelope(Command::CreateServiceAccount(made));
        envelope.subject = account(subject);
        envelope.token = Some(token(Some(key)));
        matches!(self.apply(&envelope), Outcome::Done(_))
    }

    fn holds_its_roles(&self, subject: &str) -> bool {
        ADMIN_ROLES.iter().all(|(kind, resource, role)| {
            let set = tables::bindings(&self.state, &ResourceRef::new(*kind, resource)).unwrap();
            set.bindings().contains(&AccessBinding::new(role, account(subject)))
        })
    }
}

#[test]
fn a_new_key_takes_the_place_of_the_old_ones_and_a_repeat_finds_it() {
    let mut world = World::new();
    assert!(world.administrates("admin", "admin-key"));
    let (key, deleted) = world.recovered(recover("new", false));
    assert_eq!((key.as_str(), deleted), ("new", vec!["admin-key".to_owned()]));
    assert!(!world.administrates("admin", "admin-key"));
    assert!(world.administrates("admin", "new"));
    // The answer was lost: the same public key, under another id, is the key that there is.
    let again =
        RecoverAdmin { key_id: id(AuthorizedKeyId::parse, "again"), ..recover("new", true) };
    assert_eq!(world.recovered(again), ("new".to_owned(), Vec::new()));
    let first = tables::first_resources(&world.state).unwrap().unwrap();
    assert_eq!(first.admin_key_id.as_str(), "new");
    // As well as the old ones when they are to stay.
    let (key, deleted) = world.recovered(recover("third", true));
    assert_eq!((key.as_str(), deleted.len()), ("third", 0));
    assert!(world.administrates("admin", "new") && world.administrates("admin", "third"));
}

#[test]
fn whatever_has_become_of_the_administrator_it_administrates_again() {
    let mut world = World::new();
    world.run(Command::CreateServiceAccount(service_account("other")));
    for (kind, resource, role) in ADMIN_ROLES {
        let binding = AccessBinding::new(role, account("other"));
        let resource = ResourceRef::new(kind, resource);
        // By hand: no call binds on an organization.
        let mut set = tables::bindings(&world.state, &resource).unwrap();
        set.apply(&[BindingDelta { action: DeltaAction::Add, binding }]);
        let key = (Space::Records, keys::bindings(&resource));
        world.state.0.insert(key, codec::encode(&set));
    }
    let by_other = |world: &mut World, command: Command| {
        let mut envelope = world.envelope(command);
        envelope.subject = account("other");
        envelope.token = Some(token(None));
        world.done(&envelope)
    };
    let admin = id(ServiceAccountId::parse, "admin");
    let status = ServiceAccountStatus::Suspended;
    let suspend = Command::SetServiceAccountStatus { service_account_id: admin.clone(), status };
    by_other(&mut world, suspend);
    let cloud = ResourceRef::new(ResourceKind::Cloud, "cloud");
    let owner = AccessBinding::new("resource-manager.clouds.owner", account("admin"));
    let delta = BindingDelta { action: DeltaAction::Remove, binding: owner };
    by_other(&mut world, Command::UpdateAccessBindings { resource: cloud, deltas: vec![delta] });
    assert!(!world.administrates("admin", "admin-key") && !world.holds_its_roles("admin"));

    world.recovered(recover("new", false));
    assert!(world.administrates("admin", "new") && world.holds_its_roles("admin"));

    // Deleted, it does not come back: another one is made, under its name.
    by_other(&mut world, Command::DeleteServiceAccount { service_account_id: admin });
    world.recovered(recover("newer", false));
    assert!(world.administrates("replacement", "newer") && world.holds_its_roles("replacement"));
    let made = id(ServiceAccountId::parse, "replacement");
    let made = tables::service_account(&world.state, &made).unwrap().unwrap();
    assert_eq!(made.name, "admin");
    let first = tables::first_resources(&world.state).unwrap().unwrap();
    assert_eq!(first.admin_id, made.id);
}

#[test]
fn nobody_who_logs_in_recovers_the_administrator() {
    let mut world = World::new();
    let command = Command::RecoverAdmin(Box::new(recover("new", false)));
    assert_eq!(world.refuse(command), Rejection::PermissionDenied);
    // An id that is another key's is refused as a whole.
    let taken =
        RecoverAdmin { key_id: id(AuthorizedKeyId::parse, "admin-key"), ..recover("new", false) };
    let envelope = world.recovery(taken);
    let kind = ResourceKind::ServiceAccount;
    assert_eq!(world.refused(&envelope), Rejection::AlreadyExists { kind });
}
