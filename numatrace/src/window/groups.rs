//! Threads that have something in common as one: a snapshot made of a snapshot.
//!
//! Percentiles of a group are those of its members' histograms together, which are coarser than those of the totals. Who
//! woke it, who ran instead and where its page touches come from are sums of the members' first few: of one that was on no list
//! nothing is counted.

use std::collections::{BTreeMap, HashMap};

use super::{Depth, touches, with_percentiles, with_stats};
use crate::snapshot::{
    Culprit, GroupBy, Groups, Latency, MAX_CULPRITS, MAX_WAKERS, Migrations, RunQueue, Snapshot, Thread, ThreadState,
    ThreadStats, Waker,
};
use crate::units::Tid;

/// The same snapshot, its threads also in groups.
pub fn grouped(snapshot: Snapshot, by: GroupBy) -> Snapshot {
    let all = groups(&snapshot, by);
    Snapshot { groups: Some(Groups { by, all }), ..snapshot }
}

/// One thread for each group, in order of their first members.
fn groups(snapshot: &Snapshot, by: GroupBy) -> Vec<Thread> {
    let mut groups: BTreeMap<Option<&str>, Vec<&Thread>> = BTreeMap::new();
    for thread in &snapshot.threads {
        let common = match by {
            GroupBy::Comm => Some(&*thread.comm),
            GroupBy::Cgroup => thread.cgroup.as_deref(),
        };
        groups.entry(common).or_default().push(thread);
    }
    let mut all: Vec<Thread> =
        groups.into_values().filter_map(|members| group(&members, by, &snapshot.host.distances)).collect();
    all.sort_by_key(|thread| thread.tid);
    all
}

/// Threads as one, on a machine with these distances between nodes: sums, the longest open wait, and the id of the first of
/// them, whose name or cgroup it has. How many it stands for is in `Thread::members`. `None` for no threads.
pub fn group(members: &[&Thread], by: GroupBy, distances: &[Vec<u32>]) -> Option<Thread> {
    let first = *members.first()?;
    let mut sum = with_stats(first, sum_of(members, distances), Depth::All);
    sum.members = members.len() as u32;
    (sum.sched, sum.track, sum.cpu, sum.ns_pid) = (None, Default::default(), None, None);
    match by {
        GroupBy::Comm => (sum.cgroup, sum.container) = (None, None),
        GroupBy::Cgroup => sum.comm = "".into(),
    }
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

/// Sums over threads, on a machine with these distances between nodes. The longest open wait is the longest of them.
pub(super) fn sum_of(members: &[&Thread], distances: &[Vec<u32>]) -> ThreadStats {
    let mut sum = ThreadStats::default();
    let mut by_cpu: BTreeMap<u32, u64> = BTreeMap::new();
    let mut wakers: HashMap<Tid, Waker> = HashMap::new();
    let mut culprits: HashMap<Tid, Culprit> = HashMap::new();
    for part in members.iter().map(|thread| &thread.stats) {
        add(&mut sum.cpu_ns, part.cpu_ns);
        add(&mut sum.wait_ns, part.wait_ns);
        add(&mut sum.blocked_ns, part.blocked_ns);
        sum.waiting_now_ns = sum.waiting_now_ns.max(part.waiting_now_ns);
        add(&mut sum.switches.voluntary, part.switches.voluntary);
        add(&mut sum.switches.involuntary, part.switches.involuntary);
        add(&mut sum.unseen_events, part.unseen_events);
        add_migrations(&mut sum.migrations, &part.migrations);
        add(&mut sum.node_moves, part.node_moves);
        sum.residency_ns.resize(sum.residency_ns.len().max(part.residency_ns.len()), 0);
        sum.residency_ns.iter_mut().zip(&part.residency_ns).for_each(|(sum, ns)| add(sum, *ns));
        part.residency_cpu_ns.iter().for_each(|(cpu, ns)| add(by_cpu.entry(cpu).or_default(), ns));
        for waker in &part.wakers {
            let known = wakers.entry(waker.tid).or_insert_with(|| Waker { count: 0, ..waker.clone() });
            add(&mut known.count, waker.count);
        }
        for culprit in &part.waited_behind {
            let nothing = || Culprit { total_ns: 0, count: 0, ..culprit.clone() };
            let known = culprits.entry(culprit.tid).or_insert_with(nothing);
            add(&mut known.total_ns, culprit.total_ns);
            add(&mut known.count, culprit.count);
        }
        super::quota::add(&mut sum, part);
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
        unthrottled: None,
    };
    touches::add(members.iter().map(|thread| &thread.stats), distances, sum)
}

fn all_waits(members: &[&Thread], of: impl Fn(&RunQueue) -> &Latency) -> Latency {
    if let [only] = members {
        return of(&only.stats.runq).clone();
    }
    let mut sum = Latency::default();
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    for part in members.iter().map(|thread| of(&thread.stats.runq)) {
        add(&mut sum.count, part.count);
        add(&mut sum.total_ns, part.total_ns);
        sum.max_ns = sum.max_ns.max(part.max_ns);
        part.buckets.iter().for_each(|(edge, count)| add(buckets.entry(edge).or_default(), count));
    }
    sum.buckets = buckets.into_iter().collect();
    with_percentiles(sum)
}

/// A recording that somebody made up can hold any number.
pub(super) fn add(sum: &mut u64, part: u64) {
    *sum = sum.saturating_add(part);
}

fn add_migrations(sum: &mut Migrations, part: &Migrations) {
    add(&mut sum.smt, part.smt);
    add(&mut sum.llc, part.llc);
    add(&mut sum.node, part.node);
    add(&mut sum.cross_node, part.cross_node);
    add(&mut sum.unclassified, part.unclassified);
    let (sum, part) = (&mut sum.causes, &part.causes);
    add(&mut sum.wakeup, part.wakeup);
    add(&mut sum.load_balance, part.load_balance);
    add(&mut sum.active_balance_or_affinity, part.active_balance_or_affinity);
    add(&mut sum.numa_balancing, part.numa_balancing);
    add(&mut sum.hotplug, part.hotplug);
    add(&mut sum.other, part.other);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(buckets: &[(u64, u64)], max_ns: u64) -> Latency {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let total_ns = buckets.iter().map(|(edge, count)| edge * count).sum();
        with_percentiles(Latency { count, total_ns, max_ns, buckets: buckets.to_vec().into(), ..Latency::default() })
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
                residency_cpu_ns: vec![(tid % 2, 10)].into(),
                runq: RunQueue { all: latency, ..RunQueue::default() },
                ..ThreadStats::default()
            },
            ..Thread::default()
        };
        let members = [
            &thread(7, "io", ThreadState::Blocked, latency(&[(10, 99)], 10)),
            &thread(8, "io", ThreadState::Waiting, latency(&[(1_000, 1)], 900)),
        ];
        let group = group(&members, GroupBy::Comm, &[]);
        let group = group.expect("two members");
        assert_eq!((group.tid, group.members, group.state), (Tid(7), 2, ThreadState::Waiting));
        assert_eq!((group.stats.cpu_ns, &group.stats.residency_ns), (20, &vec![8, 12]));
        assert_eq!(group.stats.residency_cpu_ns, [(0, 10), (1, 10)]);
        let all = &group.stats.runq.all;
        assert_eq!((all.count, all.p50_ns, all.p99_ns, all.p999_ns, all.max_ns), (100, 10, 10, 900, 900));
    }

    #[test]
    fn threads_of_one_cgroup_are_one_and_those_of_none_that_is_known_another() {
        let thread = |tid, comm: &str, cgroup: Option<&str>| Thread {
            tid: Tid(tid),
            comm: comm.into(),
            cgroup: cgroup.map(Into::into),
            stats: ThreadStats { wait_ns: u64::from(tid), ..ThreadStats::default() },
            ..Thread::default()
        };
        let threads = vec![thread(1, "a", None), thread(2, "b", Some("/x")), thread(3, "a", Some("/x"))];
        let threads = [threads, vec![thread(4, "a", Some("/")), thread(5, "", None)]].concat();
        let snapshot = Snapshot { threads, ..Snapshot::nothing_yet("pid 1") };
        let told = |by| {
            let made = grouped(snapshot.clone(), by);
            assert_eq!(made.threads, snapshot.threads, "they stay");
            let groups = made.groups.expect("groups");
            let told: Vec<(String, u32, u64)> = groups
                .all
                .iter()
                .map(|group| (groups.name(group).to_owned(), group.members, group.stats.wait_ns))
                .collect();
            told
        };
        let group = |name: &str, members, wait_ns| (name.to_owned(), members, wait_ns);
        assert_eq!(told(GroupBy::Cgroup), [group("(cgroup not known)", 2, 6), group("/x", 2, 5), group("/", 1, 4)]);
        assert_eq!(told(GroupBy::Comm), [group("a", 3, 8), group("b", 1, 2), group("(name not known)", 1, 5)]);
    }

    #[test]
    fn sums_of_made_up_numbers_do_not_overflow() {
        let most = |tid| Thread {
            tid: Tid(tid),
            stats: ThreadStats {
                cpu_ns: u64::MAX,
                runq: RunQueue { all: latency(&[(10, 1)], 10), ..RunQueue::default() },
                ..ThreadStats::default()
            },
            ..Thread::default()
        };
        let (mut a, b) = (most(1), most(2));
        a.stats.runq.all.count = u64::MAX;
        let sum = sum_of(&[&a, &b], &[]);
        assert_eq!((sum.cpu_ns, sum.runq.all.count), (u64::MAX, u64::MAX));
    }
}
