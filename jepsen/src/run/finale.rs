//! The final reads and writes, which must succeed (`verification §1`).
//!
//! Every node is asked to do everything once, and every secret that the run knows of is read. A
//! write that was acknowledged and has vanished shows here, at the latest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::{Asker, Shared};
use crate::client::lockbox::LockboxClient;
use crate::client::request::{Change, Request};
use crate::history::answer::{Answer, SecretStatus, SecretView, VersionStatus};
use crate::history::call::{
    AddVersion, Call, CreateSecret, FirstVersion, GetPayload, OnSecret, ReadSecret,
};
use crate::history::ids::{NodeId, ProcessId, SecretId};
use crate::history::op::{Outcome, Reply};
use crate::workload::Family;
use crate::workload::material::Material;

/// The number of the first process; no worker of the load gets that far.
const PROCESS_FIRST: u64 = 1 << 40;
/// Askers of each node.
const ASKERS: usize = 2;
/// The most secrets that are read; of more, the ones with the greatest ids.
const SECRETS_MAX: usize = 500;
/// How long a final operation may take: nothing is wrong any more, and the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(10);
/// No group of the load has this number.
const GROUP: usize = usize::MAX;

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finale {
    /// Operations that got an answer of the state.
    pub decided: u64,
    /// All the others.
    pub undecided: u64,
}

impl Finale {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(_) => self.decided += 1,
            Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unexpected(_) => self.undecided += 1,
        }
    }
}

/// Does it all; when told to stop, no more than what is asked already.
///
/// # Errors
/// When something cannot be recorded, or a client cannot be made.
pub async fn play(shared: &Arc<Shared>, seed: u64, stop: &CancellationToken) -> Result<Finale> {
    let members = (shared.site.members)();
    let mut secrets = shared.secrets.secrets();
    secrets.drain(..secrets.len().saturating_sub(SECRETS_MAX));
    let mut shares: BTreeMap<(NodeId, usize), Vec<SecretId>> = BTreeMap::new();
    let seats: Vec<_> =
        members.iter().flat_map(|node| (0..ASKERS).map(move |n| (*node, n))).collect();
    for (secret, seat) in secrets.into_iter().zip(seats.iter().cycle()) {
        shares.entry(*seat).or_default().push(secret);
    }
    let mut material = Material::of_group(seed, GROUP);
    let mut tasks = JoinSet::new();
    for (number, (node, seat)) in seats.into_iter().enumerate() {
        let client = shared.site.client(number, node, &shared.callers, DEADLINE)?;
        let process = PROCESS_FIRST + u64::try_from(number).unwrap_or(0);
        let asker = FinalAsker {
            shared: Arc::clone(shared),
            client,
            node,
            process,
            finale: Finale::default(),
            stop: stop.clone(),
        };
        let share = shares.remove(&(node, seat)).unwrap_or_default();
        let change = Change { key: "final".into(), value: Some(material.value()) };
        let added = Change { key: "added".into(), value: Some(material.value()) };
        let names = (material.name(), material.name());
        tasks.spawn(asker.play(share, [change, added], names));
    }
    let mut whole = Finale::default();
    while let Some(ended) = tasks.join_next().await {
        let part = ended.context("a final asker has panicked")??;
        whole.decided += part.decided;
        whole.undecided += part.undecided;
    }
    Ok(whole)
}

/// Whether the payload of a secret that is active can be read: not while its current version waits
/// for its destruction, nor after it.
fn has_payload(view: &SecretView) -> bool {
    view.current.as_ref().is_some_and(|version| version.status == VersionStatus::Active)
}

struct FinalAsker {
    shared: Arc<Shared>,
    client: LockboxClient,
    node: NodeId,
    process: u64,
    finale: Finale,
    stop: CancellationToken,
}

impl FinalAsker {
    async fn play(
        mut self,
        secrets: Vec<SecretId>,
        [first, added]: [Change; 2],
        (name, description): (String, String),
    ) -> Result<Finale> {
        self.write(first, added, name, description).await?;
        for secret in secrets {
            // One operation without an answer makes the run invalid. Asking a dead node for all of
            // its secrets would take its deadline hundreds of times.
            if self.finale.undecided > 0 || self.stop.is_cancelled() {
                break;
            }
            self.read(secret).await?;
        }
        Ok(self.finale)
    }

    /// Makes a secret, changes it and reads it.
    async fn write(
        &mut self,
        first: Change,
        added: Change,
        name: String,
        description: String,
    ) -> Result<()> {
        let first_description = format!("{description}-first");
        let request = Request::with_values(vec![first], |entries| {
            let first = Some(FirstVersion { description: first_description, entries });
            Call::CreateSecret(CreateSecret {
                folder: None,
                name,
                kms_key: None,
                deletion_protection: false,
                first,
            })
        });
        let outcome = self.ask(&request).await?;
        let Outcome::Ok(reply) = outcome else { return Ok(()) };
        let Answer::Secret(view) = reply.answer else { return Ok(()) };
        let secret = view.id;
        let request = Request::with_values(vec![added], |changes| {
            let secret = secret.clone();
            let (base, if_version) = (None, None);
            Call::AddVersion(AddVersion { secret, base, changes, description, if_version })
        });
        self.ask(&request).await?;
        for call in [Call::Deactivate, Call::Activate] {
            let on = OnSecret { secret: secret.clone(), if_version: None };
            self.ask(&Request::new(call(on))).await?;
        }
        self.read(secret).await
    }

    /// Reads all of a secret. What the state would refuse is not asked for: everything that is asked
    /// now must succeed.
    async fn read(&mut self, secret: SecretId) -> Result<()> {
        let read = || ReadSecret { secret: secret.clone() };
        let outcome = self.ask(&Request::new(Call::GetSecret(read()))).await?;
        self.ask(&Request::new(Call::ListVersions(read()))).await?;
        let Outcome::Ok(Reply { answer: Answer::Secret(view), .. }) = outcome else {
            return Ok(());
        };
        if view.status == SecretStatus::Inactive {
            let call = Call::Activate(OnSecret { secret: secret.clone(), if_version: None });
            self.ask(&Request::new(call)).await?;
        }
        if has_payload(&view) {
            let call = Call::GetPayload(GetPayload { secret, version: None });
            self.ask(&Request::new(call)).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, request: &Request) -> Result<Outcome> {
        let asker =
            Asker { process: ProcessId(self.process), node: self.node, family: Family::Register };
        let outcome = self.shared.attempt(&mut self.client, asker, request, None).await?;
        self.finale.count(&outcome);
        if matches!(outcome, Outcome::Info(_) | Outcome::Unexpected(_)) {
            // As far apart as the askers are many, with room to spare.
            self.process += 1 << 20;
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::script;
    use crate::history::answer::VersionView;

    #[test]
    fn the_payload_of_a_version_on_its_way_out_is_not_asked_for() {
        let shown = |status: Option<VersionStatus>| {
            let current = status
                .map(|status| VersionView { status, ..script::version("v1", "first", &["a"]) });
            let Answer::Secret(view) = script::secret(current) else { unreachable!() };
            has_payload(&view)
        };
        assert!(shown(Some(VersionStatus::Active)));
        assert!(!shown(Some(VersionStatus::Scheduled)));
        assert!(!shown(Some(VersionStatus::Destroyed)));
        assert!(!shown(None));
    }
}
