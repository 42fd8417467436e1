//! The operations of a made-up run. They are timed first, and then answered in the order of
//! their moments of effect, so that the history is linearizable until something is planted.

use std::collections::BTreeMap;

use lockbox_jepsen::history::answer::{
    Answer, Code, PayloadEntry, PayloadView, Refusal, SecretStatus, SecretView, VersionStatus,
    VersionView,
};
use lockbox_jepsen::history::call::{
    AddVersion, Call, EntryChange, GetPayload, OnSecret, ReadSecret,
};
use lockbox_jepsen::history::fault::FaultClass;
use lockbox_jepsen::history::ids::{
    EntryKey, NodeId, OpId, ProcessId, SecretId, ValueHash, VersionId,
};
use lockbox_jepsen::history::op::{Failure, Invocation, Op, Outcome, Reply};

use super::synthetic::{END_NS, MS, NODES, Random, stamp};
use super::synthetic_cluster::Cluster;

/// Workers; each is pinned to a node and belongs to a group that shares secrets.
const WORKERS: u64 = 24;
/// Workers of a group.
const GROUP: u64 = 4;
/// Operations on one secret before a fresh one is taken.
const OPS_PER_SECRET: u64 = 300;

/// An operation that is timed and not yet answered.
struct Timed {
    op: Op,
    /// When it took effect, if it did.
    effect_ns: Option<u64>,
}

/// The operations, and the times at which the log reached an index.
pub(crate) fn operations(
    cluster: &Cluster,
    wanted: usize,
    random: &mut Random,
) -> (Vec<Op>, Vec<(u64, u64)>) {
    let mut timed = Vec::new();
    let think_ns = (END_NS * WORKERS / wanted as u64).saturating_sub(8 * MS).max(MS / 10);
    let mut issued: BTreeMap<u64, u64> = BTreeMap::new();
    for worker in 0..WORKERS {
        let mut process = worker;
        let mut now = random.below(think_ns.max(2));
        while now < END_NS - 2_000 * MS {
            let group = worker / GROUP;
            let count = issued.entry(group).or_default();
            *count += 1;
            // Secrets turn over by time, so that all workers of a group change together.
            let age = now / (think_ns.max(MS) * OPS_PER_SECRET / GROUP);
            let secret = SecretId::from(format!("sec{group}0000000000{age:04}").as_str());
            let node = NODES[(worker % 3) as usize];
            let op = time_one(cluster, (process, node), secret, now, random);
            let ended = op.op.completed.as_ref().map_or(END_NS, |(at, _)| at.ns);
            if op.effect_ns.is_none() && op.op.is_uncertain() {
                process += WORKERS;
            }
            now = ended + think_ns / 2 + random.below(think_ns + 1);
            timed.push(op);
        }
    }
    answer(timed, cluster)
}

fn time_one(
    cluster: &Cluster,
    (process, node): (u64, NodeId),
    secret: SecretId,
    now: u64,
    random: &mut Random,
) -> Timed {
    let call = match random.below(100) {
        0..45 => Call::GetPayload(GetPayload { secret, version: None }),
        45..65 => Call::GetSecret(ReadSecret { secret }),
        65..95 => Call::AddVersion(AddVersion {
            secret,
            base: None,
            changes: vec![EntryChange { key: EntryKey::from("k"), value: None }],
            description: format!("{process}-{now}"),
            if_version: None,
        }),
        95..97 => Call::Deactivate(OnSecret { secret, if_version: None }),
        _ => Call::Activate(OnSecret { secret, if_version: None }),
    };
    let write = call.is_mutation();
    let needs_kms = matches!(call, Call::GetPayload(_) | Call::AddVersion(_));
    let failure = |code, message: &str| Failure { code, message: message.to_owned() };
    let (lasts, came) = match (cluster.out_by(node, now), cluster.leader_at(now).0) {
        (Some(FaultClass::Kill), _) => (
            200_000 + random.below(300_000),
            Some(Outcome::Fail(failure(Code::Unavailable, "connection refused"))),
        ),
        (Some(_), _) => {
            (1_000 * MS + random.below(4) * MS, Some(info(failure(Code::DeadlineExceeded, ""))))
        }
        (None, None) if write && random.below(3) == 0 => {
            (1_000 * MS + random.below(4) * MS, Some(info(failure(Code::DeadlineExceeded, ""))))
        }
        (None, None) => (
            random.latency(2.0),
            Some(Outcome::Fail(failure(Code::Unavailable, "no leader yet, not proposed"))),
        ),
        (None, Some(_)) if needs_kms && cluster.kms_is_down(now) => (
            random.latency(4.0),
            Some(Outcome::Fail(failure(Code::Unavailable, "KMS down, not proposed"))),
        ),
        (None, Some(_)) if write => (random.latency(11.0), None),
        (None, Some(_)) => (random.latency(2.5), None),
    };
    let asked = Invocation::by_administrator(ProcessId(process), node, call);
    let decided = came.is_none();
    let outcome = came.unwrap_or_else(|| info(failure(Code::Unknown, "")));
    let completed = Some((stamp(now + lasts), outcome));
    let op = Op { id: OpId(0), asked, invoked: stamp(now), completed };
    Timed { op, effect_ns: decided.then_some(now + lasts * 6 / 10) }
}

const fn info(failure: Failure) -> Outcome {
    Outcome::Info(failure)
}

#[derive(Default)]
struct Secret {
    version: u64,
    inactive: bool,
}

fn answer(mut timed: Vec<Timed>, cluster: &Cluster) -> (Vec<Op>, Vec<(u64, u64)>) {
    timed.sort_by_key(|timed| (timed.effect_ns, timed.op.invoked, timed.op.asked.process));
    let mut secrets: BTreeMap<SecretId, Secret> = BTreeMap::new();
    let mut index = 10;
    let mut index_at = Vec::new();
    for timed in &mut timed {
        let Some(effect_ns) = timed.effect_ns else { continue };
        let Some(id) = timed.op.asked.call.secret().cloned() else { continue };
        let secret = secrets.entry(id.clone()).or_default();
        let call = &timed.op.asked.call;
        index += u64::from(call.is_mutation());
        index_at.push((effect_ns, index));
        let answer = match call {
            Call::AddVersion(_) => {
                secret.version += 1;
                Answer::Version(version(&id, secret.version))
            }
            Call::GetPayload(_) if secret.inactive || secret.version == 0 => {
                Answer::Refused(Refusal {
                    code: Code::FailedPrecondition,
                    message: "secret is not active".to_owned(),
                })
            }
            Call::GetPayload(_) => payload(&id, secret.version),
            Call::Deactivate(_) | Call::Activate(_) => {
                secret.inactive = matches!(call, Call::Deactivate(_));
                view(&id, secret)
            }
            _ => view(&id, secret),
        };
        let term = cluster.leader_at(effect_ns).1;
        let served_by = timed.op.asked.node;
        let reply = Reply { answer, index, term, served_by };
        if let Some((_, outcome)) = &mut timed.op.completed {
            *outcome = Outcome::Ok(reply);
        }
    }
    timed.sort_by_key(|timed| (timed.op.invoked, timed.op.asked.process));
    let number = |(place, timed): (usize, Timed)| Op { id: OpId(place as u64), ..timed.op };
    (timed.into_iter().enumerate().map(number).collect(), index_at)
}

/// The payload of a version.
pub(crate) fn payload(secret: &SecretId, number: u64) -> Answer {
    Answer::Payload(PayloadView {
        version: version(secret, number).id,
        entries: vec![PayloadEntry {
            key: EntryKey::from("k"),
            value: ValueHash(u128::from(number).to_be_bytes()),
        }],
    })
}

fn version(secret: &SecretId, number: u64) -> VersionView {
    VersionView {
        id: VersionId::from(format!("ver{}-{number:04}", secret.as_str()).as_str()),
        description: String::new(),
        status: VersionStatus::Active,
        keys: vec![EntryKey::from("k")],
        created_at_ns: 0,
        destroy_at_ns: None,
    }
}

fn view(id: &SecretId, secret: &Secret) -> Answer {
    Answer::Secret(SecretView {
        folder: None,
        id: id.clone(),
        name: format!("name of {id}"),
        description: String::new(),
        labels: BTreeMap::new(),
        kms_key: None,
        status: if secret.inactive { SecretStatus::Inactive } else { SecretStatus::Active },
        deletion_protection: false,
        created_at_ns: 0,
        current: (secret.version > 0).then(|| version(id, secret.version)),
    })
}
