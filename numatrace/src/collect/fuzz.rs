//! See [`crate::fuzz`].

use super::{cgroups, node_memory, pages, placement, quotas};

/// /proc/PID/maps, as scans of placement read it.
pub(crate) fn maps(bytes: &[u8]) {
    placement::fuzz(bytes);
}

/// Counters of cgroups and nodes, and flags of threads.
pub(crate) fn numbers(bytes: &[u8], text: &str) {
    quotas::fuzz(text);
    node_memory::fuzz(text);
    cgroups::fuzz(bytes);
}

/// /proc/kallsyms and messages of the kernel about its devices.
pub(crate) fn kernel(bytes: &[u8]) {
    pages::fuzz(bytes);
}
