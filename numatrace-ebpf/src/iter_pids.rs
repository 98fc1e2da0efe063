//! Task iterator for where numatrace is in a pid namespace of its own: tells the ids of each thread in the first namespace, which
//! the probes see, and in that of the reader.
//!
//! ```c
//! struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };
//! struct bpf_iter_meta { struct seq_file *seq; u64 session_id; u64 seq_num; };
//! ```
//!
//! The kernel visits threads of the reader's namespace, and those of the namespaces below it.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_seq_write};
use numatrace_common::pids::{PidOffsets, PidPair, UPID_SIZE};

use crate::kernel::probe;

/// Where the members lie. Read-only and frozen.
#[unsafe(no_mangle)]
static PID_OFFSETS: PidOffsets = PidOffsets::NONE;

/// As `config!`.
macro_rules! offset {
    ($member:ident) => {
        // SAFETY: a static of this type; volatile because the loader changes the bytes after compilation.
        unsafe { core::ptr::read_volatile(&raw const PID_OFFSETS.$member) }
    };
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn iter_pids(ctx: *mut c_void) -> i32 {
    // SAFETY: the members of the iterator's context; the task is null at the end of the iteration.
    let (meta, task) = unsafe { (*ctx.cast::<*const *mut c_void>(), *ctx.cast::<*const u8>().add(1)) };
    if !task.is_null()
        && let Some(pair) = pair(task)
    {
        // SAFETY: the first member of the metadata.
        let seq = unsafe { *meta };
        // Where the buffer is full the kernel calls again with a larger one.
        // SAFETY: the pair is on the stack, and so long.
        unsafe { bpf_seq_write(seq.cast(), (&raw const pair).cast_mut().cast(), size_of::<PidPair>() as u32) };
    }
    0
}

#[inline(always)]
fn pair(task: *const u8) -> Option<PidPair> {
    // SAFETY: a helper without arguments.
    let reader = unsafe { bpf_get_current_task() } as *const u8;
    let level = probe::<u32>(probe::<*const u8>(reader, offset!(thread_pid))?, offset!(level))?;
    let leader = probe::<*const u8>(task, offset!(group_leader))?;
    Some(PidPair {
        tid: probe::<u32>(task, offset!(pid))?,
        tgid: probe::<u32>(task, offset!(tgid))?,
        own_tid: number(task, level)?,
        own_tgid: number(leader, level)?,
    })
}

/// The id of a thread in the namespace so far below the first.
#[inline(always)]
fn number(task: *const u8, level: u32) -> Option<u32> {
    let pid = probe::<*const u8>(task, offset!(thread_pid))?;
    if probe::<u32>(pid, offset!(level))? < level {
        return None;
    }
    let at = offset!(numbers).wrapping_add(level.wrapping_mul(UPID_SIZE));
    probe::<u32>(pid, at)
}
