//! What reports and dashboard say in the same words: kinds of page touches, numbers that are absent and why, gaps. Place in
//! the flow: between a snapshot and what shows it.

use numatrace_common::cause::Cause;

use crate::snapshot::{Gap, NodeMemory, SelfCost, Snapshot, ThreadStats, Throttle};
use crate::text::{bytes, count, duration, fit, percent, share, width};
use crate::units::sum;

/// Why a thread migrated, as in the JSON of reports.
pub const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Wakeup => "wakeup",
        Cause::LoadBalance => "load_balance",
        Cause::ActiveBalanceOrAffinity => "active_balance_or_affinity",
        Cause::NumaBalancing => "numa_balancing",
        Cause::Hotplug => "hotplug",
        Cause::Other => "other",
    }
}

/// What every list of page touches says of them.
pub const FAULTS: &str = "page touches are faults, not accesses";

/// A kind of page touches, as people call it; `name` as in JSON.
pub fn kind(name: &str) -> &str {
    match name {
        "first_touch" => "first touch",
        "file" => "file or shared",
        "cow" => "copy-on-write",
        "huge" => "huge page",
        "zero" => "zero page",
        other => other,
    }
}

/// That a number of these sources is absent, and why.
pub fn not_measured(snapshot: &Snapshot, sources: &[&str]) -> String {
    match snapshot.why_absent(sources) {
        Some(reason) => format!("not measured: {reason}"),
        None => "not measured".into(),
    }
}

/// Where and when a source saw nothing: `nothing of CPU 3 from 4.00s to 4.50s`.
pub fn gap(gap: &Gap) -> String {
    format!("nothing of CPU {} from {} to {}", gap.cpu, duration(gap.start_ns), duration(gap.end_ns))
}

/// A mapping in at most `columns`: of a path that is longer the end, for that has the name of the file.
pub fn mapping(mapping: &str, columns: usize) -> String {
    let name = mapping.starts_with('/').then(|| mapping.rfind('/')).flatten().map(|at| &mapping[at..]);
    match name {
        Some(name) if width(mapping) > columns && width(name) < columns => format!("…{name}"),
        _ => fit(mapping, columns),
    }
}

/// A cost factor: `1.22`.
pub fn factor(cost: f64) -> String {
    if cost.is_finite() { format!("{cost:.2}") } else { "-".into() }
}

/// Time waited by what it was for, as shares of it: `own 12.0%, strangers 50.0%, throttled 30.0%, rest 8.0%`, where `own` is what
/// threads of the same process are to be called. The rest was idle, or nobody is known to have run, or what no source tells
/// apart. `None` where no source tells anything, or nobody waited.
pub fn waited_for(stats: &ThreadStats, own: &str) -> Option<String> {
    let behind = stats.behind.map(|behind| [(own, behind.own_ns), ("strangers", behind.others_ns)]);
    let throttled = stats.throttled_wait_ns.map(|ns| ("throttled", ns));
    let known: Vec<(&str, u64)> = behind.into_iter().flatten().chain(throttled).collect();
    let told = sum(known.iter().map(|(_, ns)| ns));
    // A wait that began before the window counts for those who ran as a whole.
    let whole = stats.wait_ns.max(told);
    if known.is_empty() || whole == 0 {
        return None;
    }
    let rest = ("rest", whole.saturating_sub(told));
    let words: Vec<String> =
        known.into_iter().chain([rest]).map(|(who, ns)| format!("{who} {}", share(ns, whole))).collect();
    Some(words.join(", "))
}

/// Who took the CPU away, how often, and for how long: `by own 12 (3.00ms), strangers 40 (1.20s)`, with `own` as in [`waited_for`].
/// `None` where no source tells.
pub fn preempted_by(stats: &ThreadStats, own: &str) -> Option<String> {
    let by = stats.preempted_by?;
    let words = |name: &str, waits: crate::snapshot::Waited| {
        format!("{name} {} ({})", count(waits.count), duration(waits.total_ns))
    };
    Some(format!("by {}, {}", words(own, by.own), words("strangers", by.others)))
}

/// Threads that ran or waited for a CPU, on average; `None` without a stretch of time.
pub fn runnable(numbers: &Snapshot) -> Option<f64> {
    let time = sum([&numbers.totals.cpu_ns, &numbers.totals.wait_ns]);
    (numbers.duration_ns > 0).then(|| time as f64 / numbers.duration_ns as f64)
}

/// Cgroups with a quota, in the order of the snapshot.
pub fn quotas(numbers: &Snapshot) -> impl Iterator<Item = &Throttle> {
    numbers.throttle.iter().flatten().filter(|cgroup| cgroup.quota_cpus.is_some())
}

/// Memory of each node with the position of the node, where it is known of all of them.
pub fn node_memory(numbers: &Snapshot) -> Option<impl Iterator<Item = (usize, &NodeMemory)>> {
    let all = numbers.node_memory.as_ref()?;
    Some(all.iter().take(numbers.host.nodes.len()).enumerate())
}

/// What numatrace itself took, in one sentence.
pub fn self_cost(cost: &SelfCost) -> String {
    let probes = match cost.probes_ns {
        Some(ns) => format!("{} in its programs, by others", duration(ns)),
        None => "the time in its programs is not known".into(),
    };
    let limit = cost.max_overhead.map_or_else(String::new, |limit| format!(" (limit {})", percent(limit)));
    format!(
        "{}{limit} of the machine's CPU time lately; {} by its own threads, {probes}; {} of memory; rings at most {} full",
        percent(cost.overhead),
        duration(cost.cpu_ns),
        bytes(cost.memory_bytes),
        percent(cost.ring_fill_max),
    )
}

/// What it left out, and why; nothing where it did not.
pub fn shed(cost: &SelfCost) -> Option<String> {
    const SHOWN: usize = 3;
    let shed = &cost.shed;
    if shed.intervals.is_empty() && !shed.is_on() {
        return None;
    }
    let what = |every: u32, left_out: &[&str]| {
        let records = (every > 1).then(|| format!("one record for {every} turns"));
        let without = (!left_out.is_empty()).then(|| format!("without {}", left_out.join(", ")));
        records.into_iter().chain(without).collect::<Vec<_>>().join(", ")
    };
    let mut when: Vec<String> = shed
        .intervals
        .iter()
        .take(SHOWN)
        .map(|part| {
            let what = what(part.every, &part.left_out);
            format!("{what} from {} to {}", duration(part.start_ns), duration(part.end_ns))
        })
        .collect();
    if shed.intervals.len() > SHOWN {
        when.push(format!("and {} more times", shed.intervals.len() - SHOWN));
    }
    if shed.is_on() {
        when.push(format!("now {}", what(shed.every, &shed.left_out)));
    }
    let limit = cost.max_overhead.map(|limit| format!("to stay below {} of the machine's CPU time", percent(limit)));
    let why = match (shed.for_loss, limit) {
        (false, Some(limit)) => limit,
        // Loss leads to fewer records alone.
        (true, Some(limit)) if !shed.left_out.is_empty() => format!("{limit}, and because records were lost"),
        _ => "because records were lost".into(),
    };
    let held = if shed.not_held { "; it is not enough, and there is nothing more to leave out" } else { "" };
    Some(format!(
        "{}, {why}{held}; {} turns have no record: counts and sums have them, distributions, residency, wakers and who ran instead are estimates from the others",
        when.join("; "),
        count(shed.turns),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Behind, PreemptedBy, Waited};
    use crate::snapshot::{Source, SourceState, Touches, sources};

    #[test]
    fn time_waited_is_told_by_what_it_was_for_and_shares_are_of_all_of_it() {
        let mut stats = ThreadStats { wait_ns: 1_000, ..ThreadStats::default() };
        assert_eq!((waited_for(&stats, "own"), preempted_by(&stats, "own")), (None, None));
        stats.throttled_wait_ns = Some(300);
        assert_eq!(waited_for(&stats, "own").as_deref(), Some("throttled 30.0%, rest 70.0%"));
        stats.behind = Some(Behind { own_ns: 100, others_ns: 500 });
        assert_eq!(
            waited_for(&stats, "own").as_deref(),
            Some("own 10.0%, strangers 50.0%, throttled 30.0%, rest 10.0%")
        );
        // More than was waited in the window.
        stats.wait_ns = 450;
        assert_eq!(waited_for(&stats, "own").as_deref(), Some("own 11.1%, strangers 55.6%, throttled 33.3%, rest 0%"));
        stats.behind = Some(Behind { own_ns: u64::MAX, others_ns: u64::MAX });
        assert_eq!(waited_for(&stats, "own").map(|words| words.starts_with("own 100%")), Some(true));
        assert_eq!(waited_for(&ThreadStats { throttled_wait_ns: Some(0), ..ThreadStats::default() }, "own"), None);
        let [own, others] = [(12, 3_000_000), (40, 1_200_000_000)].map(|(count, total_ns)| Waited { count, total_ns });
        stats.preempted_by = Some(PreemptedBy { own, others });
        assert_eq!(preempted_by(&stats, "own").as_deref(), Some("by own 12 (3.00ms), strangers 40 (1.20s)"));
    }

    #[test]
    fn every_kind_has_a_name_without_underscores() {
        let touches = Touches { cow: Some(Default::default()), ..Touches::default() };
        assert!(touches.kinds().all(|(name, _)| !kind(name).contains('_')));
    }

    #[test]
    fn of_a_long_path_the_name_of_the_file_is_left() {
        assert_eq!(mapping("/usr/lib/libc.so.6", 18), "/usr/lib/libc.so.6");
        assert_eq!(mapping("/usr/lib/libc.so.6", 12), "…/libc.so.6");
        assert_eq!(mapping("/usr/lib/libc.so.6", 8), "/usr/li…");
        assert_eq!(mapping("anon 7f31c0000000", 8), "anon 7f…");
    }

    #[test]
    fn what_is_absent_has_a_reason_where_there_is_one() {
        let mut snapshot = Snapshot::nothing_yet("pid 1");
        assert_eq!(not_measured(&snapshot, &sources::TOUCHES), "not measured");
        snapshot.sources.push(Source {
            name: sources::TOUCHES[0].into(),
            state: SourceState::Off,
            reason: Some("no perf here".into()),
        });
        assert_eq!(not_measured(&snapshot, &sources::TOUCHES), "not measured: no perf here");
    }
}
