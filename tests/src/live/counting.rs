//! What `serve` counts in the kernel, against what a workload says it did.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use numatrace::{
    collect::{
        counting::{CountPlan, Counting},
        pages::{PagePlan, PageSource},
    },
    serve::{
        look::MachineLook,
        sums::{Numbers, Sums},
        table::Limits,
    },
    target::Machine,
    topology::Topology,
};

use super::{Done, Workload, within};

/// Counts the whole machine.
///
/// # Errors
/// When the kernel refuses.
pub fn start(thread_groups: bool) -> Result<Counting> {
    let topology = Topology::read(Path::new("/sys"))?;
    let look = MachineLook::new(Machine::this());
    let plan = CountPlan {
        limits: Limits { processes: 500, cgroups: 500, thread_groups: thread_groups.then_some(500) },
        pages: PagePlan { source: PageSource::Auto, ..PagePlan::OFF },
        cgroups_v1: look.is_v1(),
        machine: Machine::this(),
    };
    Ok(Counting::start(&plan, &topology, Box::new(look))?)
}

/// What a process has counted.
///
/// # Errors
/// When it has no series.
pub fn of(sums: &Sums, pid: u32) -> Result<&Numbers> {
    let found = sums.processes.iter().find(|process| process.pid == pid);
    Ok(&found.with_context(|| format!("process {pid} has no series"))?.numbers)
}

/// What a workload counted between its two gates: what it has after, without what it had before.
///
/// # Errors
/// When it or counting fails.
pub fn counted(args: &[&str]) -> Result<(Numbers, Done)> {
    let mut counting = start(false)?;
    let mut workload = Workload::start(args)?;
    let before = of(&counting.collect()?, workload.pid)?.clone();
    let done = workload.run()?;
    let sums = counting.collect()?;
    let after = of(&sums, workload.pid)?.clone();
    workload.finish()?;
    ensure!(sums.lost.no_group == 0 && sums.lost.refused_threads == 0, "{:?}", sums.lost);
    Ok((without(after, &before), done))
}

fn without(mut after: Numbers, before: &Numbers) -> Numbers {
    after.runq.sum_ns -= before.runq.sum_ns;
    after.runq.buckets.iter_mut().zip(before.runq.buckets.iter()).for_each(|(count, had)| *count -= had);
    after.cpu_ns -= before.cpu_ns;
    if let (Some(levels), Some(had)) = (&mut after.migrations, before.migrations) {
        levels.smt -= had.smt;
        levels.llc -= had.llc;
        levels.node -= had.node;
        levels.cross_node -= had.cross_node;
        levels.unknown -= had.unknown;
    }
    if let (Some(touches), Some(had)) = (&mut after.touches, &before.touches) {
        touches.iter_mut().flatten().zip(had.iter().flatten()).for_each(|(count, had)| *count -= had);
    }
    if let (Some((local, remote)), Some(had)) = (&mut after.hint_faults, before.hint_faults) {
        *local -= had.0;
        *remote -= had.1;
    }
    after
}

/// Each side of N round trips waits N times, and for the gate: once more each, and the thread that holds the gate some times.
///
/// # Errors
/// When it is not so.
pub fn ping_pong(cpu: usize) -> Result<()> {
    const ROUNDS: u64 = 300;
    let (numbers, done) = counted(&["pingpong", &ROUNDS.to_string(), "--cpu", &cpu.to_string()])?;
    let (waits, least) = (numbers.runq.count(), 2 * (ROUNDS + 1));
    // On a machine without realtime scheduling others come between.
    let most = if done.facts["exact"] == true { least + 20 } else { least * 2 };
    ensure!((least..=most).contains(&waits), "{waits} waits in {ROUNDS} round trips ({least} to {most})");
    Ok(())
}

/// K hops between two CPUs are K migrations of that level.
///
/// # Errors
/// When it is not so.
pub fn hop(level: &str, from: usize, to: usize) -> Result<()> {
    const HOPS: u64 = 80;
    let (numbers, _) = counted(&["hops", &HOPS.to_string(), "--cpus", &format!("{from},{to}")])?;
    let levels = numbers.migrations.context("migrations are off")?;
    let named = [("smt", levels.smt), ("llc", levels.llc), ("node", levels.node), ("cross_node", levels.cross_node)];
    for (name, count) in named {
        // The first thread of the workload goes where it likes.
        let (least, most) = if name == level { (HOPS, HOPS + 4) } else { (0, 4) };
        ensure!((least..=most).contains(&count), "{name}: {count} instead of {least} to {most}: {levels:?}");
    }
    Ok(())
}

/// Touches by a thread of node `cpu` on pages of node `page`, in their cell.
///
/// # Errors
/// When it is not so.
pub fn touches(cpu: usize, page: usize) -> Result<()> {
    const PAGES: u64 = 2_000;
    let nodes = format!("{cpu},{page}");
    let (numbers, _) = counted(&["touch", &PAGES.to_string(), "--kind", "anon", "--nodes", &nodes])?;
    let touches = numbers.touches.context("page touches are off")?;
    for (row, cells) in touches.iter().enumerate() {
        for (column, count) in cells.iter().enumerate() {
            let expected = if (row, column) == (cpu, page) { PAGES } else { 0 };
            // Stacks and the allocator of the workload's own threads.
            ensure!((expected..=expected + 40).contains(count), "({row}, {column}) is {count}: {touches:?}");
        }
    }
    Ok(())
}

/// Sums of processes, of CPUs and of cgroups are of the same waits, also where threads and processes live for a moment.
///
/// # Errors
/// When they are not.
pub fn children_that_end() -> Result<()> {
    const CHILDREN: u64 = 200;
    let mut counting = start(true)?;
    let mut workload = Workload::start(&["forkstorm", &CHILDREN.to_string()])?;
    let before = counting.collect()?;
    let cgroup_before: u64 = before.cgroups.iter().map(|cgroup| cgroup.numbers.runq.count()).sum();
    let done = workload.run()?;
    let after = counting.collect()?;
    let cgroup_after: u64 = after.cgroups.iter().map(|cgroup| cgroup.numbers.runq.count()).sum();
    workload.finish()?;
    let children: Vec<u32> = serde_json::from_value(done.facts["forker"]["children"].clone())?;
    ensure!(children.len() as u64 == CHILDREN);
    // Each waited once at least, when it was made.
    let waited = cgroup_after - cgroup_before;
    ensure!(waited >= CHILDREN, "cgroups grew by {waited} waits with {CHILDREN} children");
    let whole = after.total.runq.count() - before.total.runq.count();
    // Turns that began before a read and end after it are in the whole first.
    let apart = whole.abs_diff(waited);
    ensure!(apart <= 64 + whole / 50, "{whole} waits of CPUs, {waited} of cgroups");
    ensure!(after.lost.no_group == 0, "{:?}", after.lost);
    Ok(())
}

/// A thread that never leaves its CPU has its time all the same.
///
/// # Errors
/// When it has not.
pub fn busy(cpu: usize) -> Result<()> {
    let mut counting = start(false)?;
    let mut workload = Workload::start(&["pin", "--cpu", &cpu.to_string(), "--millis", "3000"])?;
    let time = |pid: u32| -> Result<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += stat.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(sum)
    };
    workload.go()?;
    let (before, truth_before) = (of(&counting.collect()?, workload.pid)?.cpu_ns, time(workload.pid)?);
    std::thread::sleep(Duration::from_secs(1));
    let (after, truth_after) = (of(&counting.collect()?, workload.pid)?.cpu_ns, time(workload.pid)?);
    workload.done()?;
    workload.finish()?;
    within(0.25, "time on CPU", after - before, truth_after - truth_before)
}
