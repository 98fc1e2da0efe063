//! `task_rename`: a thread changes its command name.
//!
//! ```c
//! void task_rename(struct task_struct *task, const char *comm);
//! ```
//!
//! Called by `__set_task_comm` before the change, under the task's own lock. Only told here; whether the new name
//! matches a name filter is asked by the task iterator.

use aya_ebpf::{
    helpers::bpf_probe_read_kernel_str_bytes,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::abi::task_event;

use crate::{
    emit::emit,
    kernel::{Access, Btf, Raw, Task, now, this_cpu},
    shared::Path,
    state, task_record,
};

#[btf_tracepoint(function = "task_rename")]
pub fn task_rename(ctx: BtfTracePointContext) -> i32 {
    try_task_rename::<Btf>(Task::new(ctx.arg(0)), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "task_rename")]
pub fn raw_task_rename(ctx: RawTracePointContext) -> i32 {
    try_task_rename::<Raw>(Task::new(ctx.arg(0)), ctx.arg(1));
    0
}

#[inline(always)]
fn try_task_rename<A: Access>(task: Task<A>, name: *const u8) {
    if state::lookup(task).is_none() {
        return;
    }
    let cpu = this_cpu();
    let mut record = task_record::new(task, task_event::RENAME, now(), cpu);
    record.comm = [0; 16];
    // SAFETY: the helper checks the address and stops at the NUL or the end of the buffer.
    let _ = unsafe { bpf_probe_read_kernel_str_bytes(name, &mut record.comm) };
    emit(Path::Cold, cpu, record);
}
