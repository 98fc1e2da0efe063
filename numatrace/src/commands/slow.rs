//! `--slower-than`: each wait of at least that long as a line, with who ran instead, as runqslower does.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use numatrace_common::{
    abi::{NO_TID, Slice, Totals, slice_flags},
    wait::phase,
};

use crate::{
    decode::Event,
    model::Model,
    target::{Ids, Machine},
    text,
};

/// Waits told before their turn ended that are remembered, so that they are not told twice.
const REMEMBERED: usize = 65_536;

/// Finds slow waits among events.
pub struct SlowWaits {
    threshold_ns: u64,
    /// One JSON object a line instead of text.
    json: bool,
    /// Where threads are by their ids, if anywhere: for names.
    proc: Option<PathBuf>,
    /// Threads whose current turn was told already, with the number that its record will have.
    told: HashMap<u32, u32>,
}

/// One slow wait.
struct SlowWait {
    /// When it ended, ns of `CLOCK_MONOTONIC`.
    ended: u64,
    tid: u32,
    wait_ns: u64,
    flags: u16,
    cpu: u16,
    holder: u32,
    prev: u32,
}

impl SlowWaits {
    /// Waits of `threshold` and longer, on this machine.
    pub fn new(threshold: Duration, json: bool, machine: &Machine) -> SlowWaits {
        let threshold_ns = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
        let proc = (machine.ids() != Ids::Own).then(|| machine.proc().to_owned());
        SlowWaits { threshold_ns, json, proc, told: HashMap::new() }
    }

    /// The heading of the lines; JSON has none.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_header(&self, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(
            out,
            "{:<12} {:<16} {:>8} {:>9}  {:<9} {:>4}  RAN INSTEAD (last, first)",
            "TIME", "NAME", "TID", "WAIT", "AFTER", "CPU"
        )
    }

    /// Looks at one event; `line` is called for a slow wait. A turn that goes on is told at the next tick, and not
    /// again when it ends.
    pub fn apply(&mut self, event: &Event, model: &Model, line: &mut dyn FnMut(&str)) {
        let found = match event {
            Event::Slice(slice) => self.of_slice(slice),
            Event::Totals(totals) => self.of_totals(totals),
            _ => None,
        };
        if let Some(wait) = found {
            let names = Names { model, proc: self.proc.as_deref() };
            line(&if self.json { to_json(&wait, &names) } else { describe(&wait, &names) });
        }
    }

    fn of_slice(&mut self, slice: &Slice) -> Option<SlowWait> {
        let told = self.told.remove(&slice.tid) == Some(slice.seq);
        let slow = slice.wait_ns >= self.threshold_ns && slice.flags & slice_flags::WAIT_MASK != 0;
        (slow && !told).then(|| SlowWait {
            ended: slice.header.ts.saturating_sub(slice.slice_ns),
            tid: slice.tid,
            wait_ns: slice.wait_ns,
            flags: slice.flags,
            cpu: slice.header.cpu,
            holder: slice.holder,
            prev: slice.prev,
        })
    }

    fn of_totals(&mut self, totals: &Totals) -> Option<SlowWait> {
        if totals.phase != phase::RUNNING || totals.open_wait_ns < self.threshold_ns {
            return None;
        }
        let number = totals.seq.wrapping_add(1);
        if self.told.get(&totals.tid) == Some(&number) || self.told.len() >= REMEMBERED {
            return None;
        }
        self.told.insert(totals.tid, number);
        Some(SlowWait {
            ended: totals.since,
            tid: totals.tid,
            wait_ns: totals.open_wait_ns,
            flags: totals.flags,
            cpu: totals.header.cpu,
            holder: totals.holder,
            prev: totals.prev,
        })
    }
}

/// What threads are called.
struct Names<'a> {
    model: &'a Model,
    proc: Option<&'a Path>,
}

impl Names<'_> {
    /// A name that is known, or that /proc tells now.
    fn of(&self, tid: u32) -> Option<String> {
        let known = self.model.name_of(tid).filter(|name| !name.is_empty()).map(str::to_owned);
        known.or_else(|| name_now(self.proc?, tid))
    }
}

/// How the wait began.
fn after(wait: &SlowWait) -> &'static str {
    match wait.flags & slice_flags::WAIT_MASK {
        slice_flags::WAIT_PREEMPTED => "preempted",
        slice_flags::WAIT_NEW => "fork",
        _ => "wakeup",
    }
}

/// One wait as a JSON object: durations and times in ns, `time_ns` since the epoch; who is not known is null.
fn to_json(wait: &SlowWait, names: &Names<'_>) -> String {
    let who = |tid: u32| (tid != NO_TID).then(|| serde_json::json!({"tid": tid, "comm": names.of(tid)}));
    serde_json::json!({
        "time_ns": names.model.wall_ns(wait.ended),
        "tid": wait.tid,
        "comm": names.of(wait.tid),
        "wait_ns": wait.wait_ns,
        "after": after(wait),
        "cpu": wait.cpu,
        "ran_last": who(wait.prev),
        "ran_first": who(wait.holder),
    })
    .to_string()
}

fn describe(wait: &SlowWait, names: &Names<'_>) -> String {
    let name = |tid: u32| match tid {
        NO_TID => "?".to_owned(),
        0 => "idle".to_owned(),
        tid => match names.of(tid) {
            Some(name) => format!("{name}/{tid}"),
            None => tid.to_string(),
        },
    };
    let after = after(wait);
    let mut instead = name(wait.prev);
    if wait.holder != NO_TID && wait.holder != wait.prev {
        instead = format!("{instead}, {}", name(wait.holder));
    }
    let who = names.model.name_of(wait.tid).unwrap_or("?");
    format!(
        "{} {} {:>8} {:>9}  {after:<9} {:>4}  {instead}",
        clock(names.model.wall_ns(wait.ended)),
        text::left(who, 16),
        wait.tid,
        text::duration(wait.wait_ns),
        wait.cpu,
    )
}

/// A name that the model does not have yet: it learns names of threads that are no targets at ticks only.
fn name_now(proc: &Path, tid: u32) -> Option<String> {
    let comm = std::fs::read(proc.join(format!("{tid}/comm"))).ok()?;
    Some(text::display_bytes(comm.strip_suffix(b"\n").unwrap_or(&comm)))
}

/// Local time of day with milliseconds.
fn clock(wall_ns: u64) -> String {
    i64::try_from(wall_ns / 1_000_000).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map_or_else(
        || "?".into(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string(),
    )
}
