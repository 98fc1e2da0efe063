//! What runs beside the load: nothing, numatrace, or a peer.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{floor, ftrace::Ftrace, load::Load, serve::Scraped};
use crate::live::{Report, Tracer, Workload, bpf, perf::Recorder, program};

/// One configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The load alone.
    Nothing,
    /// The load as numatrace's target, with these flags.
    Target(&'static [&'static str]),
    /// numatrace on a process that sleeps: the load is none of its targets.
    Other,
    /// Programs that do nothing, on the hooks that numatrace uses.
    Floor,
    /// `numatrace serve` on the whole machine, scraped once a second.
    Serve(&'static [&'static str]),
    /// libbpf-tools' runqlat on the whole machine.
    Runqlat,
    /// `perf sched record` of the whole machine.
    Perf {
        /// Its reader is SCHED_FIFO.
        realtime: bool,
    },
    /// `trace-cmd record` of the scheduler's events.
    TraceCmd {
        /// Its readers are SCHED_FIFO.
        realtime: bool,
    },
    /// The kernel's trace buffers, read as trace-cmd reads them.
    Ftrace {
        /// Its readers are SCHED_FIFO.
        realtime: bool,
    },
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Nanoseconds a round trip.
    pub ns: f64,
    /// Records or events that were to be written, and those that were lost; `None` where nothing is recorded.
    pub records: Option<(u64, u64)>,
}

impl Beside {
    /// Whether a failure is a failure of numatrace.
    pub fn is_ours(&self) -> bool {
        matches!(self, Beside::Nothing | Beside::Target(_) | Beside::Other | Beside::Serve(_))
    }

    /// Runs the load in this configuration.
    pub fn run(&self, load: &Load) -> Result<Sample> {
        let scratch = Scratch::new()?;
        match self {
            Beside::Nothing => unrecorded(load.run()?),
            Beside::Target(flags) => target(load, flags, &scratch.0),
            Beside::Other => {
                let sleeper = Workload::start(&["sleeper", "--seconds", "3600"])?;
                let mut tracer = Tracer::start(&["--pid", &sleeper.pid.to_string()])?;
                let ns = load.run()?;
                tracer.stop()?;
                unrecorded(ns)
            }
            Beside::Serve(flags) => {
                let _serving = Scraped::start(flags)?;
                unrecorded(load.run()?)
            }
            Beside::Floor => {
                let _attached = floor::attach()?;
                unrecorded(load.run()?)
            }
            Beside::Runqlat => {
                let _running = runqlat()?;
                unrecorded(load.run()?)
            }
            Beside::Perf { realtime } => {
                let flags: &[&str] = if *realtime { &["-r", "1"] } else { &[] };
                let recorder = Recorder::start(&scratch.0, flags)?;
                let ns = load.run()?;
                Ok(Sample { ns, records: Some(recorder.loss()?) })
            }
            Beside::TraceCmd { realtime } => trace_cmd(load, *realtime, &scratch.0),
            Beside::Ftrace { realtime } => {
                let ftrace = Ftrace::start(&scratch.0, *realtime)?;
                let ns = load.run()?;
                Ok(Sample { ns, records: Some(ftrace.stop()?) })
            }
        }
    }
}

fn unrecorded(ns: f64) -> Result<Sample> {
    Ok(Sample { ns, records: None })
}

/// A folder for what tracers write, in memory where there is such: a disk is not what is measured.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Result<Scratch> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("numatrace-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The load as numatrace's command.
fn target(load: &Load, flags: &[&str], scratch: &Path) -> Result<Sample> {
    let file = scratch.join("report.json");
    let mut command = Command::new(program("numatrace")?);
    command.args(["live", "--quiet", "--format", "json", "--output"]).arg(&file).args(flags);
    let output = command.arg("--").args(load.command()?).stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "numatrace ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let ns = load.ns_per_round(&String::from_utf8_lossy(&output.stdout))?;
    let report = Report(serde_json::from_slice(&fs::read(&file)?)?);
    let records = (report.number("/loss/records_wanted")?, report.number("/loss/records_lost")?);
    Ok(Sample { ns, records: Some(records) })
}

/// A child that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts runqlat and returns when its programs are attached. Debian keeps it in /usr/sbin.
fn runqlat() -> Result<Running> {
    let path = ["/usr/sbin/runqlat", "/usr/bin/runqlat", "/usr/local/bin/runqlat"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let mut command = Command::new(path.unwrap_or("runqlat"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().context("cannot start runqlat (package libbpf-tools)")?);
    bpf::wait_until_attached(running.0.id())?;
    Ok(running)
}

/// The load under `trace-cmd record`.
fn trace_cmd(load: &Load, realtime: bool, scratch: &Path) -> Result<Sample> {
    let file = scratch.join("trace.dat");
    let mut command = Command::new("trace-cmd");
    command.arg("record").current_dir(scratch);
    if realtime {
        command.args(["-r", "1"]);
    }
    for event in super::ftrace::EVENTS {
        command.args(["-e", &format!("sched:{event}")]);
    }
    let output = command
        .arg("-o")
        .arg(&file)
        .args(load.command()?)
        .stdin(Stdio::null())
        .output()
        .context("cannot start trace-cmd")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "trace-cmd record: {}", stderr.trim().replace('\n', "; "));
    let ns = load.ns_per_round(&String::from_utf8_lossy(&output.stdout))?;
    let stat = Command::new("trace-cmd").args(["report", "--stat", "-i"]).arg(&file).output()?;
    Ok(Sample { ns, records: Some(super::ftrace::kept_and_lost(&String::from_utf8_lossy(&stat.stdout))?) })
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let realtime = |yes: &bool| if *yes { " at realtime priority" } else { "" };
        match self {
            Beside::Nothing => write!(f, "bare"),
            Beside::Target([]) => write!(f, "numatrace on the load"),
            Beside::Target(flags) => write!(f, "numatrace on the load, `{}`", flags.join(" ")),
            Beside::Other => write!(f, "numatrace on another process"),
            Beside::Serve([]) => write!(f, "numatrace serve"),
            Beside::Serve(flags) => write!(f, "numatrace serve, `{}`", flags.join(" ")),
            Beside::Floor => write!(f, "empty programs on the same hooks"),
            Beside::Runqlat => write!(f, "runqlat"),
            Beside::Perf { realtime: yes } => write!(f, "perf sched record{}", realtime(yes)),
            Beside::TraceCmd { realtime: yes } => write!(f, "trace-cmd record{}", realtime(yes)),
            Beside::Ftrace { realtime: yes } => write!(f, "trace buffers read as by trace-cmd{}", realtime(yes)),
        }
    }
}
