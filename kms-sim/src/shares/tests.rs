//! Tests of recovery shares.

use lockbox_platform::system::SystemRandom;

use super::*;

fn root() -> RootKey {
    RootKey::generate(&SystemRandom)
}

/// Shares as people hand them over: printed and read again.
fn printed(root: &RootKey, count: u8, need: u8) -> Vec<Share> {
    let shares = split(root, count, need, &SystemRandom).unwrap();
    shares.iter().map(|share| Share::parse(&share.to_text()).ok().unwrap()).collect()
}

fn copy(share: &Share) -> Share {
    Share::parse(&share.to_text()).ok().unwrap()
}

fn refusal(shares: &[Share]) -> ShareError {
    combine(shares).err().expect("a refusal")
}

#[test]
fn security_s16_every_subset_that_is_large_enough_gives_the_root_key_and_no_other_does() {
    let root = root();
    for count in 2..=6_u8 {
        for need in 2..=count {
            let shares = printed(&root, count, need);
            for chosen in 0..1_u32 << count {
                let is_chosen = |share: &&Share| chosen >> (share.number - 1) & 1 == 1;
                let subset: Vec<Share> = shares.iter().filter(is_chosen).map(copy).collect();
                let found = combine(&subset);
                if subset.len() < usize::from(need) {
                    let too_few = ShareError::TooFew {
                        found: subset.len(),
                        need: if subset.is_empty() { NEED_MIN } else { need },
                    };
                    assert_eq!(found.err(), Some(too_few), "{chosen:b} of {count}");
                    continue;
                }
                let found = found.ok().unwrap();
                assert_eq!(found.expose(), root.expose(), "{chosen:b}");
            }
        }
    }
}

#[test]
fn the_largest_set_and_any_order_give_the_root_key() {
    let root = root();
    let mut shares = printed(&root, u8::MAX, u8::MAX);
    shares.reverse();
    assert_eq!(combine(&shares).ok().unwrap().id(), root.id());
}

/// With one share less than is needed, every key is as likely as before: each value of a byte at 0
/// leads through the same shares to another value of the next one.
#[test]
fn one_share_less_says_nothing() {
    let shares = printed(&root(), 3, 3);
    let mut seen = [false; 256];
    for guess in 0..=u8::MAX {
        let mut at_zero = Share { number: 0, ..copy(&shares[0]) };
        at_zero.value[0] = guess;
        let third = value_at(3, &[&at_zero, &shares[0], &shares[1]]);
        assert!(!std::mem::replace(&mut seen[usize::from(third[0])], true), "{guess}");
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn impossible_numbers_are_refused() {
    for (count, need) in [(0, 0), (1, 1), (5, 1), (5, 0), (3, 4)] {
        let refused = split(&root(), count, need, &SystemRandom).err();
        assert_eq!(refused, Some(ShareError::Numbers { count, need }));
    }
}

#[test]
fn security_s15_a_share_that_was_altered_is_refused() {
    let root = root();
    let shares = printed(&root, 3, 2);
    let text = shares[0].to_text();
    // Miscopied: any character, anywhere.
    for at in 0..text.len() {
        for wrong in ["0", "1", "f", ".", "x"] {
            let mut altered = text.to_string();
            altered.replace_range(at..=at, wrong);
            let same = altered == *text;
            assert_eq!(Share::parse(&altered).is_ok(), same, "{wrong} at {at}");
        }
        assert!(Share::parse(&text[..at]).is_err(), "cut at {at}");
    }
    // On purpose, with a checksum that fits: it gives another key than the one that it names.
    let altered = |change: fn(&mut Share)| {
        let mut altered = copy(&shares[0]);
        change(&mut altered);
        copy(&altered)
    };
    for share in [altered(|share| share.value[31] ^= 1), altered(|share| share.number = 7)] {
        let others = [copy(&share), copy(&shares[1])];
        assert_eq!(refusal(&others), ShareError::Altered);
        let with_good_ones = [copy(&shares[1]), copy(&shares[2]), copy(&share)];
        assert_eq!(refusal(&with_good_ones), ShareError::Altered);
    }
    let contradiction = [copy(&shares[0]), altered(|share| share.value[0] ^= 1), copy(&shares[1])];
    assert_eq!(refusal(&contradiction), ShareError::Altered);
    let named = [altered(|share| share.root[0] ^= 1), copy(&shares[1])];
    assert_eq!(refusal(&named), ShareError::OtherSet);
    // Given twice they count once.
    let twice = [copy(&shares[0]), copy(&shares[0])];
    assert_eq!(refusal(&twice), ShareError::TooFew { found: 1, need: 2 });
    let enough = [copy(&shares[0]), copy(&shares[0]), copy(&shares[1])];
    assert_eq!(combine(&enough).ok().unwrap().id(), root.id());
}

#[test]
fn security_s15_a_share_of_another_set_is_refused() {
    let root = root();
    let (first, second) = (printed(&root, 3, 2), printed(&root, 3, 2));
    let other_root = printed(&self::root(), 3, 2);
    for other in [&second, &other_root] {
        assert_eq!(refusal(&[copy(&first[0]), copy(&other[1])]), ShareError::OtherSet);
    }
}

#[test]
fn what_is_no_share_is_said_so() {
    let text = printed(&root(), 2, 2)[0].to_text();
    assert!(text.len() < TEXT_CHARS_MAX);
    for wrong in ["", "x", PREFIX, "lockbox-root-share.2.2.1.0.0.0.0", &"a".repeat(9999)] {
        assert_eq!(Share::parse(wrong).err(), Some(ShareError::Malformed), "{wrong}");
    }
    assert!(Share::parse(&format!("  {}\r\n", *text)).is_ok());
}
