//! Random changes of what secrets live in, and of who may log in.

use lockbox_core::{CloudId, FolderId, OrganizationId, ServiceAccountId};
use lockbox_raft::domain::Command;
use lockbox_raft::domain::command::{
    ContainerChanges, CreateCloud, CreateFolder, ServiceAccountChanges,
};
use lockbox_raft::domain::identity::ServiceAccountStatus;

use crate::command_parts::{FOLDER, labels, one_in, pick, text};
use crate::harness::Random;

/// Makes or changes a cloud or a folder; names and ids are taken from few.
pub(crate) fn change_container(random: &mut Random) -> Command {
    let folder = match random.below(9) {
        0 => FOLDER.to_owned(),
        number => format!("folder-{number}"),
    };
    let cloud = if one_in(random, 3) { "cloud-1" } else { "cloud" };
    let folder_id = FolderId::parse(&folder).unwrap();
    let cloud_id = CloudId::parse(cloud).unwrap();
    let name = format!("container-{}", random.below(12));
    let changes = |random: &mut Random, name: String| ContainerChanges {
        name: one_in(random, 2).then_some(name),
        description: one_in(random, 2).then(|| text(random)),
        labels: one_in(random, 3).then(|| labels(random)),
    };
    match random.below(4) {
        0 => {
            let changes = changes(random, name);
            Command::UpdateCloud { cloud_id, changes }
        }
        1 => {
            let changes = changes(random, name);
            Command::UpdateFolder { folder_id, changes }
        }
        2 => Command::CreateCloud(CreateCloud {
            id: cloud_id,
            organization_id: OrganizationId::parse("organization").unwrap(),
            name,
            description: text(random),
            labels: labels(random),
        }),
        _ => Command::CreateFolder(CreateFolder {
            id: folder_id,
            cloud_id,
            name,
            description: text(random),
            labels: labels(random),
        }),
    }
}

/// Changes, suspends or deletes an account that somebody has, or that nobody has.
pub(crate) fn change_service_account(
    random: &mut Random,
    accounts: &[(String, Option<String>)],
) -> Command {
    let known = accounts.iter().map(|(id, _)| id.as_str());
    let known: Vec<&str> = known.chain(["no-such-account"]).collect();
    let service_account_id = ServiceAccountId::parse(pick::<&str>(random, &known)).unwrap();
    match random.below(6) {
        0 => Command::DeleteServiceAccount { service_account_id },
        1 => {
            let status = ServiceAccountStatus::Suspended;
            Command::SetServiceAccountStatus { service_account_id, status }
        }
        2 => {
            let status = ServiceAccountStatus::Active;
            Command::SetServiceAccountStatus { service_account_id, status }
        }
        _ => {
            let changes = ServiceAccountChanges {
                name: one_in(random, 2).then(|| format!("renamed-{}", random.below(9))),
                description: one_in(random, 2).then(|| text(random)),
                labels: one_in(random, 3).then(|| labels(random)),
                changes_expiry: one_in(random, 4),
                expires_at: None,
            };
            Command::UpdateServiceAccount { service_account_id, changes }
        }
    }
}
