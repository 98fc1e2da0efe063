//! CSV: a header and a row an event, or a thread. As RFC 4180, but lines end with a line feed alone, which programs that read
//! lines expect. What is absent is an empty cell, a moment is RFC 3339 with nanoseconds.
//!
//! As in reports a text that a spreadsheet would take for a formula gets an apostrophe before it.

use std::io::{self, Write};

use crate::report::cells::Value;
use crate::report::csv::guarded;

use super::table::{Column, Rows};
use super::time::Rfc3339;
use super::{ExportError, Summary};

/// See the module.
pub struct Csv<W: Write> {
    out: csv::Writer<W>,
    time: Rfc3339,
    text: String,
}

impl<W: Write> Csv<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(columns: &[Column], out: W) -> Result<Csv<W>, ExportError> {
        let mut out = csv::WriterBuilder::new().from_writer(out);
        out.write_record(columns.iter().map(|column| &column.name)).map_err(into_io)?;
        Ok(Csv { out, time: Rfc3339::default(), text: String::new() })
    }

    fn number(&mut self, number: Option<impl std::fmt::Display>) -> Result<(), csv::Error> {
        use std::fmt::Write as _;
        self.text.clear();
        if let Some(number) = number {
            // A string takes everything.
            let _ = write!(self.text, "{number}");
        }
        self.out.write_field(&self.text)
    }
}

/// The system's own error where it is that, so that a reader that went away is known.
fn into_io(error: csv::Error) -> ExportError {
    ExportError::Write(match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })
}

impl<W: Write> Rows for Csv<W> {
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        for value in values {
            match *value {
                Value::Text(text) => self.out.write_field(guarded(text.unwrap_or_default()).as_ref()),
                Value::Small(n) => self.number(n),
                Value::Number(n) => self.number(n),
                Value::Signed(n) => self.number(n),
                Value::Ratio(n) => self.number(n.filter(|n| n.is_finite())),
                Value::Flag(flag) => self.number(flag),
                Value::Time(ns) => self.out.write_field(self.time.text(ns)),
            }
            .map_err(into_io)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(into_io)
    }

    fn finish(mut self: Box<Self>, _summary: &Summary) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}
