//! `sched_process_exec`: a process changes its program.
//!
//! ```c
//! void sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm);
//! ```
//!
//! Called by `exec_binprm` after the new name is set, without locks. When another thread than the leader calls
//! exec, it takes over the leader's id (`de_thread`): its old id ends here and the new one begins anew.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{
    abi::{NO_TID, task_event},
    config::filter,
    wait::{Stopped, SwitchOut, TASK_DEAD, TaskState, phase},
};

use crate::{
    emit::{emit, emit_in_place, emit_last_turn},
    filter::{comm_matches, is_own},
    kernel::{Access, Btf, Raw, Task, config, now, this_cpu},
    shared::Path,
    state, sums, task_record,
};

#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    try_sched_process_exec::<Btf>(Task::new(ctx.arg(0)));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn raw_sched_process_exec(ctx: RawTracePointContext) -> i32 {
    try_sched_process_exec::<Raw>(Task::new(ctx.arg(0)));
    0
}

#[inline(always)]
fn try_sched_process_exec<A: Access>(task: Task<A>) {
    let now = now();
    let cpu = this_cpu();
    match state::lookup(task) {
        Some(state) => {
            if state.tid != task.pid() {
                change_id(task, state, now, cpu);
            }
            if emit(Path::Cold, cpu, task_record::new(task, task_event::EXEC, now, cpu)) {
                state.life_told = 1;
            }
        }
        None => {
            let wanted = config!(filter) == filter::COMM && comm_matches(&task.comm()) && !is_own(task);
            if wanted && let Some(state) = state::create(task, phase::RUNNING, now) {
                task_record::tell(task, state, task_event::SEEN, now, cpu);
            }
        }
    }
}

/// Ends the counts of the old id and begins those of the new one.
#[inline(always)]
fn change_id<A: Access>(task: Task<A>, state: &mut TaskState, now: u64, cpu: u32) {
    if sums::on() {
        // The process stays the same, and so does its group: only the turn that goes on begins anew.
        sums::flush(task, state);
        let began = state.since;
        begin_anew(task, state, began, cpu);
        sums::begin_again(state);
        return;
    }
    let how = SwitchOut {
        preempt: false,
        prev_state: TASK_DEAD,
        state_now: TASK_DEAD,
        next: NO_TID,
        next_own: false,
        stopped: Stopped::NOT,
        voluntary: true,
    };
    state.switch_out_with(now, cpu as u16, how, |state, turn| {
        let slice = state.slice(now, cpu as u16, turn);
        if !emit_last_turn(Path::Cold, cpu, turn.waited(), state.wait_ns, || slice) {
            state.lost = state.lost.wrapping_add(1);
        }
    });
    // It did not switch: only its id did.
    state.voluntary = state.voluntary.wrapping_sub(1);
    emit_in_place(Path::Cold, cpu, || state.totals(now));
    if state.was_throttled(Stopped::NOT) {
        emit_in_place(Path::Cold, cpu, || state.throttled(now, Stopped::NOT));
    }
    let mut record = task_record::new(task, task_event::EXIT, now, cpu);
    record.tid = state.tid;
    emit(Path::Cold, cpu, record);
    begin_anew(task, state, now, cpu);
}

#[inline(always)]
fn begin_anew<A: Access>(task: Task<A>, state: &mut TaskState, now: u64, cpu: u32) {
    *state = TaskState::EMPTY;
    state.tid = task.pid();
    state.tgid = task.tgid();
    state.nvcsw = task.nvcsw().unwrap_or(0);
    state.seed(phase::RUNNING, now, cpu as u16);
}
