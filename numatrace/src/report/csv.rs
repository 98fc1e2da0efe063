//! The report for spreadsheets: RFC 4180, a row a thread or a group. Fields are named as in JSON, with dots; a number whose
//! source is off is an empty cell.
//!
//! A program chooses the names of its threads, and a spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a
//! formula: such a text gets an apostrophe before it, as OWASP advises. Texts are escaped already, so none has a tab or a
//! line break.

use std::borrow::Cow;
use std::io::{self, Write};

use csv::{Terminator, WriterBuilder};

use super::cells::{Cells, Value};
use super::{SortKey, sorted_threads};
use crate::snapshot::{Snapshot, Thread};

/// Writes a header and a row for each group, or for each thread where there are no groups; at most `top` of them, unless it is
/// 0.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(snapshot: &Snapshot, sort: SortKey, top: usize, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut rows = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let all = snapshot.groups.as_ref().map_or(&snapshot.threads, |groups| &groups.all);
    let shown = if top == 0 { all.len() } else { top };
    // Of nobody, so that there is a header also where nobody was seen.
    rows.write_record(cells(&Thread::default(), snapshot).0.iter().map(|(name, _)| name.as_ref()))?;
    for thread in sorted_threads(all, sort).into_iter().take(shown) {
        rows.write_record(cells(thread, snapshot).0.iter().map(|(_, value)| shown_value(*value).into_owned()))?;
    }
    out.write_all(&rows.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

fn cells<'a>(thread: &'a Thread, snapshot: &'a Snapshot) -> Cells<'a> {
    let mut cells = Cells::default();
    match &snapshot.groups {
        Some(groups) => {
            cells.push(groups.by.name(), Value::Text(Some(groups.name(thread))));
            cells.push("threads", Value::Small(Some(thread.members)));
            cells.stats(thread, snapshot);
        }
        None => cells.thread(thread, snapshot),
    }
    cells
}

/// Empty where it is absent.
fn shown_value(value: Value<'_>) -> Cow<'_, str> {
    let number = |number: Option<String>| Cow::Owned(number.unwrap_or_default());
    match value {
        Value::Text(text) => guarded(text.unwrap_or_default()),
        Value::Small(n) => number(n.map(|n| n.to_string())),
        Value::Number(n) => number(n.map(|n| n.to_string())),
        Value::Signed(n) => number(n.map(|n| n.to_string())),
        Value::Ratio(n) => number(n.map(|n| n.to_string())),
        Value::Flag(flag) => number(flag.map(|flag| flag.to_string())),
        Value::Time(n) => number(n.map(|n| n.to_string())),
    }
}

/// With an apostrophe where a spreadsheet would take it for a formula.
pub fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
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
