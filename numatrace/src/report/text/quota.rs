//! CPU quotas of the target's cgroups, beside what the target wanted.

use super::page::{Page, Tone};
use crate::snapshot::{Snapshot, Throttle};
use crate::text::{count, duration, right, share};
use crate::words;

/// Nothing where quotas are not measured: the sources say why.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    if snapshot.throttle.is_none() {
        return;
    }
    let all: Vec<&Throttle> = words::quotas(snapshot).collect();
    page.heading("CPU quota", "");
    if all.is_empty() {
        page.paragraph("  ", "none: neither the target's cgroups nor those above them have one");
        return;
    }
    if let Some(runnable) = words::runnable(snapshot) {
        page.entry("runnable", &format!("{runnable:.2} threads on average"), Tone::Plain);
    }
    page.line(
        &row(&["CPUS", "PERIODS", "THROTTLED", "SHARE", "STOPPED", "THREADS"].map(str::to_owned), "CGROUP"),
        Tone::Plain,
    );
    for cgroup in all {
        let cells = [
            cgroup.quota_cpus.map_or_else(|| "-".into(), words::factor),
            count(cgroup.periods),
            count(cgroup.throttled_periods),
            share(cgroup.throttled_periods, cgroup.periods),
            duration(cgroup.throttled_ns),
            count(cgroup.threads),
        ];
        page.line(&row(&cells, &cgroup.cgroup), Tone::Plain);
    }
    page.paragraph(
        "  ",
        "CPUS: allowed; THROTTLED: periods in which it was stopped; STOPPED: for how long, summed over CPUs",
    );
}

/// A path is last, and whole: it can be copied.
fn row(cells: &[String; 6], cgroup: &str) -> String {
    let widths = [7, 10, 10, 7, 8, 8];
    let cells: String = cells.iter().zip(widths).map(|(cell, width)| right(cell, width)).collect();
    format!("  {cells}  {cgroup}")
}
