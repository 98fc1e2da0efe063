//! The hooks: what each is for, and what is lost where the kernel does not have it.

/// How a hook's program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// BTF-enabled tracepoints; state in task storage.
    TpBtf,
    /// Raw tracepoints; state in a hash.
    RawTp,
}

impl Flavour {
    /// The kernel's section name, as sources are listed.
    pub const fn name(self) -> &'static str {
        match self {
            Flavour::TpBtf => "tp_btf",
            Flavour::RawTp => "raw_tp",
        }
    }
}

/// One hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The tracepoint.
    pub tracepoint: &'static str,
    /// Nothing works without it.
    pub required: bool,
    /// What is lost without it.
    pub without: &'static str,
    /// It is of use where the probes sum up instead of writing records.
    pub counts: bool,
}

impl Hook {
    /// Name of the program for this hook.
    pub fn program(&self, flavour: Flavour) -> String {
        match flavour {
            Flavour::TpBtf => self.tracepoint.to_owned(),
            Flavour::RawTp => format!("raw_{}", self.tracepoint),
        }
    }
}

const fn required(tracepoint: &'static str, without: &'static str) -> Hook {
    Hook { tracepoint, required: true, without, counts: true }
}

const fn optional(tracepoint: &'static str, without: &'static str) -> Hook {
    Hook { tracepoint, required: false, without, counts: true }
}

/// Of use for records alone.
const fn for_records(tracepoint: &'static str, without: &'static str) -> Hook {
    Hook { tracepoint, required: false, without, counts: false }
}

/// Name of the hook that finds out who wakes whom.
pub const WAKING: &str = "sched_waking";

/// Every hook, in the order in which they are attached: fork last, so that a thread that is tracked from its birth
/// has all others.
pub const HOOKS: [Hook; 10] = [
    required("sched_switch", "no run-queue latency, no time on CPU, no switches"),
    required("sched_wakeup", "no wakeup latency"),
    required("sched_wakeup_new", "no latency of new threads"),
    for_records(WAKING, "who wakes a thread is not known"),
    optional("sched_migrate_task", "no migrations; node moves are still counted"),
    for_records("sched_move_numa", "migrations by NUMA balancing are counted as active balance or affinity"),
    for_records("sched_swap_numa", "swaps by NUMA balancing are counted as active balance or affinity"),
    optional("sched_process_exec", "threads keep their old name after exec until the next tick"),
    for_records("task_rename", "threads keep their first name"),
    required("sched_process_fork", "new threads are found by the task iterator only"),
];

/// Name of the iterator among the sources.
pub const ITERATOR: &str = "iter:task";

/// What is lost without the iterator.
pub const ITERATOR_WITHOUT: &str = "threads that exist already cannot be found";
