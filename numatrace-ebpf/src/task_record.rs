//! Builds the record of a thread's life from its `task_struct`.

use numatrace_common::{abi, wait::TaskState};

use crate::{
    emit::emit,
    kernel::{Access, Task},
    shared::Path,
    sums,
};

/// The record of `event` for `task`.
#[inline(always)]
pub fn new<A: Access>(task: Task<A>, event: u16, now: u64, cpu: u32) -> abi::Task {
    abi::Task {
        header: abi::Task::header(now, cpu as u16, 0),
        tid: task.pid(),
        tgid: task.tgid(),
        parent: task.parent_tgid(),
        event,
        policy: task.policy() as u16,
        start_ns: task.start_time(),
        static_prio: task.static_prio(),
        reserved: 0,
        comm: task.comm(),
    }
}

/// Writes the record of the beginning of tracking, and remembers whether it went into a ring: the task iterator says
/// it again where it did not.
#[inline(always)]
pub fn tell<A: Access>(task: Task<A>, state: &mut TaskState, event: u16, now: u64, cpu: u32) {
    if sums::on() {
        return;
    }
    if emit(Path::Cold, cpu, new(task, event, now, cpu)) {
        state.life_told = 1;
    }
}
