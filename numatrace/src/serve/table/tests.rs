use std::collections::HashSet;

use super::*;

#[derive(Default)]
struct Machine {
    dead: HashSet<u32>,
    all_dead_below: u32,
    same_path: bool,
    gone: HashSet<u64>,
}

impl Look for Machine {
    fn lives(&mut self, pid: u32) -> bool {
        pid >= self.all_dead_below && !self.dead.contains(&pid)
    }

    fn cgroup_path(&mut self, id: u64, _: u32) -> Option<Vec<u8>> {
        (!self.gone.contains(&id))
            .then(|| if self.same_path { b"/web".to_vec() } else { format!("/{id}").into_bytes() })
    }

    fn cgroup_lives(&mut self, id: u64) -> bool {
        !self.gone.contains(&id)
    }
}

const SHAPE: Shape = Shape { nodes: 2, throttled: true, migrations: true, touches: true, hints: false };

fn table(processes: usize) -> Table {
    Table::new(Limits { processes, cgroups: 8, thread_groups: None }, SHAPE)
}

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn key(tgid: u32, cgroup: u64) -> GroupKey {
    GroupKey { start_ns: 7, cgroup, tgid, reserved: 0, comm: [0; 16] }
}

fn sums(waits: u64, wait_ns: u64) -> GroupSums {
    let mut sums = GroupSums { wait_ns, cpu_ns: 10, throttled_ns: 1, levels: [1, 2, 3, 4, 5], ..GroupSums::ZERO };
    sums.comm[..3].copy_from_slice(b"web");
    sums.buckets[5] = waits;
    sums
}

fn add(table: &mut Table, machine: &mut Machine, now: u64, key: &GroupKey, sums: &GroupSums) {
    table.add(second(now), machine, &Delta { key, sums });
}

#[test]
fn what_is_read_in_parts_adds_up() {
    let (mut table, mut machine) = (table(4), Machine::default());
    for now in 0..3 {
        add(&mut table, &mut machine, now, &key(10, 1), &sums(2, 100));
        // The same process, while some of its threads are in another cgroup.
        add(&mut table, &mut machine, now, &key(10, 2), &sums(1, 50));
        table.settle(second(now), &mut machine);
    }
    let sums = table.sums();
    let [process] = &sums.processes[..] else { panic!("{:?}", sums.processes) };
    assert_eq!((process.pid, &process.comm[..]), (10, &b"web"[..]));
    assert_eq!((process.numbers.runq.count(), process.numbers.runq.sum_ns), (9, 450));
    assert_eq!(process.numbers.throttled_ns, Some(6));
    assert_eq!(process.numbers.migrations.map(|levels| levels.cross_node), Some(24));
    assert_eq!(process.numbers.hint_faults, None);
    let waits: Vec<_> = sums.cgroups.iter().map(|cgroup| (&cgroup.path[..], cgroup.numbers.runq.count())).collect();
    assert_eq!(waits, [(&b"/1"[..], 6), (b"/2", 3)]);
    assert_eq!(process.cgroup.map(|at| &sums.cgroups[at].path[..]), Some(&b"/2"[..]));
}

#[test]
fn touches_count_for_the_process_and_its_cgroup() {
    let (mut table, mut machine) = (table(4), Machine::default());
    let id = Id { start_ns: 7, tgid: 10 };
    // Before anything else is known of it.
    let five = |numbers: &mut Numbers| numbers.touches.as_mut().unwrap()[0][1] += 5;
    assert!(!table.touch(second(0), id, false, five), "it is asked again");
    assert!(table.touch(second(0), id, true, five));
    add(&mut table, &mut machine, 0, &key(10, 1), &sums(1, 1));
    assert!(table.touch(second(0), id, false, |numbers| numbers.touches.as_mut().unwrap()[1][0] += 3));
    table.settle(second(0), &mut machine);
    let sums = table.sums();
    let expected = Some(vec![vec![0, 0, 0], vec![3, 0, 0]]);
    assert_eq!(sums.processes[0].numbers.touches, expected);
    let of: Vec<_> = sums.cgroups.iter().map(|cgroup| (&cgroup.path[..], cgroup.numbers.touches.clone())).collect();
    let before = Some(vec![vec![0, 5, 0], vec![0, 0, 0]]);
    assert_eq!(of, [(&b"(gone)"[..], before), (b"/1", expected)], "none is left out");
}

#[test]
fn one_that_ended_is_scraped_before_it_goes() {
    let (mut table, mut machine) = (table(4), Machine::default());
    add(&mut table, &mut machine, 0, &key(10, 1), &sums(1, 1));
    table.settle(second(0), &mut machine);
    machine.dead.insert(10);
    table.settle(second(10), &mut machine);
    table.settle(second(20), &mut machine);
    assert_eq!(table.sums().processes.len(), 1);
    table.settle(second(10) + LINGER, &mut machine);
    assert_eq!(table.sums().processes, []);
    assert_eq!(table.sums().cgroups[0].numbers.runq.count(), 1, "its cgroup keeps what it did");
}

#[test]
fn an_id_that_is_used_again_is_another_process() {
    let (mut table, mut machine) = (table(4), Machine::default());
    add(&mut table, &mut machine, 0, &key(10, 1), &sums(1, 1));
    table.settle(second(0), &mut machine);
    let again = GroupKey { start_ns: 9, ..key(10, 1) };
    add(&mut table, &mut machine, 5, &again, &sums(2, 1));
    table.settle(second(5), &mut machine);
    let counts: Vec<_> = table.sums().processes.iter().map(|process| process.numbers.runq.count()).collect();
    assert_eq!(counts, [2]);
}

#[test]
fn the_heaviest_have_series_and_keep_them() {
    let (mut table, mut machine) = (table(2), Machine::default());
    for pid in 1..=4 {
        add(&mut table, &mut machine, 1, &key(pid, 1), &sums(1, u64::from(pid) * 1_000_000));
    }
    table.settle(second(1), &mut machine);
    let shown = |table: &Table| table.sums().processes.iter().map(|process| process.pid).collect::<Vec<_>>();
    assert_eq!(shown(&table), [3, 4]);
    assert_eq!(table.sums().process_bound, Bound { most: 2, hidden: 2 });
    // Somewhat more is not enough; much more is, when they had their time.
    add(&mut table, &mut machine, 200, &key(3, 1), &sums(1, 1_000_000_000));
    add(&mut table, &mut machine, 200, &key(1, 1), &sums(1, 2_000_000_000));
    table.settle(second(200), &mut machine);
    assert_eq!(shown(&table), [1, 3], "4 did nothing, and gave way");
    add(&mut table, &mut machine, 201, &key(2, 1), &sums(1, 900_000_000_000));
    table.settle(second(201), &mut machine);
    assert_eq!(shown(&table), [1, 2], "3 had its time; 1 has not");
}

#[test]
fn a_million_processes_that_end_at_once_leave_nothing_behind() {
    let (mut table, mut machine) = (table(100), Machine::default());
    let mut all = 0;
    for now in 0..200 {
        for n in 0..5_000 {
            add(&mut table, &mut machine, now, &key(1_000 + now as u32 * 5_000 + n, 1 + u64::from(n % 3)), &sums(1, 5));
            all += 1;
        }
        machine.all_dead_below = 1_000 + (now as u32 + 1) * 5_000;
        table.settle(second(now), &mut machine);
        assert!(table.processes.entries.len() <= MOST_KEPT);
    }
    let sums = table.sums();
    assert!(sums.processes.len() <= 100);
    assert_eq!(all, 1_000_000);
    assert_eq!(sums.cgroups.iter().map(|cgroup| cgroup.numbers.runq.count()).sum::<u64>(), all);
}

#[test]
fn a_cgroup_that_nobody_can_name_is_counted_with_its_like() {
    let (mut table, mut machine) = (table(4), Machine::default());
    machine.gone.extend([5, 6]);
    add(&mut table, &mut machine, 0, &key(10, 5), &sums(1, 1));
    add(&mut table, &mut machine, 0, &key(11, 6), &sums(2, 1));
    table.settle(second(0), &mut machine);
    let sums = table.sums();
    let [cgroup] = &sums.cgroups[..] else { panic!("{:?}", sums.cgroups) };
    assert_eq!((&cgroup.path[..], cgroup.numbers.runq.count()), (&b"(gone)"[..], 3));
}

#[test]
fn threads_of_one_name_are_a_group() {
    let limits = Limits { processes: 4, cgroups: 8, thread_groups: Some(1) };
    let (mut table, mut machine) = (Table::new(limits, SHAPE), Machine::default());
    let named = |name: &[u8]| {
        let mut key = key(10, 1);
        key.comm[..name.len()].copy_from_slice(name);
        key
    };
    add(&mut table, &mut machine, 1, &named(b"io"), &sums(1, 10));
    add(&mut table, &mut machine, 1, &named(b"worker"), &sums(4, 4_000));
    table.settle(second(1), &mut machine);
    let sums = table.sums();
    let [group] = &sums.thread_groups[..] else { panic!("{:?}", sums.thread_groups) };
    assert_eq!((&group.comm[..], &group.process[..], group.numbers.runq.count()), (&b"worker"[..], &b"web"[..], 4));
    assert_eq!(sums.thread_group_bound, Some(Bound { most: 1, hidden: 1 }));
    assert_eq!(sums.processes[0].numbers.runq.count(), 5);
}

#[test]
fn a_cgroup_that_is_made_again_goes_on() {
    let (mut table, mut machine) = (table(4), Machine::default());
    machine.same_path = true;
    add(&mut table, &mut machine, 0, &key(10, 5), &sums(3, 1));
    table.settle(second(0), &mut machine);
    machine.gone.insert(5);
    add(&mut table, &mut machine, 10, &key(11, 6), &sums(2, 1));
    for now in [10, 20, 400] {
        table.settle(second(now), &mut machine);
        let counts: Vec<_> = table.sums().cgroups.iter().map(|cgroup| cgroup.numbers.runq.count()).collect();
        assert_eq!(counts, [5], "at {now} s: it never falls");
    }
}

#[test]
fn one_that_had_series_keeps_its_numbers() {
    let (mut table, mut machine) = (table(1), Machine::default());
    add(&mut table, &mut machine, 1, &key(1, 1), &sums(7, 1));
    table.settle(second(1), &mut machine);
    add(&mut table, &mut machine, 200, &key(2, 1), &sums(1, 1_000_000_000_000));
    table.settle(second(200), &mut machine);
    assert_eq!(table.sums().processes[0].pid, 2);
    for pid in 0..6_000 {
        add(&mut table, &mut machine, 201, &key(10_000 + pid, 1), &sums(1, 1));
    }
    table.settle(second(201), &mut machine);
    assert!(table.sums().process_bound.hidden >= 6_000, "{:?}", table.sums().process_bound);
    add(&mut table, &mut machine, 900, &key(1, 1), &sums(1, 1_000_000_000_000_000));
    table.settle(second(900), &mut machine);
    let first = &table.sums().processes[0];
    assert_eq!((first.pid, first.numbers.runq.count()), (1, 8));
}
