//! However a run ends, nothing of it is left in the kernel.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{
    Tracer, Workload,
    bpf::{self, nothing_left},
    eventually, program,
};

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[
    ("sigkill_leaves_no_program", sigkill),
    ("sigterm_ends_it_cleanly", sigterm),
    ("stdout_closed_early_ends_it_quietly", closed_stdout),
    ("a_full_disk_is_said_and_nothing_is_left", full_disk),
    ("no_such_process_leaves_nothing", no_such_process),
];

fn sigkill() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let before = bpf::programs()?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    let held = bpf::held_by(tracer.pid())?;
    ensure!(held.len() >= 5, "it holds only {held:?}: how would one see that they are gone?");
    tracer.signal(libc::SIGKILL)?;
    tracer.end_within(Duration::from_secs(10))?;
    nothing_left(&before)?;
    let now = bpf::programs()?;
    let still: Vec<_> = held.iter().filter_map(|id| now.get(id)).collect();
    ensure!(still.is_empty(), "still there: {still:?}");
    Ok(())
}

fn sigterm() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let before = bpf::programs()?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    tracer.signal(libc::SIGTERM)?;
    tracer.ended()?;
    nothing_left(&before)
}

fn closed_stdout() -> Result<()> {
    for format in ["text", "json"] {
        let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
        let before = bpf::programs()?;
        let mut command = Command::new(program("numatrace")?);
        command.args(["live", "--interval", "100ms", "-f", format, "--pid", &workload.pid.to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        // As `| head -1` does: reads a line and goes away.
        BufReader::new(child.stdout.take().context("stdout is a pipe")?).read_line(&mut line)?;
        let stderr = end(child, "numatrace ends when nobody reads it")?;
        ensure!(!line.is_empty() && !stderr.contains("panicked"), "printed {line:?}, said {stderr}");
        nothing_left(&before)?;
    }
    Ok(())
}

/// Waits for the end of a child and returns what it said.
fn end(mut child: Child, what: &str) -> Result<String> {
    eventually(what, Duration::from_secs(20), || Ok(child.try_wait()?.is_some())).inspect_err(|_| {
        let _ = child.kill();
    })?;
    Ok(String::from_utf8_lossy(&child.wait_with_output()?.stderr).into_owned())
}

/// A file system of one page, mounted, and nothing free on it.
struct FullDisk(Scratch);

impl FullDisk {
    fn new() -> Result<FullDisk> {
        let scratch = Scratch::new("full")?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(&scratch.0).status()?;
        ensure!(mount.success(), "cannot mount a small tmpfs");
        let disk = FullDisk(scratch);
        fs::write(disk.path().join("filler"), [0; 4096])?;
        Ok(disk)
    }

    fn path(&self) -> &Path {
        &self.0.0
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn full_disk() -> Result<()> {
    let disk = FullDisk::new()?;
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let before = bpf::programs()?;
    let out = disk.path().join("report.json");
    let mut command = Command::new(program("numatrace")?);
    command.args(["live", "-f", "json", "--duration", "500ms", "--pid", &workload.pid.to_string(), "-o"]).arg(&out);
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {stderr}", output.status);
    ensure!(stderr.contains("No space left") && stderr.contains("report.json"), "{stderr}");
    let left: Vec<_> = fs::read_dir(disk.path())?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left == ["filler"], "left on the disk: {left:?}");
    nothing_left(&before)
}

fn no_such_process() -> Result<()> {
    let before = bpf::programs()?;
    let gone = Command::new("true").spawn().and_then(|mut child| child.wait().map(|_| child.id()))?;
    let ended = numatrace_tests::live::numatrace(&["live", "--pid", &gone.to_string()])?;
    ensure!(ended.status.code() == Some(1), "{}: {}", ended.status, ended.stderr);
    ensure!(ended.stderr.contains(&gone.to_string()), "{}", ended.stderr);
    nothing_left(&before)
}
