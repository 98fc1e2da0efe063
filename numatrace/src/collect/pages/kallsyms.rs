//! Addresses of the kernel's variables that no type information tells, from /proc/kallsyms. It shows zeroes without
//! CAP_SYSLOG or with kernel.kptr_restrict=2, and no variables without CONFIG_KALLSYMS_ALL.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

/// 0 where one is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Symbols {
    /// Where the linear map of all memory begins (x86).
    pub(super) page_offset_base: u64,
    /// Frame of the huge zero page.
    pub(super) huge_zero_pfn: u64,
    /// Bits of page-table entries that say that memory is encrypted (x86).
    pub(super) sme_me_mask: u64,
}

impl Symbols {
    pub(super) fn read() -> Symbols {
        File::open("/proc/kallsyms")
            .map(|file| Symbols::find(BufReader::with_capacity(1 << 16, file)))
            .unwrap_or_default()
    }

    fn find(mut lines: impl BufRead) -> Symbols {
        let mut found = Symbols::default();
        let mut line = Vec::new();
        // A line of the kernel's own is short; whatever it is, it is looked at no further.
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let mut parts = line.split(u8::is_ascii_whitespace);
            if let (Some(address), Some(_), Some(name)) = (parts.next(), parts.next(), parts.next()) {
                let place = match name {
                    b"page_offset_base" => Some(&mut found.page_offset_base),
                    b"huge_zero_pfn" => Some(&mut found.huge_zero_pfn),
                    b"sme_me_mask" => Some(&mut found.sme_me_mask),
                    _ => None,
                };
                if let (Some(place), Ok(address)) = (place, std::str::from_utf8(address)) {
                    *place = u64::from_str_radix(address, 16).unwrap_or(0);
                }
            }
            line.clear();
        }
        found
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    let found = Symbols::find(bytes);
    assert!(bytes.contains(&b'_') || found == Symbols::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_by_name() {
        let text = b"ffffffff81000000 T _text\nffffffff82a1b2c0 D page_offset_base\nffff d huge_zero_pfn\t[mod]\n\nzz";
        let found = Symbols::find(&text[..]);
        assert_eq!(found, Symbols { page_offset_base: 0xffff_ffff_82a1_b2c0, huge_zero_pfn: 0xffff, sme_me_mask: 0 });
        assert_eq!(
            Symbols::find(&b"0000000000000000 D page_offset_base\nno hex D huge_zero_pfn"[..]),
            Symbols::default()
        );
    }
}
