//! Recorders of the whole machine, and what is in the files that they make.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use numatrace::{
    decode::{Event, decode},
    model::{Limits, Model},
    recording::{Timeline as _, reader::Reader},
    source::{Source as _, SourceStatus},
};

use super::{
    super::{
        ftrace::Ftrace,
        usage::{cpu_of, cpu_of_children},
    },
    mix::{Mix, PARTS},
};
use crate::{
    live::{perf, program},
    workload::os::check,
};

/// Who records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Nobody,
    Numatrace,
    /// Without page touches, which perf sched does not record either.
    NumatraceSched,
    Perf,
    /// The kernel's trace buffers, moved to files as trace-cmd does.
    TraceBuffers,
}

/// One run of the mix.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How long each part took.
    pub times: [Duration; PARTS.len()],
    pub file: Option<Contents>,
    pub cpu: Option<Cpu>,
}

/// What the recorder's own process used.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// Until it recorded.
    pub start: Duration,
    /// From then on, until its file was whole.
    pub run: Duration,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub bytes: u64,
    /// The same in zstd at its usual level, where that was tried.
    pub packed: Option<u64>,
    /// Times that a CPU went from one thread to another, or from or to its idle thread.
    pub switches: u64,
    /// Records or samples of any kind.
    pub events: u64,
    /// Those that were to be in it, and are not.
    pub lost: u64,
}

impl Tool {
    /// What it is called, and the file that it makes.
    pub const fn name(self) -> &'static str {
        match self {
            Tool::Nobody => "nobody",
            Tool::Numatrace => "numatrace record",
            Tool::NumatraceSched => "numatrace record --page-source off",
            Tool::Perf => "perf sched record",
            Tool::TraceBuffers => "trace buffers, read as by trace-cmd",
        }
    }

    /// Runs the mix while this records into the folder.
    pub fn record(self, mix: &Mix, scratch: &Path) -> Result<Sample> {
        match self {
            Tool::Nobody => Ok(Sample { times: mix.run()?, file: None, cpu: None }),
            Tool::Numatrace | Tool::NumatraceSched => {
                let without: &[&str] = if self == Tool::NumatraceSched { &["--page-source", "off"] } else { &[] };
                let recorder = Numatrace::start(scratch, without)?;
                let (times, cpu) = beside(recorder.child.id(), mix, || recorder.end())?;
                Ok(Sample { times, file: Some(of_numatrace(&numatrace_file(scratch))?), cpu: Some(cpu) })
            }
            Tool::Perf => {
                remove_pipes(scratch)?;
                let mut recorder = perf::Recorder::start(scratch, &[])?;
                let (times, cpu) = beside(recorder.pid(), mix, || recorder.end())?;
                Ok(Sample { times, file: Some(of_perf(&perf_file(scratch))?), cpu: Some(cpu) })
            }
            Tool::TraceBuffers => {
                let recorder = Ftrace::start(scratch, false)?;
                let times = mix.run()?;
                let (events, lost) = recorder.stop()?;
                let pages = page_files(scratch)?;
                let file = Contents { events: events - lost, lost, ..of_pages(&pages)? };
                // Its readers are threads of this process.
                Ok(Sample { times, file: Some(file), cpu: None })
            }
        }
    }
}

/// Where numatrace records to.
pub fn numatrace_file(scratch: &Path) -> PathBuf {
    scratch.join("recording.numatrace")
}

/// Where perf records to.
pub fn perf_file(scratch: &Path) -> PathBuf {
    scratch.join("perf.data")
}

/// The trace buffers' pages, a file for each CPU.
pub fn page_files(scratch: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(scratch)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cpu")))
        .collect();
    files.sort();
    Ok(files)
}

/// The named pipes of a run before.
fn remove_pipes(scratch: &Path) -> Result<()> {
    for name in ["control", "answers"] {
        let path = scratch.join(name);
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Runs the mix beside a recorder, which is then ended: what the recorder used meanwhile.
fn beside(pid: u32, mix: &Mix, end: impl FnOnce() -> Result<()>) -> Result<([Duration; PARTS.len()], Cpu)> {
    let start = cpu_of(pid)?;
    let times = mix.run()?;
    let before = cpu_of_children()?;
    end()?;
    let whole = cpu_of_children()? - before;
    Ok((times, Cpu { start, run: whole.saturating_sub(start) }))
}

/// A running `numatrace record`.
struct Numatrace {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Numatrace {
    /// Returns when it records.
    fn start(scratch: &Path, flags: &[&str]) -> Result<Numatrace> {
        let mut command = Command::new(program("numatrace")?);
        command.args(["record", "--all", "--force", "--output"]).arg(numatrace_file(scratch)).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start numatrace")?;
        let stderr = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
        let mut recorder = Numatrace { child, stderr };
        let mut said = String::new();
        while !said.contains("recording") {
            ensure!(recorder.stderr.read_line(&mut said)? > 0, "numatrace record ended at once: {said}");
        }
        Ok(recorder)
    }

    fn end(mut self) -> Result<()> {
        // SAFETY: the child has not been waited for, so the id is its own.
        check(unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGINT) })?;
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "numatrace record ended with {status}: {said}");
        Ok(())
    }
}

impl Drop for Numatrace {
    fn drop(&mut self) {
        // After `end` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A recording of numatrace: a turn ends with a switch, and where nobody ran before it begins with one as well.
pub fn of_numatrace(path: &Path) -> Result<Contents> {
    let mut reader = Reader::open(path)?;
    let head = reader.head();
    let mut model = Model::new(head.meta.clone(), head.topology.clone(), Limits::default());
    let mut contents = Contents { bytes: reader.bytes(), ..Contents::default() };
    let mut take = |record: &[u8]| {
        contents.events += 1;
        let Ok(event) = decode(record) else { return };
        if let Event::Slice(turn) = &event {
            contents.switches += 1 + u64::from(turn.prev == 0);
        }
        model.apply(&event);
    };
    while reader.next_batch(&mut take)? == SourceStatus::More {}
    contents.lost = model.snapshot().loss.records_lost;
    Ok(contents)
}

/// A perf.data, as perf counts it.
pub fn of_perf(path: &Path) -> Result<Contents> {
    let output = Command::new("perf").args(["report", "--stats", "-i"]).arg(path).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "perf report failed: {}", String::from_utf8_lossy(&output.stderr));
    let stats = String::from_utf8_lossy(&output.stdout);
    let (switches, events) = perf_counts(&stats).with_context(|| format!("perf report says no numbers: {stats}"))?;
    Ok(Contents { bytes: fs::metadata(path)?.len(), switches, events, lost: perf_lost(path)?, ..Contents::default() })
}

fn perf_lost(path: &Path) -> Result<u64> {
    let output = Command::new("perf").args(["sched", "latency", "-i"]).arg(path).stdin(Stdio::null()).output()?;
    Ok(perf::lost_events(&String::from_utf8_lossy(&output.stdout)))
}

/// Switches, and samples of all kinds, of `perf report --stats`.
fn perf_counts(stats: &str) -> Option<(u64, u64)> {
    let samples = |text: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("SAMPLE events:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let of_switches = stats.split_once("sched:sched_switch stats:")?.1;
    Some((samples(of_switches)?, samples(stats)?))
}

/// Pages of trace buffers.
fn of_pages(files: &[PathBuf]) -> Result<Contents> {
    let id = fs::read_to_string("/sys/kernel/tracing/events/sched/sched_switch/id")?.trim().parse()?;
    let (mut contents, mut packed) = (Contents::default(), 0);
    for path in files {
        let (mut file, mut bytes) = (File::open(path)?, Vec::new());
        // So large pieces pack as well as the whole.
        while (&mut file).take(4 << 20).read_to_end(&mut bytes)? > 0 {
            contents.bytes += bytes.len() as u64;
            contents.switches += bytes.chunks(PAGE).map(|page| events_of(page, id)).sum::<u64>();
            packed += zstd::bulk::compress(&bytes, zstd::DEFAULT_COMPRESSION_LEVEL)?.len() as u64;
            bytes.clear();
        }
    }
    contents.packed = Some(packed);
    Ok(contents)
}

/// Bytes of a page of a trace buffer, and of what stands before its events: a time, and how many bytes they take.
const PAGE: usize = 4096;
const PAGE_HEADER: usize = 16;

/// Events of this type in a page (`include/linux/ring_buffer.h`).
fn events_of(page: &[u8], id: u16) -> u64 {
    let word = |at: usize| Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?));
    // Above the length are flags.
    let length = word(8).map_or(0, |commit| (commit & 0xf_ffff) as usize);
    let (mut at, mut count) = (PAGE_HEADER, 0);
    while at < PAGE_HEADER + length {
        let Some(head) = word(at) else { break };
        let (data, len) = match head & 31 {
            // Padding: the rest of the page where it has no length.
            29 => match (head >> 5, word(at + 4)) {
                (1.., Some(len)) => (None, 4 + len as usize),
                _ => break,
            },
            // Times, of eight bytes.
            30 | 31 => (None, 8),
            0 => (Some(at + 8), 4 + word(at + 4).unwrap_or(0) as usize),
            words => (Some(at + 4), 4 + 4 * words as usize),
        };
        let is_it = data.and_then(word).is_some_and(|kind| kind & 0xffff == u32::from(id));
        count += u64::from(is_it);
        at += len.max(4);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_page_are_counted_by_their_type() {
        let words: [u32; 11] = [0, 0, 28, 0, 2, 7 | 99 << 16, 0, 30, 1, 1, 7];
        let mut page: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        page.resize(PAGE, 0xff);
        assert_eq!((events_of(&page, 7), events_of(&page, 99)), (2, 0));
        assert_eq!(events_of(&page[..20], 7), 0);
        assert_eq!(events_of(&[], 7), 0);
    }

    #[test]
    fn numbers_of_perf_are_read() {
        let stats = "Aggregated stats:\n  SAMPLE events:  883326  (99.9%)\nsched:sched_switch stats:\n  SAMPLE events:  351126\nsched:sched_waking stats:\n  SAMPLE events: 5\n";
        assert_eq!(perf_counts(stats), Some((351_126, 883_326)));
        assert_eq!(perf_counts(""), None);
    }
}
