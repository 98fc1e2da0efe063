//! Why a thread was migrated: a pure classification of what `sched_migrate_task` sees.

/// Why a thread moved from one CPU's queue to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Cause {
    /// The wakeup placed it on another CPU (`select_task_rq` in `try_to_wake_up` or at fork).
    Wakeup = 0,
    /// Load balancing pulled or pushed it while it was queued.
    LoadBalance = 1,
    /// The CPU's stopper moved it: active balance, or a change of its allowed CPUs.
    ActiveBalanceOrAffinity = 2,
    /// Automatic NUMA balancing moved or swapped it.
    NumaBalancing = 3,
    /// Its CPU was being taken offline.
    Hotplug = 4,
    /// None of these.
    Other = 5,
}

impl Cause {
    /// Every cause, in the order of its number.
    pub const ALL: [Cause; 6] = [
        Cause::Wakeup,
        Cause::LoadBalance,
        Cause::ActiveBalanceOrAffinity,
        Cause::NumaBalancing,
        Cause::Hotplug,
        Cause::Other,
    ];

    /// The cause with this number; an unknown number is [`Cause::Other`].
    #[inline(always)]
    pub const fn from_number(number: u16) -> Cause {
        match number {
            0 => Cause::Wakeup,
            1 => Cause::LoadBalance,
            2 => Cause::ActiveBalanceOrAffinity,
            3 => Cause::NumaBalancing,
            4 => Cause::Hotplug,
            _ => Cause::Other,
        }
    }
}

/// `TASK_WAKING`: set by `try_to_wake_up` while it chooses a CPU.
const TASK_WAKING: u32 = 0x200;
/// `TASK_NEW`: a forked thread that has not been woken yet.
const TASK_NEW: u32 = 0x800;
/// `TASK_ON_RQ_MIGRATING`.
const ON_RQ_MIGRATING: u32 = 2;

/// What the probe saw at `sched_migrate_task`.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// `task_struct.__state`.
    pub state: u32,
    /// `task_struct.on_rq`.
    pub on_rq: u32,
    /// The current task is a stopper, `migration/N`.
    pub by_stopper: bool,
    /// `sched_move_numa` or `sched_swap_numa` named this task just before.
    pub numa: bool,
    /// The queue it leaves belongs to a CPU that is going offline (`rq->online == 0`).
    pub leaving_offline: bool,
}

/// Classifies one migration. The patterns were measured on 6.1, 6.12 and 6.18; `state` and `on_rq` are what
/// `try_to_wake_up`, `detach_task` and `move_queued_task` set before `set_task_cpu` (kernel/sched/core.c, fair.c).
#[inline(always)]
pub fn classify(seen: Seen) -> Cause {
    if seen.numa {
        Cause::NumaBalancing
    } else if seen.leaving_offline {
        Cause::Hotplug
    } else if seen.state == TASK_WAKING || seen.state == TASK_NEW {
        Cause::Wakeup
    } else if seen.by_stopper {
        Cause::ActiveBalanceOrAffinity
    } else if seen.on_rq == ON_RQ_MIGRATING {
        Cause::LoadBalance
    } else {
        Cause::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUED: Seen =
        Seen { state: 0, on_rq: ON_RQ_MIGRATING, by_stopper: false, numa: false, leaving_offline: false };

    #[test]
    fn patterns_are_told_apart() {
        let table = [
            (Seen { state: 0x200, on_rq: 0, ..QUEUED }, Cause::Wakeup),
            (Seen { state: 0x800, on_rq: 0, ..QUEUED }, Cause::Wakeup),
            (QUEUED, Cause::LoadBalance),
            (Seen { by_stopper: true, ..QUEUED }, Cause::ActiveBalanceOrAffinity),
            (Seen { by_stopper: true, numa: true, ..QUEUED }, Cause::NumaBalancing),
            (Seen { by_stopper: true, leaving_offline: true, ..QUEUED }, Cause::Hotplug),
            (Seen { on_rq: 1, ..QUEUED }, Cause::Other),
        ];
        for (seen, expected) in table {
            assert_eq!(classify(seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn numbers_round_trip() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_number(cause as u16), cause);
        }
        assert_eq!(Cause::from_number(99), Cause::Other);
    }
}
