//! See [`crate::fuzz`].

use std::path::Path;

use super::{list, memory};

/// Lists of CPUs and nodes, rows of distances, and sizes.
pub(crate) fn lists(text: &str) {
    if let Some(numbers) = list::parse(text) {
        assert!(numbers.is_sorted_by(|a, b| a < b));
        assert_eq!(list::parse(&list::format(numbers.iter().copied())), Some(numbers));
    }
    let _ = (list::row(text), list::mem_total(text));
    if let Some(number) = list::number(text) {
        assert_eq!(list::number(&number.to_string()), Some(number));
    }
}

/// /proc/zoneinfo.
pub(crate) fn zones(text: &str) {
    memory::fuzz(Path::new("zoneinfo"), text);
}
