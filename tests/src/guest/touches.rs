//! Checks of where touched pages are: on which node, in which kind, planted by balancing or not, and moved.

use std::{collections::HashMap, fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};

use numatrace::snapshot::sources::{HINT_FAULTS, HINT_TIME};

use super::faults::{Offline, online};
use crate::{
    live::{
        PATIENCE, Report, ThreadReport, Tracer, Workload, eventually,
        touches::{BY_CHILD, EXACT, Touched, each, exact, start, touch_all},
        within,
    },
    workload::{Kind, memory, os},
};

/// The switch of automatic NUMA balancing.
const BALANCING: &str = "/proc/sys/kernel/numa_balancing";
/// Where the kernel's scheduler lets its NUMA balancing be tuned (since 5.13).
const SCANNING: &str = "/sys/kernel/debug/sched/numa_balancing";

/// Values of kernel files, put back when dropped.
pub(super) struct Tuned(Vec<(String, String)>);

impl Tuned {
    fn set(values: &[(&str, &str)]) -> Result<Tuned> {
        let mut tuned = Tuned(Vec::new());
        for (path, value) in values {
            let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            fs::write(path, value).with_context(|| format!("cannot write {value} to {path}"))?;
            tuned.0.push(((*path).to_owned(), before.trim().to_owned()));
        }
        Ok(tuned)
    }

    pub(super) fn balancing(on: bool) -> Result<Tuned> {
        Self::set(&[(BALANCING, if on { "1" } else { "0" })])
    }

    /// Balancing that begins soon after a program starts and looks at all of its memory often.
    pub(super) fn eager() -> Result<Tuned> {
        let files = ["scan_delay_ms", "scan_period_min_ms", "scan_period_max_ms"];
        let paths = files.map(|file| format!("{SCANNING}/{file}"));
        Self::set(&[(&paths[0], "100"), (&paths[1], "100"), (&paths[2], "200"), (BALANCING, "1")])
    }
}

impl Drop for Tuned {
    fn drop(&mut self) {
        for (path, value) in self.0.iter().rev() {
            // The guest has no use for it any more, but for the checks after this.
            let _ = fs::write(path, value);
        }
    }
}

/// While it lives, balancing leaves this thread alone and what it starts.
struct LeftAlone;

impl LeftAlone {
    fn begin() -> Result<LeftAlone> {
        let nodes = os::cpu_list(&fs::read_to_string("/sys/devices/system/node/has_memory")?);
        memory::bind_thread(&nodes)?;
        Ok(LeftAlone)
    }
}

impl Drop for LeftAlone {
    fn drop(&mut self) {
        let _ = memory::unbind_thread();
    }
}

/// Touches of every kind by threads of node `cpu` on pages of node `page`: in their kind and their cell, all of them.
pub fn touches(cpu: usize, page: usize) -> Result<()> {
    let _off = Tuned::balancing(false)?;
    exact(&EXACT, (cpu, page), &[])
}

/// The same where no hook tells writes from reads: copies on write are all there, as something else.
pub fn touches_without_writes(cpu: usize, page: usize) -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let (copies, others): (Vec<_>, Vec<_>) =
        EXACT.into_iter().partition(|(kind, _)| matches!(kind, Kind::Cow | Kind::CowFile));
    exact(&others, (cpu, page), &[])?;
    let (touched, report) = touch_all(&copies, (cpu, page), &[])?;
    each(&touched, |touched| touched.is_there(&report)).with_context(|| report.reasons())
}

/// The same, by children that exit at once.
pub fn children(cpu: usize, page: usize) -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let (touched, report) = touch_all(&BY_CHILD, (cpu, page), &[])?;
    each(&touched, Touched::is_true)?;
    each(&touched, |touched| touched.is_exact(&report)).with_context(|| report.reasons())
}

/// The source that sees pages before the fault: what it cannot resolve is said to be unknown.
pub fn by_entry(cpu: usize, page: usize) -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let (touched, report) = touch_all(&EXACT, (cpu, page), &["--page-source", "entry"])?;
    each(&touched, |touched| touched.is_there(&report)).with_context(|| report.reasons())
}

/// Faults that balancing plants are no page touches: N fresh pages are N.
pub fn balancing_on(cpu: usize, page: usize) -> Result<()> {
    let _eager = Tuned::eager()?;
    let (touched, report) = touch_all(&EXACT, (cpu, page), &[])?;
    each(&touched, |touched| touched.is_exact_under_balancing(&report)).with_context(|| report.reasons())
}

/// Counters of /proc/vmstat.
fn vmstat() -> Result<HashMap<String, u64>> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Hint faults and pages moved of the one process that balancing samples are those of /proc/vmstat, whichever hook they
/// come from.
pub fn hint_faults(source: &str, name: &str) -> Result<()> {
    let eager = Tuned::eager()?;
    let mut workload = Workload::start(&["touch", "4096", "--kind", "hint", "--nodes", "0,1", "--millis", "8000"])?;
    // From here on, so that the workload is not: /proc/vmstat is of the whole machine.
    let alone = LeftAlone::begin()?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string(), "--hint-source", source])?;
    let before = vmstat()?;
    let done = workload.run()?;
    let after = vmstat()?;
    let report = tracer.stop()?;
    workload.finish()?;
    drop((alone, eager));
    let change = |name: &str| -> Result<u64> {
        let (before, after) = (before.get(name), after.get(name));
        Ok(after.with_context(|| format!("vmstat has no {name}"))? - before.copied().unwrap_or_default())
    };
    let (all, local, moved) =
        (change("numa_hint_faults")?, change("numa_hint_faults_local")?, change("numa_pages_migrated")?);
    let facts = &done.facts["toucher"];
    ensure!(all > 500 && moved > 100, "balancing has not sampled it: {all} hint faults, {moved} pages moved, {facts}");
    let faults = facts["faults"].as_u64().context("no faults")?;
    // No more than that it was sampled and little else: other threads of the process are in vmstat, too.
    within(0.05, "the thread's own faults, all planted", faults, all)?;
    let hinted = |part: &str| report.number(&format!("/totals/hint_faults/{part}"));
    let (ours_local, ours_remote) = (hinted("local")?, hinted("remote")?);
    let reasons = report.reasons();
    within(0.02, "hint faults", ours_local + ours_remote, all).with_context(|| reasons.clone())?;
    within(0.02, "local hint faults", ours_local, local).with_context(|| reasons.clone())?;
    within(0.02, "remote hint faults", ours_remote, all - local).with_context(|| reasons.clone())?;
    within(0.02, "pages moved", report.number("/totals/pages_migrated")?, moved).with_context(|| reasons.clone())?;
    // How long they took is the emulated machine's affair: that they took time, and no more than there was.
    let (spent, passed) = (report.number("/totals/hint_fault_ns")?, report.number("/duration_ns")?);
    ensure!(spent > 0 && spent < passed, "{spent} ns in {all} hint faults, of {passed} ns");
    ensure!(
        report.sources(&HINT_TIME).any(|source| source["state"] == "on"),
        "what times hint faults is not on: {reasons}"
    );
    ensure!(report.sources(&[name]).any(|source| source["state"] != "off"), "{name} is not what was used: {reasons}");
    let thread = report.thread(done.threads["toucher"].tid)?;
    // The kernel leaves a kprobe's program out where another one is at work on the CPU: such a fault looks like others.
    let missed = if source == "kprobe" { all.saturating_sub(ours_local + ours_remote) } else { 0 };
    // The thread has memory of its own as well: after a hint fault that was a read, its next write to its stack is a fault like
    // others, and so is a page of the stack that it has not used before.
    const OWN: u64 = 16;
    ensure!(
        thread.all_touches()?.all() <= missed + OWN,
        "planted faults are among the page touches ({missed} were missed): {}",
        thread.0["touches"]
    );
    Ok(())
}

/// Without balancing there are no hint faults to count, which is not 0, and their source says why.
pub fn no_hint_faults() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let (touched, report) = touch_all(&[(Kind::Anon, 16)], (0, 0), &[])?;
    let thread = report.thread(touched[0].tid)?;
    for name in ["hint_faults", "hint_fault_ns"] {
        ensure!(thread.0[name].is_null(), "{name} is {}", thread.0[name]);
    }
    let said = report
        .sources(&HINT_FAULTS)
        .any(|source| source["reason"].as_str().is_some_and(|reason| reason.contains("kernel.numa_balancing=0")));
    ensure!(said, "no source says why: {}", report.0["sources"]);
    Ok(())
}

/// Pages by node of a process, as its numa_maps has them.
fn numa_maps(pid: u32) -> Result<HashMap<usize, u64>> {
    let mut pages = HashMap::new();
    for word in fs::read_to_string(format!("/proc/{pid}/numa_maps"))?.split_whitespace() {
        let Some((node, count)) = word.strip_prefix('N').and_then(|word| word.split_once('=')) else { continue };
        if let (Ok(node), Ok(count)) = (node.parse::<usize>(), count.parse::<u64>()) {
            *pages.entry(node).or_default() += count;
        }
    }
    Ok(pages)
}

/// Bytes by node of a process, as `numastat -p` prints them, in MiB with two decimals.
fn numastat(pid: u32) -> Result<Vec<f64>> {
    let output = Command::new("numastat").args(["-p", &pid.to_string()]).output().context("numastat does not run")?;
    let text = String::from_utf8(output.stdout)?;
    let total = text.lines().find_map(|line| line.strip_prefix("Total"));
    let total = total.with_context(|| format!("numastat has no total ({}): {text}", output.status))?;
    let mut by_node = total.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    by_node.pop().context("numastat has no column of all nodes")?;
    Ok(by_node)
}

/// Resident pages by node of a process that stands still are those of its numa_maps, and of `numastat -p`.
pub fn placement() -> Result<()> {
    /// Pages of the kernel's own that it maps into each process may be counted or not.
    const KERNELS_OWN: u64 = 8;
    const PAGES: usize = 3_000;
    let _off = Tuned::balancing(false)?;
    // Its pages are there, and it waits at its gate.
    let mut workload = start(Kind::Retouch, PAGES, (0, 1))?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    eventually("the process was scanned", PATIENCE, || Ok(!tracer.next_report()?.0["placement_pages"].is_null()))?;
    let (truth, peer) = (numa_maps(workload.pid)?, numastat(workload.pid)?);
    let report = tracer.stop()?;
    workload.run()?;
    workload.finish()?;
    ensure!(truth.get(&1).is_some_and(|pages| *pages >= PAGES as u64), "numa_maps has {truth:?}");
    let ours: Vec<u64> = serde_json::from_value(report.0["placement_pages"].clone())?;
    ensure!(peer.len() == ours.len(), "numastat has {peer:?}, numatrace {ours:?}");
    for (node, peer) in peer.into_iter().enumerate() {
        let truth = truth.get(&node).copied().unwrap_or_default();
        let ours = ours[report.position(node)?];
        ensure!(ours.abs_diff(truth) <= KERNELS_OWN, "node {node} has {ours} pages, numa_maps says {truth}");
        // 256 pages are a MiB; it rounds to a hundredth.
        let (mib, slack) = (ours as f64 / 256.0, KERNELS_OWN as f64 / 256.0 + 0.005);
        ensure!((mib - peer).abs() <= slack, "node {node} has {mib} MiB, numastat says {peer}");
    }
    let age = report.number("/placement_age_ns")?;
    ensure!(age <= report.number("/duration_ns")?, "a scan {age} ns old is older than the run");
    Ok(())
}

/// Blocks of memory of a node that can be taken off, the last first.
fn blocks_of(node: usize) -> Result<Vec<String>> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(format!("/sys/devices/system/node/node{node}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix("memory").and_then(|number| number.parse::<u64>().ok()) {
            blocks.push(number);
        }
    }
    blocks.sort_unstable_by(|a, b| b.cmp(a));
    Ok(blocks.into_iter().map(|number| format!("/sys/devices/system/memory/memory{number}/state")).collect())
}

/// Memory that comes while a program is traced is on its node from then on: a block of node 1 is off when tracing begins,
/// and on, for pages of user space before all others, when they are touched.
pub fn memory_off_and_on() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let blocks = blocks_of(1)?;
    let taken = blocks.iter().find(|block| fs::write(block, "offline").is_ok());
    let block = taken.with_context(|| format!("none of the {} blocks of node 1 can be taken off", blocks.len()))?;
    let mut workload = start(Kind::Anon, 3_000, (0, 1))?;
    let tid = workload.tid("toucher")?;
    let mut tracer = Tracer::start(&["--tid", &tid.to_string()])?;
    tracer.next_report()?;
    fs::write(block, "online_movable").with_context(|| format!("{block} does not come back"))?;
    // What came is looked at with the next tick, which the report of the one after it is later than; two more can be on their way.
    (0..4).try_for_each(|_| tracer.next_report().map(drop))?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    let touched = Touched::new(Kind::Anon, (0, 1), done, tid);
    touched.is_true()?;
    touched.is_exact(&report).with_context(|| report.reasons())
}

/// A CPU goes off under a thread that touches, and comes back: counting goes on, and the time in which nobody counted
/// there is told.
pub fn cpu_off_and_on() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let of_node = os::cpu_list(&fs::read_to_string("/sys/devices/system/node/node0/cpulist")?);
    // The first CPU of a machine cannot be taken off.
    let cpu = of_node.last().copied().filter(|cpu| *cpu > 0).context("node 0 has but one CPU")?;
    let on_cpu = cpu.to_string();
    let touch = |count: &str, kind: &str, more: &[&str]| {
        let args = ["touch", count, "--kind", kind, "--nodes", "0,1", "--cpu", &on_cpu];
        Workload::start(&[&args[..], more].concat())
    };
    let mut busy = touch("64", "rounds", &["--millis", "30000"])?;
    let mut fresh = touch("300", "anon", &[])?;
    let (busy_tid, fresh_tid) = (busy.tid("toucher")?, fresh.tid("toucher")?);
    let mut tracer = Tracer::start(&["--tid", &format!("{busy_tid},{fresh_tid}")])?;
    busy.go()?;
    grows(&mut tracer, busy_tid, "before")?;
    let off = Offline::take(cpu)?;
    grows(&mut tracer, busy_tid, "while its CPU is off")?;
    drop(off);
    ensure!(fs::read_to_string(online(cpu))?.trim() == "1", "CPU {cpu} does not come back");
    eventually("the gap is told", PATIENCE, || Ok(gap(tracer.next_report()?, cpu).is_some()))?;
    grows(&mut tracer, busy_tid, "after its CPU came back")?;
    // Whatever was missed before: from now on nothing is.
    let of_fresh = fresh.run()?;
    let of_busy = busy.done()?;
    let report = tracer.stop()?;
    fresh.finish()?;
    busy.finish()?;
    let ours = report.thread(fresh_tid)?.all_touches()?;
    let truth = of_fresh.facts["toucher"]["touches"].as_u64().context("no touches")?;
    ensure!(ours.remote == truth && ours.all() == truth, "{ours:?} of {truth} on the CPU that came back");
    let ours = report.thread(busy_tid)?.all_touches()?.all();
    let facts = &of_busy.facts["toucher"];
    let truth = facts["touches"].as_u64().context("no touches")?;
    ensure!(ours <= truth, "{ours} touches of {truth}");
    let (start, end) = gap(&report, cpu).with_context(|| format!("no gap: {}", report.0["gaps"]))?;
    ensure!(start < end && end <= report.number("/duration_ns")?, "a gap from {start} to {end}");
    ensure!(facts["rounds_elsewhere"] != 0, "it has never missed its CPU: {facts}");
    Ok(())
}

/// The gap of a CPU that is over.
fn gap(report: &Report, cpu: usize) -> Option<(u64, u64)> {
    let gaps = report.0["gaps"].as_array()?;
    let of_cpu = gaps.iter().find(|gap| gap["cpu"] == cpu && gap["source"].is_string())?;
    Some((of_cpu["start_ns"].as_u64()?, of_cpu["end_ns"].as_u64()?))
}

/// Waits until a thread has more touches than now.
fn grows(tracer: &mut Tracer, tid: u32, when: &str) -> Result<()> {
    let count = |tracer: &mut Tracer| -> Result<u64> {
        tracer.next_report()?.thread(tid).and_then(|thread: ThreadReport<'_>| Ok(thread.all_touches()?.all()))
    };
    let before = count(tracer)?;
    let grown =
        eventually("a thread has 300 more touches", Duration::from_secs(60), || Ok(count(tracer)? > before + 300));
    grown.with_context(|| when.to_owned())
}
