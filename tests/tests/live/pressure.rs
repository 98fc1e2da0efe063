//! Loads that are more than anybody traces on purpose, and a tracer that cannot keep up: what is counted stays exact, and
//! memory stays bounded.

use std::{
    collections::BTreeMap,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{
    Report, Tracer, Workload,
    bpf::{self, nothing_left},
    equal_to_proc,
    memory::{MemoryLimit, forget_peak, peak, resident},
    program, within,
};

use crate::{Case, loss};

pub const CASES: &[Case] = &[
    ("stopped_for_a_minute_under_load_it_counts_what_it_missed", stopped),
    ("threads_by_the_ten_thousand_a_second_are_all_counted", churn),
    ("a_fork_bomb_is_counted_and_memory_stays_bounded", fork_bomb),
    ("a_memory_limit_that_is_enough_changes_nothing", enough_memory),
    ("a_memory_limit_that_is_too_small_leaves_nothing_behind", too_little_memory),
    ("a_memory_limit_that_is_reached_while_it_traces_leaves_nothing_behind", memory_ends),
];

/// What numatrace may grow by, whatever it traces here: rings and lanes that are read into memory at once, and ended threads.
const GROWTH: u64 = 128 << 20;

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// SIGSTOP for a whole minute, once in all tests, since that is the time in which anything that grows would.
fn stopped() -> Result<()> {
    const MINUTE: Duration = Duration::from_secs(60);
    const ROUNDS: &str = "50000";
    let mut load = Workload::start(&["pipes", "4", "--millis", "63000"])?;
    let mut counted = Workload::start(&["pingpong", ROUNDS, "--cpu", &crate::busy_cpu()?])?;
    let mut tracer = Tracer::start(&["--pid", &format!("{},{}", load.pid, counted.pid)])?;
    forget_peak(tracer.pid())?;
    let before = resident(tracer.pid())?;
    load.go()?;
    tracer.next_report()?;
    tracer.signal(libc::SIGSTOP)?;
    let began = Instant::now();
    // The target does not wait for its tracer: all its round trips are done while that stands still.
    let of_counted = counted.run()?;
    let took = began.elapsed();
    ensure!(took < MINUTE, "{ROUNDS} round trips took {took:?}");
    let while_stopped = peak(tracer.pid())?;
    thread::sleep(MINUTE.saturating_sub(began.elapsed()));
    tracer.signal(libc::SIGCONT)?;
    let of_load = load.done()?;
    let grown = peak(tracer.pid())? - before;
    let report = tracer.stop()?;
    load.finish()?;
    counted.finish()?;
    let [wanted, received, lost] = loss::records(&report)?;
    println!(
        "stopped for {} s: wanted {wanted}, received {received}, lost {lost}; {ROUNDS} round trips meanwhile in {:.1} s; \
         memory {} MiB before, {} MiB more after",
        MINUTE.as_secs(),
        took.as_secs_f64(),
        mib(before),
        mib(grown)
    );
    ensure!(lost > 0, "nothing was lost: was it stopped, was there load?");
    let intervals = report.0["loss"]["intervals"].as_array().into_iter().flatten();
    let number = |interval: &serde_json::Value, name: &str| interval[name].as_u64().unwrap_or_default();
    let intervals: Vec<[u64; 3]> =
        intervals.map(|of| ["start_ns", "end_ns", "lost"].map(|name| number(of, name))).collect();
    let timed: u64 = intervals.iter().map(|[_, _, lost]| lost).sum();
    ensure!(timed == lost, "the intervals hold {timed} of {lost}");
    let longest = intervals.iter().map(|[start, end, _]| end.saturating_sub(*start)).max();
    // What is lost is known at ticks, and there was none in that minute.
    ensure!(longest.is_some_and(|ns| ns >= MINUTE.as_nanos() as u64), "no interval has the minute: {intervals:?}");
    ensure!(grown < GROWTH && while_stopped < before + GROWTH, "memory grew from {before} by {grown} bytes");
    equal_to_proc(&of_load, &report)?;
    equal_to_proc(&of_counted, &report)
}

fn churn() -> Result<()> {
    // As many as the machine makes in that time, which is said.
    let mut workload = Workload::start(&["threads", "100000", "--millis", "5000"])?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    forget_peak(tracer.pid())?;
    let before = resident(tracer.pid())?;
    let done = workload.run()?;
    let grown = peak(tracer.pid())? - before;
    let report = tracer.stop()?;
    workload.finish()?;
    let threads = done.facts["spawner"]["started"].as_u64().context("no threads")?;
    let seconds = done.facts["spawner"]["seconds"].as_f64().context("no time")?;
    println!(
        "{threads} threads, {:.0} a second; memory {} MiB, {} more",
        threads as f64 / seconds,
        mib(before),
        mib(grown)
    );
    let lived: BTreeMap<bool, u64> =
        report.threads().filter(|thread| thread.comm() == "short").fold(BTreeMap::new(), |mut lived, thread| {
            *lived.entry(thread.0["exited"] == true).or_default() += 1;
            lived
        });
    let (ended, alive) =
        (lived.get(&true).copied().unwrap_or_default(), lived.get(&false).copied().unwrap_or_default());
    let dropped = report.number("/dropped_threads")?;
    ensure!(alive == 0 && ended + dropped == threads, "{alive} alive, {ended} ended, {dropped} dropped of {threads}");
    let refused = report.number("/refused_threads")?;
    // Task storage makes nothing while it is being worked on by somebody who was preempted on the same CPU.
    ensure!(refused <= 1 + threads / 10_000, "{refused} threads were refused: {}", report.0["loss"]);
    ensure!(grown < GROWTH, "memory grew from {before} by {grown} bytes");
    let [_, _, lost] = loss::records(&report)?;
    // The kernel adds up what its threads did, all but their last switch; here are also those of the first thread.
    let spawners = done.facts["spawner"]["spawners"].as_u64().context("no spawners")?;
    let truth = done.facts["spawner"]["voluntary"].as_u64().context("no switches")? + threads + spawners;
    let ours = report.number("/totals/switches/voluntary")? + report.number("/totals/unseen_events")?;
    if lost == 0 {
        return within(0.001, "voluntary switches", ours, truth);
    }
    ensure!(ours <= truth + truth / 1000, "{ours} voluntary switches of {truth}");
    Ok(())
}

fn fork_bomb() -> Result<()> {
    let mut workload = Workload::start(&["forkbomb", "7"])?;
    let pid = workload.pid;
    let mut tracer = Tracer::start(&["--pid", &pid.to_string()])?;
    forget_peak(tracer.pid())?;
    let before = resident(tracer.pid())?;
    let began = Instant::now();
    let done = workload.run()?;
    let (took, grown) = (began.elapsed(), peak(tracer.pid())? - before);
    let report = tracer.stop()?;
    workload.finish()?;
    let children = done.facts["bomber"]["children"].as_u64().context("no children")?;
    println!("{children} processes in {:.1} s; memory {} MiB, {} more", took.as_secs_f64(), mib(before), mib(grown));
    let ours = report.threads().filter(|thread| thread.0["pid"] != pid);
    let (ended, alive): (Vec<_>, Vec<_>) = ours.partition(|thread| thread.0["exited"] == true);
    ensure!(alive.is_empty(), "{} processes are gone and not said to be", alive.len());
    let (dropped, refused) = (report.number("/dropped_threads")?, report.number("/refused_threads")?);
    let told = ended.len() as u64 + dropped + refused;
    ensure!(told == children, "{} listed, {dropped} dropped, {refused} refused of {children}", ended.len());
    let waits = report.number("/totals/runq/wakeup/count")? + report.number("/totals/unseen_events")?;
    ensure!(refused > 0 || waits >= children, "{waits} waits after wakeups of {children} processes");
    ensure!(grown < GROWTH, "memory grew from {before} by {grown} bytes");
    loss::records(&report)?;
    equal_to_proc(&done, &report)
}

/// numatrace in a cgroup with so much memory for each ring that this machine has.
fn limited(mib: u64, pid: u32) -> Result<(MemoryLimit, Tracer)> {
    let rings = (numatrace_tests::workload::os::allowed_cpus()?.len() as u64).div_ceil(16);
    let limit = MemoryLimit::of((mib << 20) * rings)?;
    let mut command = limit.command(&program("numatrace")?);
    command.args(["live", "-f", "json", "--interval", "200ms", "--pid", &pid.to_string()]).stdin(Stdio::null());
    let tracer = Tracer::spawn(command)?;
    Ok((limit, tracer))
}

fn enough_memory() -> Result<()> {
    let mut workload = Workload::start(&["pingpong", "20000", "--cpu", &crate::busy_cpu()?])?;
    let (_limit, mut tracer) = limited(64, workload.pid)?;
    tracer.next_report()?;
    let done = workload.run()?;
    let report: Report = tracer.stop()?;
    workload.finish()?;
    loss::records(&report)?;
    equal_to_proc(&done, &report)
}

fn too_little_memory() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let before = bpf::programs()?;
    for mib in [8, 24, 32] {
        let (_limit, mut tracer) = limited(mib, workload.pid)?;
        // Where it came through after all it runs.
        let told = tracer.next_report().map(drop).map_err(|error| error.to_string());
        if told.is_ok() {
            tracer.signal(libc::SIGINT)?;
        }
        let status = tracer.end_within(Duration::from_secs(30))?;
        let (came, said) = (told.is_ok(), told.err().unwrap_or_default());
        println!("{mib} MiB: {status}: {}", said.trim());
        // The kernel ends who asks for too much, or refuses it, which is told.
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGKILL);
        let sentences = said.matches("numatrace: ").count();
        let refused = status.code() == Some(1) && said.contains("memory limit") && sentences == 1;
        ensure!(killed || refused || came && mib > 8, "{mib} MiB: {status}: {said}");
        nothing_left(&before)?;
    }
    Ok(())
}

/// Threads end by the ten thousand, of which it keeps thousands: more than there is room for.
fn memory_ends() -> Result<()> {
    let mut workload = Workload::start(&["threads", "100000", "--millis", "3000"])?;
    let before = bpf::programs()?;
    let (limit, mut tracer) = limited(64, workload.pid)?;
    tracer.next_report()?;
    let used = limit.leave(2 << 20)?;
    let done = workload.run()?;
    workload.finish()?;
    // It may have been ended long ago.
    let _ = tracer.signal(libc::SIGINT);
    let status = tracer.end_within(Duration::from_secs(30))?;
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGKILL);
    let said = tracer.stderr();
    println!("{} MiB and 2 more: {status}, {}", mib(used), said.trim());
    ensure!(killed || status.code() == Some(1) && said.matches("numatrace: ").count() == 1, "{status}: {said}");
    // The target went on.
    ensure!(done.facts["spawner"]["started"].as_u64() > Some(1_000), "{}", done.facts["spawner"]);
    nothing_left(&before)
}
