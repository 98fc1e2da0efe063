//! The table of threads: a row a thread of a report, with the cells that its CSV has; in names `_` stands for the dots, which
//! SQL would take for something else.

use std::borrow::Cow;

use crate::report::cells::{Cells, Value};
use crate::snapshot::{Snapshot, Thread};
use crate::text::count;

use super::table::{Column, Rows, Type};
use super::{ExportError, Subject, Summary};

/// The columns of a report of this machine: residency has one for each of its nodes.
pub fn columns(snapshot: &Snapshot) -> Vec<Column> {
    let nobody = Thread::default();
    let cells = row("", None, &nobody, snapshot);
    let column = |(name, value): &(Cow<'static, str>, Value<'_>)| Column {
        name: name.replace('.', "_"),
        holds: Type::of(value),
    };
    cells.0.iter().map(column).collect()
}

/// Writes a row for each thread of the snapshot.
///
/// # Errors
/// When `rows` cannot take them.
pub fn write(snapshot: &Snapshot, subject: &Subject, mut rows: Box<dyn Rows + '_>) -> Result<Summary, ExportError> {
    let start = snapshot.start.parse::<jiff::Timestamp>().ok();
    let start_ns = start.and_then(|start| i64::try_from(start.as_nanosecond()).ok());
    for thread in &snapshot.threads {
        let cells = row(&subject.label, start_ns, thread, snapshot);
        let values: Vec<Value<'_>> = cells.0.into_iter().map(|(_, value)| value).collect();
        rows.row(&values)?;
    }
    let gone = snapshot.dropped_threads;
    let gone = (gone > 0).then(|| format!("{} threads that ended long before are in no row: see report", count(gone)));
    let summary = Summary {
        notes: gone.into_iter().collect(),
        rows: snapshot.threads.len() as u64,
        lost: snapshot.loss.records_lost,
        incomplete: snapshot.incomplete.clone(),
        ..Summary::default()
    };
    rows.finish(&summary)?;
    Ok(summary)
}

fn row<'a>(label: &'a str, start_ns: Option<i64>, thread: &'a Thread, snapshot: &'a Snapshot) -> Cells<'a> {
    let mut cells = Cells::default();
    cells.push("recording", Value::Text(Some(label)));
    cells.push("kernel", Value::Text(Some(&snapshot.host.kernel)));
    cells.push("start", Value::Time(start_ns));
    cells.push("duration_ns", Value::Number(Some(snapshot.duration_ns)));
    cells.thread(thread, snapshot);
    cells
}
