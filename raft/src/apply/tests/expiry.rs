//! What is forgotten is forgotten once: no later entry pays for it again.

use std::sync::Mutex;

use super::*;
use crate::domain::idempotency::OPERATION_RETENTION;

/// A state that notes where scans of the expiry queue begin.
struct Watched {
    state: Map,
    begins: Mutex<Vec<Vec<u8>>>,
}

impl StateRead for Watched {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.state.get(space, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
        if scan.from.starts_with(&keys::expiries()) {
            self.begins.lock().unwrap().push(scan.from.clone());
        }
        self.state.scan(scan)
    }
}

fn any_command() -> Command {
    let changes = SecretChanges { name: Some("new".into()), ..SecretChanges::default() };
    Command::UpdateSecret { secret_id: secret_id("s"), changes }
}

fn due(world: &World) -> Vec<Row> {
    let scan = Scan {
        space: Space::Records,
        from: keys::expiries(),
        to: keys::expiry_due(world.now),
        direction: Direction::Ascending,
        limit: usize::MAX,
    };
    world.state.scan(&scan).unwrap()
}

#[test]
fn the_queue_is_not_searched_again_where_it_is_done() {
    let mut world = World::new();
    world.create("s", None);
    world.now = world.now.plus(OPERATION_RETENTION + Duration::from_millis(1));
    let last = due(&world).pop().unwrap().0;
    world.run(any_command());
    assert!(due(&world).is_empty());

    // A store that has deleted a row still steps over it in every scan that begins before it.
    let state = world.state.clone();
    let watched = Watched { state, begins: Mutex::default() };
    world.now = world.now.plus(Duration::from_secs(1));
    let envelope = world.envelope(any_command());
    let mut overlay = Overlay::new(&watched);
    apply_entry(&mut overlay, &codec::encode(&envelope), position(world.index + 1)).unwrap();
    let begins = watched.begins.lock().unwrap();
    assert!(!begins.is_empty() && begins.iter().all(|from| *from > last), "{begins:?}");
}

#[test]
fn a_long_silence_is_worked_off_bit_by_bit_and_nothing_is_skipped() {
    let mut world = World::new();
    world.create("s", None);
    for _ in 0..200 {
        world.run(any_command());
    }
    world.now = world.now.plus(OPERATION_RETENTION + Duration::from_millis(1));
    let mut left = due(&world).len();
    assert!(left > 200);
    while left > 0 {
        world.run(any_command());
        let now_left = due(&world).len();
        assert!(now_left < left, "{left} are left");
        left = now_left;
    }
}

#[test]
fn the_queue_is_looked_at_once_a_second() {
    let mut world = World::new();
    world.create("s", None);
    let scans = |world: &mut World| {
        let watched = Watched { state: world.state.clone(), begins: Mutex::default() };
        let mut overlay = Overlay::new(&watched);
        let envelope = codec::encode(&world.envelope(any_command()));
        apply_entry(&mut overlay, &envelope, position(world.index + 1)).unwrap();
        watched.begins.into_inner().unwrap().len()
    };
    world.now = world.now.plus(Duration::from_secs(1));
    assert_eq!(scans(&mut world), 1);
    world.run(any_command());
    world.now = world.now.plus(Duration::from_millis(999));
    assert_eq!(scans(&mut world), 0);
    world.now = world.now.plus(Duration::from_millis(1));
    assert_eq!(scans(&mut world), 1);
}
