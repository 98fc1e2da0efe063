//! See [`crate::fuzz`].

use super::{QuotaHierarchy, cgroup, process, quota_path};

/// /proc/PID/cgroup and /proc/self/mountinfo.
pub(crate) fn cgroups(bytes: &[u8], text: &str) {
    cgroup::fuzz(text);
    let Some((path, _)) = quota_path(bytes) else { return };
    // Whatever it says, the folder lies below the hierarchy's.
    let hierarchy = QuotaHierarchy::fuzzed();
    let directory = hierarchy.directory(path);
    assert!(directory.is_none_or(|at| at.starts_with(hierarchy.top().0) && !at.to_string_lossy().contains("/../")));
}

/// /proc/PID/status and /proc/PID/stat.
pub(crate) fn processes(bytes: &[u8]) {
    process::fuzz(bytes);
}
