//! The report for spreadsheets: RFC 4180, a row a thread or a group. Fields are named as in JSON, with dots; a number whose
//! source is off is an empty cell.
//!
//! A program chooses the names of its threads, and a spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a
//! formula: such a text gets an apostrophe before it, as OWASP advises. Texts are escaped already, so none has a tab or a
//! line break.

use std::fmt::Display;
use std::io::{self, Write};

use csv::{Terminator, WriterBuilder};

use super::{SortKey, sorted_threads};
use crate::snapshot::{Latency, Snapshot, Thread, ThreadStats};

/// Writes a header and a row for each group, or for each thread where there are no groups; at most `top` of them, unless it is
/// 0.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(snapshot: &Snapshot, sort: SortKey, top: usize, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut rows = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let all = snapshot.groups.as_ref().map_or(&snapshot.threads, |groups| &groups.all);
    let shown = if top == 0 { all.len() } else { top };
    let cells = |thread: &Thread| match &snapshot.groups {
        Some(groups) => {
            let mut cells = Cells::default();
            cells.text(groups.by.name(), groups.name(thread));
            cells.number("threads", thread.members);
            cells.stats(thread, snapshot);
            cells
        }
        None => of_thread(thread, snapshot),
    };
    // Of nobody, so that there is a header also where nobody was seen.
    rows.write_record(cells(&Thread::default()).0.iter().map(|(name, _)| name))?;
    for thread in sorted_threads(all, sort).into_iter().take(shown) {
        rows.write_record(cells(thread).0.iter().map(|(_, cell)| cell))?;
    }
    out.write_all(&rows.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// Names and cells of a row.
#[derive(Default)]
struct Cells(Vec<(String, String)>);

impl Cells {
    fn number(&mut self, name: impl Into<String>, number: impl Display) {
        self.0.push((name.into(), number.to_string()));
    }

    fn text(&mut self, name: impl Into<String>, text: &str) {
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        self.0.push((name.into(), if formula { format!("'{text}") } else { text.to_owned() }));
    }

    fn latency(&mut self, name: &str, latency: &Latency) {
        let all = [
            ("count", latency.count),
            ("total_ns", latency.total_ns),
            ("p50_ns", latency.p50_ns),
            ("p90_ns", latency.p90_ns),
            ("p99_ns", latency.p99_ns),
            ("p999_ns", latency.p999_ns),
            ("max_ns", latency.max_ns),
        ];
        all.into_iter().for_each(|(field, number)| self.number(format!("runq.{name}.{field}"), number));
    }

    /// Empty where it is absent.
    fn perhaps(&mut self, name: &str, number: Option<impl Display>) {
        self.number(name, number.map_or(String::new(), |number| number.to_string()));
    }

    /// Page touches of all kinds together, the zero page left out, and what else is measured of pages.
    fn touches(&mut self, stats: &ThreadStats) {
        let touches = stats.touches.map(|touches| touches.total());
        self.perhaps("touches.local", touches.map(|touches| touches.local));
        self.perhaps("touches.remote", touches.map(|touches| touches.remote));
        self.perhaps("touches.unknown", touches.map(|touches| touches.unknown));
        // What is no number is absent, as in JSON.
        let ratio = |ratio: Option<f64>| ratio.filter(|ratio| ratio.is_finite());
        self.perhaps("remote_share", ratio(stats.remote_share));
        self.perhaps("expected_remote_share", ratio(stats.expected_remote_share));
        self.perhaps("cost_factor", ratio(stats.cost_factor));
        self.perhaps("hint_faults.local", stats.hint_faults.map(|faults| faults.local));
        self.perhaps("hint_faults.remote", stats.hint_faults.map(|faults| faults.remote));
        self.perhaps("hint_fault_ns", stats.hint_fault_ns);
        self.perhaps("pages_migrated", stats.pages_migrated);
    }

    /// What threads and groups have in common.
    fn stats(&mut self, thread: &Thread, snapshot: &Snapshot) {
        let stats = &thread.stats;
        self.number("exited", thread.exited);
        self.number("cpu_ns", stats.cpu_ns);
        self.number("wait_ns", stats.wait_ns);
        self.number("blocked_ns", stats.blocked_ns);
        self.perhaps("waiting_now_ns", stats.waiting_now_ns);
        self.perhaps("throttled_wait_ns", stats.throttled_wait_ns);
        self.perhaps("behind_own_ns", stats.behind.map(|behind| behind.own_ns));
        self.perhaps("behind_others_ns", stats.behind.map(|behind| behind.others_ns));
        self.number("switches.voluntary", stats.switches.voluntary);
        self.number("switches.involuntary", stats.switches.involuntary);
        self.latency("wakeup", &stats.runq.wakeup);
        self.latency("preempted", &stats.runq.preempted);
        self.latency("all", &stats.runq.all);
        let migrations = &stats.migrations;
        let causes = &migrations.causes;
        for (field, number) in [
            ("smt", migrations.smt),
            ("llc", migrations.llc),
            ("node", migrations.node),
            ("cross_node", migrations.cross_node),
            ("unclassified", migrations.unclassified),
            ("causes.wakeup", causes.wakeup),
            ("causes.load_balance", causes.load_balance),
            ("causes.active_balance_or_affinity", causes.active_balance_or_affinity),
            ("causes.numa_balancing", causes.numa_balancing),
            ("causes.hotplug", causes.hotplug),
            ("causes.other", causes.other),
        ] {
            self.number(format!("migrations.{field}"), number);
        }
        self.number("node_moves", stats.node_moves);
        self.number("unseen_events", stats.unseen_events);
        self.touches(stats);
        for (at, node) in snapshot.host.nodes.iter().enumerate() {
            self.number(format!("residency_ns.{}", node.id), stats.residency_ns.get(at).copied().unwrap_or(0));
        }
    }
}

fn of_thread(thread: &Thread, snapshot: &Snapshot) -> Cells {
    let mut cells = Cells::default();
    cells.number("tid", thread.tid);
    cells.number("pid", thread.pid);
    cells.text("comm", &thread.comm);
    cells.text("cgroup", thread.cgroup.as_deref().unwrap_or_default());
    let sched = thread.sched.as_ref();
    cells.text("sched.policy", sched.map_or("", |sched| &sched.policy));
    cells.number("sched.nice", sched.and_then(|sched| sched.nice).map_or(String::new(), |nice| nice.to_string()));
    let priority = sched.and_then(|sched| sched.rt_priority).map_or(String::new(), |priority| priority.to_string());
    cells.number("sched.rt_priority", priority);
    cells.text("sched.allowed_cpus", sched.map_or("", |sched| &sched.allowed_cpus));
    cells.stats(thread, snapshot);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{GroupBy, HostNode, LocalRemote, TouchCount, Touches};
    use crate::units::{NodeId, Tid};
    use crate::window::grouped;

    fn snapshot(names: &[&str]) -> Snapshot {
        let thread = |(tid, comm): (u32, &&str)| Thread { tid: Tid(tid), comm: (**comm).into(), ..Thread::default() };
        let mut snapshot = Snapshot { threads: (1..).zip(names).map(thread).collect(), ..Snapshot::nothing_yet("x") };
        snapshot.host.nodes = vec![HostNode::default(), HostNode { id: NodeId(3), ..HostNode::default() }];
        snapshot
    }

    fn rows(snapshot: &Snapshot, top: usize) -> Vec<Vec<String>> {
        let mut bytes = Vec::new();
        write(snapshot, SortKey::Tid, top, &mut bytes).expect("a vector takes everything");
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes.as_slice());
        let cells = |row: csv::StringRecord| row.iter().map(str::to_owned).collect();
        reader.into_records().map(|row| cells(row.expect("a row as long as the others"))).collect()
    }

    #[test]
    fn no_name_is_a_formula_and_none_breaks_a_row() {
        let names = ["=1+1", "+x", "-x", "@x", "a,b", "say \"hi\"", "plain", "", "'"];
        let rows = rows(&snapshot(&names), 0);
        assert_eq!(rows.len(), names.len() + 1);
        let at = rows[0].iter().position(|name| name == "comm").expect("a column of names");
        let read: Vec<&str> = rows[1..].iter().map(|row| row[at].as_str()).collect();
        assert_eq!(read, ["'=1+1", "'+x", "'-x", "'@x", "a,b", "say \"hi\"", "plain", "", "'"]);
        assert!(rows[0].ends_with(&["residency_ns.0".into(), "residency_ns.3".into()]), "{:?}", rows[0]);
    }

    #[test]
    fn groups_have_rows_of_their_own_and_nobody_has_none() {
        let snapshot = snapshot(&["a", "b", "a"]);
        let of = |snapshot, top| rows(&snapshot, top).into_iter().map(|row| row[..2].to_vec()).collect::<Vec<_>>();
        let by_comm = of(grouped(snapshot.clone(), GroupBy::Comm), 0);
        assert_eq!(by_comm, [["comm", "threads"], ["a", "2"], ["b", "1"]]);
        assert_eq!(of(grouped(snapshot.clone(), GroupBy::Cgroup), 0)[1], ["(cgroup not known)", "3"]);
        assert_eq!(of(snapshot, 1), [["tid", "pid"], ["1", "0"]]);
        assert_eq!(of(Snapshot::nothing_yet("x"), 0), [["tid", "pid"]]);
    }

    #[test]
    fn what_waits_were_for_are_cells_and_what_is_not_measured_is_empty() {
        let mut snapshot = snapshot(&["a", "b"]);
        let stats = &mut snapshot.threads[1].stats;
        stats.throttled_wait_ns = Some(0);
        stats.behind = Some(crate::snapshot::Behind { own_ns: 3, others_ns: 4 });
        let rows = rows(&snapshot, 0);
        let at = rows[0].iter().position(|name| name == "throttled_wait_ns").expect("a column of throttled time");
        assert_eq!(rows[0][at..at + 3].join(","), "throttled_wait_ns,behind_own_ns,behind_others_ns");
        assert_eq!((rows[1][at..at + 3].join(","), rows[2][at..at + 3].join(",")), (",,".into(), "0,3,4".into()));
    }

    #[test]
    fn page_touches_are_cells_and_what_is_not_measured_is_empty() {
        let mut snapshot = snapshot(&["a", "b"]);
        let file = TouchCount { local: 6, remote: 2, unknown: 1 };
        let zero = Some(TouchCount { local: 0, remote: 0, unknown: 9 });
        let stats = &mut snapshot.threads[1].stats;
        stats.touches = Some(Touches { file, zero, ..Touches::default() });
        (stats.remote_share, stats.cost_factor) = (Some(0.25), Some(f64::NAN));
        (stats.hint_faults, stats.pages_migrated) = (Some(LocalRemote { local: 4, remote: 0 }), Some(0));
        stats.hint_fault_ns = Some(8);
        let rows = rows(&snapshot, 0);
        let at = rows[0].iter().position(|name| name == "touches.local").expect("a column of touches");
        assert_eq!(
            rows[0][at..at + 10].join(" "),
            "touches.local touches.remote touches.unknown remote_share expected_remote_share cost_factor \
             hint_faults.local hint_faults.remote hint_fault_ns pages_migrated"
        );
        assert_eq!(rows[1][at..at + 10].join(","), ",,,,,,,,,");
        assert_eq!(rows[2][at..at + 10].join(","), "6,2,1,0.25,,,4,0,8,0");
    }
}
