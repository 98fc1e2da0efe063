//! A machine with one node: memory is never remote, and what makes the target slow is something else.

use serde_json::json;

use crate::findings::demand::{Waited, ms, ratio};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::text::share;
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "single-node",
    about: "On a machine with one NUMA node all memory is equally near: nothing is won by binding memory.",
    limits: &[
        Limit {
            name: "wait-share",
            default: 0.05,
            range: (0.0, 1.0),
            about: "share of the time in which threads could run that they wait for a CPU, from which on the wait is named as what is wrong",
        },
        Limit {
            name: "least-ms",
            default: 10.0,
            range: (0.0, 1e6),
            about: "milliseconds on a CPU and waiting for one, below which nothing is said",
        },
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let stats = &case.numbers.totals;
    let active_ns = sum([&stats.cpu_ns, &stats.wait_ns]);
    if case.numbers.host.nodes.len() != 1 || active_ns == 0 || ms(active_ns) < case.limit("least-ms") {
        return None;
    }
    let waited = Waited::of(stats);
    let evidence = json!({
        "nodes": 1,
        "cpu_ns": stats.cpu_ns,
        "wait_ns": waited.wait_ns,
        "blocked_ns": stats.blocked_ns,
        "throttled_wait_ns": waited.throttled_ns,
        "behind_own_ns": waited.own_ns,
        "behind_others_ns": waited.others_ns,
        "rest_ns": waited.rest_ns,
    });
    let waits = ratio(waited.wait_ns, active_ns) >= case.limit("wait-share");
    let (what, advice) = if waits { waiting(&waited, active_ns) } else { not_waiting(stats.blocked_ns, active_ns) };
    let title = format!("This machine has one NUMA node, so NUMA is not the problem{what}.");
    Some(Conclusion { severity: Severity::Info, title, evidence, advice: advice.into(), command: None })
}

/// What the wait was for, as far as it is known, the greatest part first, and what to do about that.
fn waiting(waited: &Waited, active_ns: u64) -> (String, &'static str) {
    let mut parts = vec![
        (waited.throttled_ns, "because of a CPU quota", "Raise the CPU quota, or let fewer threads work at a time."),
        (
            waited.own_ns,
            "behind threads of the same process",
            "Let fewer threads work at a time, or give them more CPUs.",
        ),
        (
            waited.others_ns,
            "behind other programs and the kernel",
            "See who runs instead, and keep them off these CPUs.",
        ),
        (
            Some(waited.rest_ns),
            "behind nobody that is known",
            "See who runs instead, and on which CPUs the threads may run.",
        ),
    ];
    parts.retain(|(ns, _, _)| ns.is_some_and(|ns| ns > 0));
    parts.sort_by_key(|(ns, _, _)| std::cmp::Reverse(*ns));
    let said: Vec<String> =
        parts.iter().map(|(ns, what, _)| format!("{} {what}", share(ns.unwrap_or(0), active_ns))).collect();
    let known = waited.throttled_ns.is_some() || waited.own_ns.is_some();
    let of_what = if known { format!(": {}", said.join(", ")) } else { String::new() };
    let all = share(waited.wait_ns, active_ns);
    let what = format!(": waiting for a CPU is, {all} of the time in which threads could run{of_what}");
    (what, parts.first().map_or("See who runs instead.", |(_, _, advice)| *advice))
}

/// They wait for no CPU: their time goes into running and into sleep.
fn not_waiting(blocked_ns: u64, active_ns: u64) -> (String, &'static str) {
    let life_ns = sum([&blocked_ns, &active_ns]);
    let what = format!(
        ", and threads hardly wait for a CPU: {} of their life they are blocked (sleep, I/O, locks), the rest they run",
        share(blocked_ns, life_ns)
    );
    (what, "Look for the time outside of scheduling and memory: locks, disks, the network, or the code itself.")
}
