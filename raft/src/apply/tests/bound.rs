//! What bindings are worth: the index by subject, and conditions.

use super::*;

/// The index by subject says the same as the bindings, after every kind of change.
#[test]
fn what_a_subject_holds_follows_the_bindings() {
    let mut world = World::new();
    let reader = Subject { kind: SubjectKind::UserAccount, id: "reader".into() };
    let folder = ResourceRef::new(ResourceKind::Folder, "folder");
    let held = |world: &World, subject: &Subject| -> Vec<(String, Vec<String>)> {
        let found = holdings::holdings(&world.state, subject, usize::MAX).unwrap();
        let roles = |h: &holdings::Holding| h.bindings.iter().map(|b| b.role_id.clone()).collect();
        found.iter().map(|h| (h.on.id.clone(), roles(h))).collect()
    };
    let admin = [("organization", "admin"), ("cloud", "resource-manager.clouds.owner")]
        .map(|(on, role)| (on.to_owned(), vec![role.to_owned()]));
    let mut held_by_admin = held(&world, &account("admin"));
    held_by_admin.sort_by(|a, b| b.0.cmp(&a.0));
    assert_eq!(held_by_admin, admin);

    let bind = |role: &str| AccessBinding::new(role, reader.clone());
    let both = ["kms.viewer", "lockbox.viewer"].map(bind);
    let on = |resource: &ResourceRef, bindings: &[AccessBinding]| Command::SetAccessBindings {
        resource: resource.clone(),
        bindings: bindings.to_vec(),
    };
    world.run(on(&folder, &both));
    let roles = |of: &[&str]| of.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
    let expected = vec![("folder".to_owned(), roles(&["kms.viewer", "lockbox.viewer"]))];
    assert_eq!(held(&world, &reader), expected);
    // What is bound on a secret reaches no key.
    world.create("s", None);
    let on_secret = ["auditor", "lockbox.viewer"].map(bind);
    world.run(on(&ResourceRef::new(ResourceKind::Secret, "s"), &on_secret));
    assert_eq!(held(&world, &reader), expected);
    let remove = BindingDelta { action: DeltaAction::Remove, binding: both[0].clone() };
    world.run(Command::UpdateAccessBindings { resource: folder.clone(), deltas: vec![remove] });
    assert_eq!(held(&world, &reader), [("folder".to_owned(), roles(&["lockbox.viewer"]))]);
    world.run(on(&folder, &[]));
    assert!(held(&world, &reader).is_empty());
    assert!(world.state.0.keys().all(|(_, key)| !key.starts_with(&keys::holdings_of(&reader))));
}

/// No command makes one; should a state have one all the same, it makes no owners.
#[test]
fn a_conditional_owner_makes_no_owners() {
    let mut world = World::new();
    world.run(Command::CreateServiceAccount(service_account("guest")));
    let cloud = ResourceRef::new(ResourceKind::Cloud, "cloud");
    let mut owner = AccessBinding::new("resource-manager.clouds.owner", account("guest"));
    owner.not_after = Some(LogTime::from_ms(u64::MAX));
    let set = BindingSet::new(vec![owner]);
    world.state.0.insert((Space::Records, keys::bindings(&cloud)), codec::encode(&set));
    let bind = |role: &str, to: &str| Command::UpdateAccessBindings {
        resource: cloud.clone(),
        deltas: vec![BindingDelta {
            action: DeltaAction::Add,
            binding: AccessBinding::new(role, account(to)),
        }],
    };
    world.run(bind("admin", "guest"));
    let mut envelope = world.envelope(bind("resource-manager.clouds.owner", "guest"));
    envelope.subject = account("guest");
    envelope.token = Some(token(None));
    assert_eq!(world.refused(&envelope), Rejection::PermissionDenied);
}
