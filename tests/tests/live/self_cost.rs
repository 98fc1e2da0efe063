//! What numatrace takes of the machine: measured, shown, and held below a limit by leaving out what is optional.

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{Report, equal_to_proc, trace, within};

use crate::Case;

pub const CASES: &[Case] = &[
    ("what_numatrace_takes_is_measured", measured),
    ("a_limit_that_can_be_held_is_held", held),
    ("a_limit_that_cannot_be_held_sheds_all_that_can_be_and_counts_stay_exact", shed),
];

fn measured() -> Result<()> {
    let (done, report) = trace(&["pipes", "2", "--millis", "3000"], &["--max-overhead", "100%"])?;
    let number = |name: &str| report.number(&format!("/self/{name}"));
    // It started a moment ago, on a machine with some CPUs.
    let (cpu_ns, memory) = (number("cpu_ns")?, number("memory_bytes")?);
    ensure!(cpu_ns > 1_000_000 && cpu_ns < 60_000_000_000, "{cpu_ns} ns of CPU time");
    ensure!(memory > 4 << 20 && memory < 1 << 30, "{memory} bytes of memory");
    let overhead = report.0["self"]["overhead"].as_f64().unwrap_or(-1.0);
    ensure!(overhead > 0.0 && overhead <= 1.0, "it took {overhead} of the machine");
    // A machine that is too busy to take records in has fewer of them, whatever the limit is.
    let all = number("shed/every")? == 1 && number("shed/turns")? == 0;
    ensure!(all || report.0["self"]["shed"]["for_loss"] == true, "it left out: {}", report.0["self"]);
    let sources = report.0["sources"].as_array().into_iter().flatten();
    let state = sources.filter(|source| source["name"] == "bpf_stats").map(|source| source["state"].as_str()).next();
    match state.flatten() {
        // Each of some 100,000 switches runs a program.
        Some("on" | "sampled") => ensure!(number("probes_ns")? > 1_000_000, "{}", report.0["self"]),
        state => ensure!(state == Some("off") && report.0["self"]["probes_ns"].is_null(), "{}", report.0["self"]),
    }
    equal_to_proc(&done, &report)
}

/// What it takes without a limit, less a part: with that as the limit it takes no more.
fn held() -> Result<()> {
    const WORKLOAD: [&str; 4] = ["pipes", "2", "--millis", "9000"];
    let overhead = |report: &Report| report.0["self"]["overhead"].as_f64().context("it is not measured");
    let (_, free) = trace(&WORKLOAD, &["--max-overhead", "100%"])?;
    let limit = 0.8 * overhead(&free)?;
    let (done, report) = trace(&WORKLOAD, &["--max-overhead", &format!("{:.3}%", 100.0 * limit)])?;
    let (takes, shed) = (overhead(&report)?, &report.0["self"]["shed"]);
    ensure!(shed["not_held"] == false, "{takes} of {limit}: {shed}");
    // It is looked at once a second and held on average.
    ensure!(takes <= 1.2 * limit, "it takes {takes}, and may take {limit}: {shed}");
    println!("{takes:.4} of {limit:.4}; one record for {} turns", shed["every"]);
    equal_to_proc(&done, &report)
}

fn shed() -> Result<()> {
    let (done, report) = trace(&["pipes", "2", "--millis", "9000"], &["--max-overhead", "0.01%"])?;
    let shed = &report.0["self"]["shed"];
    ensure!(shed["every"] == 64 && shed["not_held"] == true && shed["for_loss"] == false, "{shed}");
    ensure!(shed["left_out"].as_array().is_some_and(|names| names.len() == 3), "{shed}");
    let turns = report.number("/self/shed/turns")?;
    let intervals = shed["intervals"].as_array().into_iter().flatten();
    let timed: u64 = intervals.map(|interval| interval["turns"].as_u64().unwrap_or_default()).sum();
    ensure!(turns > 1000 && timed == turns, "the intervals hold {timed} of {turns} turns");
    let loss = |name: &str| report.number(&format!("/loss/records_{name}"));
    let (wanted, received, lost) = (loss("wanted")?, loss("received")?, loss("lost")?);
    ensure!(wanted == received + lost, "wanted {wanted}, received {received}, lost {lost}");
    // What a record cannot tell is estimated from those that are there: time on CPU by node from one turn in so many.
    let residency = report.0["totals"]["residency_ns"].as_array().into_iter().flatten();
    let residency: u64 = residency.filter_map(serde_json::Value::as_u64).sum();
    within(0.3, "time on CPU by node, from a part of the turns", residency, report.number("/totals/cpu_ns")?)?;
    ensure!(report.number("/totals/runq/all/p50_ns")? > 0, "no distribution");
    gaps(&report)?;
    equal_to_proc(&done, &report)
}

/// Page touches that were not looked at are a gap of each CPU, where they were looked at before.
fn gaps(report: &Report) -> Result<()> {
    let touches = !report.0["totals"]["touches"].is_null();
    let gaps = report.0["gaps"].as_array().map_or(0, Vec::len);
    // It ends with the run: while it lasts it is told by what is left out.
    ensure!(touches || gaps == 0, "gaps of what was never on: {}", report.0["gaps"]);
    Ok(())
}
