//! How much of what is asked: drawn once for a run, and written into its plan.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// What a key group is for; each is a file of this directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// [`super::register`].
    Register,
    /// [`super::activation`].
    Activation,
    /// [`super::deletion`].
    Deletion,
    /// [`super::merge_race`].
    MergeRace,
    /// [`super::own_key`].
    OwnKey,
    /// [`super::canary`].
    Canary,
    /// [`super::rights`].
    Rights,
    /// [`super::destruction`].
    Destruction,
    /// [`super::paging`].
    Paging,
    /// [`super::quota`].
    Quota,
}

/// See [`Mix::doubled`]. Two of five operations are mutations: at the full rate for an hour that
/// would be 86,000 keys.
const KEYED_PERCENT_OF_AN_HOUR: u64 = 5;
/// The most that an hour's workers ask in a second; under faults they come to two thirds of it. Where
/// they came to 690, 22 GB of disks were full after 40 minutes; where to 296, too few operations were
/// decided.
const OPS_PER_SECOND_OF_AN_HOUR: u64 = 600;

/// Groups of a run for the bill: so many secrets at a time.
const OWN_KEYS_OF_A_BILL: usize = 8;
/// Half of its mutations are repeated when nobody answers: each must be billed once.
const KEYED_PERCENT_OF_A_BILL: u64 = 50;
/// And their clients die often.
const ABANDONED_PERMILLE_OF_A_BILL: u64 = 50;

/// The mix of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Groups of each family: a group is a secret at a time, or a folder, and two to five workers.
    pub registers: usize,
    /// Likewise.
    pub activations: usize,
    /// Likewise.
    pub deletions: usize,
    /// Likewise.
    pub merge_races: usize,
    /// Likewise.
    pub own_keys: usize,
    /// Likewise.
    pub canaries: usize,
    /// Likewise.
    #[serde(default)]
    pub rights: usize,
    /// Likewise.
    #[serde(default)]
    pub destructions: usize,
    /// Likewise; each group has a folder of its own instead of a secret.
    #[serde(default)]
    pub pagings: usize,
    /// Likewise.
    #[serde(default)]
    pub quotas: usize,
    /// Whether the key of those with an own key is switched off now and then.
    #[serde(default)]
    pub keys_switched: bool,
    /// Workers of each group that ask one node alone, each another one.
    pub pinned: usize,
    /// Workers of the run that ask any node about any group.
    pub roaming: usize,
    /// The most operations on one secret.
    pub ops_per_secret: u64,
    /// How many of a hundred mutations carry an `idempotency-key`, and are repeated under it when
    /// nobody answers.
    pub keyed_percent: u64,
    /// How many of a thousand mutations with a key are abandoned by a client that dies.
    pub abandoned_permille: u64,
    /// The most that all workers together ask in a second.
    pub ops_per_second: u64,
    /// How long a call may take, in milliseconds.
    pub deadline_ms: u64,
}

impl Mix {
    /// Draws one. About half of it is registers, for most laws are about them.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        Self {
            registers: usize::try_from(random.between(3, 4)).unwrap_or(3),
            activations: 1,
            deletions: 1,
            merge_races: usize::try_from(random.between(1, 2)).unwrap_or(1),
            own_keys: 1,
            canaries: 1,
            rights: 1,
            destructions: 1,
            pagings: 1,
            quotas: 1,
            keys_switched: true,
            pinned: 3,
            roaming: 2,
            ops_per_secret: 300,
            keyed_percent: random.between(20, 50),
            abandoned_permille: random.between(5, 20),
            ops_per_second: 600,
            deadline_ms: random.between(1000, 2000),
        }
    }

    /// Twice the groups: of an hour's run less is left to each worker, because more of its time there
    /// is no majority, and everybody waits. Not those with folders: their pages are
    /// the longest answers of a history, which is judged in memory. Keys are fewer, for all
    /// operations are of one subject, which may have 100,000 of them in a day (`contract §10`). All
    /// together ask no faster than half as many: the servers' disks are in memory, and fill.
    #[must_use]
    pub const fn doubled(self) -> Self {
        Self {
            registers: 2 * self.registers,
            activations: 2 * self.activations,
            deletions: 2 * self.deletions,
            merge_races: 2 * self.merge_races,
            own_keys: 2 * self.own_keys,
            canaries: 2 * self.canaries,
            rights: 2 * self.rights,
            destructions: 2 * self.destructions,
            ops_per_second: OPS_PER_SECOND_OF_AN_HOUR,
            keyed_percent: KEYED_PERCENT_OF_AN_HOUR,
            ..self
        }
    }

    /// Nothing but secrets with keys of their own, which stay on: refusals are not on any bill.
    #[must_use]
    pub const fn of_own_keys(self) -> Self {
        Self {
            registers: 0,
            activations: 0,
            deletions: 0,
            merge_races: 0,
            own_keys: OWN_KEYS_OF_A_BILL,
            canaries: 0,
            rights: 0,
            destructions: 0,
            pagings: 0,
            quotas: 0,
            keys_switched: false,
            keyed_percent: KEYED_PERCENT_OF_A_BILL,
            abandoned_permille: ABANDONED_PERMILLE_OF_A_BILL,
            ..self
        }
    }

    /// How many groups have a folder of their own.
    #[must_use]
    pub const fn folders(&self) -> usize {
        self.pagings + self.quotas
    }

    /// The family of each group; those with folders of their own are the last ones.
    #[must_use]
    pub fn groups(&self) -> Vec<Family> {
        let counts = [
            (self.registers, Family::Register),
            (self.merge_races, Family::MergeRace),
            (self.activations, Family::Activation),
            (self.deletions, Family::Deletion),
            (self.own_keys, Family::OwnKey),
            (self.canaries, Family::Canary),
            (self.rights, Family::Rights),
            (self.destructions, Family::Destruction),
            (self.pagings, Family::Paging),
            (self.quotas, Family::Quota),
        ];
        counts.iter().flat_map(|(count, family)| std::iter::repeat_n(*family, *count)).collect()
    }
}
