//! What is counted for a thread: sums over its turns, where it ran, who woke it, who ran while it waited, how it
//! moved. Whatever is here is added up over threads, and outlives a thread that is evicted.

use numatrace_common::abi::{NO_TID, Slice, Totals, slice_flags};

use super::latency::WaitKind;
use super::pages::Touched;
use super::residency::Residency;
use super::topk::TopK;
use crate::snapshot::{Behind, PreemptedBy};
use crate::topology::Level;

/// Sums over turns that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) cpu_ns: u64,
    pub(super) blocked_ns: u64,
    pub(super) wakeup_ns: u64,
    pub(super) wakeup_count: u64,
    pub(super) preempted_ns: u64,
    pub(super) preempted_count: u64,
    pub(super) voluntary: u64,
    pub(super) involuntary: u64,
    /// Waits that tracking did not see the end of: in no latency.
    pub(super) cut_wait_ns: u64,
    /// Part of all waits that a CPU quota caused.
    pub(super) throttled_ns: u64,
    /// Of that, of waits that are in no latency.
    pub(super) cut_throttled_ns: u64,
}

impl Sums {
    #[inline]
    pub(super) fn of_turn(turn: &Slice, blocked_ns: u64) -> Sums {
        let mut sums = Sums { cpu_ns: turn.slice_ns, blocked_ns, ..Sums::default() };
        match WaitKind::of(turn.flags) {
            None => {}
            Some(WaitKind::Wakeup) => (sums.wakeup_ns, sums.wakeup_count) = (turn.wait_ns, 1),
            Some(WaitKind::Preempted) => (sums.preempted_ns, sums.preempted_count) = (turn.wait_ns, 1),
        }
        sums.throttled_ns = slice_flags::throttled_ns(turn.flags, turn.wait_ns);
        if turn.flags & slice_flags::OUT_VOLUNTARY != 0 {
            sums.voluntary = 1;
        } else {
            sums.involuntary = 1;
        }
        sums
    }

    pub(super) fn of_totals(totals: &Totals) -> Sums {
        Sums {
            cpu_ns: totals.cpu_ns,
            blocked_ns: totals.blocked_ns,
            wakeup_ns: totals.wakeup_ns,
            wakeup_count: totals.wakeup_count,
            preempted_ns: totals.preempted_ns,
            preempted_count: totals.preempted_count,
            voluntary: totals.voluntary,
            involuntary: totals.involuntary,
            cut_wait_ns: 0,
            throttled_ns: 0,
            cut_throttled_ns: 0,
        }
    }

    /// Adds field by field; hostile numbers saturate.
    #[inline]
    pub(super) fn add(&mut self, other: &Sums) {
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.blocked_ns = self.blocked_ns.saturating_add(other.blocked_ns);
        self.wakeup_ns = self.wakeup_ns.saturating_add(other.wakeup_ns);
        self.wakeup_count = self.wakeup_count.saturating_add(other.wakeup_count);
        self.preempted_ns = self.preempted_ns.saturating_add(other.preempted_ns);
        self.preempted_count = self.preempted_count.saturating_add(other.preempted_count);
        self.voluntary = self.voluntary.saturating_add(other.voluntary);
        self.involuntary = self.involuntary.saturating_add(other.involuntary);
        self.cut_wait_ns = self.cut_wait_ns.saturating_add(other.cut_wait_ns);
        self.throttled_ns = self.throttled_ns.saturating_add(other.throttled_ns);
        self.cut_throttled_ns = self.cut_throttled_ns.saturating_add(other.cut_throttled_ns);
    }

    /// Takes off field by field; what would be less than nothing is nothing.
    pub(super) const fn less(&self, other: &Sums) -> Sums {
        Sums {
            cpu_ns: self.cpu_ns.saturating_sub(other.cpu_ns),
            blocked_ns: self.blocked_ns.saturating_sub(other.blocked_ns),
            wakeup_ns: self.wakeup_ns.saturating_sub(other.wakeup_ns),
            wakeup_count: self.wakeup_count.saturating_sub(other.wakeup_count),
            preempted_ns: self.preempted_ns.saturating_sub(other.preempted_ns),
            preempted_count: self.preempted_count.saturating_sub(other.preempted_count),
            voluntary: self.voluntary.saturating_sub(other.voluntary),
            involuntary: self.involuntary.saturating_sub(other.involuntary),
            cut_wait_ns: self.cut_wait_ns.saturating_sub(other.cut_wait_ns),
            throttled_ns: self.throttled_ns.saturating_sub(other.throttled_ns),
            cut_throttled_ns: self.cut_throttled_ns.saturating_sub(other.cut_throttled_ns),
        }
    }

    /// Run-queue latency of both kinds.
    pub(super) const fn latency_ns(&self) -> u64 {
        self.wakeup_ns.saturating_add(self.preempted_ns)
    }
}

/// Everything that is summed over threads when one is evicted.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    pub(super) sums: Sums,
    pub(super) residency: Residency,
    /// Weight and count are both the number of wakeups.
    pub(super) wakers: TopK,
    /// Weight is the wait attributed to each.
    pub(super) culprits: TopK,
    pub(super) node_moves: u64,
    /// By [`Level`].
    pub(super) levels: [u64; 4],
    /// By number of [`numatrace_common::cause::Cause`].
    pub(super) causes: [u64; 6],
    /// Migrations that the kernel side counted, those without a record included.
    pub(super) migrations: u64,
    /// Impossible transitions: something was not seen.
    pub(super) unseen: u64,
    /// Time waited while threads of the same process ran, and others.
    pub(super) behind: Behind,
    /// Waits after preemption by who took the CPU.
    pub(super) preempted_by: PreemptedBy,
    /// Page touches; apart, since most threads have few kinds of them or none.
    pub(super) touched: Option<Box<Touched>>,
}

/// The CPUs of the machine by number: their nodes, so that the hot path makes one load, and the time that all threads together spent on
/// each.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpus {
    node_of: Vec<Option<u16>>,
    nodes: usize,
    spent_ns: Vec<u64>,
}

impl Cpus {
    /// CPUs with the positions of their nodes, and how many nodes there are.
    pub(super) fn new(node_of: Vec<Option<u16>>, nodes: usize) -> Cpus {
        Cpus { nodes, spent_ns: vec![0; node_of.len()], node_of }
    }

    /// Position of a CPU's node; `None` where it is not known.
    #[inline]
    pub(super) fn node(&self, cpu: u16) -> Option<u16> {
        self.node_of.get(usize::from(cpu)).copied().flatten()
    }

    /// The machine has such a CPU.
    #[inline]
    pub(super) fn has(&self, cpu: u16) -> bool {
        usize::from(cpu) < self.node_of.len()
    }

    /// How many nodes there are.
    pub(super) const fn node_count(&self) -> usize {
        self.nodes
    }

    /// A thread was on a CPU.
    #[inline]
    fn spend(&mut self, cpu: u16, ns: u64) {
        if let Some(sum) = self.spent_ns.get_mut(usize::from(cpu)) {
            *sum = sum.saturating_add(ns);
        }
    }

    /// `(cpu, ns)` of all threads together, those that are gone included, in order of CPU; those on which none ran are left out.
    pub(super) fn spent(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        (0..=u16::MAX).zip(self.spent_ns.iter().copied()).filter(|(_, ns)| *ns > 0)
    }
}

impl Numbers {
    /// Adds what only records tell, of a turn that stands for `times` ones: where it ran, who woke it and who ran while it
    /// waited.
    #[inline]
    pub(super) fn spread(&mut self, turn: &Slice, machine: &mut Cpus, times: u64) {
        let (cpu, before) = (turn.header.cpu, turn.header.cpu2);
        self.ran(cpu, turn.slice_ns.saturating_mul(times), machine);
        if cpu != before
            && let (Some(node), Some(node_before)) = (machine.node(cpu), machine.node(before))
        {
            self.node_moves += u64::from(node != node_before) * times;
        }
        if turn.waker != NO_TID {
            self.wakers.add(turn.waker, times, times);
        }
        if WaitKind::of(turn.flags).is_some() {
            self.blame(turn, times);
        }
    }

    /// Adds time on a CPU; on one that the machine does not have it is nowhere.
    #[inline]
    pub(super) fn ran(&mut self, cpu: u16, ns: u64, machine: &mut Cpus) {
        if machine.has(cpu) {
            machine.spend(cpu, ns);
            self.residency.add(cpu, ns, machine);
        }
    }

    /// Names who ran while it waited, as far as two samples can tell: `prev`, the thread before it on the CPU, ran
    /// for the last `prev_ran` of the wait; what is left went to `holder`, which held the CPU when the wait began.
    /// Others that ran between those two are not seen; their time is counted to `holder`, or to `prev` where the
    /// holder is not known or the same. Idle time and the thread itself are nobody's fault and are left out, and so is
    /// the part of the wait that a CPU quota caused.
    #[inline]
    fn blame(&mut self, turn: &Slice, times: u64) {
        let named = |tid: u32| tid != NO_TID && tid != turn.tid;
        let throttled_ns = slice_flags::throttled_ns(turn.flags, turn.wait_ns);
        let waited_ns = turn.wait_ns.saturating_sub(throttled_ns);
        let last = waited_ns.min(u64::from(turn.prev_ran) << 10);
        let (mut prev_part, mut holder_part) = (0, 0);
        if named(turn.prev) {
            prev_part = last;
        }
        let rest = waited_ns - if named(turn.prev) { last } else { 0 };
        if named(turn.holder) && turn.holder != turn.prev {
            holder_part = rest;
        } else if named(turn.prev) {
            prev_part += rest;
        }
        if turn.prev != 0 && prev_part > 0 {
            let part = prev_part.saturating_mul(times);
            self.culprits.add(turn.prev, part, times);
            self.behind(turn.flags & slice_flags::PREV_OWN != 0, part);
        }
        if turn.holder != 0 && holder_part > 0 {
            let part = holder_part.saturating_mul(times);
            self.culprits.add(turn.holder, part, times);
            self.behind(turn.flags & slice_flags::HOLDER_OWN != 0, part);
        }
        if WaitKind::of(turn.flags) == Some(WaitKind::Preempted)
            && named(turn.holder)
            && turn.holder != 0
            && throttled_ns <= waited_ns
        {
            let own = turn.flags & slice_flags::HOLDER_OWN != 0;
            let waits = if own { &mut self.preempted_by.own } else { &mut self.preempted_by.others };
            waits.count = waits.count.saturating_add(times);
            waits.total_ns = waits.total_ns.saturating_add(turn.wait_ns.saturating_mul(times));
        }
    }

    #[inline]
    const fn behind(&mut self, own: bool, ns: u64) {
        let sum = if own { &mut self.behind.own_ns } else { &mut self.behind.others_ns };
        *sum = sum.saturating_add(ns);
    }

    /// Adds a migration. Without a level it is known by number only.
    pub(super) fn classify(&mut self, level: Option<Level>, cause: u16) {
        let Some(level) = level else { return };
        let at = match level {
            Level::Smt => 0,
            Level::Llc => 1,
            Level::Node => 2,
            Level::CrossNode => 3,
        };
        self.levels[at] += 1;
        self.causes[usize::from(cause).min(self.causes.len() - 1)] += 1;
    }

    /// Adds everything but time by CPU to another one.
    pub(super) fn merge_into(&self, other: &mut Numbers) {
        self.add_counts_to(other);
        self.wakers.merge_into(&mut other.wakers);
        self.culprits.merge_into(&mut other.culprits);
    }

    /// Adds everything but wakers, culprits and time by CPU to another one.
    pub(super) fn add_counts_to(&self, other: &mut Numbers) {
        other.sums.add(&self.sums);
        self.residency.add_nodes_to(&mut other.residency);
        other.node_moves = other.node_moves.saturating_add(self.node_moves);
        other.migrations = other.migrations.saturating_add(self.migrations);
        other.unseen = other.unseen.saturating_add(self.unseen);
        for own in [true, false] {
            other.behind(own, if own { self.behind.own_ns } else { self.behind.others_ns });
        }
        for (theirs, mine) in [
            (&mut other.preempted_by.own, self.preempted_by.own),
            (&mut other.preempted_by.others, self.preempted_by.others),
        ] {
            theirs.count = theirs.count.saturating_add(mine.count);
            theirs.total_ns = theirs.total_ns.saturating_add(mine.total_ns);
        }
        if let Some(touched) = &self.touched {
            touched.add_to(other.touched.get_or_insert_default());
        }
        for (mine, theirs) in other.levels.iter_mut().zip(self.levels) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in other.causes.iter_mut().zip(self.causes) {
            *mine = mine.saturating_add(theirs);
        }
    }
}
