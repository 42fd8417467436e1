//! The stack below a call, where ciphers leave blocks of keys and messages behind: nobody clears
//! what a function that has returned had there, and a thread that is idle keeps it for ever.

use zeroize::Zeroize;

/// More than any cipher or hash that we call has on the stack.
const WIPED_WORDS: usize = 4 << 10;

/// Does `work`, and then overwrites 32 KiB of the stack that it had. What it returns stays; so does
/// what its caller has there itself.
pub fn with_wiped_stack<R>(work: impl FnOnce() -> R) -> R {
    let result = below(work);
    wipe();
    result
}

/// A frame of its own, which begins where that of [`wipe`] does.
#[inline(never)]
fn below<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[inline(never)]
fn wipe() {
    let mut words = [0_u64; WIPED_WORDS];
    // Volatile, so it is done although nobody looks at them.
    words.zeroize();
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::hint::{black_box, spin_loop};
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const BLOCK: [u8; 256] = [0x5a; 256];
    const NOT_YET: usize = 0;
    const IS_THERE: usize = 1;
    const IS_GONE: usize = 2;

    /// Leaves a block on the stack, some calls down, and says where.
    #[inline(never)]
    fn leave(depth: u32) -> usize {
        let block = black_box(BLOCK);
        if depth > 0 { black_box(leave(depth - 1)) } else { black_box(&block).as_ptr() as usize }
    }

    #[test]
    fn what_was_left_below_a_call_is_overwritten() {
        let (place, answer) = (AtomicUsize::new(0), AtomicUsize::new(NOT_YET));
        std::thread::scope(|scope| {
            // Another thread looks: this one would overwrite what it looks for.
            scope.spawn(|| {
                let memory = File::open("/proc/self/mem").unwrap();
                for _ in 0..2 {
                    let mut at = 0;
                    while at == 0 {
                        spin_loop();
                        at = place.swap(0, Ordering::AcqRel);
                    }
                    let mut found = [0; BLOCK.len()];
                    memory.read_exact_at(&mut found, at as u64).unwrap();
                    let is_there = found == BLOCK;
                    answer.store(if is_there { IS_THERE } else { IS_GONE }, Ordering::Release);
                }
            });
            let looked_for = |at: usize| {
                place.store(at, Ordering::Release);
                while answer.load(Ordering::Acquire) == NOT_YET {
                    spin_loop();
                }
                answer.swap(NOT_YET, Ordering::AcqRel)
            };
            assert_eq!(looked_for(leave(8)), IS_THERE, "nobody else clears it");
            assert_eq!(looked_for(with_wiped_stack(|| leave(8))), IS_GONE);
        });
    }
}
