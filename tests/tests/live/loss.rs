//! Lost records: exactly counted, and the totals exact in spite of them.

use anyhow::{Result, ensure};
use numatrace_tests::live::{Report, equal_to_proc, trace};

use crate::{Case, busy_cpu};

pub const CASES: &[Case] =
    &[("a_4_kib_ring_under_load_counts_every_record", tiny_ring), ("nothing_is_lost_by_default", default_ring)];

/// Wanted, received, lost.
pub fn records(report: &Report) -> Result<[u64; 3]> {
    let number = |name| report.number(&format!("/loss/records_{name}"));
    let (wanted, received, lost) = (number("wanted")?, number("received")?, number("lost")?);
    ensure!(wanted == received + lost, "wanted {wanted}, received {received}, lost {lost}");
    let reasons = report.number("/loss/by_reason/ring_full")? + report.number("/loss/by_reason/no_ring")?;
    ensure!(reasons == lost, "reasons sum to {reasons} of {lost}: {}", report.0["loss"]);
    Ok([wanted, received, lost])
}

fn tiny_ring() -> Result<()> {
    let (done, report) = trace(&["pipes", "8", "--millis", "2000"], &["--ring-size", "4K"])?;
    let [_, received, lost] = records(&report)?;
    ensure!(lost > 0 && received > 0, "lost {lost}, received {received}: no load on this ring");
    let intervals = report.0["loss"]["intervals"].as_array().into_iter().flatten();
    let timed: u64 = intervals.map(|interval| interval["lost"].as_u64().unwrap_or_default()).sum();
    ensure!(timed == lost, "the intervals hold {timed} of {lost}");
    equal_to_proc(&done, &report)
}

fn default_ring() -> Result<()> {
    // A load that a build without optimization keeps up with; full load is the benchmarks' matter.
    let (done, report) = trace(&["pingpong", "30000", "--cpu", &busy_cpu()?], &[])?;
    let [wanted, _, lost] = records(&report)?;
    ensure!(lost == 0, "{lost} of {wanted} records were lost");
    ensure!(wanted > 60_000, "only {wanted} records: no load");
    equal_to_proc(&done, &report)
}
