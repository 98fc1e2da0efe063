//! A machine with one node: memory is never remote, and what makes the target slow is something else.

use serde_json::json;

use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::snapshot::Snapshot;
use crate::text::share;
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "single-node",
    about: "On a machine with one NUMA node all memory is equally near: nothing is won by binding memory.",
    limits: &[Limit {
        name: "wait-share",
        default: 0.05,
        range: (0.0, 1.0),
        about: "share of their time that threads wait for a CPU, from which on the wait is named as what is wrong",
    }],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers: &Snapshot = case.numbers;
    let stats = &numbers.totals;
    if numbers.host.nodes.len() != 1 || stats.life_ns() == 0 {
        return None;
    }
    let (wait_ns, active_ns) = (stats.wait_ns, sum([&stats.cpu_ns, &stats.wait_ns]));
    let waits = active_ns > 0 && wait_ns as f64 >= case.limit("wait-share") * active_ns as f64;
    let evidence = json!({ "nodes": 1, "cpu_ns": stats.cpu_ns, "wait_ns": wait_ns });
    let title = if waits {
        format!(
            "This machine has one NUMA node, so NUMA is not the problem: waiting for a CPU is, {} of the time that threads could run.",
            share(wait_ns, active_ns)
        )
    } else {
        "This machine has one NUMA node, so NUMA is not the problem, and threads hardly wait for a CPU.".to_owned()
    };
    let advice = if waits {
        "See who runs instead, and whether a CPU quota or few allowed CPUs hold the threads back."
    } else {
        "Look for the time outside of scheduling and memory: locks, disks, the network, or the code itself."
    };
    Some(Conclusion { severity: Severity::Info, title, evidence, advice: advice.into(), command: None })
}
