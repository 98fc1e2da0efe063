//! The kernel's text formats: CPU and node lists, distance rows, meminfo.

/// Greater numbers are garbage: records carry a CPU in 16 bits. It also bounds what a hostile range can allocate.
const MAX_NUMBER: u32 = u16::MAX as u32;

/// Numbers of a list such as `0-3,8,10-11`, sorted, each once; an empty text is an empty list. `None` for anything
/// else.
pub fn parse(text: &str) -> Option<Vec<u32>> {
    let text = text.trim();
    let mut numbers = Vec::new();
    if text.is_empty() {
        return Some(numbers);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > MAX_NUMBER {
            return None;
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

/// Numbers in order as [`parse`] reads them and the kernel writes them: `0-3,8,10-11`.
pub fn format(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// A decimal number; unlike [`str::parse`] it takes no sign.
pub fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Numbers separated by blanks.
pub fn row(text: &str) -> Option<Vec<u32>> {
    text.split_ascii_whitespace().map(number).collect()
}

/// `MemTotal` in bytes, from `/proc/meminfo` (`MemTotal: 16 kB`) or a node's (`Node 0 MemTotal: 16 kB`).
pub fn mem_total(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("MemTotal:")?;
    let mut words = rest.lines().next()?.split_ascii_whitespace();
    let kilobytes: u64 = words.next()?.parse().ok()?;
    if words.next() == Some("kB") { kilobytes.checked_mul(1024) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse("7"), Some(vec![7]));
        assert_eq!(parse("\n"), Some(vec![]));
        assert_eq!(parse("3,1-2,2"), Some(vec![1, 2, 3]));
    }

    #[test]
    fn lists_are_written_as_the_kernel_writes_them() {
        for list in ["", "7", "0-3,8,10-11", "0,2,4-1023"] {
            assert_eq!(format(parse(list).expect("a list")), list);
        }
    }

    #[test]
    fn garbage_is_refused() {
        for bad in ["a", "1,", ",1", "3-1", "-1", "1-", "1--2", "+1", "0-4294967295", "99999999999", "1 2", "\0"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(mem_total("Node 1 MemTotal:       2048 kB\nNode 1 MemFree: 1 kB\n"), Some(2048 * 1024));
        assert_eq!(mem_total("MemTotal: 3 kB\n"), Some(3072));
        assert_eq!(mem_total("MemTotal: 3 pages\n"), None);
        assert_eq!(mem_total("MemTotal:\n3 kB"), None);
        assert_eq!(mem_total(""), None);
        assert_eq!(mem_total("MemTotal: 18446744073709551615 kB"), None);
    }
}
