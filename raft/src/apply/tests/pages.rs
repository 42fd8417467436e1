//! Pages of lists end by bytes, and none of what is listed is lost or repeated.

use super::{World, create_secret, folder_id};
use crate::domain::command::Command;
use crate::state::tables;

#[test]
fn a_page_of_large_records_ends_early_and_the_next_one_goes_on() {
    const SECRETS: usize = 7;
    let mut world = World::new();
    for ordinal in 0..SECRETS {
        let mut create = create_secret(&format!("s{ordinal}"), None);
        create.description = "d".repeat(tables::PAGE_RECORD_BYTES_MAX * 2 / 5);
        create.secrets_per_cloud_max = 100;
        world.run(Command::CreateSecret(Box::new(create)));
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), Some(0), Vec::new());
    while let Some(place) = after {
        let (secrets, next) =
            tables::secrets_page(&world.state, &folder_id(), place, 1000).unwrap();
        pages.push(secrets.len());
        seen.extend(secrets.into_iter().map(|secret| secret.name));
        after = next;
    }
    assert_eq!(pages, [2, 2, 2, 1]);
    assert_eq!(seen.len(), SECRETS);
    seen.dedup();
    assert_eq!(seen.len(), SECRETS);
}

#[test]
fn a_record_larger_than_a_page_is_a_page() {
    let mut world = World::new();
    for name in ["huge", "small"] {
        let mut create = create_secret(name, None);
        if name == "huge" {
            create.description = "d".repeat(tables::PAGE_RECORD_BYTES_MAX + 1);
        }
        world.run(Command::CreateSecret(Box::new(create)));
    }
    let (first, next) = tables::secrets_page(&world.state, &folder_id(), 0, 10).unwrap();
    assert_eq!((first.len(), first[0].name.as_str()), (1, "name of huge"));
    let (rest, next) = tables::secrets_page(&world.state, &folder_id(), next.unwrap(), 10).unwrap();
    assert_eq!((rest.len(), next), (1, None));
}
