//! `sched_migrate_task`: a thread is moved to another CPU's queue.
//!
//! ```c
//! void sched_migrate_task(struct task_struct *p, int dest_cpu);
//! ```
//!
//! Called by `set_task_cpu` before the move, with interrupts off, so the task still shows the CPU it leaves.

use aya_ebpf::{
    helpers::bpf_get_current_comm,
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{
    abi::Migrate,
    cause::{Seen, classify},
    config::throttle,
    wait::{Stopped, phase},
};

use crate::{
    emit::emit,
    kernel::{Access, Btf, Raw, Task, config, current_tid, now, this_cpu},
    shared::Path,
    state, sums,
};

#[btf_tracepoint(function = "sched_migrate_task")]
pub fn sched_migrate_task(ctx: BtfTracePointContext) -> i32 {
    let dest: u64 = ctx.arg(1);
    try_sched_migrate_task::<Btf>(Task::new(ctx.arg(0)), dest as u32);
    0
}

#[raw_tracepoint(tracepoint = "sched_migrate_task")]
pub fn raw_sched_migrate_task(ctx: RawTracePointContext) -> i32 {
    let dest: u64 = ctx.arg(1);
    try_sched_migrate_task::<Raw>(Task::new(ctx.arg(0)), dest as u32);
    0
}

#[inline(always)]
fn try_sched_migrate_task<A: Access>(task: Task<A>, dest: u32) {
    let Some(state) = state::lookup(task) else { return };
    let from = task.cpu();
    if from == dest {
        // The hook also comes when the CPU stays the same; the kernel does not count that either.
        return;
    }
    let cause = classify(Seen {
        state: task.state(),
        on_rq: task.on_rq(),
        by_stopper: current_is_stopper(),
        numa: state.numa_pending != 0,
        leaving_offline: task.cpu_going_offline(),
    });
    state.numa_pending = 0;
    state.migrations = state.migrations.wrapping_add(1);
    if state.phase == phase::QUEUED && config!(throttle) != throttle::OFF {
        let left = if state.stopped_queue != 0 { task.stopped() } else { Stopped::NOT };
        state.moves_queue(left, task.stopped_on(dest));
    }
    if sums::on() {
        sums::migration(state, from, dest);
        return;
    }
    let cpu = this_cpu();
    let record = Migrate {
        header: Migrate::header(now(), from as u16, dest as u16),
        tid: state.tid,
        tgid: state.tgid,
        by: current_tid(),
        seq: state.migrations,
        cause: cause as u16,
        by_cpu: cpu as u16,
        reserved: 0,
    };
    if !emit(Path::Hot, cpu, record) {
        state.lost = state.lost.wrapping_add(1);
    }
}

/// Whether the current task is a CPU's stopper thread, `migration/N`.
#[inline(always)]
fn current_is_stopper() -> bool {
    match bpf_get_current_comm() {
        Ok(comm) => {
            comm[0] == b'm'
                && comm[1] == b'i'
                && comm[2] == b'g'
                && comm[7] == b'o'
                && comm[8] == b'n'
                && comm[9] == b'/'
        }
        Err(_) => false,
    }
}
