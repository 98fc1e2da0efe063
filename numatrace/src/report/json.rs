//! The report for programs: JSON of schema 1, one compact document a line, fields in the order of
//! [`Snapshot`]. Durations are nanoseconds; `null` is a number whose source is off.

use std::io::{self, Write};

use serde::Serialize;

use crate::diff::Diff;
use crate::snapshot::{Finding, Snapshot};
use crate::whatif::Estimate;

/// Writes one document and a newline, in one piece: a reader that follows a file never sees half a line of a
/// document that failed to serialize.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(snapshot: &Snapshot, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    line(snapshot, out)
}

/// The same with what binding to nodes would do, in `what_if`.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_with_what_if(
    snapshot: &Snapshot,
    what_if: &[Estimate],
    out: &mut (impl Write + ?Sized),
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        snapshot: &'a Snapshot,
        what_if: &'a [Estimate],
    }
    line(&Document { snapshot, what_if }, out)
}

/// Writes findings alone, as one array and a newline.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_findings(findings: &[Finding], out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    line(findings, out)
}

/// Writes a comparison of two recordings, one document and a newline.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_diff(diff: &Diff, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    line(diff, out)
}

fn line(told: &(impl Serialize + ?Sized), out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut line = serde_json::to_vec(told).map_err(io::Error::from)?;
    line.push(b'\n');
    out.write_all(&line)
}
