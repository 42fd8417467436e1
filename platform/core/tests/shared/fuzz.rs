//! A fuzzer of decoders that needs no other compiler: inputs of a committed corpus, changed a
//! little and put together, for as long as the environment says.
//!
//! Without the coverage of a real fuzzer it goes by what the decoder says: an input that gives a
//! new answer is kept and changed further. What a test needs:
//!
//! - `FUZZ_SECONDS`: how long each target runs; 2 by default.
//! - `FUZZ_SEED`: the seed that a test which failed has printed, with the input.
//! - `FUZZ_KEEP`: set, the examples and inputs with a new answer are written into the corpus,
//!   which is `tests/corpus/<target>` of the crate.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SECONDS_DEFAULT: u64 = 2;
/// Longer inputs are cut.
const INPUT_BYTES_MAX: usize = 1 << 16;
/// Answers that are told apart; a decoder that has more of them says something of its input.
const ANSWERS_MAX: usize = 256;
/// Changes of one input.
const CHANGES_MAX: usize = 4;
/// Inputs between two looks at the clock.
const ROUND: usize = 64;
/// What decoders have a special place for: ends of ranges, heads of CBOR, separators of texts.
const NOTABLE: [u8; 16] = [
    0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0x1b, 0x5f, 0x9f, 0xbf, 0xf6, b'.', b'"', b'{', b'=', b'\n',
];

/// SplitMix64: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// Runs `target` on the corpus and the examples, then on changed ones until the time is over. What
/// it returns is its answer; a panic in it fails the test, with the input.
#[allow(clippy::disallowed_methods, reason = "how long it runs is the fuzzer's own business")]
pub(crate) fn fuzz<A: Debug>(name: &str, examples: &[Vec<u8>], target: impl Fn(&[u8]) -> A) {
    let begun = Instant::now();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let keep = std::env::var_os("FUZZ_KEEP").is_some();
    let seconds = number("FUZZ_SECONDS").unwrap_or(SECONDS_DEFAULT);
    // Hashers are keyed at random, so that of nothing is another one every time.
    let seed = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    if keep {
        std::fs::create_dir_all(&corpus).unwrap();
        examples.iter().for_each(|example| write(&corpus, example));
    }
    let mut pool: Vec<Vec<u8>> = files(&corpus).iter().map(|p| std::fs::read(p).unwrap()).collect();
    assert!(!pool.is_empty(), "there is no corpus in {}", corpus.display());
    pool.extend(examples.iter().cloned());
    let answer = |input: &[u8]| match catch_unwind(AssertUnwindSafe(|| target(input))) {
        Ok(answer) => format!("{answer:?}"),
        Err(panic) => {
            println!("{name}: FUZZ_SEED={seed}, input {}", hex(input));
            resume_unwind(panic);
        }
    };
    let mut answers: BTreeSet<String> = pool.iter().map(|input| answer(input)).collect();
    let mut dice = Dice(seed);
    let mut inputs = pool.len();
    while begun.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..ROUND {
            let input = changed(&mut dice, &pool);
            let answer = answer(&input);
            inputs += 1;
            if answers.len() < ANSWERS_MAX && answers.insert(answer) {
                if keep {
                    write(&corpus, &input);
                }
                pool.push(input);
            }
        }
    }
    let answers = answers.len();
    println!("{name}: {inputs} inputs, {answers} answers in {seconds} s, FUZZ_SEED={seed}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The corpus in an order that does not depend on the file system.
fn files(corpus: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(corpus) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Named by its content, so that nothing is there twice.
fn write(corpus: &Path, input: &[u8]) {
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    std::fs::write(corpus.join(format!("{:016x}", hasher.finish())), input).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn changed(dice: &mut Dice, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut input = pool[dice.below(pool.len())].clone();
    for _ in 0..=dice.below(CHANGES_MAX) {
        change(dice, &mut input, pool);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let place = dice.below(input.len() + 1);
    let end = place + dice.below(input.len() - place + 1).min(16);
    match dice.below(8) {
        0 if place < input.len() => input[place] ^= 1 << dice.below(8),
        1 if place < input.len() => input[place] = dice.byte(),
        2 if place < input.len() => input[place] = NOTABLE[dice.below(NOTABLE.len())],
        3 => input.truncate(place),
        4 => drop(input.drain(place..end)),
        5 => {
            let again = input[place..end].to_vec();
            drop(input.splice(place..place, again));
        }
        6 => {
            let other = &pool[dice.below(pool.len())];
            let from = dice.below(other.len() + 1);
            input.truncate(place);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let few = (0..=dice.below(4)).map(|_| dice.next());
            let few: Vec<u8> = few.map(|number| number.to_be_bytes()[0]).collect();
            drop(input.splice(place..place, few));
        }
    }
}
