//! A table: columns with a name and a type, and rows. Place in the flow: what [`events`](super::events) and
//! [`threads`](super::threads) make, and each format that has rows takes.

use crate::report::cells::Value;

use super::{ExportError, Summary};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text, safe to show.
    Text,
    /// A number of 32 bits.
    Small,
    /// A number of 64 bits.
    Number,
    /// A number of 32 bits that can be below 0.
    Signed,
    /// A ratio.
    Ratio,
    /// Yes or no.
    Flag,
    /// A moment.
    Time,
}

impl Type {
    /// The type of a value, also of one that is absent.
    pub const fn of(value: &Value<'_>) -> Type {
        match value {
            Value::Text(_) => Type::Text,
            Value::Small(_) => Type::Small,
            Value::Number(_) => Type::Number,
            Value::Signed(_) => Type::Signed,
            Value::Ratio(_) => Type::Ratio,
            Value::Flag(_) => Type::Flag,
            Value::Time(_) => Type::Time,
        }
    }

    /// As docs/export.md calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Small => "u32",
            Type::Number => "u64",
            Type::Signed => "i32",
            Type::Ratio => "f64",
            Type::Flag => "bool",
            Type::Time => "timestamp",
        }
    }
}

/// One column. Every cell of it can be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, of letters, digits and `_`.
    pub name: String,
    /// What it holds.
    pub holds: Type,
}

/// Takes the rows of one table. Values come in the order of its columns, each of its column's type.
pub trait Rows {
    /// One row.
    ///
    /// # Errors
    /// When it cannot be written.
    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ExportError>;

    /// No more rows come; of what the summary says is told what the format has a place for.
    ///
    /// # Errors
    /// When the rest cannot be written.
    fn finish(self: Box<Self>, summary: &Summary) -> Result<(), ExportError>;
}
