//! What each column counts, from which hook, and how far that goes: the help's long answers. docs/metrics.md has the whole of it.

use super::layout::Column;
use crate::snapshot::sources;

/// One column, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What it counts.
    pub counts: &'static str,
    /// The hooks that it comes from, as the list of sources names them where it has them.
    pub from: &'static str,
    /// What it does not tell, or how far it can be off.
    pub limits: &'static str,
    /// Sources of which one must be on, else the column is empty; none where it comes from the scheduler's hooks alone.
    pub sources: &'static [&'static str],
}

const fn of_scheduler(counts: &'static str, from: &'static str, limits: &'static str) -> Explained {
    Explained { counts, from, limits, sources: &[] }
}

const SWITCH: &str = "sched_switch";
const WAITS: &str = "sched_wakeup, sched_wakeup_new and sched_switch";
const PERCENTILES: &str = "Waits count when the turn that they led to ends; one that is open is in `waiting`. Too high by 6% at most, never too low.";

/// The long answer for a column.
pub const fn explain(column: Column) -> Explained {
    match column {
        Column::Tid => of_scheduler(
            "The thread's id, as the pid namespace that numatrace runs in has it; of a group how many threads it has.",
            "every record",
            "An id is used again after its thread ended; rows are kept apart by when threads began.",
        ),
        Column::Name => of_scheduler(
            "The name that the thread gave itself (comm), 15 bytes at most.",
            "sched_switch, and task_newtask and task_rename where threads begin and change names",
            "Threads inherit the name of the thread that started them until they change it.",
        ),
        Column::State => of_scheduler(
            "What it was doing at the tick: running, waiting for a CPU, blocked (sleeping, I/O, locks, stopped), or exited.",
            WAITS,
            "At one moment, not over the interval. `-` until something of it was seen.",
        ),
        Column::Cpu => of_scheduler(
            "Time on a CPU by the clock, of the stretch that rates are over; 100% is one CPU.",
            SWITCH,
            "Interrupts on its CPU and time that a hypervisor took are in it.",
        ),
        Column::P50 => of_scheduler(
            "Run-queue latency, from runnable to on a CPU: half of its waits were at most so long.",
            WAITS,
            PERCENTILES,
        ),
        Column::P99 => of_scheduler(
            "Run-queue latency, from runnable to on a CPU: 99 of 100 waits were at most so long.",
            WAITS,
            PERCENTILES,
        ),
        Column::Max => of_scheduler(
            "The longest run-queue latency.",
            WAITS,
            "Exact since the start; in a shorter window the upper edge of its bucket.",
        ),
        Column::Wait => of_scheduler(
            "Time waiting for a CPU / (running + waiting + blocked): the share of its own traced life.",
            WAITS,
            "Throttling by a cgroup's quota is in it; `throttled` has it alone, where it is measured.",
        ),
        Column::Voluntary => of_scheduler(
            "Switches away because it slept or waited for something, a second.",
            SWITCH,
            "As the kernel counts voluntary_ctxt_switches.",
        ),
        Column::Involuntary => of_scheduler(
            "Switches away while it could have run on, a second: preempted, time slice over, sched_yield.",
            SWITCH,
            "As the kernel counts nonvoluntary_ctxt_switches.",
        ),
        Column::Migrations => of_scheduler(
            "Moves to another CPU a second, of every level: SMT sibling, cache, node, other node.",
            "sched_migrate_task",
            "Told before the move; the first placement of a new thread is none. Thread detail has levels and causes.",
        ),
        Column::CrossNode => of_scheduler(
            "Moves to a CPU of another node a second.",
            "sched_migrate_task",
            "By the topology as it was when tracing began.",
        ),
        Column::NodeMoves => of_scheduler(
            "Turns on another node than the turn before. Two moves there and back while it waits are none.",
            SWITCH,
            "From records: too low where some were lost.",
        ),
        Column::Touches => Explained {
            counts: "Page touches a second, the zero page included: faults that end with a page mapped, not accesses.",
            from: "the end of page faults (perf:page-faults)",
            limits: "A thread that uses remote memory all the time touches it once. mlock and MAP_POPULATE map without a fault.",
            sources: &sources::TOUCHES,
        },
        Column::Remote => Explained {
            counts: "Remote / (local + remote) page touches: of those whose page's node is known, on another node than the CPU.",
            from: "the end of page faults (perf:page-faults)",
            limits: "Where memory is placed at first use, not who uses it later: hint faults in Thread detail sample that.",
            sources: &sources::TOUCHES,
        },
        Column::WaitingNow => of_scheduler(
            "How long it has been waiting for a CPU, where it is waiting at the tick.",
            WAITS,
            "`-` where it does not wait.",
        ),
        Column::Running => of_scheduler("Time on a CPU.", SWITCH, "The turn that goes on is in it."),
        Column::Waited => of_scheduler(
            "Time runnable and not on a CPU.",
            WAITS,
            "The wait that goes on is in it; throttling by a cgroup's quota, too.",
        ),
        Column::Blocked => {
            of_scheduler("Time not runnable: sleep, I/O, locks, stopped.", WAITS, "Why it slept is not told.")
        }
        Column::Residency => of_scheduler(
            "Where it ran: share of its time on CPUs of each node, by the kernel's numbers of the nodes.",
            SWITCH,
            "From records: too low where some were lost.",
        ),
        Column::Pid => {
            of_scheduler("The process that the thread is of.", "every record", "The id of its first thread.")
        }
        Column::P90 => of_scheduler(
            "Run-queue latency, from runnable to on a CPU: 90 of 100 waits were at most so long.",
            WAITS,
            PERCENTILES,
        ),
        Column::P999 => of_scheduler(
            "Run-queue latency, from runnable to on a CPU: 999 of 1,000 waits were at most so long.",
            WAITS,
            PERCENTILES,
        ),
        Column::WakeupP99 => of_scheduler(
            "Run-queue latency of the waits that began with a wakeup: 99 of 100 were at most so long.",
            WAITS,
            PERCENTILES,
        ),
        Column::PreemptedP99 => of_scheduler(
            "Run-queue latency of the waits that began on a CPU that was taken away: 99 of 100 were at most so long.",
            SWITCH,
            PERCENTILES,
        ),
        Column::Waits => of_scheduler(
            "Waits for a CPU a second, after wakeups and after preemption.",
            WAITS,
            "A wait counts when the turn that it led to ends.",
        ),
        Column::LastCpu => {
            of_scheduler("The CPU of its current or last turn.", SWITCH, "At the tick; of a group none.")
        }
        Column::Node => of_scheduler(
            "The node of the CPU of its current or last turn.",
            SWITCH,
            "At the tick; of a group none. By the topology as it was when tracing began.",
        ),
        Column::HintFaults => Explained {
            counts: "NUMA hint faults a second: samples that automatic NUMA balancing takes of who uses what.",
            from: "task_numa_fault",
            limits: "The kernel takes samples at its own pace: compare shares, not numbers over time.",
            sources: &sources::HINT_FAULTS,
        },
        Column::HintRemote => Explained {
            counts: "Remote / all NUMA hint faults: of the accesses that were sampled, those from another node than the page's.",
            from: "task_numa_fault",
            limits: "Samples of memory in use. `-` where there were none.",
            sources: &sources::HINT_FAULTS,
        },
        Column::PagesMoved => Explained {
            counts: "Pages that automatic NUMA balancing moved in the thread's hint faults.",
            from: "mm_migrate_pages",
            limits: "Base pages, as numa_pages_migrated in /proc/vmstat. Moves by others, such as migratepages, are not in it.",
            sources: &sources::MIGRATED,
        },
        Column::Expected => Explained {
            counts: "The remote share if the thread accessed all resident pages of its process alike.",
            from: "sched_switch (where it ran) and /proc/PID/pagemap (where pages lie)",
            limits: "An estimate, not a measurement. As old as the scan of its process.",
            sources: &sources::PLACEMENT,
        },
        Column::Cost => Explained {
            counts: "Mean distance from the CPU's node to the page's over its page touches, / 10: 1.00 is all local.",
            from: "the end of page faults (perf:page-faults), and the firmware's distances",
            limits: "Distances are what the firmware says, not measured latencies.",
            sources: &sources::TOUCHES,
        },
        Column::Policy => of_scheduler(
            "Scheduling policy, with its priority where that is a real-time one.",
            "sched_getattr, asked at each tick",
            "Of 256 threads a tick in turn; `-` until asked. Changes between two ticks are not seen.",
        ),
        Column::Nice => of_scheduler(
            "Nice value.",
            "sched_getattr, asked at each tick",
            "`-` for policies in which it has no effect, and until asked.",
        ),
        Column::Allowed => of_scheduler(
            "CPUs that it may use.",
            "sched_getaffinity, asked at each tick",
            "CPUs that are offline are left out.",
        ),
        Column::Cgroup => of_scheduler(
            "The cgroup that holds its CPU quota.",
            "/proc/PID/task/TID/cgroup, read at each tick",
            "Of 64 threads a tick in turn; threads that live for less than an interval have none.",
        ),
        Column::Container => of_scheduler(
            "The container that its cgroup belongs to: POD/NAME, the name, or the beginning of its id.",
            "/proc/PID/task/TID/cgroup, names from files of the kubelet and of runtimes",
            "Of Docker, containerd, CRI-O and Podman; docs/containers.md. A name is looked for once, and again after a minute.",
        ),
        Column::Throttled => Explained {
            counts: "Time that a CPU quota kept it waiting / (running + waiting + blocked): a part of `wait`.",
            from: "sched_switch and the run queue of its cgroup (throttled_clock_self_time)",
            limits: "Approximate, and at most the wait, where the kernel has throttled_clock_pelt_time alone: it counts too much.",
            sources: &sources::THROTTLE,
        },
        Column::Strangers => Explained {
            counts: "Time waiting while threads of other processes, or of the kernel, ran / (running + waiting + blocked).",
            from: "sched_switch and rq->curr",
            limits: "Two samples a wait tell who ran: see `behind` in docs/metrics.md. Its own process, idle and throttled are left out.",
            sources: &sources::BEHIND,
        },
    }
}
