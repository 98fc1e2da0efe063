//! Task iterator: visits every thread of the machine when user space asks for it, at attach and on each tick.
//!
//! ```c
//! struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };
//! ```
//!
//! It begins to track threads that match the filter, ends tracking of those that no longer do, and emits the
//! totals of those that changed: this is how a thread that never switches still grows, and how totals stay exact
//! when records are lost. Runs in the context of the reading process, so allocating is safe.

use core::{
    ffi::c_void,
    sync::atomic::{Ordering, compiler_fence},
};

use numatrace_common::{
    abi::{Totals, task_event},
    wait::{TaskState, phase},
};

use crate::{
    emit::emit,
    filter,
    kernel::{Access, Btf, Raw, Task, now, this_cpu},
    shared::Path,
    state, task_record,
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
    match state::lookup(task) {
        Some(state) => {
            if filter::can_leave() && !filter::matches(task) {
                leave(task, state);
            } else {
                tell(task, state);
            }
        }
        None => {
            if filter::matches(task) && !filter::is_own(task) {
                begin(task);
            }
        }
    }
}

#[inline(always)]
fn begin<A: Access>(task: Task<A>) {
    let now = now();
    let (phase, since) = if task.on_cpu() {
        (phase::RUNNING, now)
    } else if task.on_rq() != 0 && task.state() == 0 {
        (phase::QUEUED, now - task.queued_for().unwrap_or(0))
    } else {
        (phase::BLOCKED, now)
    };
    if let Some(state) = state::create(task, phase, since) {
        // Odd: no totals were told yet.
        state.told_version = 1;
        tell(task, state);
    }
}

#[inline(always)]
fn leave<A: Access>(task: Task<A>, state: &mut TaskState) {
    let cpu = this_cpu();
    if let Some((totals, _)) = steady_totals(state) {
        emit(Path::Cold, cpu, totals);
    }
    // Read after the totals were: records are put in order of time.
    emit(Path::Cold, cpu, task_record::new(task, task_event::UNTRACKED, now(), cpu));
    state::remove(task);
}

/// Emits totals of a thread that did anything since they were last told, or is running or waiting now.
#[inline(always)]
fn tell<A: Access>(task: Task<A>, state: &mut TaskState) {
    if state.life_told == 0 {
        task_record::tell(task, state, task_event::SEEN, now(), this_cpu());
    }
    if state.phase == phase::BLOCKED && state.told_version == state.version {
        return;
    }
    if let Some((totals, version)) = steady_totals(state) {
        if emit(Path::Cold, this_cpu(), totals) {
            state.told_version = version;
        }
    }
}

/// Reads a state that another CPU may be changing: again while its version is odd or changes meanwhile.
#[inline(always)]
fn steady_totals(state: &TaskState) -> Option<(Totals, u32)> {
    let mut attempt = 0;
    while attempt < ATTEMPTS {
        // SAFETY: a live reference; volatile because another CPU writes to it.
        let before = unsafe { core::ptr::read_volatile(&raw const state.version) };
        compiler_fence(Ordering::SeqCst);
        let totals = state.totals(now());
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as above.
        let after = unsafe { core::ptr::read_volatile(&raw const state.version) };
        if before == after && before & 1 == 0 {
            return Some((totals, before));
        }
        attempt += 1;
    }
    None
}
