//! Threads of one name as one: a snapshot made of a snapshot.

use std::collections::{BTreeMap, HashMap};

use super::{with_percentiles, with_stats, without_threads};
use crate::snapshot::{
    Culprit, Latency, MAX_CULPRITS, MAX_WAKERS, Migrations, RunQueue, Snapshot, Thread, ThreadState, ThreadStats, Waker,
};
use crate::units::Tid;

/// Threads with the same name as one, in place of themselves: sums, the longest open wait, and the id of the first
/// of them. How many each stands for is in `Thread::members`.
pub fn by_name(snapshot: &Snapshot) -> Snapshot {
    let mut groups: BTreeMap<&str, Vec<&Thread>> = BTreeMap::new();
    for thread in &snapshot.threads {
        groups.entry(&thread.comm).or_default().push(thread);
    }
    let mut made = without_threads(snapshot);
    made.totals = snapshot.totals.clone();
    made.threads = groups.into_values().filter_map(|members| group(&members)).collect();
    made.threads.sort_by_key(|thread| thread.tid);
    made
}

fn group(members: &[&Thread]) -> Option<Thread> {
    let first = *members.first()?;
    let mut sum = with_stats(first, sum_of(members));
    sum.members = members.len() as u32;
    (sum.sched, sum.track, sum.cpu, sum.ns_pid) = (None, Vec::new(), None, None);
    sum.exited = members.iter().all(|thread| thread.exited);
    sum.state = members.iter().map(|thread| thread.state).min_by_key(|state| busyness(*state)).unwrap_or_default();
    Some(sum)
}

/// A group does what the member does that needs a CPU most.
const fn busyness(state: ThreadState) -> u8 {
    match state {
        ThreadState::Waiting => 0,
        ThreadState::Running => 1,
        ThreadState::Blocked => 2,
        ThreadState::Unknown => 3,
        ThreadState::Exited => 4,
    }
}

fn sum_of(members: &[&Thread]) -> ThreadStats {
    let mut sum = ThreadStats::default();
    let mut by_cpu: BTreeMap<u32, u64> = BTreeMap::new();
    let mut wakers: HashMap<Tid, Waker> = HashMap::new();
    let mut culprits: HashMap<Tid, Culprit> = HashMap::new();
    for part in members.iter().map(|thread| &thread.stats) {
        sum.cpu_ns += part.cpu_ns;
        sum.wait_ns += part.wait_ns;
        sum.blocked_ns += part.blocked_ns;
        sum.waiting_now_ns = sum.waiting_now_ns.max(part.waiting_now_ns);
        sum.switches.voluntary += part.switches.voluntary;
        sum.switches.involuntary += part.switches.involuntary;
        sum.unseen_events += part.unseen_events;
        add_migrations(&mut sum.migrations, &part.migrations);
        sum.node_moves += part.node_moves;
        sum.residency_ns.resize(sum.residency_ns.len().max(part.residency_ns.len()), 0);
        sum.residency_ns.iter_mut().zip(&part.residency_ns).for_each(|(sum, ns)| *sum += ns);
        part.residency_cpu_ns.iter().for_each(|(cpu, ns)| *by_cpu.entry(*cpu).or_default() += ns);
        for waker in &part.wakers {
            let known = wakers.entry(waker.tid).or_insert_with(|| Waker { count: 0, ..waker.clone() });
            known.count += waker.count;
        }
        for culprit in &part.waited_behind {
            let nothing = || Culprit { total_ns: 0, count: 0, ..culprit.clone() };
            let known = culprits.entry(culprit.tid).or_insert_with(nothing);
            known.total_ns += culprit.total_ns;
            known.count += culprit.count;
        }
    }
    sum.residency_cpu_ns = by_cpu.into_iter().collect();
    sum.wakers = wakers.into_values().collect();
    sum.wakers.sort_by_key(|waker| (std::cmp::Reverse(waker.count), waker.tid));
    sum.wakers.truncate(MAX_WAKERS);
    sum.waited_behind = culprits.into_values().collect();
    sum.waited_behind.sort_by_key(|culprit| (std::cmp::Reverse(culprit.total_ns), culprit.tid));
    sum.waited_behind.truncate(MAX_CULPRITS);
    sum.runq = RunQueue {
        wakeup: all_waits(members, |runq| &runq.wakeup),
        preempted: all_waits(members, |runq| &runq.preempted),
        all: all_waits(members, |runq| &runq.all),
    };
    sum
}

fn all_waits(members: &[&Thread], of: impl Fn(&RunQueue) -> &Latency) -> Latency {
    if let [only] = members {
        return of(&only.stats.runq).clone();
    }
    let mut sum = Latency::default();
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    for part in members.iter().map(|thread| of(&thread.stats.runq)) {
        sum.count += part.count;
        sum.total_ns += part.total_ns;
        sum.max_ns = sum.max_ns.max(part.max_ns);
        part.buckets.iter().for_each(|(edge, count)| *buckets.entry(*edge).or_default() += count);
    }
    sum.buckets = buckets.into_iter().collect();
    with_percentiles(sum)
}

fn add_migrations(sum: &mut Migrations, part: &Migrations) {
    sum.smt += part.smt;
    sum.llc += part.llc;
    sum.node += part.node;
    sum.cross_node += part.cross_node;
    sum.unclassified += part.unclassified;
    let (sum, part) = (&mut sum.causes, &part.causes);
    sum.wakeup += part.wakeup;
    sum.load_balance += part.load_balance;
    sum.active_balance_or_affinity += part.active_balance_or_affinity;
    sum.numa_balancing += part.numa_balancing;
    sum.hotplug += part.hotplug;
    sum.other += part.other;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(buckets: &[(u64, u64)], max_ns: u64) -> Latency {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let total_ns = buckets.iter().map(|(edge, count)| edge * count).sum();
        with_percentiles(Latency { count, total_ns, max_ns, buckets: buckets.to_vec(), ..Latency::default() })
    }

    #[test]
    fn threads_of_one_name_are_one() {
        let thread = |tid, comm: &str, state, latency| Thread {
            tid: Tid(tid),
            comm: comm.into(),
            state,
            stats: ThreadStats {
                cpu_ns: 10,
                residency_ns: vec![4, 6],
                residency_cpu_ns: vec![(tid % 2, 10)],
                runq: RunQueue { all: latency, ..RunQueue::default() },
                ..ThreadStats::default()
            },
            ..Thread::default()
        };
        let group = group(&[
            &thread(7, "io", ThreadState::Blocked, latency(&[(10, 99)], 10)),
            &thread(8, "io", ThreadState::Waiting, latency(&[(1_000, 1)], 900)),
        ]);
        let group = group.expect("two members");
        assert_eq!((group.tid, group.members, group.state), (Tid(7), 2, ThreadState::Waiting));
        assert_eq!((group.stats.cpu_ns, &group.stats.residency_ns), (20, &vec![8, 12]));
        assert_eq!(group.stats.residency_cpu_ns, [(0, 10), (1, 10)]);
        let all = &group.stats.runq.all;
        assert_eq!((all.count, all.p50_ns, all.p99_ns, all.p999_ns, all.max_ns), (100, 10, 10, 900, 900));
    }
}
