//! The command line: clap only, no I/O. Place in the flow: `main` parses, a file in `commands` runs.
//!
//! [`parse`] settles what clap cannot say alone: `numatrace --pid 1` without a subcommand is `live`, and `live`
//! needs exactly one target. Numbers are checked here, so that nonsense ends with one sentence and exit code 2;
//! what needs the machine (is there such a process?) is [`crate::target`]'s.

mod diff;
mod export;
mod flight;
mod import;
mod man;
mod serve;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgGroup, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use self::flight::FlightArgs;
use crate::collect::MaxOverhead;
use crate::config::{Ascii, Colours};
use crate::findings::Change;
use crate::replay::{Moment, Speed};
use crate::report::SortKey;
use crate::snapshot::GroupBy;
use crate::text::visible;
use crate::tui::theme::Scheme;
pub use diff::DiffArgs;
pub use export::{ExportArgs, ExportFormat, ExportTable};
pub use import::ImportArgs;
pub use man::ManArgs;
pub use serve::{Listen, ServeArgs};
pub(crate) use values::interval;
pub use values::{Comm, MAX_PID};

const ABOUT: &str = "Which threads wait for a CPU, hop between NUMA nodes, or touch memory on the wrong node";

const LONG_ABOUT: &str = "\
Which threads wait for a CPU, hop between NUMA nodes, or touch memory on the wrong node.

numatrace attaches to a running process, or starts a command, and tells for each thread how long it was runnable \
without a CPU (after wakeups and after preemption, apart), who ran instead, who woke it, how often and why it \
was moved to another CPU, core, cache or node, and on which nodes it ran. It needs no performance counters and \
changes nothing in the target.

On a terminal `live`, the default command, draws a table that is updated each interval. Anywhere else it prints a report each \
interval and one at the end.";

const EXAMPLES: &str = "\
Examples:
  sudo numatrace --pid 4711                  a process and what it forks, until q or Ctrl-C
  sudo numatrace -p 4711 --tree -d 30s       its existing children as well, for 30 seconds
  sudo numatrace -- ./server --port 80       start a command, traced from its first instruction
  sudo numatrace --cgroup system.slice/nginx.service --sort p99
  sudo numatrace --container web             a container by its name, or by the beginning of its id
  sudo numatrace --all --slower-than 10ms    each such wait as a line, with who ran instead
  sudo numatrace -p 4711 -d 10s -f json -o report.json
                                             one report for a program to read
  sudo numatrace -p 4711 -f json | jq .totals.runq.all.p99_ns
                                             one cumulative document a line, each interval
  sudo numatrace record -o run.numatrace -p 4711
                                             into a file, until Ctrl-C, for report and replay
  numatrace report run.numatrace --by comm   the numbers of a recording, threads of one name as one
  numatrace report run.numatrace --from 10s --to 12s -f csv
                                             two seconds of it, for a spreadsheet
  numatrace report run.numatrace --findings  what is wrong, why, and what to do about it
  numatrace export run.numatrace -o run.parquet
                                             every event of it as a row, for DuckDB or Spark
  numatrace replay run.numatrace             a recording in the dashboard: play, pause, step, seek
  numatrace diff before.numatrace after.numatrace
                                             what changed, and whether it is more than noise
  sudo numatrace serve                       numbers of the whole machine for Prometheus, at 127.0.0.1:9925
  numatrace doctor                           what this kernel offers, and what is missing
  numatrace config                           the dashboard's keys, theme and so on, as a file to change

Exit codes: 0 done, 1 failed, 2 wrong usage; 3 of report --findings: a finding is critical. A command given after -- returns its \
own exit code.

Rights: root, or CAP_BPF and CAP_PERFMON (and CAP_SYS_PTRACE for processes of other users):
  sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_sys_nice+ep \"$(command -v numatrace)\"";

const TARGET_NEEDED: &str = "no target was given: name one with --pid, --tid, --comm, --cgroup, --container, --pod or --all, or put a \
                             command to start after --";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Trace and show.
    Live(Box<LiveArgs>),
    /// Trace into a file.
    Record(Box<RecordArgs>),
    /// Make a recording of what perf recorded.
    Import(ImportArgs),
    /// Trace the built-in workload.
    Demo(DemoArgs),
    /// Tell the numbers of a recording.
    Report(Box<ReportArgs>),
    /// Write a recording in the form of other programs.
    Export(Box<ExportArgs>),
    /// Play a recording.
    Replay(ReplayArgs),
    /// Hold two recordings against each other.
    Diff(Box<DiffArgs>),
    /// Give numbers of the whole machine to Prometheus.
    Serve(Box<ServeArgs>),
    /// Say what this kernel and machine offer.
    Doctor(DoctorArgs),
    /// Print the configuration.
    Config(ConfigArgs),
    /// Print a completion script.
    Completions(CompletionsArgs),
    /// Print a manual page, or write them all.
    Man(ManArgs),
}

#[derive(Debug, Parser)]
#[command(
    name = "numatrace",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = "Run 'numatrace --help' for examples and details.",
    after_long_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    override_usage = "numatrace [live] [OPTIONS] <--pid <PID>|--tid <TID>|--comm <NAME>|--cgroup <PATH>|--container <ID>|--pod <UID>|--all>\n       \
                      numatrace [live] [OPTIONS] -- <CMD> [ARG]...\n       \
                      numatrace <COMMAND>"
)]
struct Root {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    live: LiveArgs,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Trace a target and show it live: a table on a terminal, a report each interval elsewhere (the default)
    #[command(
        after_long_help = EXAMPLES,
        override_usage = "numatrace live [OPTIONS] <--pid <PID>|--tid <TID>|--comm <NAME>|--cgroup <PATH>|--container <ID>|--pod <UID>|--all>\n       \
                          numatrace live [OPTIONS] -- <CMD> [ARG]..."
    )]
    Live(Box<LiveArgs>),
    /// Trace a target into a file, for `report` and `replay`, which need no rights
    ///
    /// Ctrl-C, the end of every target, --duration or --max-size ends the recording in order; also after a crash all but
    /// its last seconds can be read.
    #[command(
        override_usage = "numatrace record [OPTIONS] -o <FILE> <--pid <PID>|--tid <TID>|--comm <NAME>|--cgroup <PATH>|--container <ID>|--pod <UID>|--all>\n       \
                          numatrace record [OPTIONS] -o <FILE> -- <CMD> [ARG]..."
    )]
    Record(Box<RecordArgs>),
    /// Make a recording of what `perf sched record` recorded, where eBPF is not allowed
    ///
    /// Needs no rights. Record with: perf sched record -a -o perf.data. What such a file does not have is off, and reports
    /// say why.
    Import(ImportArgs),
    /// Trace a built-in workload whose threads wait, hop between CPUs and touch memory
    ///
    /// On a terminal it is drawn until q is pressed; elsewhere it runs for ten seconds and prints a report.
    Demo(DemoArgs),
    /// Tell the numbers of a recording, or of a part of it, and what they say is wrong
    ///
    /// Needs no rights. With --findings the exit code is 3 when a finding is critical.
    Report(Box<ReportArgs>),
    /// Write a recording, or a part of it, for other programs: tables, histograms, stacks
    ///
    /// Needs no rights. docs/export.md has the columns, and queries for DuckDB.
    Export(Box<ExportArgs>),
    /// Show a recording in the dashboard: play, pause, step, seek
    Replay(ReplayArgs),
    /// Tell what changed from one recording to another, and whether that is more than noise
    ///
    /// Needs no rights.
    Diff(Box<DiffArgs>),
    /// Give numbers of the whole machine to Prometheus: run-queue latency, migrations, page touches, by process and cgroup
    ///
    /// Runs until Ctrl-C. docs/serve.md has every metric, TLS and basic authentication.
    Serve(Box<ServeArgs>),
    /// Say what this kernel and machine offer, hook by hook, and what is lost where something is missing
    Doctor(DoctorArgs),
    /// Print the configuration of the dashboard: each value and where it comes from, as a file that can be used
    ///
    /// For example, where there is no file yet: numatrace config > ~/.config/numatrace/config.toml
    Config(ConfigArgs),
    /// Print a completion script for a shell
    ///
    /// For example: numatrace completions bash > /etc/bash_completion.d/numatrace
    Completions(CompletionsArgs),
    /// Print a manual page, or write all of them into a folder
    ///
    /// For example: numatrace man record | man -l -
    Man(ManArgs),
}

/// Arguments of `live`.
#[derive(Args, Clone, Debug)]
pub struct LiveArgs {
    /// What to trace.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How long and how often.
    #[command(flatten)]
    pub run: RunArgs,
    /// What to write, and where.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Where /proc and /sys are.
    #[command(flatten)]
    pub roots: RootArgs,
    /// From which numbers on there are findings.
    #[command(flatten)]
    pub findings: FindingArgs,
    /// How the dashboard looks.
    #[command(flatten)]
    pub look: LookArgs,
}

/// Arguments of `record`.
#[derive(Args, Clone, Debug)]
pub struct RecordArgs {
    /// What to trace.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How long, and how often there is a tick.
    #[command(flatten)]
    pub run: RunArgs,
    /// The file.
    #[command(flatten)]
    pub file: RecordFileArgs,
    /// The last seconds alone.
    #[command(flatten)]
    pub flight: FlightArgs,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Where /proc and /sys are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// What `record` writes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Recording")]
pub struct RecordFileArgs {
    /// The file to record into: a new one, which only its owner can read; under sudo that is the user who called sudo
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file if there is one already (but never a symbolic link)
    #[arg(long)]
    pub force: bool,
    /// End the recording before its file is larger than this, 256K to 1024T
    #[arg(long, value_name = "SIZE", value_parser = values::max_size, allow_hyphen_values = true)]
    pub max_size: Option<u64>,
    /// Record no names of threads, no paths of cgroups, no symbols: the same name becomes the same word
    #[arg(long)]
    pub anonymize: bool,
    /// No notes and no progress on standard error; errors and lost records are still told
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How long and how often.
    #[command(flatten)]
    pub run: RunArgs,
    /// What to write, and where.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// From which numbers on there are findings.
    #[command(flatten)]
    pub findings: FindingArgs,
    /// How the dashboard looks.
    #[command(flatten)]
    pub look: LookArgs,
}

/// Arguments of `replay`.
#[derive(Args, Clone, Debug)]
pub struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Begin at this time: 12s, 1m 30s or plain seconds since the start of the recording, 10:21:46 (local time of day), or
    /// RFC 3339 [default: the start]
    #[arg(long, value_name = "TIME", value_parser = clap::value_parser!(Moment), allow_hyphen_values = true)]
    pub from: Option<Moment>,
    /// How fast, 0.1 to 100
    #[arg(long, value_name = "X", default_value_t, value_parser = clap::value_parser!(Speed), allow_hyphen_values = true)]
    pub speed: Speed,
    /// Do not begin to play
    #[arg(long)]
    pub paused: bool,
    /// From which numbers on there are findings.
    #[command(flatten)]
    pub findings: FindingArgs,
    /// How the dashboard looks.
    #[command(flatten)]
    pub look: LookArgs,
}

/// Arguments of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which part of it.
    #[command(flatten)]
    pub part: PartArgs,
    /// Text for people, JSON for programs (schema 1), CSV for spreadsheets
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub format: ReportFormat,
    /// Threads of one name, or of one cgroup, as one
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Output")]
    pub by: Option<GroupBy>,
    /// Order of threads in text and CSV
    #[arg(long, value_enum, default_value_t, value_name = "KEY", help_heading = "Output")]
    pub sort: SortKey,
    /// Tell this many threads in text and CSV; 0 is all [default: 20 in text, all in CSV]
    #[arg(long, value_name = "N", value_parser = values::top, allow_hyphen_values = true, help_heading = "Output")]
    pub top: Option<usize>,
    /// Estimate what binding the target to this node would do, in text and JSON; all compares all nodes (repeatable, or 0,1)
    #[arg(long, value_name = "NODE", value_parser = values::pin_to, value_delimiter = ',', help_heading = "What if")]
    #[arg(allow_hyphen_values = true, conflicts_with_all = ["thread", "comm"])]
    pub pin_to: Vec<PinTo>,
    /// Write into this file [- is standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    pub color: ColorChoice,
    /// No notes and no progress on standard error; errors, and what is missing, are still told
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Only the findings, as text or JSON; the exit code is 3 when one of them is critical
    #[arg(long, help_heading = "Findings", conflicts_with_all = ["thread", "comm", "by", "pin_to"])]
    pub findings: bool,
    /// From which numbers on there are findings.
    #[command(flatten)]
    pub limits: FindingArgs,
    /// The configuration with limits of findings [default: as in numatrace --help]
    #[arg(long, value_name = "FILE", help_heading = "Findings")]
    pub config: Option<PathBuf>,
}

/// Which part of a recording.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Part of the recording")]
pub struct PartArgs {
    /// From this time on: 12s, 1m 30s or plain seconds since the start of the recording, 10:21:46 (local time of day), or
    /// RFC 3339 [default: its start]
    #[arg(long, value_name = "TIME", value_parser = clap::value_parser!(Moment), allow_hyphen_values = true)]
    pub from: Option<Moment>,
    /// Up to this time [default: its end]
    #[arg(long, value_name = "TIME", value_parser = clap::value_parser!(Moment), allow_hyphen_values = true)]
    pub to: Option<Moment>,
    /// Only the thread with this id (repeatable, or 1,2,3)
    #[arg(short, long, value_name = "TID", value_parser = values::tid)]
    #[arg(value_delimiter = ',', allow_hyphen_values = true)]
    pub thread: Vec<u32>,
    /// Only threads with exactly this name, as reports show it (repeatable)
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    pub comm: Vec<String>,
}

impl PartArgs {
    /// Something is asked for.
    pub fn is_some(&self) -> bool {
        self.from.is_some() || self.to.is_some() || !self.thread.is_empty() || !self.comm.is_empty()
    }
}

/// A node to which the target might be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinTo {
    /// This one, by the kernel's number.
    Node(u32),
    /// One after the other.
    All,
}

/// Form of a report of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: schema 1.
    Json,
    /// For spreadsheets: RFC 4180.
    Csv,
}

impl ValueEnum for GroupBy {
    fn value_variants<'a>() -> &'a [Self] {
        &[GroupBy::Comm, GroupBy::Cgroup]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

/// Arguments of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Text for people or JSON for programs
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: DoctorFormat,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Where /proc and /sys are.
    #[command(flatten)]
    pub roots: RootArgs,
}

/// Arguments of `config`.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// Print only where the file is, or would be
    #[arg(long)]
    pub path: bool,
    /// From which numbers on there are findings.
    #[command(flatten)]
    pub findings: FindingArgs,
    /// How the dashboard looks.
    #[command(flatten)]
    pub look: LookArgs,
}

/// How the dashboard looks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Dashboard")]
pub struct LookArgs {
    /// Theme of the dashboard [default: that of the configuration, else dark]
    #[arg(long, value_enum, value_name = "THEME")]
    pub theme: Option<Scheme>,
    /// How many colours it has; auto: as many as the terminal says [default: that of the configuration, else auto]
    #[arg(long, alias = "colors", value_enum, value_name = "HOW MANY")]
    pub colours: Option<Colours>,
    /// Draw it with ASCII alone; auto: where the locale is not UTF-8 [default: that of the configuration, else auto]
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ascii: Option<Ascii>,
    /// Its configuration [default: numatrace/config.toml in $XDG_CONFIG_HOME or ~/.config; under sudo that of the user who
    /// called sudo]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// From which numbers on there are findings.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Findings")]
pub struct FindingArgs {
    /// From which number on a rule speaks (throttled.throttled-share=0.1), or that it says nothing (throttled=off); repeatable;
    /// docs/findings.md has all rules and limits [default: that of the configuration]
    #[arg(long, value_name = "RULE.LIMIT=NUMBER|RULE=off", value_parser = values::limit)]
    pub limit: Vec<Change>,
}

/// Arguments of `completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// What to trace: exactly one kind of target.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
#[command(next_help_heading = "Target (exactly one)", group(ArgGroup::new("target").multiple(false)))]
pub struct FilterArgs {
    /// A process: its threads, and what it forks from now on (repeatable, or 1,2,3)
    #[arg(short, long, group = "target", value_name = "PID", value_parser = values::pid)]
    #[arg(value_delimiter = ',', allow_hyphen_values = true)]
    pub pid: Vec<u32>,
    /// With --pid: also the children, and theirs, that it has already
    #[arg(long, requires = "pid", conflicts_with_all = ["tid", "comm", "cgroup", "container", "pod", "all", "command"])]
    pub tree: bool,
    /// One thread, and nothing that it forks (repeatable, or 1,2,3)
    #[arg(short, long, group = "target", value_name = "TID", value_parser = values::tid)]
    #[arg(value_delimiter = ',', allow_hyphen_values = true)]
    pub tid: Vec<u32>,
    /// Every thread with exactly this name, as in /proc/PID/task/TID/comm (at most 15 bytes)
    #[arg(short, long, group = "target", value_name = "NAME", value_parser = values::CommParser)]
    pub comm: Option<Comm>,
    /// Every thread of a cgroup and of those below it: a directory under /sys/fs/cgroup, or a path as in
    /// /proc/PID/cgroup
    #[arg(long, group = "target", value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Every thread of a container of Docker, containerd, CRI-O or Podman: its id, a unique beginning of it (at least 4 digits),
    /// or its name
    #[arg(long, group = "target", value_name = "ID|NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub container: Option<String>,
    /// Every thread of a Kubernetes pod: its UID, its name, or NAMESPACE/NAME
    #[arg(long, group = "target", value_name = "UID|NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub pod: Option<String>,
    /// Every thread of the machine but numatrace's own
    #[arg(short, long, group = "target")]
    pub all: bool,
    /// A command to start and trace from its first instruction, with what it forks; under sudo it runs as the
    /// user who called sudo. Its output goes to standard error while reports are printed, and nowhere while the
    /// dashboard is drawn (-o FILE leaves it alone). When numatrace is told to stop, so is the command, which
    /// then has ten seconds to end in its own way
    #[arg(last = true, group = "target", num_args = 1.., value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl FilterArgs {
    /// No target was named.
    fn is_empty(&self) -> bool {
        self.pid.is_empty()
            && self.tid.is_empty()
            && self.comm.is_none()
            && self.cgroup.is_none()
            && self.container.is_none()
            && self.pod.is_none()
            && !self.all
            && self.command.is_empty()
    }
}

/// How long and how often.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Time")]
pub struct RunArgs {
    /// Stop after this long: 30s, 5m, 1h 30m, or plain seconds; a command started with -- is ended then [default:
    /// when interrupted, or when every target has exited; demo: 10s where it is not drawn]
    #[arg(short, long, value_name = "TIME", value_parser = values::duration, allow_hyphen_values = true)]
    pub duration: Option<Duration>,
    /// Time between updates of the screen or reports, 50ms to 1h [default: 1s, on screen that of the configuration]
    #[arg(short, long, value_name = "TIME", value_parser = values::interval, allow_hyphen_values = true)]
    pub interval: Option<Duration>,
}

/// What to write, and where.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Text for people or JSON for programs (schema 1, one document a line); asked for explicitly, it is printed even
    /// on a terminal
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Write one report to this file when the run ends, and print none [- is standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Order of threads in text and, at first, on screen [default: wait, on screen that of the configuration]
    #[arg(long, value_enum, value_name = "KEY")]
    pub sort: Option<SortKey>,
    /// Show this many threads in text; 0 shows all
    #[arg(long, default_value = "20", value_name = "N", value_parser = values::top, allow_hyphen_values = true)]
    pub top: usize,
    /// Print each wait of at least this long as a line, with who ran instead: 10ms, 250us
    #[arg(long, value_name = "TIME", value_parser = values::slower_than, allow_hyphen_values = true)]
    pub slower_than: Option<Duration>,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// No notes on standard error; errors and lost records are still told
    #[arg(short, long)]
    pub quiet: bool,
}

/// How to trace.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Tracing")]
pub struct TraceArgs {
    /// Memory of each ring that carries records from the kernel, and of the lanes of its CPUs together, 4K to 1G,
    /// rounded up to a power of two [default: 4M, or 32M where real-time priority is not granted]
    #[arg(long, value_name = "SIZE", value_parser = values::ring_size, allow_hyphen_values = true)]
    pub ring_size: Option<u32>,
    /// Leave out more and more of what is optional while tracing takes more than this share of all CPU time of the machine, such as
    /// 2%: samples of page touches, then records of turns (one stands for 2, 4 ... 64), who wakes whom, page touches. Without
    /// it records are left out, evenly, when some are lost again and again; off: never
    #[arg(long, value_name = "SHARE", value_parser = values::max_overhead, allow_hyphen_values = true)]
    pub max_overhead: Option<MaxOverhead>,
    /// Do not find out who wakes whom: leaves the sched_waking hook out, which makes tracing cheaper
    #[arg(long)]
    pub no_wakers: bool,
    /// How to attach to the scheduler's tracepoints; auto: tp_btf, and raw_tp where the kernel refuses it
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub hooks: Hooks,
    /// Where page touches are taken; auto: at the end of page faults, where the page is known, else at their beginning
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub page_source: PageSource,
    /// Where NUMA hint faults are taken; auto: by fentry, else by a kprobe, else from what the kernel counts for each thread
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub hint_source: HintSource,
    /// Page touches a second, at most, whose addresses are looked up to say where in the program they come from; 0 for none, 100000
    /// at most
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = values::fault_samples, allow_hyphen_values = true)]
    pub fault_samples: u32,
    /// Say also who called the places that page touches come from; needs programs built with frame pointers
    #[arg(long)]
    pub stacks: bool,
}

/// Where the machine's /proc and /sys are.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "In a container")]
pub struct RootArgs {
    /// The host's /proc, where it is mounted elsewhere, as with docker run -v /proc:/host/proc:ro; ids are then those of the host
    /// [default: /proc]
    #[arg(long, value_name = "DIR")]
    pub proc_root: Option<PathBuf>,
    /// The host's /sys, as with docker run -v /sys:/host/sys:ro [default: /sys]
    #[arg(long, value_name = "DIR")]
    pub sys_root: Option<PathBuf>,
}

/// Form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: schema 1.
    Json,
}

/// Form of a diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people.
    #[default]
    Text,
    /// For programs; no schema is promised.
    Json,
}

/// How to attach to tracepoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Hooks {
    /// tp_btf, and raw_tp where that is refused.
    #[default]
    Auto,
    /// BTF-enabled tracepoints only.
    #[value(name = "tp_btf")]
    TpBtf,
    /// Raw tracepoints only.
    #[value(name = "raw_tp")]
    RawTp,
}

/// Where page touches are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PageSource {
    /// The best there is.
    #[default]
    Auto,
    /// At the end of page faults.
    Exit,
    /// At their beginning: best effort.
    Entry,
    /// Not at all: page faults cost what they cost without numatrace.
    Off,
}

/// Where NUMA hint faults are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HintSource {
    /// The best there is.
    #[default]
    Auto,
    /// By fentry of task_numa_fault.
    Fentry,
    /// By a kprobe on it.
    Kprobe,
    /// From the kernel's own counts: best effort.
    Counts,
}

impl ValueEnum for Scheme {
    fn value_variants<'a>() -> &'a [Self] {
        &Scheme::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let also = if *self == Scheme::ColourBlind { &["color-blind"][..] } else { &[] };
        Some(clap::builder::PossibleValue::new(self.name()).aliases(also))
    }
}

impl ValueEnum for Colours {
    fn value_variants<'a>() -> &'a [Self] {
        &Colours::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Ascii {
    fn value_variants<'a>() -> &'a [Self] {
        &Ascii::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for SortKey {
    fn value_variants<'a>() -> &'a [Self] {
        &SortKey::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).help(self.help()))
    }
}

/// The whole command line as clap sees it, for completions and manual pages.
pub fn command() -> clap::Command {
    // What these mean for a recorder is less than they mean elsewhere.
    Root::command().mut_subcommands(|subcommand| {
        if subcommand.get_name() != "record" {
            return subcommand;
        }
        subcommand
            .mut_arg("interval", |arg| arg.help("Time between ticks, by which replay steps, 50ms to 1h [default: 1s]"))
            .mut_arg("duration", |arg| {
                arg.help(
                    "Stop after this long: 30s, 5m, 1h 30m, or plain seconds; a command started with -- is ended then \
                     [default: when interrupted, or when every target has exited]",
                )
            })
            .mut_arg("command", |arg| {
                arg.help(
                    "A command to start and record from its first instruction, with what it forks; under sudo it runs \
                     as the user who called sudo. Its output is left alone. When numatrace is told to stop, so is the \
                     command, which then has ten seconds to end in its own way",
                )
            })
    })
}

/// Parses a command line, the program's name first.
///
/// # Errors
/// What clap refuses, or a missing target, each with one sentence; also `--help` and `--version`. `clap::Error::exit`
/// prints it to the right stream and ends with the right code: 2 for wrong usage, 0 for help.
pub fn parse<I, T>(args: I) -> Result<Command, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut matches = command().try_get_matches_from(args).map_err(|e| safe_to_show(with_hint(e)))?;
    let root = Root::from_arg_matches_mut(&mut matches).map_err(safe_to_show)?;
    let command = match root.command {
        None => Command::Live(Box::new(root.live)),
        Some(Subcommands::Live(args)) => Command::Live(args),
        Some(Subcommands::Record(args)) => Command::Record(args),
        Some(Subcommands::Import(args)) => Command::Import(args),
        Some(Subcommands::Demo(args)) => Command::Demo(args),
        Some(Subcommands::Report(args)) => Command::Report(args),
        Some(Subcommands::Export(args)) => Command::Export(args),
        Some(Subcommands::Replay(args)) => Command::Replay(args),
        Some(Subcommands::Diff(args)) => Command::Diff(args),
        Some(Subcommands::Serve(args)) => Command::Serve(args),
        Some(Subcommands::Doctor(args)) => Command::Doctor(args),
        Some(Subcommands::Config(args)) => Command::Config(args),
        Some(Subcommands::Completions(args)) => Command::Completions(args),
        Some(Subcommands::Man(args)) => Command::Man(args),
    };
    let filter = match &command {
        Command::Live(args) => Some(&args.filter),
        Command::Record(args) => Some(&args.filter),
        _ => None,
    };
    match filter {
        Some(filter) if filter.is_empty() => {
            let mut all = self::command();
            all.build();
            let record = matches!(command, Command::Record(_)).then_some("record");
            let asked = record.and_then(|name| all.find_subcommand(name)).cloned();
            Err(asked.unwrap_or(all).error(ErrorKind::MissingRequiredArgument, TARGET_NEEDED))
        }
        _ => Ok(command),
    }
}

/// A word that clap did not expect is most often a command without its `--`, or a subcommand behind options: says so.
/// For an unknown option clap would advise `-- --option`, which here would start a command of that name.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) =
        error.get(ContextKind::InvalidArg).or_else(|| error.get(ContextKind::InvalidSubcommand)).cloned()
    else {
        return error;
    };
    if !matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand) {
        return error;
    }
    if word.starts_with('-') {
        error.remove(ContextKind::Suggested);
        return error;
    }
    // Of the others none starts a command.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let starts = |name: &str| usage.contains("numatrace [live]") || usage.contains(&format!("numatrace {name} "));
    if !usage.is_empty() && !starts("live") && !starts("record") {
        error.remove(ContextKind::Suggested);
        return error;
    }
    /// Words that are more alike than this, from 0 to 1, are one that was mistyped.
    const ALIKE: f64 = 0.85;
    let all = command();
    let near = all.get_subcommands().map(clap::Command::get_name).max_by(|a, b| {
        let [a, b] = [a, b].map(|known| strsim::jaro(known, &word));
        a.total_cmp(&b)
    });
    let hint = match near {
        Some(known) if known == word => format!("options come after the subcommand: numatrace {word} [OPTIONS]"),
        Some(known) if strsim::jaro(known, &word) > ALIKE => format!("there is a subcommand '{known}'"),
        _ => "to start a command and trace it, put -- before it: numatrace -- CMD ARG...".to_owned(),
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    error
}

/// Clap repeats what was typed as it is. A script can pass on what others wrote, such as a thread's name, so it is
/// escaped here as everywhere.
fn safe_to_show(mut error: clap::Error) -> clap::Error {
    let raw: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, ContextValue::String(visible(text)))),
            ContextValue::Strings(all) => Some((kind, ContextValue::Strings(all.iter().map(|s| visible(s)).collect()))),
            _ => None,
        })
        .collect();
    for (kind, value) in raw {
        error.insert(kind, value);
    }
    error
}

#[cfg(test)]
mod tests;
