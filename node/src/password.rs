//! Generates the value of a generated secret (`contract §2.9`).
//!
//! One uniform pick for each enabled class, the rest from the union, then a uniform shuffle. All
//! picks reject the biased tail of the random byte range, so no character is more likely.

use lockbox_core::{Randomness, Sensitive, SensitiveString};
use lockbox_raft::domain::secret::PasswordSpec;
use zeroize::Zeroizing;

/// Length when the specification leaves it to the server (`contract §13` no. 11).
pub const DEFAULT_LENGTH: usize = 36;

const UPPERCASE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWERCASE: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// What is wrong with a specification, and in which of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Every class is off.
    #[error("at least one class of characters must be included")]
    NoClass,
    /// The password could not hold one character of each class.
    #[error("length is smaller than the number of included classes")]
    TooShort,
    /// Both punctuation lists are given.
    #[error("included_punctuation and excluded_punctuation exclude each other")]
    BothLists,
    /// A punctuation list is given while punctuation is off.
    #[error("punctuation lists need include_punctuation")]
    ListWithoutClass(List),
    /// A list holds a character that is no ASCII punctuation.
    #[error("only the 32 ASCII punctuation characters may be listed")]
    NotPunctuation(List),
    /// The exclusions leave nothing.
    #[error("excluded_punctuation may not remove every character")]
    NothingLeft,
}

impl SpecError {
    /// The field that the error belongs to.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::NoClass => "password_payload_specification",
            Self::TooShort => "password_payload_specification.length",
            Self::BothLists
            | Self::ListWithoutClass(List::Included)
            | Self::NotPunctuation(List::Included) => {
                "password_payload_specification.included_punctuation"
            }
            Self::NothingLeft
            | Self::ListWithoutClass(List::Excluded)
            | Self::NotPunctuation(List::Excluded) => {
                "password_payload_specification.excluded_punctuation"
            }
        }
    }
}

/// One of the two punctuation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `included_punctuation`.
    Included,
    /// `excluded_punctuation`.
    Excluded,
}

/// The character classes that a specification enables, each non-empty.
///
/// # Errors
/// [`SpecError`].
pub fn classes(spec: &PasswordSpec) -> Result<Vec<Vec<u8>>, SpecError> {
    let mut classes = Vec::new();
    let fixed = [
        (spec.include_uppercase, UPPERCASE),
        (spec.include_lowercase, LOWERCASE),
        (spec.include_digits, DIGITS),
    ];
    for (include, characters) in fixed {
        if include.unwrap_or(true) {
            classes.push(characters.as_bytes().to_vec());
        }
    }
    if let Some(punctuation) = punctuation(spec)? {
        classes.push(punctuation);
    }
    if classes.is_empty() {
        return Err(SpecError::NoClass);
    }
    if length(spec) < classes.len() {
        return Err(SpecError::TooShort);
    }
    Ok(classes)
}

fn punctuation(spec: &PasswordSpec) -> Result<Option<Vec<u8>>, SpecError> {
    let (included, excluded) = (&spec.included_punctuation, &spec.excluded_punctuation);
    if !spec.include_punctuation.unwrap_or(true) {
        return match (included.is_empty(), excluded.is_empty()) {
            (true, true) => Ok(None),
            (false, _) => Err(SpecError::ListWithoutClass(List::Included)),
            (true, false) => Err(SpecError::ListWithoutClass(List::Excluded)),
        };
    }
    if !included.is_empty() && !excluded.is_empty() {
        return Err(SpecError::BothLists);
    }
    for (list, characters) in [(List::Included, included), (List::Excluded, excluded)] {
        if characters.chars().any(|c| !PUNCTUATION.contains(c)) {
            return Err(SpecError::NotPunctuation(list));
        }
    }
    let allowed = |c: &char| match (included.is_empty(), excluded.is_empty()) {
        (false, _) => included.contains(*c),
        (true, false) => !excluded.contains(*c),
        (true, true) => true,
    };
    let left: Vec<u8> = PUNCTUATION.chars().filter(allowed).map(|c| c as u8).collect();
    if left.is_empty() { Err(SpecError::NothingLeft) } else { Ok(Some(left)) }
}

fn length(spec: &PasswordSpec) -> usize {
    match spec.length {
        0 => DEFAULT_LENGTH,
        length => length as usize,
    }
}

/// Generates a password.
///
/// # Errors
/// [`SpecError`] when the specification allows none.
pub fn generate(
    spec: &PasswordSpec,
    random: &dyn Randomness,
) -> Result<SensitiveString, SpecError> {
    let classes = classes(spec)?;
    let length = length(spec);
    let union: Vec<u8> = classes.concat();
    let mut characters = Zeroizing::new(Vec::with_capacity(length));
    for class in &classes {
        characters.push(class[uniform(class.len(), random)]);
    }
    while characters.len() < length {
        characters.push(union[uniform(union.len(), random)]);
    }
    // Fisher and Yates: every order is equally likely.
    for last in (1..characters.len()).rev() {
        characters.swap(last, uniform(last + 1, random));
    }
    let text: String = characters.iter().map(|c| char::from(*c)).collect();
    Ok(Sensitive::new(text))
}

/// A uniform number below `bound` (at most 256): bytes of the incomplete last block are drawn
/// again, or the small numbers would come up more often.
fn uniform(bound: usize, random: &dyn Randomness) -> usize {
    assert!((1..=256).contains(&bound), "bound of a uniform pick");
    let limit = 256 - 256 % bound;
    loop {
        let mut byte = Zeroizing::new([0_u8]);
        random.fill(&mut byte[..]);
        let drawn = usize::from(byte[0]);
        if drawn < limit {
            return drawn % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use lockbox_platform::system::SystemRandom;

    use super::*;

    fn spec() -> PasswordSpec {
        PasswordSpec {
            password_key: "password".into(),
            length: 0,
            include_uppercase: None,
            include_lowercase: None,
            include_digits: None,
            include_punctuation: None,
            included_punctuation: String::new(),
            excluded_punctuation: String::new(),
        }
    }

    fn generated(spec: &PasswordSpec) -> String {
        generate(spec, &SystemRandom).unwrap().expose().clone()
    }

    #[test]
    fn every_enabled_class_is_present_in_every_password() {
        let short = PasswordSpec { length: 4, ..spec() };
        for _ in 0..1000 {
            let password = generated(&short);
            assert_eq!(password.len(), 4);
            for class in [UPPERCASE, LOWERCASE, DIGITS, PUNCTUATION] {
                assert!(password.chars().any(|c| class.contains(c)));
            }
        }
    }

    #[test]
    fn lengths_and_lists_are_kept() {
        assert_eq!(generated(&spec()).len(), DEFAULT_LENGTH);
        assert_eq!(generated(&PasswordSpec { length: 256, ..spec() }).len(), 256);
        let only = PasswordSpec {
            include_uppercase: Some(false),
            include_lowercase: Some(false),
            include_digits: Some(false),
            included_punctuation: "-_".into(),
            ..spec()
        };
        assert!(generated(&only).chars().all(|c| "-_".contains(c)));
        let without = PasswordSpec { excluded_punctuation: "\"'".into(), length: 256, ..spec() };
        assert!(!generated(&without).contains(['"', '\'']));
    }

    #[test]
    fn impossible_specifications_are_refused() {
        let none = PasswordSpec {
            include_uppercase: Some(false),
            include_lowercase: Some(false),
            include_digits: Some(false),
            include_punctuation: Some(false),
            ..spec()
        };
        let short = PasswordSpec { length: 3, ..spec() };
        let both = PasswordSpec {
            included_punctuation: "-".into(),
            excluded_punctuation: "_".into(),
            ..spec()
        };
        let letter = PasswordSpec { included_punctuation: "a".into(), ..spec() };
        let digit = PasswordSpec { excluded_punctuation: "1".into(), ..spec() };
        let off = PasswordSpec {
            include_punctuation: Some(false),
            excluded_punctuation: "-".into(),
            ..spec()
        };
        let all = PasswordSpec { excluded_punctuation: PUNCTUATION.into(), ..spec() };
        let cases = [
            (none, SpecError::NoClass, ""),
            (short, SpecError::TooShort, ".length"),
            (both, SpecError::BothLists, ".included_punctuation"),
            (letter, SpecError::NotPunctuation(List::Included), ".included_punctuation"),
            (digit, SpecError::NotPunctuation(List::Excluded), ".excluded_punctuation"),
            (off, SpecError::ListWithoutClass(List::Excluded), ".excluded_punctuation"),
            (all, SpecError::NothingLeft, ".excluded_punctuation"),
        ];
        for (spec, expected, field) in cases {
            assert_eq!(generate(&spec, &SystemRandom).err(), Some(expected));
            assert_eq!(expected.field(), format!("password_payload_specification{field}"));
        }
    }

    /// Chi-squared of a million picks of 62 characters, of a sequence that is always the same and of
    /// the generator that is used; the bound is far beyond chance (p < 1e-7).
    #[test]
    fn security_s23_picks_are_uniform() {
        struct Sequence(std::sync::Mutex<u64>);
        impl Randomness for Sequence {
            fn fill(&self, bytes: &mut [u8]) {
                let mut state = self.0.lock().unwrap();
                for byte in bytes {
                    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    *byte = (*state >> 56) as u8;
                }
            }
        }
        let random = Sequence(std::sync::Mutex::new(7));
        let (bound, draws) = (62, 1_000_000);
        for random in [&random as &dyn Randomness, &SystemRandom] {
            let mut counts = vec![0_f64; bound];
            for _ in 0..draws {
                counts[uniform(bound, random)] += 1.0;
            }
            let expected = f64::from(draws) / bound as f64;
            let chi: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
            assert!(chi < 140.0, "chi-squared {chi}");
        }
    }
}
