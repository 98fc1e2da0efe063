//! A recording that is made beside the dashboard, in words. Pure.

use crate::text;

/// What there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recording {
    /// It was asked for, and begins with the next numbers.
    Asked,
    /// It runs.
    On {
        /// The file.
        path: String,
        /// Bytes of it that are written.
        bytes: u64,
    },
    /// It has ended.
    Ended {
        /// The file.
        path: String,
        /// Bytes of it.
        bytes: u64,
    },
    /// It cannot be made, or ends before its time; why.
    Failed(String),
}

impl Recording {
    /// A piece of a line.
    pub fn words(&self) -> String {
        match self {
            Recording::Asked => "RECORDING with the next numbers".into(),
            Recording::On { path, bytes } => format!("RECORDING {} into {path}", text::bytes(*bytes)),
            Recording::Ended { path, bytes } => format!("recorded {} into {path}", text::bytes(*bytes)),
            Recording::Failed(why) => format!("! not recorded: {why}"),
        }
    }
}
