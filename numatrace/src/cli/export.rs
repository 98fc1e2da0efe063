//! Arguments of `export`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::PartArgs;
use crate::export::folded::Metric;

/// See the module.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which part of it.
    #[command(flatten)]
    pub part: PartArgs,
    /// The form [default: by the ending of --output]
    #[arg(short, long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<ExportFormat>,
    /// Write into this new file; parquet without --table and with a name that does not end with .parquet: a folder with
    /// events.parquet and threads.parquet [default: -, standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Replace the file if there is one already (but never a symbolic link)
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Of parquet, json and csv: a row an event, or a row a thread [default: events]
    #[arg(long, value_enum, value_name = "TABLE", help_heading = "Output")]
    pub table: Option<ExportTable>,
    /// What the recording is called in tables, for example its host [default: the name of FILE without its ending]
    #[arg(long, value_name = "TEXT", help_heading = "Output", allow_hyphen_values = true)]
    pub label: Option<String>,
    /// Of folded: which page touches are counted [default: remote]
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "Output")]
    pub metric: Option<Metric>,
    /// No notes and no progress on standard error; errors, and what is missing, are still told
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
}

impl ExportArgs {
    /// The format that is asked for, by name or by the ending of the output.
    pub fn format(&self) -> Option<ExportFormat> {
        self.format.or_else(|| ExportFormat::of_name(self.output.as_deref()?))
    }

    /// What the recording is called.
    pub fn label(&self) -> String {
        let name = || self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        crate::text::display_str(&self.label.clone().unwrap_or_else(name))
    }
}

/// A form of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Tables for DuckDB, Spark, pandas
    Parquet,
    /// A trace for ui.perfetto.dev and its trace processor: all of the recording
    Perfetto,
    /// Run-queue latency as an HdrHistogram interval log
    Hlog,
    /// JSON Lines: an object an event, or a thread
    Json,
    /// A row an event, or a thread
    Csv,
    /// Page touches by stack, for flame graphs
    Folded,
}

impl ExportFormat {
    /// By the ending of a file's name.
    pub fn of_name(path: &Path) -> Option<ExportFormat> {
        match path.extension()?.to_str()? {
            "parquet" => Some(ExportFormat::Parquet),
            "pftrace" | "perfetto-trace" => Some(ExportFormat::Perfetto),
            "hlog" => Some(ExportFormat::Hlog),
            "json" | "jsonl" | "ndjson" => Some(ExportFormat::Json),
            "csv" => Some(ExportFormat::Csv),
            "folded" => Some(ExportFormat::Folded),
            _ => None,
        }
    }

    /// It has rows.
    pub const fn has_tables(self) -> bool {
        matches!(self, ExportFormat::Parquet | ExportFormat::Json | ExportFormat::Csv)
    }

    /// It is nothing for a terminal.
    pub const fn is_binary(self) -> bool {
        matches!(self, ExportFormat::Parquet | ExportFormat::Perfetto)
    }
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportTable {
    /// A row an event
    Events,
    /// A row a thread
    Threads,
}

impl ValueEnum for Metric {
    fn value_variants<'a>() -> &'a [Self] {
        &Metric::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}
