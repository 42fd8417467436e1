//! What all families share: the secret that is asked about, and how requests about it are made.

use super::life::{Known, Life, Stage};
use super::material::Material;
use super::mix::Mix;
use super::repeats::Repeats;
use crate::client::request::{Change, Request};
use crate::history::call::{
    AddVersion, Call, ChangeBinding, CreateSecret, FirstVersion, GetPayload, OnSecret, OnVersion,
    ReadSecret, RevokeToken, ScheduleDestruction, UpdateSecret,
};
use crate::history::ids::{
    FolderId, IdempotencyKey, KmsKeyId, Subject as Reader, TokenId, VersionId,
};
use crate::history::op::Outcome;

/// Keys of the entries that most families write.
const ENTRY_KEYS: [&str; 4] = ["user", "password", "host", "token"];

/// The secret of a group, and the material that requests are made of.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where choices and unique things come from.
    pub material: Material,
    mix: Mix,
    life: Life,
    repeats: Repeats,
}

/// What a new secret is to be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Its folder, if that is another one than the run's.
    pub folder: Option<FolderId>,
    /// Its own key.
    pub kms_key: Option<KmsKeyId>,
    /// Whether its deletion is refused.
    pub protected: bool,
    /// The entries of its first version; without any it has none.
    pub entries: Vec<Change>,
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// Ask this again.
    Repeat(Request),
    /// Make a secret.
    Create,
    /// Wait until it is made.
    Wait,
    /// Ask about the secret.
    Use(Known),
}

impl Subject {
    /// Before the first secret.
    #[must_use]
    pub fn new(material: Material, mix: Mix) -> Self {
        Self { material, mix, life: Life::new(), repeats: Repeats::default() }
    }

    /// Decides what the next request is about, and counts it against the secret.
    pub fn turn(&mut self) -> Turn {
        if let Some(request) = self.repeat() {
            return Turn::Repeat(request);
        }
        match &mut self.life.stage {
            Stage::Absent => Turn::Create,
            Stage::Creating(_) => Turn::Wait,
            Stage::Living(known, _) => {
                let known = known.clone();
                self.count();
                Turn::Use(known)
            }
        }
    }

    /// Something to ask again, if it is about the present: what was left is left alone.
    fn repeat(&mut self) -> Option<Request> {
        let request = self.repeats.next(&mut self.material.random)?;
        match (request.call(), &self.life.stage) {
            (Call::CreateSecret(call), Stage::Absent) => {
                self.life.stage = Stage::Creating(call.name.clone());
            }
            (Call::CreateSecret(_), Stage::Creating(_)) => return None,
            // Made already: the answer has to be the one of then.
            (Call::CreateSecret(_), Stage::Living(..)) => {}
            (call, Stage::Living(known, _)) if call.secret() == Some(&known.secret) => self.count(),
            (_, Stage::Absent | Stage::Creating(_) | Stage::Living(..)) => return None,
        }
        Some(request)
    }

    fn count(&mut self) {
        if let Stage::Living(_, left) = &mut self.life.stage {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.life.stage = Stage::Absent;
            }
        }
    }

    /// Learns from an answer. The secret that it may have made gets about `ops` operations, and
    /// never more than the mix allows.
    pub fn observe(&mut self, request: &Request, outcome: &Outcome, ops: u64) {
        let most = self.mix.ops_per_secret.saturating_sub(self.mix.ops_per_secret / 10);
        let ops = self.material.blurred(ops.min(most)).max(1);
        self.life.observe(request, outcome, ops);
        self.repeats.observe(request, outcome, &mut self.material.random);
    }

    /// Leaves the secret: the next turn makes another one.
    pub fn leave(&mut self) {
        self.life.stage = Stage::Absent;
    }

    /// A creation.
    pub fn create(&mut self, wish: Wish) -> Request {
        let names = (self.material.name(), self.material.name());
        self.life.stage = Stage::Creating(names.0.clone());
        self.keyed(creation(names, wish))
    }

    /// A version with these changes.
    pub fn add(
        &mut self,
        known: &Known,
        changes: Vec<Change>,
        base: Option<VersionId>,
        if_version: Option<VersionId>,
    ) -> Request {
        let description = self.material.name();
        let secret = known.secret.clone();
        let request = Request::with_values(changes, |changes| {
            Call::AddVersion(AddVersion { secret, base, changes, description, if_version })
        });
        self.keyed(request)
    }

    /// Makes a version current.
    pub fn set_current(
        &mut self,
        known: &Known,
        version: VersionId,
        if_version: Option<VersionId>,
    ) -> Request {
        let secret = known.secret.clone();
        let call = Call::SetCurrentVersion(OnVersion { secret, version, if_version });
        self.keyed(Request::new(call))
    }

    /// The destruction of a version, later.
    pub fn schedule(&mut self, known: &Known, version: VersionId, pending_ms: u64) -> Request {
        let secret = known.secret.clone();
        let pending_ms = Some(pending_ms);
        let call = ScheduleDestruction { secret, version, pending_ms, if_version: None };
        self.keyed(Request::new(Call::ScheduleDestruction(call)))
    }

    /// No destruction of a version after all.
    pub fn cancel(&mut self, known: &Known, version: VersionId) -> Request {
        let secret = known.secret.clone();
        let call = Call::CancelDestruction(OnVersion { secret, version, if_version: None });
        self.keyed(Request::new(call))
    }

    /// A role on the secret that a member gets, or loses.
    pub fn bind(&mut self, known: &Known, role: &str, member: Reader, grant: bool) -> Request {
        let (secret, role) = (known.secret.clone(), role.to_owned());
        let call = Call::ChangeBinding(ChangeBinding { secret, role, member, grant });
        self.keyed(Request::new(call))
    }

    /// The end of a token, which no key goes with.
    #[must_use]
    pub fn revoke(token: TokenId) -> Request {
        Request::new(Call::RevokeToken(RevokeToken { token }))
    }

    /// A mutation of the secret as a whole.
    pub fn change(&mut self, known: &Known, call: fn(OnSecret) -> Call) -> Request {
        let call = call(OnSecret { secret: known.secret.clone(), if_version: None });
        self.keyed(Request::new(call))
    }

    /// A change of its fields.
    pub fn update(&mut self, known: &Known, change: impl FnOnce(&mut UpdateSecret)) -> Request {
        let mut call = UpdateSecret {
            secret: known.secret.clone(),
            name: None,
            description: None,
            labels: None,
            deletion_protection: None,
            if_version: None,
        };
        change(&mut call);
        self.keyed(Request::new(Call::UpdateSecret(call)))
    }

    /// Some entries, each set to a new value.
    pub fn some_entries(&mut self) -> Vec<Change> {
        let count = self.material.random.between(1, 2);
        let mut keys = ENTRY_KEYS;
        self.material.random.shuffle(&mut keys);
        let keys = keys.into_iter().take(usize::try_from(count).unwrap_or(1));
        keys.map(|key| self.entry(key)).collect()
    }

    /// An entry, set to a new value.
    pub fn entry(&mut self, key: &str) -> Change {
        entry(&mut self.material, key)
    }

    /// One of the versions that are known.
    pub fn some_version(&mut self, known: &Known) -> Option<VersionId> {
        self.material.random.pick(&known.versions).cloned()
    }

    fn keyed(&mut self, request: Request) -> Request {
        perhaps_keyed(&mut self.material, &self.mix, request)
    }
}

/// A creation of a secret of this name, whose version has this description.
#[must_use]
pub fn creation((name, description): (String, String), wish: Wish) -> Request {
    let first = !wish.entries.is_empty();
    Request::with_values(wish.entries, |entries| {
        Call::CreateSecret(CreateSecret {
            folder: wish.folder,
            name,
            kms_key: wish.kms_key,
            deletion_protection: wish.protected,
            first: first.then_some(FirstVersion { description, entries }),
        })
    })
}

/// An entry, set to a new value.
pub fn entry(material: &mut Material, key: &str) -> Change {
    Change { key: key.into(), value: Some(material.value()) }
}

/// A mutation under an `idempotency-key`, as often as the mix says.
pub fn perhaps_keyed(material: &mut Material, mix: &Mix, mut request: Request) -> Request {
    if material.random.chance(mix.keyed_percent) {
        let name = material.name();
        request.idempotency_key = Some(IdempotencyKey::from(name.as_str()));
    }
    request
}

/// A read of the secret's metadata.
#[must_use]
pub fn get_secret(known: &Known) -> Request {
    Request::new(Call::GetSecret(ReadSecret { secret: known.secret.clone() }))
}

/// A list of its versions.
#[must_use]
pub fn list_versions(known: &Known) -> Request {
    Request::new(Call::ListVersions(ReadSecret { secret: known.secret.clone() }))
}

/// A read of a payload: of a version, or of the current one.
#[must_use]
pub fn get_payload(known: &Known, version: Option<VersionId>) -> Request {
    Request::new(Call::GetPayload(GetPayload { secret: known.secret.clone(), version }))
}
