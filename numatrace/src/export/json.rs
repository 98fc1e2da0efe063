//! JSON Lines: an object an event, or a thread, with the columns of the table as its fields. What is absent is left out, a
//! moment is RFC 3339 with nanoseconds.

use std::io::Write;

use crate::report::cells::Value;

use super::table::{Column, Rows};
use super::time::Rfc3339;
use super::{ExportError, Summary};

/// See the module.
pub struct Json<W> {
    out: W,
    /// `"name":` of each column.
    names: Vec<String>,
    time: Rfc3339,
    line: Vec<u8>,
}

impl<W: Write> Json<W> {
    /// Nothing is written yet.
    pub fn new(columns: &[Column], out: W) -> Json<W> {
        // Names are letters, digits and `_`.
        let names = columns.iter().map(|column| format!("\"{}\":", column.name)).collect();
        Json { out, names, time: Rfc3339::default(), line: Vec::new() }
    }
}

impl<W: Write> Rows for Json<W> {
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        let line = &mut self.line;
        line.clear();
        line.push(b'{');
        for (name, value) in self.names.iter().zip(values) {
            let value = match *value {
                Value::Ratio(Some(n)) if !n.is_finite() => continue,
                value if value.is_absent() => continue,
                value => value,
            };
            if line.len() > 1 {
                line.push(b',');
            }
            line.extend_from_slice(name.as_bytes());
            match value {
                Value::Text(text) => serde_json::to_writer(&mut *line, text.unwrap_or_default()).map_err(into_io)?,
                Value::Small(n) => write!(line, "{}", n.unwrap_or_default())?,
                Value::Number(n) => write!(line, "{}", n.unwrap_or_default())?,
                Value::Signed(n) => write!(line, "{}", n.unwrap_or_default())?,
                Value::Ratio(n) => write!(line, "{}", n.unwrap_or_default())?,
                Value::Flag(flag) => write!(line, "{}", flag.unwrap_or_default())?,
                Value::Time(ns) => write!(line, "\"{}\"", self.time.text(ns))?,
            }
        }
        line.extend_from_slice(b"}\n");
        Ok(self.out.write_all(line)?)
    }

    fn finish(mut self: Box<Self>, _summary: &Summary) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}

fn into_io(error: serde_json::Error) -> ExportError {
    ExportError::Write(error.into())
}
