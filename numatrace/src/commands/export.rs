//! `numatrace export`: a recording in the form of other programs.

mod place;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;

use crate::{
    cli::{ExportArgs, ExportFormat, ExportTable},
    export::{
        Counted, ExportError, Part, Subject, Summary, circumstances,
        csv::Csv,
        events, folded, hlog,
        json::Json,
        perfetto,
        table::{Column, Rows},
        threads,
    },
    recording::reader::Reader,
    report::offline::numbers,
    text,
};

use self::place::{Place, folder, make_folder};
use super::{
    interrupt,
    progress::Progress,
    replay::{refuse, span},
    report::{select, stretch},
};

type Out = Counted<Stoppable>;

/// A writer that fails once the user has had enough, so that what is half done is taken away.
struct Stoppable {
    inner: Box<dyn Write + Send>,
    stop: Arc<AtomicBool>,
}

impl Write for Stoppable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was interrupted"));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes what the arguments ask for.
///
/// # Errors
/// One sentence about why the file cannot be read, or what comes of it cannot be written.
pub fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let Some(format) = args.format() else {
        return Ok(refuse(
            "in which form? name one with --format, or a file after -o that ends with .parquet, .pftrace, .hlog, .json, .csv or .folded",
        ));
    };
    if args.table.is_some() && !format.has_tables() {
        return Ok(refuse("--table is for --format parquet, json and csv: the others have no tables"));
    }
    if args.metric.is_some() && format != ExportFormat::Folded {
        return Ok(refuse("--metric is for --format folded: the others have local and remote page touches"));
    }
    if format == ExportFormat::Perfetto && args.part.is_some() {
        return Ok(refuse(
            "--from, --to, --thread and --comm are for the other formats: a trace of Perfetto has all of the recording",
        ));
    }
    if format == ExportFormat::Parquet && !cfg!(feature = "parquet") {
        return Ok(refuse(
            "this numatrace was built without its feature parquet: build it with that, or use --format csv or json",
        ));
    }
    let reader = Reader::open(&args.file)?;
    let stretch = match stretch(&args.part, &span(&reader)) {
        Ok(stretch) => stretch,
        Err(why) => return Ok(refuse(&why)),
    };
    let part = Part { stretch, tids: args.part.thread.clone(), comms: args.part.comm.clone() };
    let export = Export { args, format, subject: Subject { part, label: args.label() } };
    if let Some(path) = folder(args, format) {
        export.both_tables(reader, path)?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::open(args.output.as_deref(), args.force)?;
    if format.is_binary() && place.is_terminal() {
        return Ok(refuse("this format is no text, and standard output is a terminal: name a file with -o"));
    }
    export.one(reader, args.table.unwrap_or(ExportTable::Events), place)?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be written, and how.
struct Export<'a> {
    args: &'a ExportArgs,
    format: ExportFormat,
    subject: Subject,
}

impl Export<'_> {
    /// A folder with a file for each table.
    fn both_tables(&self, reader: Reader, path: &Path) -> anyhow::Result<()> {
        let made = make_folder(path)?;
        let written = self.in_folder(reader, path);
        if written.is_err() && made {
            // Which removes it only where nothing is in it.
            let _ = fs::remove_dir(path);
        }
        written
    }

    fn in_folder(&self, reader: Reader, path: &Path) -> anyhow::Result<()> {
        let open = |name: &str| Place::open(Some(&path.join(name)), self.args.force);
        let threads = self.fill(reader, ExportTable::Threads, open("threads.parquet")?)?;
        let events = self.fill(Reader::open(&self.args.file)?, ExportTable::Events, open("events.parquet")?)?;
        // Both or none.
        threads.keep()?;
        events.keep()
    }

    fn one(&self, reader: Reader, table: ExportTable, place: Place) -> anyhow::Result<()> {
        self.fill(reader, table, place)?.keep()
    }

    /// Writes it; what is written is to be kept.
    fn fill(&self, reader: Reader, table: ExportTable, place: Place) -> anyhow::Result<Place> {
        let mut progress = Progress::new(self.args.quiet);
        let name = place.name();
        let mut out = Counted::new(Stoppable { inner: place.writer()?, stop: interrupt::catch()? });
        let written = self.write(reader, table, &mut out, &mut progress);
        progress.end();
        let mut summary = written.with_context(|| format!("cannot export to {name}"))?;
        out.flush().with_context(|| format!("cannot write {name}"))?;
        summary.bytes = out.bytes();
        drop(out);
        self.tell(&summary, table, &name);
        Ok(place)
    }

    fn write(
        &self,
        reader: Reader,
        table: ExportTable,
        out: &mut Out,
        progress: &mut Progress,
    ) -> anyhow::Result<Summary> {
        let subject = &self.subject;
        let show = &mut |reader: &Reader| progress.show(reader);
        Ok(match (self.format, table) {
            (ExportFormat::Perfetto, _) => perfetto::write(reader, out, show)?.into(),
            (ExportFormat::Hlog, _) => hlog::write(reader, subject, out, show)?,
            (ExportFormat::Folded, _) => {
                folded::write(reader, subject, self.args.metric.unwrap_or_default(), out, show)?
            }
            (_, ExportTable::Events) => {
                let rows = self.rows(&events::columns(), &reader, out)?;
                events::write(reader, subject, rows, show)?
            }
            (_, ExportTable::Threads) => {
                let about = circumstances(&reader, subject);
                let snapshot = numbers(reader, subject.part.stretch, show)?.ok_or(ExportError::NoTick)?;
                let snapshot = select(snapshot, &self.args.part)?;
                let rows = self.rows_about(&threads::columns(&snapshot), &about, out)?;
                threads::write(&snapshot, subject, rows)?
            }
        })
    }

    fn rows<'a>(
        &self,
        columns: &[Column],
        reader: &Reader,
        out: &'a mut Out,
    ) -> Result<Box<dyn Rows + 'a>, ExportError> {
        self.rows_about(columns, &circumstances(reader, &self.subject), out)
    }

    fn rows_about<'a>(
        &self,
        columns: &[Column],
        about: &[(&'static str, String)],
        out: &'a mut Out,
    ) -> Result<Box<dyn Rows + 'a>, ExportError> {
        match self.format {
            ExportFormat::Csv => Ok(Box::new(Csv::new(columns, out)?)),
            #[cfg(feature = "parquet")]
            ExportFormat::Parquet => Ok(Box::new(crate::export::parquet::Parquet::new(columns, about, out)?)),
            _ => {
                // Only Parquet has a place for it.
                let _ = about;
                Ok(Box::new(Json::new(columns, out)))
            }
        }
    }

    fn tell(&self, summary: &Summary, table: ExportTable, name: &str) {
        let mut err = io::stderr();
        // A closed standard error is no failure.
        let mut say = |sentence: &str| drop(writeln!(err, "numatrace: {sentence}"));
        // Of a folder it is told once.
        let told = self.format == ExportFormat::Parquet && table == ExportTable::Events && self.args.table.is_none();
        let both = told && folder(self.args, self.format).is_some();
        if !both {
            if let Some(sentence) = &summary.incomplete {
                say(sentence);
            }
            if summary.lost > 0 {
                say(&format!(
                    "{} records were lost in this part of the recording: events miss what they would have told, reports \
                     and the table of threads have its sums",
                    text::count(summary.lost)
                ));
            }
        }
        if self.args.quiet {
            return;
        }
        summary.notes.iter().for_each(|note| say(note));
        let what = match (self.format, table) {
            (ExportFormat::Perfetto, _) => "turn",
            (ExportFormat::Hlog, _) => "interval",
            (ExportFormat::Folded, _) => "stack",
            (_, ExportTable::Events) => "event",
            (_, ExportTable::Threads) => "thread",
        };
        let plural = if summary.rows == 1 { "" } else { "s" };
        say(&format!("wrote {} {what}{plural} to {name}, {}", text::count(summary.rows), text::bytes(summary.bytes)));
    }
}
