//! Parquet, without Arrow: every column is optional, text is dictionary-encoded UTF-8, moments are nanoseconds in UTC, pages
//! are packed with zstd, numbers of 64 bits as differences before. Circumstances of the recording stand in the file's key-value metadata, as `numatrace.NAME`.
//!
//! A row group is kept until it is full, since its columns are written one after the other: [`GROUP_ROWS`] rows, or fewer with
//! [`GROUP_TEXT`] bytes of different texts. That is about 60 MB with the columns of events.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type as Schema, TypePtr};

use crate::report::cells::Value;

use super::table::{Column, Rows, Type};
use super::{ExportError, Summary};

/// Rows of a row group.
pub const GROUP_ROWS: usize = 131_072;
/// Bytes of different texts in a row group.
pub const GROUP_TEXT: usize = 32 << 20;
/// Level of zstd.
const LEVEL: i32 = 3;

/// See the module.
pub struct Parquet<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Held>,
    rows: usize,
    text: usize,
}

impl<W: Write + Send> Parquet<W> {
    /// Writes the first bytes.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(columns: &[Column], about: &[(&str, String)], out: W) -> Result<Parquet<W>, ExportError> {
        let schema = schema(columns).map_err(into_io)?;
        let about = about.iter().map(|(name, value)| KeyValue::new(format!("numatrace.{name}"), value.clone()));
        let level = ZstdLevel::try_new(LEVEL).map_err(into_io)?;
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("numatrace ", env!("CARGO_PKG_VERSION")).into())
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(about.collect()));
        // Moments and durations are nearly all different: a dictionary of them would be given up half-way.
        for column in columns.iter().filter(|column| matches!(column.holds, Type::Number | Type::Time)) {
            let path = ColumnPath::from(column.name.as_str());
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties.build())).map_err(into_io)?;
        let columns = columns.iter().map(|column| Held::new(column.holds)).collect();
        Ok(Parquet { file, columns, rows: 0, text: 0 })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        let mut held = self.columns.iter_mut();
        while let Some(mut column) = group.next_column()? {
            if let Some(held) = held.next() {
                held.write(column.untyped())?;
            }
            column.close()?;
        }
        group.close()?;
        (self.rows, self.text) = (0, 0);
        Ok(())
    }
}

impl<W: Write + Send> Rows for Parquet<W> {
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError> {
        for (held, value) in self.columns.iter_mut().zip(values) {
            self.text += held.push(value);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.text >= GROUP_TEXT {
            self.write_group().map_err(into_io)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, summary: &Summary) -> Result<(), ExportError> {
        self.write_group().map_err(into_io)?;
        self.file.append_key_value_metadata(KeyValue::new("numatrace.records_lost".into(), summary.lost.to_string()));
        if let Some(sentence) = &summary.incomplete {
            self.file.append_key_value_metadata(KeyValue::new("numatrace.incomplete".into(), sentence.clone()));
        }
        self.file.finish().map_err(into_io)?;
        Ok(())
    }
}

/// What the crate says is wrong, of the system where it is that.
fn into_io(error: ParquetError) -> ExportError {
    ExportError::Write(match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    })
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let field = |column: &Column| {
        let (physical, logical) = match column.holds {
            Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Type::Small => (Physical::INT32, Some(LogicalType::integer(32, false))),
            Type::Number => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Type::Signed => (Physical::INT32, Some(LogicalType::integer(32, true))),
            Type::Ratio => (Physical::DOUBLE, None),
            Type::Flag => (Physical::BOOLEAN, None),
            Type::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        };
        let builder = Schema::primitive_type_builder(&column.name, physical);
        builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Schema::group_type_builder("numatrace").with_fields(fields).build()?))
}

/// A column of the row group that is being filled: values that are there, and for each row whether there is one.
struct Held {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Text { texts: HashMap<Box<str>, ByteArray>, all: Vec<ByteArray> },
    Small(Vec<i32>),
    Number(Vec<i64>),
    Ratio(Vec<f64>),
    Flag(Vec<bool>),
}

impl Held {
    fn new(holds: Type) -> Held {
        let values = match holds {
            Type::Text => Values::Text { texts: HashMap::new(), all: Vec::new() },
            Type::Small | Type::Signed => Values::Small(Vec::new()),
            Type::Number | Type::Time => Values::Number(Vec::new()),
            Type::Ratio => Values::Ratio(Vec::new()),
            Type::Flag => Values::Flag(Vec::new()),
        };
        Held { levels: Vec::new(), values }
    }

    /// Takes a value; says how many bytes of text are new. One of another type than the column's is absent.
    fn push(&mut self, value: &Value<'_>) -> usize {
        let mut new = 0;
        let there = match (&mut self.values, *value) {
            (Values::Text { texts, all }, Value::Text(Some(text))) => {
                // Mostly that of the row before.
                let last = all.last().filter(|last| last.data() == text.as_bytes());
                let known = last.or_else(|| texts.get(text)).cloned();
                all.push(known.unwrap_or_else(|| {
                    new = text.len();
                    let bytes = ByteArray::from(text);
                    texts.insert(text.into(), bytes.clone());
                    bytes
                }));
                true
            }
            // The bits of an unsigned number are what the logical type says they are.
            (Values::Small(all), Value::Small(Some(n))) => push(all, n.cast_signed()),
            (Values::Small(all), Value::Signed(Some(n))) => push(all, n),
            (Values::Number(all), Value::Number(Some(n))) => push(all, n.cast_signed()),
            // Microseconds: Spark reads no finer ones. `mono_ns` has the rest.
            (Values::Number(all), Value::Time(Some(n))) => push(all, n.div_euclid(1_000)),
            (Values::Ratio(all), Value::Ratio(Some(n))) if n.is_finite() => push(all, n),
            (Values::Flag(all), Value::Flag(Some(flag))) => push(all, flag),
            _ => false,
        };
        self.levels.push(i16::from(there));
        new
    }

    /// Writes all of it, and forgets it.
    fn write(&mut self, out: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        let written = match (&mut self.values, out) {
            (Values::Text { texts, all }, ColumnWriter::ByteArrayColumnWriter(out)) => {
                texts.clear();
                write(all, |all| out.write_batch(all, levels, None))
            }
            (Values::Small(all), ColumnWriter::Int32ColumnWriter(out)) => {
                write(all, |all| out.write_batch(all, levels, None))
            }
            (Values::Number(all), ColumnWriter::Int64ColumnWriter(out)) => {
                write(all, |all| out.write_batch(all, levels, None))
            }
            (Values::Ratio(all), ColumnWriter::DoubleColumnWriter(out)) => {
                write(all, |all| out.write_batch(all, levels, None))
            }
            (Values::Flag(all), ColumnWriter::BoolColumnWriter(out)) => {
                write(all, |all| out.write_batch(all, levels, None))
            }
            _ => Err(ParquetError::General("a column has another type than its values".into())),
        };
        self.levels.clear();
        written
    }
}

fn push<T>(all: &mut Vec<T>, value: T) -> bool {
    all.push(value);
    true
}

fn write<T>(all: &mut Vec<T>, write: impl FnOnce(&[T]) -> Result<usize, ParquetError>) -> Result<(), ParquetError> {
    write(all)?;
    all.clear();
    Ok(())
}
