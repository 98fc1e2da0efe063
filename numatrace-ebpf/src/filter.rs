//! Which tasks are targets. Asked on cold paths only: at fork, at exec and by the task iterator.

use aya_ebpf::{macros::map, maps::HashMap};
use numatrace_common::config::filter;

use crate::kernel::{Access, Task, config, config_ref, probe};

/// Processes (`filter::PROCESS`) or threads (`filter::THREAD`) that were asked for. Filled by the loader.
#[map]
static TARGETS: HashMap<u32, u8> = HashMap::with_max_entries(4096, 0);

/// Deepest cgroup that is looked at.
const CGROUP_DEPTH: u32 = 32;

/// The tracer itself is never a target.
#[inline(always)]
pub fn is_own<A: Access>(task: Task<A>) -> bool {
    task.tgid() == config!(own_tgid)
}

/// Whether the filter names this task, by what it is now.
#[inline(always)]
pub fn matches<A: Access>(task: Task<A>) -> bool {
    match config!(filter) {
        filter::ALL => true,
        filter::PROCESS => contains(task.tgid()) && task.process_start_time() <= config!(began),
        filter::THREAD => contains(task.pid()) && task.start_time() <= config!(began),
        filter::COMM => comm_matches(&task.comm()),
        filter::CGROUP => in_cgroup(task),
        _ => false,
    }
}

/// Whether a target's new child is a target too.
#[inline(always)]
pub fn inherits() -> bool {
    config!(filter) != filter::THREAD
}

/// Whether a thread can cease to be a target while it lives.
#[inline(always)]
pub fn can_leave() -> bool {
    matches!(config!(filter), filter::COMM | filter::CGROUP)
}

#[inline(always)]
fn contains(id: u32) -> bool {
    // SAFETY: nothing removes or changes entries while programs run.
    unsafe { TARGETS.get(&id) }.is_some()
}

/// Whether this is the command name that was asked for.
#[inline(always)]
pub fn comm_matches(comm: &[u8; 16]) -> bool {
    let mut i = 0;
    while i < 16 {
        // SAFETY: in bounds of a static array; volatile because the loader changes the bytes after compilation.
        let wanted = unsafe { core::ptr::read_volatile((&raw const config_ref().comm).cast::<u8>().add(i)) };
        if comm[i] != wanted {
            return false;
        }
        if wanted == 0 {
            return true;
        }
        i += 1;
    }
    true
}

/// Whether the task's own cgroup is the one that was asked for, or below it: never the waker's (`current`).
#[inline(always)]
fn in_cgroup<A: Access>(task: Task<A>) -> bool {
    let Some(mut cgroup) = task.cgroup() else { return false };
    let mut depth = 0;
    while depth < CGROUP_DEPTH {
        let Some(node) = probe::<*const u8>(cgroup, config!(offsets.cgroup_kn)) else { return false };
        let Some(id) = probe::<u64>(node, config!(offsets.kn_id)) else { return false };
        if id == config!(cgroup) {
            return true;
        }
        let Some(parent) = probe::<*const u8>(cgroup, config!(offsets.cgroup_parent)) else { return false };
        if parent.is_null() {
            return false;
        }
        let Some(up) = probe::<*const u8>(parent, config!(offsets.css_cgroup)) else { return false };
        cgroup = up;
        depth += 1;
    }
    false
}
