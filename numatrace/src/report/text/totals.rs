//! Sums over all threads.

use super::page::{Page, Tone};
use crate::snapshot::{Latency, Migrations, Snapshot};
use crate::text::{count, duration, left, percent, right, share};
use crate::units::sum;
use crate::words;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    let threads = snapshot.threads.len() as u64 + snapshot.dropped_threads;
    let title = format!("Totals of {} thread{}", count(threads), if threads == 1 { "" } else { "s" });
    page.heading(&title, "");
    let columns = ["count", "sum", "p50", "p90", "p99", "p99.9", "max"];
    page.line(&row("run-queue latency", &columns.map(str::to_owned)), Tone::Plain);
    for (name, latency) in [
        ("  after wakeup", &totals.runq.wakeup),
        ("  after preemption", &totals.runq.preempted),
        ("  all", &totals.runq.all),
    ] {
        page.line(&row(name, &latency_cells(latency)), Tone::Plain);
    }
    let wall = snapshot.duration_ns;
    let mut time = format!(
        "on CPU {} ({} of one CPU), waiting for one {}, blocked {}",
        duration(totals.cpu_ns),
        if wall == 0 { "-".to_owned() } else { percent(totals.cpu_ns as f64 / wall as f64) },
        duration(totals.wait_ns),
        duration(totals.blocked_ns)
    );
    if let Some(longest) = totals.waiting_now_ns.filter(|longest| *longest > 0) {
        time += &format!("; a thread has been waiting for {} by now", duration(longest));
    }
    page.entry("time", &time, Tone::Plain);
    if let Some(ns) = totals.throttled_wait_ns {
        let line = format!("{} of the time waited, {}", duration(ns), share(ns, totals.wait_ns.max(ns)));
        page.entry("throttled", &line, Tone::Plain);
    }
    if let Some(parts) = words::waited_for(totals, "own process") {
        page.entry("waited for", &parts, Tone::Plain);
    }
    if let Some(by) = words::preempted_by(totals, "own process") {
        page.entry("preempted", &by, Tone::Plain);
    }
    let switches = totals.switches;
    let line = format!("{} voluntary, {} involuntary", count(switches.voluntary), count(switches.involuntary));
    page.entry("switches", &line, Tone::Plain);
    migrations(page, &totals.migrations);
    if snapshot.host.nodes.len() > 1 {
        page.entry("node moves", &count(totals.node_moves), Tone::Plain);
        page.entry("ran on", &residency(snapshot), Tone::Plain);
    }
}

fn migrations(page: &mut Page, migrations: &Migrations) {
    let levels = [
        (migrations.smt, "to an SMT sibling"),
        (migrations.llc, "within a cache"),
        (migrations.node, "within a node"),
        (migrations.cross_node, "cross-node"),
        (migrations.unclassified, "not classified"),
    ];
    let causes = migrations.causes;
    let causes = [
        (causes.wakeup, "wakeup"),
        (causes.load_balance, "load balance"),
        (causes.active_balance_or_affinity, "active balance or affinity"),
        (causes.numa_balancing, "NUMA balancing"),
        (causes.hotplug, "hotplug"),
        (causes.other, "other"),
    ];
    let list = |parts: &[(u64, &str)]| -> String {
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
        parts.join(", ")
    };
    let total = migrations.total();
    if total == 0 {
        page.entry("migrations", "0", Tone::Plain);
        return;
    }
    page.entry("migrations", &format!("{}: {}", count(total), list(&levels)), Tone::Plain);
    let causes = list(&causes);
    if !causes.is_empty() {
        page.entry("", &format!("by cause: {causes}"), Tone::Plain);
    }
}

fn residency(snapshot: &Snapshot) -> String {
    let residency = &snapshot.totals.residency_ns;
    let whole = sum(residency);
    let parts: Vec<String> = snapshot
        .host
        .nodes
        .iter()
        .zip(residency)
        .map(|(node, ns)| format!("node {} {}", node.id, share(*ns, whole)))
        .collect();
    parts.join(", ")
}

fn row(name: &str, cells: &[String; 7]) -> String {
    let mut line = left(name, 18);
    for (cell, columns) in cells.iter().zip([16, 7, 6, 6, 6, 6, 6]) {
        line.push(' ');
        line += &right(cell, columns);
    }
    line
}

fn latency_cells(latency: &Latency) -> [String; 7] {
    let [p50, p90, p99, p999, max] = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns]
        .map(|ns| percentile(latency, ns));
    [count(latency.count), duration(latency.total_ns), p50, p90, p99, p999, max]
}

/// A percentile, `-` where no record of a wait arrived: counts come from the kernel, percentiles from records.
pub(super) fn percentile(latency: &Latency, ns: u64) -> String {
    if latency.count == 0 || latency.max_ns == 0 { "-".into() } else { duration(ns) }
}
