//! What pages say of CPU quotas and of what waits were for: shared by Overview and Thread detail. Pure text.

use super::cells;
use super::page::{Block, Line, Role};
use super::rows::weigh_share;
use crate::snapshot::{Snapshot, ThreadStats, Throttle, sources};
use crate::text;
use crate::words;

/// Narrower lists of cgroups leave the time out.
const NARROW: usize = 56;

/// What the quotas of the target's cgroups took, and what they allow beside what is wanted; `rates` are of the stretch that rates
/// are over.
pub(super) fn block(numbers: &Snapshot, rates: &Snapshot, columns: usize) -> Block {
    let mut block = Block::new("CPU quota", "");
    let with_quota: Vec<&Throttle> = words::quotas(numbers).collect();
    match numbers.totals.throttled_wait_ns {
        Some(ns) if ns > 0 || !with_quota.is_empty() => {
            let share = cells::ratio(ns, numbers.totals.wait_ns.max(ns));
            let line = Line::default().left("throttled", 11, Role::Plain).right(&text::duration(ns), 8, Role::Plain);
            let line = line.right(&cells::percent(share), 8, weigh_share(share));
            block.push(line.with("  of the time waited for a CPU", Role::Dim));
        }
        Some(_) => {}
        None => absent(&mut block, numbers, "The throttled part of waits", &sources::THROTTLE, columns),
    }
    if numbers.throttle.is_none() {
        absent(&mut block, numbers, "What cgroups may use", &sources::QUOTA, columns);
    } else if with_quota.is_empty() {
        block.say("No CPU quota: neither the target's cgroups nor those above them have one.", columns, Role::Plain);
    } else {
        if let Some(runnable) = words::runnable(numbers) {
            let line =
                Line::default().left("runnable", 11, Role::Plain).right(&format!("{runnable:.2}"), 8, Role::Plain);
            block.push(line.with("  threads on average", Role::Dim));
        }
        cgroups(&mut block, &with_quota, rates, columns);
    }
    if block.lines.len() == 1 {
        block.say("Not measured.", columns, Role::Dim);
    }
    block
}

/// Not measured, and why; nothing where nobody has a reason, as in older recordings.
fn absent(block: &mut Block, numbers: &Snapshot, what: &str, of: &[&str], columns: usize) {
    if numbers.why_absent(of).is_some() {
        block.say(&format!("{what} is {}.", words::not_measured(numbers, of)), columns, Role::Dim);
    }
}

/// A line for each cgroup that has a quota.
fn cgroups(block: &mut Block, all: &[&Throttle], rates: &Snapshot, columns: usize) {
    let wide = columns >= NARROW;
    let (stops, time) = if wide { (8, 10) } else { (0, 0) };
    let name = columns.saturating_sub(7 + stops + 10 + time);
    let mut head = Line::default().left("cgroup", name, Role::Head).right("CPUs", 7, Role::Head);
    if wide {
        head = head.right("stops/s", stops, Role::Head);
    }
    head = head.right("periods", 10, Role::Head);
    block.push(if wide { head.right("stopped", time, Role::Head) } else { head });
    for cgroup in all {
        let quota = cgroup.quota_cpus.map_or_else(|| cells::ABSENT.into(), words::factor);
        let share = cells::ratio(cgroup.throttled_periods, cgroup.periods);
        let stopped = rates.throttle.iter().flatten().find(|other| other.cgroup == cgroup.cgroup);
        let rate = stopped.and_then(|stopped| cells::per_second(stopped.throttled_periods, rates));
        let path = cells::end_of(&cgroup.cgroup, name);
        let mut line = Line::default().left(&path, name, Role::Plain).right(&quota, 7, Role::Plain);
        if wide {
            line = line.right(&cells::rate(rate), stops, Role::Plain);
        }
        line = line.right(&cells::percent(share), 10, weigh_share(share));
        block.push(if wide { line.right(&text::duration(cgroup.throttled_ns), time, Role::Plain) } else { line });
    }
    block.say("CPUs: allowed; periods: those it was stopped in", columns, Role::Dim);
}

/// What the time waited was for, in one line; nothing where no source tells.
pub(super) fn parts(block: &mut Block, stats: &ThreadStats, columns: usize) {
    if let Some(parts) = words::waited_for(stats, "own") {
        block.say(&parts, columns, Role::Plain);
    }
}

/// Who took the CPU away, in one line.
pub(super) fn preempted(block: &mut Block, stats: &ThreadStats, columns: usize) {
    if let Some(by) = words::preempted_by(stats, "own") {
        block.say(&format!("preempted {by}"), columns, Role::Plain);
    }
}
