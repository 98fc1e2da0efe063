//! Task iterator: visits every thread of the machine when user space asks for it, at attach and on each tick.
//!
//! ```c
//! struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };
//! ```
//!
//! It begins to track threads that match the filter, ends tracking of those that no longer do, and emits the
//! totals of those that changed: this is how a thread that never switches still grows, and how totals stay exact
//! when records are lost. Runs in the context of the reading process, so allocating is safe.

use core::ffi::c_void;

use numatrace_common::{
    abi::task_event,
    wait::{Stopped, TaskState, phase},
};

use crate::{
    emit::{emit, emit_steady},
    filter,
    kernel::{Access, Btf, Raw, Task, now, this_cpu},
    shared::Path,
    state, sums, task_record,
};

/// How often a state that changes under our hands is read again.
const ATTEMPTS: u32 = 4;

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn iter_task(ctx: *mut c_void) -> i32 {
    visit_context::<Btf>(ctx);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn raw_iter_task(ctx: *mut c_void) -> i32 {
    visit_context::<Raw>(ctx);
    0
}

#[inline(always)]
fn visit_context<A: Access>(ctx: *mut c_void) {
    // SAFETY: the second member of the iterator's context; null at the end of the iteration.
    let task = unsafe { *ctx.cast::<*const u8>().add(1) };
    if !task.is_null() {
        visit(Task::<A>::new(task));
    }
}

#[inline(always)]
fn visit<A: Access>(task: Task<A>) {
    if task.exit_state() != 0 {
        // Its last words come, or came, with its last switch.
        return;
    }
    // One way through for all three, so that a name and what is emitted are on the stack once: before 6.9 the verifier rounds up
    // what a program has there, and there is no more room.
    let known = state::lookup(task);
    let is_asked = known.is_none() || filter::can_leave();
    let matches = is_asked && filter::matches(task);
    let (state, leaves) = match known {
        Some(state) => (Some(state), is_asked && !matches),
        None if matches && !filter::is_own(task) => (begin(task), false),
        None => (None, false),
    };
    if let Some(state) = state {
        if sums::on() {
            if sums::is_news(state) {
                sums::flush(task, state);
            }
            return;
        }
        tell(task, state, leaves);
    }
}

/// Begins to track a thread.
#[inline(always)]
fn begin<A: Access>(task: Task<A>) -> Option<&'static mut TaskState> {
    let now = now();
    let (phase, since) = if task.on_cpu() {
        (phase::RUNNING, now)
    } else if task.on_rq() != 0 && task.state() == 0 {
        (phase::QUEUED, now - task.queued_for().unwrap_or(0))
    } else {
        (phase::BLOCKED, now)
    };
    let state = state::create(task, phase, since)?;
    // Odd: no totals were told yet.
    state.told_version = 1;
    Some(state)
}

/// Emits totals of a thread that did anything since they were last told, or is running or waiting now, or that is to be
/// tracked no longer.
#[inline(always)]
fn tell<A: Access>(task: Task<A>, state: &mut TaskState, leaves: bool) {
    let cpu = this_cpu();
    if !leaves && state.life_told == 0 {
        task_record::tell(task, state, task_event::SEEN, now(), cpu);
    }
    if !leaves && state.phase == phase::BLOCKED && state.told_version == state.version {
        return;
    }
    if let Some(version) = tell_sums(task, state, cpu) {
        state.told_version = version;
    }
    if leaves {
        // Read after the totals were: records are put in order of time.
        emit(Path::Cold, cpu, task_record::new(task, task_event::UNTRACKED, now(), cpu));
        state::remove(task);
    }
}

/// Emits everything that a thread counted. Returns the version of the state that was told, where all of it found room.
#[inline(always)]
fn tell_sums<A: Access>(task: Task<A>, state: &TaskState, cpu: u32) -> Option<u32> {
    // SAFETY: a live reference; volatile because another CPU writes to it.
    let version = || unsafe { core::ptr::read_volatile(&raw const state.version) };
    let told = emit_steady(cpu, ATTEMPTS, version, || state.totals(now()))?;
    let stopped = if state.stopped_queue != 0 { task.stopped() } else { Stopped::NOT };
    if !state.was_throttled(stopped) {
        return Some(told);
    }
    emit_steady(cpu, ATTEMPTS, version, || state.throttled(now(), stopped)).filter(|again| *again == told)
}
