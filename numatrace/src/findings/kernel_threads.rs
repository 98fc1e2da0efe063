//! Threads that are no program which could be moved: the kernel's own, and ours. They are told by their names, as `ps` shows
//! them; who takes such a name is at most not asked to move.

/// What such a thread is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Interrupts' later part.
    Softirq,
    /// Handlers of interrupts.
    Irq,
    /// Moves threads between CPUs.
    Stopper,
    /// Makes memory free.
    Reclaim,
    /// Read-copy-update.
    Rcu,
    /// Work that others of the kernel left for later.
    Worker,
    /// This program.
    Ours,
}

impl Kind {
    /// What its time says, and what to do.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Kind::Softirq => {
                "ksoftirqd runs where interrupts leave more work than fits between two threads, mostly packets: spread the queues of the network card over CPUs that the target does not use (RSS, RPS, /proc/irq/N/smp_affinity)."
            }
            Kind::Irq => "irq/ threads handle interrupts: /proc/irq/N/smp_affinity says on which CPUs they do.",
            Kind::Stopper => {
                "migration/ threads move running threads between CPUs: see what makes them move (load balancing, changed affinities)."
            }
            Kind::Reclaim => {
                "kswapd, kcompactd and khugepaged run because memory is short or in pieces: see how much is free on each node."
            }
            Kind::Rcu => {
                "RCU threads run callbacks that other work left behind: the boot option rcu_nocbs= keeps them off some CPUs."
            }
            Kind::Worker => {
                "kworker threads do what the kernel puts off, such as writing to disks: /sys/devices/virtual/workqueue/cpumask says on which CPUs most of them may."
            }
            Kind::Ours => {
                "numatrace itself took some of it: a narrower target, --no-wakers or --page-source off makes tracing cheaper."
            }
        }
    }
}

/// Which kind a name is of; `None` for a program.
pub(super) fn kind(comm: &str) -> Option<Kind> {
    let begins = |all: &[&str]| all.iter().any(|name| comm.starts_with(name));
    if begins(&["ksoftirqd/", "napi/"]) {
        Some(Kind::Softirq)
    } else if begins(&["irq/"]) {
        Some(Kind::Irq)
    } else if begins(&["migration/", "cpuhp/", "idle_inject/"]) {
        Some(Kind::Stopper)
    } else if begins(&["kswapd", "kcompactd", "khugepaged", "ksmd", "oom_reaper"]) {
        Some(Kind::Reclaim)
    } else if begins(&["rcu_", "rcuc/", "rcub/", "rcuo", "rcug"]) {
        Some(Kind::Rcu)
    } else if begins(&[
        "kworker",
        "kthreadd",
        "kblockd",
        "kdevtmpfs",
        "kauditd",
        "jbd2/",
        "md",
        "xfs",
        "nvme",
        "loop",
        "watchdog/",
    ]) && is_of_kernel(comm)
    {
        Some(Kind::Worker)
    } else if begins(&["numatrace"]) {
        Some(Kind::Ours)
    } else {
        None
    }
}

/// `md0_raid1`, `loop3`, `xfs-buf/sda1`, `nvme-wq`, not `mdadm` or `looper`.
fn is_of_kernel(comm: &str) -> bool {
    let rest = comm.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let digits = rest.starts_with(|c: char| c.is_ascii_digit() || c == '/' || c == '-');
    digits || ["kworker", "kthreadd", "kblockd", "kdevtmpfs", "kauditd"].iter().any(|name| comm.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_threads_are_told_from_programs() {
        for (comm, wanted) in [
            ("ksoftirqd/3", Some(Kind::Softirq)),
            ("irq/24-eth0", Some(Kind::Irq)),
            ("migration/11", Some(Kind::Stopper)),
            ("kswapd0", Some(Kind::Reclaim)),
            ("rcu_preempt", Some(Kind::Rcu)),
            ("kworker/u64:2", Some(Kind::Worker)),
            ("md0_raid1", Some(Kind::Worker)),
            ("loop3", Some(Kind::Worker)),
            ("numatrace-drain", Some(Kind::Ours)),
            ("mdadm", None),
            ("looper", None),
            ("redis-server", None),
            ("", None),
        ] {
            assert_eq!(kind(comm), wanted, "{comm}");
        }
    }
}
