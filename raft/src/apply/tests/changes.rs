//! The changes of a folder: all of its secrets', in order, until their operations are forgotten.

use super::*;
use crate::apply::destructions_due;
use crate::domain::idempotency::OPERATION_RETENTION;

fn told(world: &World, after: u64) -> Vec<(u64, OperationMetadata)> {
    let mut told = Vec::new();
    let mut place = Some(after);
    while let Some(after) = place {
        // Pages are cut anywhere.
        let (page, next) = tables::changes_page(&world.state, &folder_id(), after, 3).unwrap();
        told.extend(page.into_iter().map(|operation| (operation.index, operation.metadata)));
        place = next;
    }
    told
}

#[test]
fn every_operation_on_a_secret_is_a_change_of_its_folder() {
    let mut world = World::new();
    let secret = || secret_id("s");
    assert_eq!(tables::changes_begin(&world.state).unwrap(), Some(0), "nothing was before");
    let viewer = AccessBinding::new("viewer", account("a"));
    let resource = ResourceRef::new(ResourceKind::Secret, "s");
    let destroyed_at = Duration::from_secs(86_400);
    let mut expected = Vec::new();
    let made = world.create("s", Some("v1"));
    expected.push((made.index, made.metadata));
    for command in [
        Command::SetSecretStatus { secret_id: secret(), status: SecretStatus::Inactive },
        Command::SetSecretStatus { secret_id: secret(), status: SecretStatus::Active },
        add_version("s", "v2", MergeBase::Default(Some(version_id("v1")))),
        Command::SetCurrentVersion { secret_id: secret(), version_id: version_id("v1") },
        Command::ScheduleVersionDestruction {
            secret_id: secret(),
            version_id: version_id("v2"),
            pending_ms: 86_400_000,
            retained_ms: 86_400_000,
        },
        Command::SetAccessBindings { resource, bindings: vec![viewer] },
    ] {
        // What is not on a secret of the folder comes between.
        let name = format!("robot-{}", world.index);
        world.run(Command::CreateServiceAccount(service_account(&name)));
        let done = world.run(command);
        expected.push((done.index, done.metadata));
    }
    world.refuse(Command::DeleteSecret { secret_id: secret_id("nothing") });
    // The cluster's own doing is a change, though it is no operation that anybody asked for.
    world.now = world.now.plus(destroyed_at);
    let due = destructions_due(&world.state, world.now, 1).unwrap();
    let mut envelope = world.envelope(Command::DestroyVersion(Box::new(due[0].clone())));
    envelope.subject = Subject::internal();
    envelope.token = None;
    let destroyed = world.done(&envelope);
    expected.push((destroyed.index, destroyed.metadata));
    let deleted = world.run(Command::DeleteSecret { secret_id: secret() });
    expected.push((deleted.index, deleted.metadata));
    assert_eq!(told(&world, 0), expected);
    let third = expected[2].0;
    assert_eq!(told(&world, third), expected[3..], "behind an index");
    assert_eq!(told(&world, third - 1), expected[2..]);
    assert!(told(&world, deleted.index).is_empty());
}

#[test]
fn what_is_forgotten_is_known_to_be_missing() {
    let mut world = World::new();
    let first = world.create("a", None).index;
    world.now = world.now.plus(Duration::from_secs(3_600));
    let second = world.create("b", None).index;
    world.now = world.now.plus(OPERATION_RETENTION - Duration::from_secs(1_800));
    let third = world.create("c", None).index;
    let indexes = |world: &World| told(world, 0).iter().map(|told| told.0).collect::<Vec<_>>();
    assert_eq!(indexes(&world), [second, third]);
    assert_eq!(tables::changes_begin(&world.state).unwrap(), Some(first + 1));
}

/// A state from before changes were kept says from where on they are.
#[test]
fn an_old_state_begins_with_the_next_change() {
    let mut world = World::new();
    world.state.0.remove(&(Space::System, keys::SYSTEM_CHANGES_BEGIN.to_vec()));
    let next = world.create("a", None).index;
    assert_eq!(tables::changes_begin(&world.state).unwrap(), Some(next));
}
