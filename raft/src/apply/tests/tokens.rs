//! Revoked tokens: dead at once, forgotten when they would have died.

use super::*;
use crate::domain::command::RevokeToken;

fn revoke(expires_at: LogTime) -> Command {
    Command::RevokeToken(RevokeToken {
        token_id: id(TokenId::parse, "token"),
        subject: account("admin"),
        expires_at,
    })
}

fn is_revoked(world: &World) -> bool {
    tables::token_revoked(&world.state, &id(TokenId::parse, "token")).unwrap()
}

#[test]
fn a_revoked_token_is_dead_from_the_next_command_on() {
    let mut world = World::new();
    let expires_at = world.now.plus(Duration::from_secs(3600));
    world.run(revoke(expires_at));
    let secret = Command::CreateSecret(Box::new(create_secret("s", None)));
    assert_eq!(world.refuse(secret), Rejection::Unauthenticated);

    // Remembered up to its end, and no longer.
    let stamp = |world: &mut World| {
        let mut envelope = world.envelope(Command::AdvanceTime);
        (envelope.subject, envelope.token) = (Subject::internal(), None);
        world.apply(&envelope);
    };
    world.now = LogTime::from_ms(expires_at.as_ms() - 1);
    stamp(&mut world);
    assert!(is_revoked(&world));
    world.now = expires_at.plus(Duration::from_secs(5));
    stamp(&mut world);
    assert!(!is_revoked(&world));
}

#[test]
fn a_token_that_has_died_already_leaves_no_row() {
    let mut world = World::new();
    world.run(revoke(world.now));
    assert!(!is_revoked(&world));
}
