//! Random commands of every kind, most of them valid, from a seed.
//!
//! The generator learns from each outcome which ids exist, so that most commands meet something;
//! on purpose a part of them is stale, forbidden, unknown, repeated or in conflict. Which commands
//! come follows from the seed and the outcomes alone.

use std::collections::VecDeque;

use lockbox_core::{
    AuthorizedKeyId, LogTime, OperationId, RequestId, ResourceKind, ResourceRef, Subject, TokenId,
    VersionId,
};
use lockbox_raft::domain::command::{
    AddVersion, CreateSecret, MergeBase, RevokeToken, SecretChanges,
};
use lockbox_raft::domain::secret::SecretStatus;
use lockbox_raft::domain::state_check::StateReport;
use lockbox_raft::domain::version::Destruction;
use lockbox_raft::domain::{
    BindingDelta, Command, DeltaAction, Envelope, IdempotencyClaim, Outcome,
};

use crate::command_containers::{change_container, change_service_account};
use crate::command_keyring::{rewrap_data_key, rewrap_keyring_key, rotation};
use crate::command_parts::{
    ADMIN, ADMIN_KEY, FOLDER, account, attestation, audit_head, authorized_key, binding,
    check_kind, folder_id, init_cluster, kms_key_id, labels, new_version, one_in, password_spec,
    pick, read_report, recover_admin, secret_id, service_account, text, token, version_id,
};
use crate::command_world::{RETAINED_MS, World};
use crate::harness::Random;

/// Secrets that are alive at the same time; the quota of the cloud is a little above.
const SECRETS_MAX: usize = 60;
const SECRETS_QUOTA: u32 = 65;
const VERSIONS_QUOTA: u32 = 12;
/// Envelopes kept for repetition.
const KEPT_MAX: usize = 50;

/// The source of commands.
pub(crate) struct Generator {
    random: Random,
    /// Number of the next fresh command.
    number: u64,
    now: u64,
    world: World,
    recent: VecDeque<Envelope>,
    keyed: VecDeque<Envelope>,
    /// The rest of a rotation that has begun: alone, its steps would never come in order.
    rotation: VecDeque<Command>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            number: 0,
            now: 1_700_000_000_000,
            world: World::default(),
            recent: VecDeque::new(),
            keyed: VecDeque::new(),
            rotation: VecDeque::new(),
        }
    }

    /// The next command with its envelope.
    pub(crate) fn next(&mut self) -> Envelope {
        self.step_time();
        let repeated = match self.random.below(40) {
            0 => self.repeated_request(),
            1 => self.repeated_key(),
            _ => None,
        };
        let envelope = repeated.unwrap_or_else(|| self.fresh());
        for kept in [&mut self.recent, &mut self.keyed] {
            kept.truncate(KEPT_MAX);
        }
        envelope
    }

    /// Leaders' clocks mostly go on by a little, sometimes back, and now and then a retention ends.
    fn step_time(&mut self) {
        const MINUTE: u64 = 60_000;
        const DAY: u64 = 24 * 60 * MINUTE;
        self.now = match self.random.below(50_000) {
            0..2 => self.now + 31 * DAY,
            2..8 => self.now + 26 * 60 * MINUTE,
            8..40 => self.now + 16 * MINUTE,
            40..1_500 => self.now - self.random.below(30_000),
            _ => self.now + self.random.below(40),
        };
    }

    /// The same proposal again, as after a lost answer.
    fn repeated_request(&mut self) -> Option<Envelope> {
        if self.recent.is_empty() {
            return None;
        }
        let mut envelope = pick(&mut self.random, self.recent.make_contiguous()).clone();
        envelope.proposed_at = LogTime::from_ms(self.now);
        Some(envelope)
    }

    /// A caller's retry under its idempotency key, or another request under the same key.
    fn repeated_key(&mut self) -> Option<Envelope> {
        if self.keyed.is_empty() {
            return None;
        }
        let mut envelope = pick(&mut self.random, self.keyed.make_contiguous()).clone();
        let fresh = self.envelope(envelope.command.clone());
        envelope.request_id = fresh.request_id;
        envelope.operation_id = fresh.operation_id;
        envelope.proposed_at = fresh.proposed_at;
        if one_in(&mut self.random, 3)
            && let Some(claim) = &mut envelope.idempotency
        {
            let mut mac = *claim.request_mac.as_bytes();
            mac[0] ^= 1;
            claim.request_mac = mac.into();
        }
        Some(envelope)
    }

    /// Takes note of what the entry at this index did.
    pub(crate) fn learn(&mut self, index: u64, outcome: &Outcome) {
        match outcome {
            // A repeat is answered with an operation of an earlier entry.
            Outcome::Done(operation) if operation.index == index => self.world.learn(operation),
            Outcome::Done(_) | Outcome::Rejected(_) | Outcome::Nothing => {}
        }
    }

    fn fresh(&mut self) -> Envelope {
        let command = if self.number == 0 {
            Command::InitCluster(Box::new(init_cluster(&mut self.random)))
        } else {
            self.command()
        };
        check_kind(&command);
        let mut envelope = self.envelope(command);
        // The system itself begins the cluster and stamps the time, and nobody else may.
        let by_the_system = match envelope.command {
            Command::AdvanceTime
            | Command::DestroyVersion(_)
            | Command::RecoverAdmin(_)
            | Command::SetRetention { .. }
            | Command::BeginStateCheck
            | Command::ReportStateHash { .. }
            | Command::AnchorAuditHead(_)
            | Command::ReportReads(_)
            | Command::AttestKms(_)
            | Command::RaiseFeatureLevel { .. } => !one_in(&mut self.random, 4),
            Command::AddKeyringKey(_)
            | Command::ConfirmKeyringKey { .. }
            | Command::StepKeyringKey { .. }
            | Command::RewrapDataKeys(_)
            | Command::RewrapKeyringKey(_) => !one_in(&mut self.random, 20),
            _ => self.number == 1,
        };
        if !by_the_system {
            self.caller(&mut envelope);
        }
        if one_in(&mut self.random, 25) {
            envelope.if_version = self.guess_current(&envelope.command);
        }
        if one_in(&mut self.random, 8) {
            let claim = IdempotencyClaim {
                method: envelope.command.name().to_owned(),
                key: format!("key-{}", self.number),
                request_mac: [self.random.next().to_le_bytes()[0]; 32].into(),
                mac_key_id: 2,
            };
            envelope.idempotency = Some(claim);
            self.keyed.push_front(envelope.clone());
        }
        self.recent.push_front(envelope.clone());
        envelope
    }

    /// An envelope of the system itself around the command.
    fn envelope(&mut self, command: Command) -> Envelope {
        self.number += 1;
        let mut request = [0; 16];
        request[..8].copy_from_slice(&self.number.to_be_bytes());
        request[8..].copy_from_slice(&self.random.next().to_be_bytes());
        Envelope {
            request_id: RequestId::from_bytes(request),
            subject: Subject::internal(),
            token: None,
            operation_id: OperationId::parse(&format!("operation-{}", self.number)).unwrap(),
            idempotency: None,
            if_version: None,
            proposed_at: LogTime::from_ms(self.now),
            command,
        }
    }

    /// Sets who asks: mostly the administrator, else somebody with some rights, none, or no token.
    fn caller(&mut self, envelope: &mut Envelope) {
        let alive = LogTime::from_ms(self.now + 3_600_000);
        let random = &mut self.random;
        (envelope.subject, envelope.token) = match random.below(50) {
            0 => (account(ADMIN), Some(token(Some(ADMIN_KEY), LogTime::from_ms(1)))),
            1 => (account(ADMIN), Some(token(Some("no-such-key"), alive))),
            2 => (account("stranger"), Some(token(None, alive))),
            3 => (Subject::internal(), None),
            4..12 if !self.world.accounts.is_empty() => {
                let (id, key) = pick(random, &self.world.accounts);
                (account(id), Some(token(key.as_deref(), alive)))
            }
            _ => (account(ADMIN), Some(token(Some(ADMIN_KEY), alive))),
        };
    }

    /// The current version of the command's secret, or another one.
    fn guess_current(&mut self, command: &Command) -> Option<VersionId> {
        let id = match command {
            Command::SetCurrentVersion { secret_id, .. }
            | Command::UpdateSecret { secret_id, .. }
            | Command::ScheduleVersionDestruction { secret_id, .. }
            | Command::CancelVersionDestruction { secret_id, .. }
            | Command::DeleteSecret { secret_id }
            | Command::SetSecretStatus { secret_id, .. } => secret_id.as_str(),
            Command::AddVersion(add) => add.secret_id.as_str(),
            _ => return None,
        };
        let current = self.world.secrets.get(id).and_then(|secret| secret.current.clone());
        current.filter(|_| one_in(&mut self.random, 2)).or_else(|| Some(version_id("elsewhere")))
    }

    /// A known secret, or one that does not exist.
    fn some_secret(&mut self) -> String {
        let ids: Vec<&String> = self.world.secrets.keys().collect();
        if ids.is_empty() || one_in(&mut self.random, 25) {
            return format!("unknown-{}", self.random.below(9));
        }
        (*pick(&mut self.random, &ids)).clone()
    }

    /// A known version of the secret, or one that does not exist.
    fn some_version(&mut self, secret: &str) -> VersionId {
        match self.world.secrets.get(secret) {
            Some(known) if !known.versions.is_empty() && !one_in(&mut self.random, 15) => {
                pick(&mut self.random, &known.versions).clone()
            }
            _ => version_id("nowhere"),
        }
    }

    /// One of the last schedules, or of a version that has none.
    fn cancel_destruction(&mut self, secret: &str) -> Command {
        let newest = self.world.scheduled.back().filter(|_| !one_in(&mut self.random, 3));
        let (secret_id, version_id) = match newest {
            Some(due) => (due.secret_id.clone(), due.version_id.clone()),
            None => (secret_id(secret), self.some_version(secret)),
        };
        Command::CancelVersionDestruction { secret_id, version_id }
    }

    /// What was scheduled longest ago, too early too; or what nobody scheduled.
    fn destroy_version(&mut self, secret: &str) -> Command {
        let oldest = if one_in(&mut self.random, 10) {
            self.world.scheduled.back().cloned()
        } else {
            self.world.scheduled.pop_front()
        };
        let due = oldest.unwrap_or_else(|| Destruction {
            secret_id: secret_id(secret),
            version_id: self.some_version(secret),
            destroy_at: LogTime::from_ms(self.now),
            retained_ms: RETAINED_MS,
        });
        Command::DestroyVersion(Box::new(due))
    }

    fn command(&mut self) -> Command {
        if !self.rotation.is_empty() && one_in(&mut self.random, 3) {
            return self.rotation.pop_front().unwrap();
        }
        let secret = self.some_secret();
        let id = secret_id(&secret);
        let full = self.world.secrets.len() >= SECRETS_MAX;
        match self.random.below(100) {
            0..14 if !full => self.create_secret(),
            0..2 => self.create_secret(),
            2..14 => Command::DeleteSecret { secret_id: id },
            14..34 => self.add_version(&secret),
            34..38 => self.change_authorized_key(),
            38..42 => change_container(&mut self.random),
            42..46 => change_service_account(&mut self.random, &self.world.accounts),
            46..52 => {
                let version_id = self.some_version(&secret);
                Command::SetCurrentVersion { secret_id: id, version_id }
            }
            52..57 => {
                let version_id = self.some_version(&secret);
                let pending_ms = 1 + self.random.below(5_000);
                Command::ScheduleVersionDestruction {
                    secret_id: id,
                    version_id,
                    pending_ms,
                    retained_ms: RETAINED_MS,
                }
            }
            57..60 => self.cancel_destruction(&secret),
            60..62 => self.destroy_version(&secret),
            62..68 => Command::UpdateSecret { secret_id: id, changes: self.changes() },
            68..70 => self.keyring(&secret),
            70..75 => Command::DeleteSecret { secret_id: id },
            75..83 => {
                // Most stay active, or no version would be added.
                let off = one_in(&mut self.random, 4);
                let status = if off { SecretStatus::Inactive } else { SecretStatus::Active };
                Command::SetSecretStatus { secret_id: id, status }
            }
            83..86 => self.create_service_account(),
            86 => change_service_account(&mut self.random, &self.world.accounts),
            87..91 => self.create_authorized_key(),
            91..95 => {
                let resource = self.some_resource(&secret);
                let count = self.random.below(6);
                let bindings = (0..count).map(|_| self.binding()).collect();
                Command::SetAccessBindings { resource, bindings }
            }
            95..98 => {
                let resource = self.some_resource(&secret);
                let count = 1 + self.random.below(5);
                let deltas = (0..count).map(|_| self.delta()).collect();
                Command::UpdateAccessBindings { resource, deltas }
            }
            _ => match self.random.below(10) {
                8 => self.upkeep(),
                9 => Command::ReportReads(Box::new(read_report(&mut self.random, self.number))),
                6..8 => Command::RecoverAdmin(Box::new(recover_admin(&mut self.random))),
                0..2 => Command::InitCluster(Box::new(init_cluster(&mut self.random))),
                2..4 => self.revoke_token(),
                4 if self.number.is_multiple_of(2) => {
                    Command::AttestKms(Box::new(attestation(self.number)))
                }
                4 => Command::AnchorAuditHead(audit_head(self.number)),
                // Without a number of its own, so that seeds go on meaning what they meant.
                5 if self.number.is_multiple_of(2) => {
                    let level = u32::from(self.number.is_multiple_of(4));
                    Command::RaiseFeatureLevel { level }
                }
                _ => Command::AdvanceTime,
            },
        }
    }

    /// What a leader proposes from time to time, and what comes of it too late: a report of the
    /// present comparison would have to be right.
    fn upkeep(&mut self) -> Command {
        match self.random.below(6) {
            0 => Command::BeginStateCheck,
            1..4 => {
                let report = StateReport { node_id: 1 + self.random.below(3), hash: [7; 32] };
                Command::ReportStateHash { index: u64::MAX, report }
            }
            _ => Command::SetRetention { bytes_max: self.random.below(1 << 20) },
        }
    }

    /// A rotation begins, or something is wrapped anew.
    fn keyring(&mut self, secret: &str) -> Command {
        let newest = self.world.keyring_newest.max(3);
        match self.random.below(4) {
            0 if self.rotation.is_empty() && one_in(&mut self.random, 2) => {
                // Or one that was broken off goes on: while a key is on its way no other may begin.
                self.rotation = rotation(newest + u32::from(!one_in(&mut self.random, 2)));
                self.rotation.pop_front().unwrap()
            }
            1 => rewrap_keyring_key(&mut self.random),
            _ => {
                let version = self.some_version(secret);
                rewrap_data_key(&mut self.random, secret_id(secret), version, newest)
            }
        }
    }

    /// Some of them have died already.
    fn revoke_token(&mut self) -> Command {
        let life = self.random.below(60_000);
        Command::RevokeToken(RevokeToken {
            token_id: TokenId::parse(&format!("token-{}", self.number)).unwrap(),
            subject: account(ADMIN),
            expires_at: LogTime::from_ms((self.now + life).saturating_sub(10_000)),
        })
    }

    /// Changes or deletes a key that somebody has, or one that nobody has.
    fn change_authorized_key(&mut self) -> Command {
        let keys: Vec<&String> =
            self.world.accounts.iter().filter_map(|(_, key)| key.as_ref()).collect();
        let random = &mut self.random;
        let unknown = "no-such-key".to_owned();
        let key =
            if keys.is_empty() || one_in(random, 4) { &unknown } else { *pick(random, &keys) };
        let key_id = AuthorizedKeyId::parse(key).unwrap();
        if one_in(random, 2) {
            return Command::UpdateAuthorizedKey { key_id, description: text(random) };
        }
        Command::DeleteAuthorizedKey { key_id }
    }

    fn create_secret(&mut self) -> Command {
        let number = self.number;
        let random = &mut self.random;
        let spec = one_in(random, 6).then(|| password_spec(random));
        let taken = self.world.secrets.keys().next().filter(|_| one_in(random, 40));
        let id = taken.cloned().unwrap_or_else(|| format!("secret-{number}"));
        let first = random.below(5) > 0;
        let unknown_folder = one_in(random, 40);
        Command::CreateSecret(Box::new(CreateSecret {
            id: secret_id(&id),
            folder_id: folder_id(if unknown_folder { "no-folder" } else { FOLDER }),
            name: format!("name {}", random.below(200)),
            description: text(random),
            labels: labels(random),
            kms_key_id: kms_key_id(random),
            deletion_protection: one_in(random, 10),
            password_spec: spec.clone(),
            version: first.then(|| new_version(random, &format!("v{number}"), spec)),
            secrets_per_cloud_max: if one_in(random, 30) { 1 } else { SECRETS_QUOTA },
            unique_name: one_in(random, 2),
        }))
    }

    fn add_version(&mut self, secret: &str) -> Command {
        let number = self.number;
        let base = match self.random.below(10) {
            0 => MergeBase::Default(None),
            1 => MergeBase::Generated,
            2..5 => MergeBase::Named(self.some_version(secret)),
            5 => MergeBase::Default(Some(self.some_version(secret))),
            _ => MergeBase::Default(
                self.world.secrets.get(secret).and_then(|known| known.current.clone()),
            ),
        };
        let spec = self.world.secrets.get(secret).and_then(|known| known.spec.clone());
        let random = &mut self.random;
        let spec = spec.filter(|_| !one_in(random, 20));
        let taken = self.world.secrets.get(secret).and_then(|known| known.versions.first());
        let id = match taken {
            Some(taken) if one_in(random, 50) => taken.as_str().to_owned(),
            _ => format!("v{number}"),
        };
        Command::AddVersion(Box::new(AddVersion {
            secret_id: secret_id(secret),
            version: new_version(random, &id, spec),
            base,
            versions_per_secret_max: VERSIONS_QUOTA,
        }))
    }

    fn changes(&mut self) -> SecretChanges {
        let random = &mut self.random;
        let changes_password_spec = one_in(random, 10);
        SecretChanges {
            name: one_in(random, 3).then(|| format!("name {}", random.below(200))),
            description: one_in(random, 3).then(|| text(random)),
            labels: one_in(random, 3).then(|| labels(random)),
            // Rarely on and often off, or nothing could be deleted after a while.
            deletion_protection: one_in(random, 3).then(|| one_in(random, 6)),
            changes_password_spec,
            password_spec: (changes_password_spec && one_in(random, 2))
                .then(|| password_spec(random)),
            unique_name: one_in(random, 2),
        }
    }

    fn create_service_account(&mut self) -> Command {
        let number = self.number;
        let random = &mut self.random;
        let taken = self.world.accounts.first().filter(|_| one_in(random, 8));
        let id = taken.map_or_else(|| format!("account-{number}"), |(id, _)| id.clone());
        let expires_at = one_in(random, 4).then(|| LogTime::from_ms(self.now + 600_000));
        Command::CreateServiceAccount(service_account(random, &id, expires_at))
    }

    fn create_authorized_key(&mut self) -> Command {
        let number = self.number;
        let random = &mut self.random;
        let owner = match self.world.accounts.as_slice() {
            [] => "nobody",
            _ if one_in(random, 8) => "nobody",
            accounts => &pick(random, accounts).0,
        };
        let id = if one_in(random, 10) { ADMIN_KEY.to_owned() } else { format!("key-{number}") };
        Command::CreateAuthorizedKey(authorized_key(random, &id, owner))
    }

    fn some_resource(&mut self, secret: &str) -> ResourceRef {
        match self.random.below(9) {
            0..2 => ResourceRef::new(ResourceKind::Folder, FOLDER),
            2 => ResourceRef::new(ResourceKind::Cloud, "cloud"),
            3 => {
                let known = self.world.secrets.get(secret).map(|known| known.versions.as_slice());
                let known = known.unwrap_or_default().iter().map(VersionId::as_str);
                let known: Vec<&str> = known.chain(["no-such-version"]).collect();
                let id = *pick::<&str>(&mut self.random, &known);
                ResourceRef::new(ResourceKind::SecretVersion, id)
            }
            4 => {
                let known = self.world.accounts.iter().map(|(id, _)| id.as_str());
                let known: Vec<&str> = known.chain(["no-such-account"]).collect();
                let id = *pick::<&str>(&mut self.random, &known);
                ResourceRef::new(ResourceKind::ServiceAccount, id)
            }
            _ => ResourceRef::new(ResourceKind::Secret, secret),
        }
    }

    fn binding(&mut self) -> lockbox_raft::domain::AccessBinding {
        let ids: Vec<String> = self.world.accounts.iter().map(|(id, _)| id.clone()).collect();
        binding(&mut self.random, &ids, self.now)
    }

    fn delta(&mut self) -> BindingDelta {
        let removes = one_in(&mut self.random, 3);
        let action = if removes { DeltaAction::Remove } else { DeltaAction::Add };
        BindingDelta { action, binding: self.binding() }
    }
}
