//! Which kind of page touch a page fault was: from what the fault was for, what memory it was in, and what page it ended
//! with. Pure: the probes inline it.
//!
//! | memory | fault | kind |
//! | --- | --- | --- |
//! | any | the page is huge | huge; the huge zero page: zero |
//! | anonymous | with I/O: the page comes from swap | other |
//! | anonymous | the zero page is mapped | zero |
//! | anonymous | a write to a page that is there | copy-on-write |
//! | anonymous | any other | first touch |
//! | private mapping of a file | a write | copy-on-write |
//! | of a file, or shared | any other | file |
//! | not found (it was unmapped meanwhile) | any | other |

use crate::{abi::touch, wait::fault_bits};

/// What is known of a fault that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// [`fault_bits`]; without [`fault_bits::KNOWN`] it is not known whether it was a write.
    pub fault: u32,
    /// It needed I/O.
    pub major: bool,
    /// A huge page is mapped.
    pub huge: bool,
    /// The zero page, or the huge zero page, is mapped.
    pub zero: bool,
    /// Its mapping was found.
    pub found: bool,
    /// The mapping is of a file, or of memory that can be shared (which is of a file, to the kernel).
    pub file: bool,
    /// Writes go to what the mapping is of (`VM_SHARED`).
    pub shared: bool,
}

/// The kind, one of [`touch`].
#[inline(always)]
pub const fn kind(ended: Ended) -> u8 {
    let write = ended.fault & fault_bits::KNOWN != 0 && ended.fault & fault_bits::WRITE != 0;
    let copied = write && ended.fault & fault_bits::PRESENT != 0;
    if !ended.found {
        touch::OTHER
    } else if ended.zero && !ended.file {
        touch::ZERO
    } else if ended.huge {
        touch::HUGE
    } else if ended.file {
        if write && !ended.shared { touch::COW } else { touch::FILE }
    } else if ended.major {
        touch::OTHER
    } else if copied {
        touch::COW
    } else {
        touch::FIRST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u32 = fault_bits::KNOWN;
    const WRITE: u32 = READ | fault_bits::WRITE;
    const WRITE_TO_PRESENT: u32 = WRITE | fault_bits::PRESENT;

    #[test]
    fn each_kind_is_told_from_the_others() {
        let anonymous = Ended { found: true, ..Ended::default() };
        let file = Ended { file: true, ..anonymous };
        let shared = Ended { shared: true, ..file };
        let all = [
            (Ended { fault: WRITE, ..anonymous }, touch::FIRST),
            (Ended { fault: READ, zero: true, ..anonymous }, touch::ZERO),
            (Ended { fault: READ, ..anonymous }, touch::FIRST),
            (Ended { fault: WRITE_TO_PRESENT, ..anonymous }, touch::COW),
            (Ended { fault: WRITE, major: true, ..anonymous }, touch::OTHER),
            (Ended { fault: WRITE, huge: true, ..anonymous }, touch::HUGE),
            (Ended { fault: READ, huge: true, zero: true, ..anonymous }, touch::ZERO),
            (Ended { fault: READ, ..file }, touch::FILE),
            (Ended { fault: READ, major: true, ..file }, touch::FILE),
            (Ended { fault: WRITE, ..file }, touch::COW),
            (Ended { fault: WRITE_TO_PRESENT, ..file }, touch::COW),
            (Ended { fault: WRITE, ..shared }, touch::FILE),
            (Ended { fault: WRITE, huge: true, ..shared }, touch::HUGE),
            (Ended { fault: WRITE, ..Ended::default() }, touch::OTHER),
        ];
        for (ended, expected) in all {
            assert_eq!(kind(ended), expected, "{ended:?}");
        }
    }

    #[test]
    fn without_the_hook_at_the_start_copies_are_counted_with_what_they_cannot_be_told_from() {
        let anonymous = Ended { found: true, fault: fault_bits::WRITE | fault_bits::PRESENT, ..Ended::default() };
        assert_eq!(kind(anonymous), touch::FIRST);
        assert_eq!(kind(Ended { file: true, ..anonymous }), touch::FILE);
    }
}
