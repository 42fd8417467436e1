//! The profile `dev`: how the command line finds a running `lockbox dev` from any directory.
//!
//! Promises: a profile of that name which somebody else has made or changed stays as it is, and
//! so does the choice of the active one.

use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::local::{Ids, Layout, local_address};
use crate::cli::profiles::{self, Profile, SettingKey};

/// Its name.
pub(super) const NAME: &str = "dev";
/// Its owner, until somebody changes it.
const OWNER: &str = "lockbox dev";

/// What has become of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// It leads here, and is the active one.
    Active,
    /// It leads here; another one is active.
    Inactive,
    /// It is somebody else's.
    Kept,
}

/// Fills the profile in the file.
pub(super) fn fill(file: &Path, layout: &Layout, ids: &Ids) -> Result<Filled, Failure> {
    let profile = profile(layout, ids);
    profiles::change(file, |known| {
        let is_ours = |old: &Profile| old.get(SettingKey::ManagedBy) == Some(OWNER);
        if known.named(NAME).is_some_and(|old| !is_ours(old)) {
            return Ok(Filled::Kept);
        }
        known.profiles.insert(NAME.to_owned(), profile);
        let active = known.active.get_or_insert_with(|| NAME.to_owned());
        Ok(if active == NAME { Filled::Active } else { Filled::Inactive })
    })
}

fn profile(layout: &Layout, ids: &Ids) -> Profile {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let port = layout.ports().nodes.first().map_or(0, |ports| ports.api);
    Profile::of([
        (SettingKey::Endpoint, local_address(port)),
        (SettingKey::Ca, text(&layout.ca())),
        (SettingKey::SaKey, text(&layout.admin_key())),
        (SettingKey::CloudId, ids.cloud_id.clone()),
        (SettingKey::FolderId, ids.folder_id.clone()),
        (SettingKey::ManagedBy, OWNER.to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::local::Ports;

    #[test]
    fn it_leads_here_and_takes_nothing_from_anybody() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config").join("config.toml");
        let at = |base: u16| Layout::new(directory.path(), Ports::of_cluster(base, 1)).unwrap();
        let ids = Ids { cloud_id: "b1gcloud".to_owned(), folder_id: "b1gfolder".to_owned() };

        assert_eq!(fill(&file, &at(9000), &ids).unwrap(), Filled::Active);
        let known = profiles::load(&file).unwrap();
        let made = known.named(NAME).unwrap();
        assert_eq!(made.get(SettingKey::Endpoint), Some("localhost:9001"));
        assert_eq!(made.get(SettingKey::SaKey), at(9000).admin_key().to_str());
        assert_eq!(made.get(SettingKey::FolderId), Some("b1gfolder"));

        // Its own one it writes over; the user's choice of the active one it keeps.
        let other = |known: &mut profiles::Profiles| {
            known.profiles.insert("prod".to_owned(), Profile::default());
            known.active = Some("prod".to_owned());
            Ok(())
        };
        profiles::change(&file, other).unwrap();
        assert_eq!(fill(&file, &at(9100), &ids).unwrap(), Filled::Inactive);
        let known = profiles::load(&file).unwrap();
        assert_eq!(known.named(NAME).unwrap().get(SettingKey::Endpoint), Some("localhost:9101"));
        assert_eq!(known.active.as_deref(), Some("prod"));

        // What the user has changed is the user's.
        let change = |known: &mut profiles::Profiles| {
            let made = known.profiles.get_mut(NAME).unwrap();
            made.set(SettingKey::Format, "json".to_owned()).unwrap();
            Ok(())
        };
        profiles::change(&file, change).unwrap();
        let before = std::fs::read(&file).unwrap();
        assert_eq!(fill(&file, &at(9200), &ids).unwrap(), Filled::Kept);
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}
