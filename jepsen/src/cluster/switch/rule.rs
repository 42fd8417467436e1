//! What happens to a packet on a link, as a function of the rule, the link's past and the dice.
//!
//! Pure: knows no device and no clock. Times are microseconds since the switch began.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// A queue of a link with a rate holds as much as it passes in this time; more is dropped, as by
/// a router.
const QUEUE_US: u64 = 500_000;
/// A reordered packet comes this much later than it would, at most.
const REORDER_US: u64 = 5_000;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// What a link does with packets. The default does nothing to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkRule {
    /// Nothing passes.
    pub blocked: bool,
    /// How many of 100 packets are lost.
    pub drop_percent: u8,
    /// How much later each packet arrives, in microseconds.
    pub delay_us: u32,
    /// By how much the delay varies up and down, in microseconds.
    pub jitter_us: u32,
    /// How many of 100 packets arrive twice.
    pub duplicate_percent: u8,
    /// How many of 100 packets arrive after ones that were sent later.
    pub reorder_percent: u8,
    /// How much passes, in bytes a second; everything when 0.
    pub rate_bytes: u32,
}

impl LinkRule {
    /// A link that nothing passes.
    pub const BLOCKED: Self = Self { blocked: true, ..Self::NOTHING };
    const NOTHING: Self = Self {
        blocked: false,
        drop_percent: 0,
        delay_us: 0,
        jitter_us: 0,
        duplicate_percent: 0,
        reorder_percent: 0,
        rate_bytes: 0,
    };

    /// Both at once: of each property the worse one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let slower = |a: u32, b: u32| if a == 0 || (b != 0 && b < a) { b } else { a };
        Self {
            blocked: self.blocked || other.blocked,
            drop_percent: self.drop_percent.max(other.drop_percent),
            delay_us: self.delay_us.max(other.delay_us),
            jitter_us: self.jitter_us.max(other.jitter_us),
            duplicate_percent: self.duplicate_percent.max(other.duplicate_percent),
            reorder_percent: self.reorder_percent.max(other.reorder_percent),
            rate_bytes: slower(self.rate_bytes, other.rate_bytes),
        }
    }
}

/// What is remembered of a link's past.
#[derive(Debug, Clone, Default)]
pub(crate) struct LinkPast {
    /// When its wire is free again.
    free_us: u64,
    /// When the last packet in order arrives.
    last_us: u64,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The link is blocked.
    Blocked,
    /// It is lost, by chance or because a queue is full.
    Lost,
    /// It arrives.
    Arrives {
        /// When.
        at_us: u64,
        /// Whether it overtakes nothing and is overtaken.
        reordered: bool,
        /// Whether it arrives a second time.
        twice: bool,
    },
}

/// Decides about a packet of this length that is sent now.
pub(crate) fn decide(
    rule: &LinkRule,
    past: &mut LinkPast,
    length: usize,
    now_us: u64,
    random: &mut Random,
) -> Fate {
    if rule.blocked {
        return Fate::Blocked;
    }
    if random.chance(u64::from(rule.drop_percent)) {
        return Fate::Lost;
    }
    let mut at_us = now_us;
    if rule.rate_bytes > 0 {
        let begin = past.free_us.max(now_us);
        if begin - now_us > QUEUE_US {
            return Fate::Lost;
        }
        past.free_us = begin + length as u64 * MICROS_PER_SECOND / u64::from(rule.rate_bytes);
        at_us = past.free_us;
    }
    let (delay, jitter) = (u64::from(rule.delay_us), u64::from(rule.jitter_us));
    at_us += (delay + random.below(2 * jitter + 1)).saturating_sub(jitter);
    let reordered = random.chance(u64::from(rule.reorder_percent));
    if reordered {
        at_us += random.between(1, REORDER_US);
    } else {
        // Jitter alone does not reorder: TCP would take every late packet for a lost one.
        at_us = at_us.max(past.last_us);
        past.last_us = at_us;
    }
    Fate::Arrives { at_us, reordered, twice: random.chance(u64::from(rule.duplicate_percent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(rule: &LinkRule, gap_us: u64, count: u64) -> Vec<Fate> {
        let (mut past, mut random) = (LinkPast::default(), Random::new(5));
        let send = |number| decide(rule, &mut past, 1000, number * gap_us, &mut random);
        (0..count).map(send).collect()
    }

    fn arrivals(fates: &[Fate]) -> Vec<u64> {
        let at = |fate: &Fate| match fate {
            Fate::Arrives { at_us, .. } => Some(*at_us),
            Fate::Blocked | Fate::Lost => None,
        };
        fates.iter().filter_map(at).collect()
    }

    #[test]
    fn without_a_rule_packets_arrive_as_they_are_sent() {
        assert_eq!(arrivals(&fates(&LinkRule::default(), 7, 3)), [0, 7, 14]);
        assert_eq!(fates(&LinkRule::BLOCKED, 7, 2), [Fate::Blocked; 2]);
    }

    #[test]
    fn a_delay_varies_and_keeps_the_order() {
        let rule = LinkRule { delay_us: 10_000, jitter_us: 2_000, ..LinkRule::default() };
        let close = arrivals(&fates(&rule, 100, 1000));
        assert!(close.is_sorted() && close.len() == 1000);
        // Far apart, none waits for the one before it.
        let at = arrivals(&fates(&rule, 5_000, 1000));
        let delays: Vec<_> = (0..).zip(&at).map(|(n, at)| at - n * 5_000).collect();
        assert!(delays.iter().all(|delay| (8_000..=12_000).contains(delay)), "{delays:?}");
        assert!(delays.iter().min() < Some(&9_000) && delays.iter().max() > Some(&11_000));
    }

    #[test]
    fn loss_duplication_and_reordering_come_about_as_often_as_asked() {
        let rule = LinkRule {
            drop_percent: 30,
            duplicate_percent: 20,
            reorder_percent: 10,
            ..LinkRule::default()
        };
        let fates = fates(&rule, 1, 10_000);
        let count = |test: fn(&Fate) -> bool| fates.iter().filter(|fate| test(fate)).count();
        let lost = count(|fate| *fate == Fate::Lost);
        let twice = count(|fate| matches!(fate, Fate::Arrives { twice: true, .. }));
        let reordered = count(|fate| matches!(fate, Fate::Arrives { reordered: true, .. }));
        assert!((2800..3200).contains(&lost), "{lost}");
        assert!((1250..1550).contains(&twice), "{twice}");
        assert!((600..800).contains(&reordered), "{reordered}");
        assert!(!arrivals(&fates).is_sorted());
    }

    #[test]
    fn a_rate_spreads_packets_and_a_full_queue_drops_them() {
        let rule = LinkRule { rate_bytes: 100_000, ..LinkRule::default() };
        let fates = fates(&rule, 0, 100);
        let at = arrivals(&fates);
        assert_eq!(at[..3], [10_000, 20_000, 30_000]);
        assert_eq!(at.len(), 51, "half a second's worth waits, and one is on the wire");
    }

    #[test]
    fn two_rules_at_once_are_the_worse_of_each() {
        let slow = LinkRule { delay_us: 5, rate_bytes: 1000, ..LinkRule::default() };
        let lossy = LinkRule { drop_percent: 3, rate_bytes: 500, ..LinkRule::default() };
        let both = LinkRule { drop_percent: 3, delay_us: 5, rate_bytes: 500, ..slow };
        assert_eq!(slow.and(lossy), both);
        assert_eq!(slow.and(LinkRule::default()), slow);
        assert!(slow.and(LinkRule::BLOCKED).blocked);
    }
}
