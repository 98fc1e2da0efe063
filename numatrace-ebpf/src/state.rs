//! Per-thread state: task storage for `tp_btf` programs, a hash keyed by the task's address for `raw_tp` ones.
//!
//! Hot hooks only look up. State is created where allocating is safe: at fork, at exec and by the task iterator,
//! never under the run-queue lock. The number of tracked threads is bounded by `Config::max_tasks`.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_LOCAL_STORAGE_GET_F_CREATE, task_struct},
    helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get},
    macros::{btf_map, map},
    maps::HashMap,
};
use numatrace_common::{
    config::hints,
    sums::Counted,
    wait::{TaskState, phase},
};

use crate::{
    kernel::{Access, Task, config},
    shared, sums,
};

/// `BPF_MAP_TYPE_TASK_STORAGE`, `BPF_F_NO_PREALLOC`: a definition by hand, in the layout of a BTF map.
#[repr(C)]
struct TaskStorage<T: 'static> {
    r#type: *const [i32; 29],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; 1],
}

// SAFETY: never read or written as memory; only its address is passed to helpers.
unsafe impl<T> Sync for TaskStorage<T> {}

#[btf_map]
static TASKS: TaskStorage<TaskState> = TaskStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// States with sums, where the probes count instead of writing records.
#[btf_map]
static COUNTED: TaskStorage<Counted> = TaskStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// The same as [`TASKS`] for `raw_tp` programs; the loader sizes it, to one entry where it is not used.
#[map]
static RAW_TASKS: HashMap<u64, TaskState> = HashMap::with_max_entries(1, 0);

#[inline(always)]
fn storage_get(ptr: *const u8, initial: *mut TaskState, flags: u64) -> *mut TaskState {
    // SAFETY: the verifier checks that `ptr` is a task, and `initial` null or a whole state.
    unsafe {
        bpf_task_storage_get(
            (&raw const TASKS).cast_mut().cast(),
            ptr.cast_mut().cast::<task_struct>(),
            initial.cast(),
            flags,
        )
        .cast::<TaskState>()
    }
}

/// As [`storage_get`], of [`COUNTED`]; a new one is all zeroes.
#[inline(always)]
fn counted_get(ptr: *const u8, flags: u64) -> *mut TaskState {
    // SAFETY: the verifier checks that `ptr` is a task. The state is the first member.
    unsafe {
        bpf_task_storage_get(
            (&raw const COUNTED).cast_mut().cast(),
            ptr.cast_mut().cast::<task_struct>(),
            ptr::null_mut(),
            flags,
        )
        .cast::<TaskState>()
    }
}

/// The state of a target; nothing for any other thread.
#[inline(always)]
pub fn lookup<A: Access>(task: Task<A>) -> Option<&'static mut TaskState> {
    let state = if A::BTF {
        if task.has_no_storage() {
            return None;
        }
        if sums::on() { counted_get(task.ptr(), 0) } else { storage_get(task.ptr(), ptr::null_mut(), 0) }
    } else {
        RAW_TASKS.get_ptr_mut(&(task.ptr() as u64))?
    };
    // SAFETY: null, or the value of this task, which lives until the program ends. Other CPUs can write to it
    // only as wait.rs allows.
    unsafe { state.as_mut() }
}

/// Begins to track a thread that is in `phase` since `since`. Cold paths only: it allocates.
#[inline(always)]
pub fn create<A: Access>(task: Task<A>, phase: u16, since: u64) -> Option<&'static mut TaskState> {
    if let Some(known) = lookup(task) {
        // The iterator can meet a thread before its birth is told here.
        return Some(known);
    }
    // Two CPUs can pass this at once: the limit can be exceeded by the number of CPUs.
    if shared::tracked() >= u64::from(config!(max_tasks)) {
        shared::count_refused_task();
        return None;
    }
    if A::BTF && sums::on() {
        return create_counted(task, phase, since);
    }
    // Whole before anybody sees it: a hook on another CPU can come as soon as it is there.
    let mut initial = TaskState::EMPTY;
    fill(task, &mut initial, phase, since);
    let state = if A::BTF {
        storage_get(task.ptr(), &raw mut initial, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    } else {
        let key = task.ptr() as u64;
        if RAW_TASKS.insert(&key, &initial, 0).is_ok() {
            RAW_TASKS.get_ptr_mut(&key).unwrap_or(ptr::null_mut())
        } else {
            ptr::null_mut()
        }
    };
    // SAFETY: as in `lookup`.
    created(task, unsafe { state.as_mut() })
}

/// One with sums is too large for the stack: it is all zeroes first, which is a state that hooks can meet.
#[inline(always)]
fn create_counted<A: Access>(task: Task<A>, phase: u16, since: u64) -> Option<&'static mut TaskState> {
    // SAFETY: null, or the value of this task.
    let state = unsafe { counted_get(task.ptr(), u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE)).as_mut() };
    if let Some(state) = state {
        fill(task, state, phase, since);
        sums::begin(task, state);
        return created(task, Some(state));
    }
    created(task, None)
}

/// What is known of a thread that is in `phase` since `since`, into an empty state.
#[inline(always)]
fn fill<A: Access>(task: Task<A>, state: &mut TaskState, phase: u16, since: u64) {
    state.tid = task.pid();
    state.tgid = task.tgid();
    state.nvcsw = task.nvcsw().unwrap_or(0);
    if config!(hints) == hints::DELTAS {
        state.locality = task.numa_faults_locality().unwrap_or([0; 2]);
    }
    state.seed(phase, since, task.cpu() as u16);
    if phase == phase::QUEUED {
        // What a quota stopped it from here on; before, nothing is known.
        let stopped = task.stopped_from_now();
        state.stopped_queue = stopped.queue;
        state.stopped_before = stopped.ns;
    }
}

#[inline(always)]
fn created<A: Access>(task: Task<A>, state: Option<&'static mut TaskState>) -> Option<&'static mut TaskState> {
    let Some(state) = state else {
        shared::count_refused_task();
        return None;
    };
    shared::count_tracked();
    if task.exit_state() != 0 && state.phase != phase::UNKNOWN {
        // It died meanwhile, and its last switch may have passed unseen.
        remove(task);
        return None;
    }
    Some(state)
}

/// Stops tracking a thread that lives on. Cold paths only.
#[inline(always)]
pub fn remove<A: Access>(task: Task<A>) {
    shared::count_untracked();
    if A::BTF {
        let ptr = task.ptr().cast_mut().cast::<task_struct>();
        // SAFETY: the verifier checks that this is a task.
        unsafe {
            if sums::on() {
                bpf_task_storage_delete((&raw const COUNTED).cast_mut().cast(), ptr);
            } else {
                bpf_task_storage_delete((&raw const TASKS).cast_mut().cast(), ptr);
            }
        };
    } else {
        let _ = RAW_TASKS.remove(&(task.ptr() as u64));
    }
}

/// A thread is dead. Its task storage goes with the task itself.
#[inline(always)]
pub fn forget_dead<A: Access>(task: Task<A>, state: &mut TaskState) {
    state.phase = phase::UNKNOWN;
    shared::count_untracked();
    if !A::BTF {
        let _ = RAW_TASKS.remove(&(task.ptr() as u64));
    }
}
