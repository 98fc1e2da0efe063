//! Which turns get a record where user space asked for fewer: one in a power of two, by the thread and the number of its
//! turn, so that threads that take turns with each other, or that do every second time something else, are all met.

/// Most turns for which one record stands.
pub const MOST_EVERY: u32 = 64;

/// Whether a turn gets a record. `mask` is one less than the number of turns for which one stands, a power of two: with 0 each
/// does. Fibonacci hashing: the upper half of the product depends on all bits that go in.
#[inline(always)]
pub const fn keeps(tid: u32, seq: u32, mask: u32) -> bool {
    (tid.wrapping_mul(0x85eb_ca6b).wrapping_add(seq).wrapping_mul(0x9e37_79b1) >> 16) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_turns_of_every_thread_is_kept() {
        for every in [1u32, 2, 4, 16, MOST_EVERY] {
            for tid in [1, 2, 77, 4711, 4712, u32::MAX] {
                for first in [0u32, 1_000_000, u32::MAX - 5_000] {
                    let turns = 64 * MOST_EVERY;
                    let kept = (0..turns).filter(|n| keeps(tid, first.wrapping_add(*n), every - 1)).count() as u32;
                    let wanted = turns / every;
                    assert!(kept.abs_diff(wanted) <= wanted / 8 + 1, "{kept} of {turns}, 1 in {every}, thread {tid}");
                }
            }
        }
    }

    #[test]
    fn every_second_turn_is_met_as_often_as_the_others() {
        for every in [2u32, 8, MOST_EVERY] {
            let kept = |rest: u32| (0..100_000u32).filter(|n| n % 2 == rest && keeps(4711, *n, every - 1)).count();
            let (even, odd) = (kept(0), kept(1));
            assert!(even.abs_diff(odd) * 5 <= even + odd, "{even} even ones, {odd} odd ones, 1 in {every}");
        }
    }
}
