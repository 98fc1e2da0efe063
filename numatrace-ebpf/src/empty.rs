//! Programs that do nothing, on the same hooks: the floor that the benchmarks compare with.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

macro_rules! empty {
    ($name:ident, $hook:literal) => {
        #[btf_tracepoint(function = $hook)]
        pub fn $name(_: BtfTracePointContext) -> i32 {
            0
        }
    };
}

empty!(empty_sched_switch, "sched_switch");
empty!(empty_sched_waking, "sched_waking");
empty!(empty_sched_wakeup, "sched_wakeup");
empty!(empty_sched_wakeup_new, "sched_wakeup_new");
empty!(empty_sched_migrate_task, "sched_migrate_task");
