//! Which turns get a record where user space asked for fewer: one in a power of two, by the thread and the number of its
//! turn, so that threads that take turns with each other, or that do every second time something else, are all met.

/// Most turns for which one record stands.
pub const MOST_EVERY: u32 = 64;

/// Whether a turn gets a record. `mask` is one less than the number of turns for which one stands, a power of two: with 0 each
/// does. The mixing is that of a hash ("lowbias32" by Chris Wellons), so that turns of any rhythm are met.
#[inline(always)]
pub const fn keeps(tid: u32, seq: u32, mask: u32) -> bool {
    let mut mixed = tid.wrapping_mul(0x9e37_79b1).wrapping_add(seq);
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x21f0_aaad);
    mixed = (mixed ^ mixed >> 15).wrapping_mul(0x735a_2d97);
    (mixed ^ mixed >> 15) & mask == 0
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
                    // Six standard deviations of as many coins.
                    assert!(
                        f64::from(kept.abs_diff(wanted)) <= 6.0 * f64::from(wanted).sqrt(),
                        "{kept} of {turns}, 1 in {every}, thread {tid}"
                    );
                }
            }
        }
    }

    #[test]
    fn turns_of_every_rhythm_are_met() {
        for every in [2u32, 8, 32, MOST_EVERY] {
            for period in [2u32, 3, 5, 15, 64, 360] {
                for phase in [0, period - 1] {
                    let turns = 10_000 * period;
                    let of_phase = |n: &u32| n % period == phase && keeps(4711, *n, every - 1);
                    let (kept, wanted) = ((0..turns).filter(of_phase).count() as f64, f64::from(10_000 / every));
                    let off = (kept - wanted).abs();
                    assert!(off <= 6.0 * wanted.sqrt(), "{kept} of {wanted}, period {period}, 1 in {every}");
                }
            }
        }
    }

    #[test]
    fn no_more_threads_than_by_chance_have_no_record_at_all() {
        let without = (1..=4000u32).filter(|tid| !(0..300).any(|seq| keeps(*tid, seq, MOST_EVERY - 1))).count();
        // (63/64)^300 is 0.9%.
        assert!((10..=70).contains(&without), "{without} of 4000 threads");
    }
}
