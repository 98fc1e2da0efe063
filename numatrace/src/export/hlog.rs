//! Run-queue latency as an HdrHistogram interval log (`.hlog`, histograms in V2 with zlib), which HistogramLogAnalyzer,
//! hdr-plot and the libraries of many languages read: a histogram for each interval between ticks, values in ns.
//!
//! Lines without a tag are of all waits, which tools take by default; those of each kind have the tags `wakeup` and
//! `preempted`. Memory: three histograms of 0.2 MB.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use hdrhistogram::serialization::{V2DeflateSerializeError, V2DeflateSerializer};
use numatrace_common::abi::{Slice, slice_flags};

use crate::decode::Event;
use crate::model::LONGEST_NS;
use crate::recording::Timeline;

use super::walk::{Step, walk};
use super::{ExportError, Progress, Subject, Summary, circumstances};

/// As fine as the sums of reports.
const DIGITS: u8 = 3;
/// The largest value of a line is told in ms, as tools that show it expect.
const MAX_DIVISOR: f64 = 1e6;

type Log<'a, 'b, 'w> = IntervalLogWriter<'a, 'b, &'w mut dyn Write, V2DeflateSerializer>;

/// Writes the log.
///
/// # Errors
/// When the recording cannot be read, or `out` cannot be written.
pub fn write<T: Timeline>(
    timeline: T,
    subject: &Subject,
    mut out: &mut dyn Write,
    progress: Progress<'_, T>,
) -> Result<Summary, ExportError> {
    let builder = head(&timeline, subject);
    let start_ns = timeline.head().meta.start_ns;
    let mut serializer = V2DeflateSerializer::new();
    let mut log = builder.begin_log_with(&mut out, &mut serializer)?;
    let mut open = Interval::new()?;
    let (mut intervals, mut waits) = (0u64, 0u64);
    let mut summary = walk(timeline, &subject.part, progress, &mut |_, step| {
        match step {
            Step::Begin(ts) => open.since = ts,
            Step::Event(Event::Slice(turn)) if turn.flags & slice_flags::WAIT_MASK != slice_flags::WAIT_NONE => {
                open.record(turn);
                waits += 1;
            }
            Step::Event(Event::Tick(tick)) => {
                open.write(tick.header.ts, start_ns, &mut log)?;
                intervals += 1;
            }
            Step::Event(_) => {}
        }
        Ok(())
    })?;
    if subject.part.is_selective() && waits == 0 {
        return Err(ExportError::Nobody);
    }
    if !open.all.is_empty() {
        // Behind the last tick of a recording that was cut short.
        open.write(open.newest, start_ns, &mut log)?;
        intervals += 1;
    }
    if let Some(sentence) = &summary.incomplete {
        log.write_comment(sentence)?;
    }
    summary.rows = intervals;
    out.flush()?;
    Ok(summary)
}

fn head(timeline: &impl Timeline, subject: &Subject) -> IntervalLogWriterBuilder {
    let since = Duration::from_nanos(timeline.head().meta.start_wall_ns);
    let start = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]");
    builder.add_comment("Run-queue latency in ns, by numatrace export; lines without a tag are of all waits");
    for (name, value) in circumstances(timeline, subject) {
        builder.add_comment(&format!("{name}: {value}"));
    }
    builder.with_start_time(start).with_base_time(start).with_max_value_divisor(MAX_DIVISOR);
    builder
}

/// The waits since a tick.
struct Interval {
    since: u64,
    /// When the last of them was told.
    newest: u64,
    all: Histogram<u64>,
    wakeup: Histogram<u64>,
    preempted: Histogram<u64>,
}

impl Interval {
    fn new() -> Result<Interval, ExportError> {
        let new = || Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).map_err(io::Error::other);
        Ok(Interval { since: 0, newest: 0, all: new()?, wakeup: new()?, preempted: new()? })
    }

    fn record(&mut self, turn: &Slice) {
        let preempted = turn.flags & slice_flags::WAIT_MASK == slice_flags::WAIT_PREEMPTED;
        let of_kind = if preempted { &mut self.preempted } else { &mut self.wakeup };
        of_kind.saturating_record(turn.wait_ns);
        self.all.saturating_record(turn.wait_ns);
        self.newest = self.newest.max(turn.header.ts);
    }

    /// Ends at `ts`; the next one begins there.
    fn write(&mut self, ts: u64, start_ns: u64, log: &mut Log<'_, '_, '_>) -> Result<(), ExportError> {
        let since_start = Duration::from_nanos(self.since.saturating_sub(start_ns));
        let length = Duration::from_nanos(ts.saturating_sub(self.since));
        let kinds = [(None, &self.all), (Some("wakeup"), &self.wakeup), (Some("preempted"), &self.preempted)];
        for (tag, histogram) in kinds {
            // An interval without any wait is told all the same.
            if tag.is_none() || !histogram.is_empty() {
                log.write_histogram(histogram, since_start, length, tag.and_then(Tag::new)).map_err(into_io)?;
            }
        }
        [&mut self.all, &mut self.wakeup, &mut self.preempted].into_iter().for_each(Histogram::reset);
        self.since = self.since.max(ts);
        Ok(())
    }
}

fn into_io(error: IntervalLogWriterError<V2DeflateSerializeError>) -> ExportError {
    ExportError::Write(match error {
        IntervalLogWriterError::IoError(error) => error,
        IntervalLogWriterError::SerializeError(error) => io::Error::other(error),
    })
}
