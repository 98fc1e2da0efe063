//! Builds the record of a thread's life from its `task_struct`.

use numatrace_common::abi;

use crate::kernel::{Access, Task};

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
