//! What a row of the table has in a column: text and its weight. Pure.

use super::Entry;
use crate::snapshot::{Host, Latency, Thread};
use crate::text;
use crate::tui::cells::{self, ABSENT};
use crate::tui::layout::{Column, Placed};
use crate::tui::page::Role;
use crate::tui::rows::{
    hint_remote, known_latency, state_name, strangers, throttled, weigh_hops, weigh_latency, weigh_remote, weigh_share,
};

/// Text and weight of a cell of a row that is listed.
pub fn cell(placed: Placed, host: &Host, entry: &Entry<'_>) -> (String, Role) {
    let Entry { thread, row, .. } = *entry;
    let stats = &thread.stats;
    let time = |ns| (cells::duration(ns), weigh_latency(ns));
    let latency = |latency: &Latency, ns| time(known_latency(latency, ns));
    let plain = |cell: String| (cell, Role::Plain);
    let all = &stats.runq.all;
    match placed.column {
        Column::Tid => plain(entry.id.clone()),
        // Of a path the end tells more.
        Column::Name if thread.members > 0 && thread.cgroup.is_some() => {
            let room = usize::from(placed.width).saturating_sub(entry.lead.len());
            plain(format!("{}{}", entry.lead, cells::end_of(entry.name, room)))
        }
        Column::Name => plain(format!("{}{}", entry.lead, entry.name)),
        Column::State => plain(state_name(thread).into()),
        Column::Cpu => plain(cells::percent(row.cpu)),
        Column::P50 => latency(all, all.p50_ns),
        Column::P90 => latency(all, all.p90_ns),
        Column::P99 => latency(all, all.p99_ns),
        Column::P999 => latency(all, all.p999_ns),
        Column::Max => latency(all, all.max_ns),
        Column::WakeupP99 => latency(&stats.runq.wakeup, stats.runq.wakeup.p99_ns),
        Column::PreemptedP99 => latency(&stats.runq.preempted, stats.runq.preempted.p99_ns),
        Column::Wait => (cells::percent(row.wait), weigh_share(row.wait)),
        Column::Waits => plain(cells::rate(row.waits)),
        Column::Voluntary => plain(cells::rate(row.voluntary)),
        Column::Involuntary => plain(cells::rate(row.involuntary)),
        Column::Migrations => plain(cells::rate(row.migrations)),
        Column::CrossNode => (cells::rate(row.cross_node), weigh_hops(row.cross_node)),
        Column::NodeMoves => plain(text::count_short(stats.node_moves)),
        Column::Touches => plain(cells::rate(row.touches)),
        Column::Remote => (cells::percent(stats.remote_share), weigh_remote(stats.remote_share)),
        Column::Running => plain(text::duration(stats.cpu_ns)),
        Column::Waited => plain(text::duration(stats.wait_ns)),
        Column::Blocked => plain(text::duration(stats.blocked_ns)),
        Column::WaitingNow => time(stats.waiting_now_ns),
        Column::Residency => plain(cells::residency(&by_node(host, thread), usize::from(placed.width))),
        Column::HintFaults => plain(cells::rate(row.hint_faults)),
        Column::HintRemote => (cells::percent(hint_remote(stats)), weigh_remote(hint_remote(stats))),
        Column::PagesMoved => plain(stats.pages_migrated.map_or_else(|| ABSENT.into(), text::count_short)),
        Column::Expected => plain(cells::percent(stats.expected_remote_share)),
        Column::Cost => plain(stats.cost_factor.map_or_else(|| ABSENT.into(), |cost| format!("{cost:.2}"))),
        Column::Pid => plain(if thread.members > 0 { ABSENT.into() } else { thread.pid.to_string() }),
        Column::LastCpu => plain(number(thread.cpu)),
        Column::Node => plain(number(row.node)),
        Column::Policy | Column::Nice | Column::Allowed => plain(scheduling(placed.column, thread)),
        Column::Throttled => (cells::percent(throttled(stats)), weigh_share(throttled(stats))),
        Column::Strangers => (cells::percent(strangers(stats)), weigh_share(strangers(stats))),
        Column::Cgroup => plain(match &thread.cgroup {
            Some(path) => cells::end_of(path, usize::from(placed.width)),
            None => ABSENT.into(),
        }),
        Column::Container => plain(match &thread.container {
            Some(container) => cells::end_of(container.title(), usize::from(placed.width)),
            None => ABSENT.into(),
        }),
    }
}

fn number(number: Option<u32>) -> String {
    number.map_or_else(|| ABSENT.into(), |number| number.to_string())
}

fn scheduling(column: Column, thread: &Thread) -> String {
    let Some(sched) = &thread.sched else { return ABSENT.into() };
    match column {
        Column::Nice => sched.nice.map_or_else(|| ABSENT.into(), |nice| nice.to_string()),
        Column::Allowed => sched.allowed_cpus.to_string(),
        _ => match sched.rt_priority {
            Some(priority) => format!("{} {priority}", sched.policy),
            None => sched.policy.to_string(),
        },
    }
}

/// Time on CPU with the kernel's number of the node.
fn by_node(host: &Host, thread: &Thread) -> Vec<(u32, u64)> {
    host.nodes.iter().zip(&thread.stats.residency_ns).map(|(node, ns)| (node.id.0, *ns)).collect()
}
