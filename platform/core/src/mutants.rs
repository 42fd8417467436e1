//! Seeded bugs: proof that the jepsen suite can see (`verification §3.9`).
//!
//! With the feature `mutants`, a process may be made one mutant at its start and stays it: one bug
//! is on, the one that it was started with. Without the feature [`mutant`] is `false` at compile
//! time, so the compiler drops every branch that asks for it, and names and texts are not compiled
//! at all; the branches are still type-checked, so that no change of the product breaks a mutant
//! unnoticed. `build.rs` refuses the feature in every optimised profile but `mutants`.
//!
//! This file is the one registry: what each mutant breaks, which laws should fire, and what else
//! it takes. The programs print it (`lockbox mutants`, `kms-sim mutants`) for the suite, which
//! does not link them. It decides nothing and does no I/O: whoever starts the process chooses.

#[cfg(feature = "mutants")]
mod choice;
#[cfg(feature = "mutants")]
mod registry;

#[cfg(feature = "mutants")]
pub use choice::{ChoiceError, VARIABLE, choose, chosen};
#[cfg(feature = "mutants")]
pub use registry::{MISSING, Missing, Program, SEEDED, Seeded};

/// Makes the enum and, with the feature, the table, of one row for each mutant: a macro, because
/// the text of a row is documentation and data, and two lists would drift apart.
macro_rules! seeded_bugs {
    ($($program:ident {
        $($bug:ident $name:literal: $broken:literal, $laws:tt, $needs:literal;)+
    })+) => {
        /// A seeded bug.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $broken] $bug,)+)+
        }

        #[cfg(feature = "mutants")]
        const ROWS: &[Seeded] = &[$($(Seeded {
            mutant: Mutant::$bug,
            name: $name,
            program: Program::$program,
            broken: $broken,
            laws: &$laws,
            needs: $needs,
        },)+)+];
    };
}

seeded_bugs! {
    Node {
        FollowerReadsLocally "follower-reads-locally":
            "A follower answers reads from its own state without asking the leader.",
            ["L5", "L1"], "a follower that lags: partition or pause";
        LeaderSkipsReadIndex "leader-skips-read-index":
            "A leader answers reads without confirming that it still leads.",
            ["L5", "L1"], "the leader cut off from the majority, with its clients";
        ReadIgnoresTransfer "read-ignores-transfer":
            "A node that handed leadership over answers reads as leader for five more seconds.",
            ["L5", "L1"], "leader transfers";
        StaleReadPoint "stale-read-point":
            "The leader gives read points that are one entry too low.",
            ["L5", "L1"], "";
        AckBeforeCommit "ack-before-commit":
            "A leader answers a write before it is committed.",
            ["L10", "L3"], "the leader cut off from the majority, or killed";
        AckBeforeFsync "ack-before-fsync":
            "The log reports entries as durable without a sync.",
            ["L10", "L3"], "loss of unsynced data on a majority";
        LostTail "lost-tail":
            "A node forgets the last eight entries of its log when it starts.",
            ["L10", "L3"], "all nodes, or a majority, killed at once";
        ApplyNotAtomic "apply-not-atomic":
            "last_applied survives a crash without the data of the same batch.",
            ["L10", "L3", "L13"], "kill";
        ReappliedAfterCrash "reapplied-after-crash":
            "A node applies its last entries again when it starts, and finds no repeat in them.",
            ["L13", "L9"], "kill";
        SnapshotOmitsOperations "snapshot-omits-operations":
            "An installed snapshot lacks operations and idempotency keys.",
            ["L9", "L13"], "snapshot install";
        SnapshotOmitsBindings "snapshot-omits-bindings":
            "An installed snapshot lacks access bindings.",
            ["L7", "L13"], "snapshot install";
        SnapshotOmitsClock "snapshot-omits-clock":
            "An installed snapshot lacks the largest log time, and the node's own clock takes its \
             place.",
            ["L8", "L13", "L3"], "snapshot install";
        SnapshotOmitsMembership "snapshot-omits-membership":
            "An installed snapshot lacks the membership.",
            ["L15", "L14"], "snapshot install, then restart";
        TwoCurrentVersions "two-current-versions":
            "After an AddVersion that races a SetCurrentVersion, payload reads and metadata name \
             different current versions.",
            ["L2", "L1"], "";
        IdsReused "ids-reused":
            "A new secret gets the ids of the one, and of its version, that was deleted last.",
            ["L4", "L3"], "";
        VersionIdReused "version-id-reused":
            "A new version gets the id of a destroyed one of the same secret.",
            ["L4", "L1"], "";
        LostUpdate "lost-update":
            "apply stores a merge whose base has moved.",
            ["L1"], "";
        DeactivateInCache "deactivate-in-cache":
            "Payload reads take a secret's status from a cache that only this node's calls change.",
            ["L6"], "";
        BindingsCached "bindings-cached":
            "A payload read that was allowed stays allowed on that node for five seconds.",
            ["L7"], "";
        RevokedTokenCached "revoked-token-cached":
            "A node does not judge a token again that it once accepted for a read.",
            ["L7"], "";
        KeysForgottenAtLeaderChange "keys-forgotten-at-leader-change":
            "Idempotency keys are forgotten when a leader begins its term.",
            ["L9", "L10"], "leader change";
        TimeoutNotProposed "timeout-not-proposed":
            "A write whose fate is unknown is answered as never proposed.",
            ["L10"], "the leader cut off or paused";
        MapOrder "map-order":
            "The state machine stores a version's entry keys in the order of a hash map.",
            ["L13", "L3"], "versions with several entries";
        DestroyByWallClock "destroy-by-wall-clock":
            "Versions are destroyed by the leader's wall clock.",
            ["L8"], "clock steps";
        CancelKeepsTimer "cancel-keeps-timer":
            "A cancelled destruction happens all the same.",
            ["L8"], "";
        DestroyedComesBack "destroyed-comes-back":
            "An installed snapshot brings destroyed versions back as active ones.",
            ["L8", "L13"], "snapshot install";
        PageByOffset "page-by-offset":
            "The token of a page of secrets is an offset, which points elsewhere once the folder \
             changes.",
            ["L16"], "";
        PageByTime "page-by-time":
            "The token of a page of secrets is the second in which its last one was created, and \
             the next page forgets the others of that second.",
            ["L16"], "";
        PageRestarts "page-restarts":
            "The page behind a secret that was deleted meanwhile begins at the start of the list.",
            ["L16"], "";
        QuotaJudgedEarly "quota-judged-early":
            "The quota of secrets is judged by the node that was asked alone, before it proposes, \
             so racing creations exceed it.",
            ["L17"], "";
        QuotaNotGivenBack "quota-not-given-back":
            "A secret that is deleted counts against the quota for ever.",
            ["L17"], "";
        DestroyedUnlisted "destroyed-unlisted":
            "The lists of destructions that go with backups name nothing.",
            ["L18"], "a backup that is restored";
        PlaintextInLog "plaintext-in-log":
            "A debug line of the log holds the payload.",
            ["L12"], "LOCKBOX_LOG=debug";
        PlaintextAtRest "plaintext-at-rest":
            "Payloads are stored without being encrypted.",
            ["L12"], "";
        WrappedKeyKept "wrapped-key-kept":
            "The wrapped data key of a destroyed version is kept, with its payload.",
            ["L12"], "destruction, and nodes that erase within the run";
    }
    Kms {
        RetryBilledTwice "retry-billed-twice":
            "The KMS bills a repeat of a request that it has served.",
            ["L11"], "retries under an idempotency key: client crash, KMS slow or killed";
        ServedUnbilled "served-unbilled":
            "The KMS answers a call a moment before its ledger record is durable.",
            ["L11"], "kill of the KMS";
        WrongKeyBilled "wrong-key-billed":
            "The KMS bills the use of a key to another key.",
            ["L11"], "";
        KeyStatusCached "key-status-cached":
            "The KMS believes for a second what it has seen of a key's status.",
            ["L6"], "a key that is disabled while it is read with";
    }
}

/// Whether this process is that mutant: a constant from its start to its end.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn mutant(_bug: Mutant) -> bool {
    false
}

/// Whether this process is that mutant: a constant from its start to its end.
#[cfg(feature = "mutants")]
#[inline]
#[must_use]
pub fn mutant(bug: Mutant) -> bool {
    chosen().is_some_and(|chosen| chosen.mutant == bug)
}

/// The version of a program as it tells it to others: a build with seeded bugs says so.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub fn marked(version: &str) -> String {
    version.to_owned()
}

/// The version of a program as it tells it to others: a build with seeded bugs says so.
#[cfg(feature = "mutants")]
#[must_use]
pub fn marked(version: &str) -> String {
    match chosen() {
        Some(chosen) => format!("{version}+MUTANT.{}", chosen.name),
        None => format!("{version}+mutants"),
    }
}
