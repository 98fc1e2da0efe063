//! Readers of recordings: time, and memory at its peak.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use numatrace::{
    decode::{Event, decode},
    recording::{
        Reason, Timeline as _,
        reader::Reader,
        writer::{Options, Recorder},
    },
    source::{Source as _, SourceStatus},
};

use numatrace_common::abi::slice_flags;
use zerocopy::IntoBytes as _;

use super::{
    super::{
        table::median,
        usage::{Ran, run},
    },
    tools::{page_files, perf_file},
};
use crate::live::program;

/// Times that the longer recording has what the shorter one has.
pub const LONGER: u64 = 4;

/// Somebody who reads a file of so many switches.
pub struct Subject {
    pub name: String,
    pub switches: u64,
    command: Vec<String>,
    runs: Vec<Ran>,
    /// Why it does not work here.
    pub failed: Option<String>,
}

impl Subject {
    fn new(name: &str, switches: u64, words: &[&str], file: &Path) -> Subject {
        let mut command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        command.push(file.to_string_lossy().into_owned());
        Subject { name: name.into(), switches, command, runs: Vec::new(), failed: None }
    }

    /// `numatrace report`.
    pub fn numatrace(name: &str, switches: u64, file: &Path) -> Result<Subject> {
        let program = program("numatrace")?.to_string_lossy().into_owned();
        Ok(Subject::new(name, switches, &[&program, "report", "--format", "text"], file))
    }

    /// `numatrace export` of every event.
    pub fn export(format: &str, switches: u64, file: &Path) -> Result<Subject> {
        let program = program("numatrace")?.to_string_lossy().into_owned();
        let words = [&program, "export", "--quiet", "--format", format];
        Ok(Subject::new(&format!("numatrace export, {format}"), switches, &words, file))
    }

    /// `perf script`.
    pub fn perf_script(switches: u64, file: &Path) -> Subject {
        Subject::new("perf script", switches, &["perf", "script", "-i"], file)
    }

    /// `perf data convert` into this file.
    pub fn perf_convert(switches: u64, to: &Path, file: &Path) -> Subject {
        let to = to.to_string_lossy();
        let words = ["perf", "data", "convert", "--force", "--to-json", &to, "-i"];
        Subject::new("perf data convert --to-json", switches, &words, file)
    }

    /// `perf sched` of what it recorded.
    pub fn perf(what: &str, switches: u64, scratch: &Path) -> Subject {
        Subject::new(&format!("perf sched {what}"), switches, &["perf", "sched", what, "-i"], &perf_file(scratch))
    }

    /// `numatrace import` of what perf recorded.
    pub fn import(events: u64, scratch: &Path) -> Result<Subject> {
        let program = program("numatrace")?.to_string_lossy().into_owned();
        let out = scratch.join("imported.numatrace").to_string_lossy().into_owned();
        let words = [&program, "import", "--force", "--quiet", "-o", &out];
        Ok(Subject::new("numatrace import", events, &words, &perf_file(scratch)))
    }

    /// `perf script`, and `perf data convert`, of the same.
    pub fn perf_readers(events: u64, scratch: &Path) -> [Subject; 2] {
        let file = perf_file(scratch);
        [Subject::perf_script(events, &file), Subject::perf_convert(events, &scratch.join("converted.json"), &file)]
    }

    /// `trace-cmd report`, of the pages in the folder.
    pub fn trace_cmd(switches: u64, scratch: &Path) -> Subject {
        let file = trace_dat(scratch);
        let mut subject =
            Subject::new("trace-cmd report", switches, &["trace-cmd", "report", "-i"], &scratch.join("trace.dat"));
        subject.failed = file.err().map(|error| format!("{error:#}"));
        subject
    }

    /// Runs it once more; what it prints goes nowhere.
    pub fn measure(&mut self) -> Result<()> {
        self.runs.push(run(&self.command)?);
        Ok(())
    }

    fn median(&self, value: impl Fn(&Ran) -> f64) -> Option<f64> {
        (self.failed.is_none() && !self.runs.is_empty()).then(|| median(self.runs.iter().map(value).collect()))
    }

    /// Seconds that it takes.
    pub fn seconds(&self) -> Option<f64> {
        self.median(|ran| ran.elapsed.as_secs_f64())
    }

    /// Seconds of CPU time.
    pub fn cpu_seconds(&self) -> Option<f64> {
        self.median(|ran| ran.cpu.as_secs_f64())
    }

    /// Seconds for a million switches.
    pub fn pace(&self) -> Option<f64> {
        Some(self.seconds()? * 1e6 / self.switches.max(1) as f64)
    }

    /// Bytes of memory at its peak.
    pub fn peak(&self) -> Option<f64> {
        self.median(|ran| ran.peak as f64)
    }
}

/// Makes a trace.dat of the pages in the folder, as `trace-cmd restore` does for recordings that were cut short.
fn trace_dat(scratch: &Path) -> Result<()> {
    let head = scratch.join("head.dat");
    let restore = |command: &mut Command| -> Result<()> {
        let output = command.stdin(Stdio::null()).output().context("cannot start trace-cmd")?;
        ensure!(output.status.success(), "trace-cmd restore: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    };
    let mut make_head = Command::new("trace-cmd");
    make_head.args(["restore", "-c", "-t", "/sys/kernel/tracing", "-k", "/proc/kallsyms", "-o"]);
    restore(make_head.arg(&head))?;
    let mut join = Command::new("trace-cmd");
    join.args(["restore", "-i"]).arg(&head).arg("-o").arg(scratch.join("trace.dat"));
    restore(join.args(page_files(scratch)?))
}

/// Writes a recording that has the records of this one several times, each time later. Nobody is born or dies in what is
/// there again: memory grows with the number of threads, and that is not what is asked.
pub fn lengthen(file: &Path) -> Result<PathBuf> {
    let longer = file.with_extension("longer");
    let head = Reader::open(file)?.head().clone();
    let mut recorder = Recorder::new(File::create(&longer)?, &head, Options::default())?;
    let mut later = 0;
    for time in 0..LONGER {
        let mut reader = Reader::open(file)?;
        let end = reader.places().iter().map(|place| place.last_ts).max().unwrap_or(0);
        let mut copy = Vec::new();
        let mut take = |record: &[u8]| {
            copy.clear();
            copy.extend_from_slice(record);
            // The time stands in the header of each.
            if let Some(time) = copy.get_mut(8..16) {
                let ts = u64::from_le_bytes(std::array::from_fn(|at| time[at]));
                time.copy_from_slice(&ts.wrapping_add(later).to_le_bytes());
            }
            if time > 0 {
                match decode(&copy) {
                    Ok(Event::Slice(mut turn)) => {
                        turn.flags &= !slice_flags::OUT_DEAD;
                        return recorder.push(turn.as_bytes());
                    }
                    Ok(Event::Migrate(_) | Event::Tick(_)) => {}
                    _ => return,
                }
            }
            recorder.push(&copy);
        };
        while reader.next_batch(&mut take)? == SourceStatus::More {}
        later += end.saturating_sub(head.meta.start_ns);
    }
    recorder.finish(Reason::Stopped).map_err(|(error, _)| error)?;
    ensure!(fs::metadata(&longer)?.len() > fs::metadata(file)?.len(), "the longer recording is not longer");
    Ok(longer)
}
