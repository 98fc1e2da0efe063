//! From what the command line names to what the probes filter: is there such a process, what is that cgroup's id.
//! Place in the flow: before `collect`; reads /proc and the cgroup hierarchies, makes no system call of BPF.
//!
//! Every path is below the root of a [`Machine`], so that tests read fixture trees.

mod cgroup;
mod container;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod machine;
pub mod preflight;
mod process;

use std::ffi::OsString;
use std::path::PathBuf;

use thiserror::Error;

use crate::cli::FilterArgs;
use crate::snapshot;
use crate::text::{display_bytes, display_comm};
pub(crate) use cgroup::{QuotaHierarchy, quota_path};
pub use machine::{FILE_IDS, Ids, Machine, OWN_IDS, RootError};

/// What the probes let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Everything but numatrace itself.
    All,
    /// These processes and what they fork from now on.
    Processes(Vec<u32>),
    /// These threads alone.
    Threads(Vec<u32>),
    /// Threads with this command name, NUL-padded.
    Comm([u8; 16]),
    /// Threads of a cgroup and of those below it.
    Cgroup {
        /// Its id: the inode number of its directory.
        id: u64,
        /// It is one of the v1 hierarchy of the cpu controller; else of cgroup v2.
        v1: bool,
        /// Its directory.
        path: PathBuf,
    },
    /// A command to start, and what it forks. The process is known only once it was started.
    Command(Vec<OsString>),
}

impl Filter {
    /// Whether it can come to an end: when every process or thread that it names, and what they forked, has exited.
    pub const fn ends(&self) -> bool {
        matches!(self, Filter::Processes(_) | Filter::Threads(_) | Filter::Command(_))
    }
}

/// A target that exists, and its name in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// What the probes let through.
    pub filter: Filter,
    /// In words, as a header shows it, safe to show: `pid 4711 (redis-server)`.
    pub label: String,
    /// The ids that were asked for; with `--tree` the filter holds more.
    pub ids: Vec<u32>,
}

impl TargetSpec {
    /// The target as reports show it.
    pub fn describe(&self) -> snapshot::Target {
        let kind = match &self.filter {
            Filter::All => "all",
            Filter::Processes(_) => "pid",
            Filter::Threads(_) => "tid",
            Filter::Comm(_) => "comm",
            Filter::Cgroup { .. } => "cgroup",
            Filter::Command(_) => "command",
        };
        snapshot::Target { kind: kind.into(), label: self.label.clone(), ids: self.ids.clone() }
    }
}

/// Why there is no such target.
#[derive(Debug, Error)]
pub enum TargetError {
    /// No process has this id.
    #[error("no process with pid {0}: it has ended or never was; 'ps -e' lists the running ones")]
    NoProcess(u32),
    /// No thread has this id.
    #[error("no thread with tid {0}: it has ended or never was; 'ps -eL' lists the running ones")]
    NoThread(u32),
    /// It is not there, and might be if /proc showed everything.
    #[error(
        "{what} {id} has ended, or belongs to another user and is hidden: /proc is mounted with hidepid, which shows the processes of others only with CAP_SYS_PTRACE, as sudo grants it"
    )]
    Hidden {
        /// `process` or `thread`.
        what: &'static str,
        /// Its id.
        id: u32,
    },
    /// The process has ended, and its parent has not taken notice.
    #[error("process {pid} ({comm}) has ended already: it is a zombie that its parent has not waited for")]
    Zombie {
        /// The process.
        pid: u32,
        /// Its name.
        comm: String,
    },
    /// A thread id was given as a process id.
    #[error(
        "{tid} is a thread of process {pid} ({comm}), not a process: use --tid {tid} for that thread alone, or --pid {pid}"
    )]
    NotAProcess {
        /// What was given.
        tid: u32,
        /// Its process.
        pid: u32,
        /// The name of the process.
        comm: String,
    },
    /// No cgroup there.
    #[error("{path} is no cgroup: {why}")]
    NoCgroup {
        /// What was given, safe to show.
        path: String,
        /// Why not, and what to do.
        why: String,
    },
    /// No container, or more than one.
    #[error("{0}")]
    Container(String),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The command line named no target. [`crate::cli::parse`] refuses that already.
    #[error("no target was given: name a process, thread, command name, cgroup or command")]
    Nothing,
}

impl TargetError {
    fn no_process(pid: u32, machine: &Machine) -> TargetError {
        if machine.hides_processes() {
            return TargetError::Hidden { what: "process", id: pid };
        }
        TargetError::NoProcess(pid)
    }

    fn no_thread(tid: u32, machine: &Machine) -> TargetError {
        if machine.hides_processes() {
            return TargetError::Hidden { what: "thread", id: tid };
        }
        TargetError::NoThread(tid)
    }
}

/// Finds the target that the command line names.
///
/// # Errors
/// [`TargetError`] when there is no such process, thread or cgroup, with one sentence that says what to do.
pub fn resolve(args: &FilterArgs, machine: &Machine) -> Result<TargetSpec, TargetError> {
    if args.all {
        return Ok(TargetSpec { filter: Filter::All, label: "all threads".into(), ids: Vec::new() });
    }
    if let Some(comm) = args.comm {
        let label = format!("threads named {}", display_comm(&comm.0));
        return Ok(TargetSpec { filter: Filter::Comm(comm.0), label, ids: Vec::new() });
    }
    if let Some(path) = &args.cgroup {
        let found = cgroup::resolve(path, machine)?;
        let version = if found.v1 { "v1" } else { "v2" };
        let label = format!("cgroup {} ({version})", display_bytes(found.name.as_os_str().as_encoded_bytes()));
        return Ok(TargetSpec {
            filter: Filter::Cgroup { id: found.id, v1: found.v1, path: found.path },
            label,
            ids: Vec::new(),
        });
    }
    if let Some(wanted) = &args.container {
        return container::resolve(wanted, machine);
    }
    if let Some(wanted) = &args.pod {
        return container::resolve_pod(wanted, machine);
    }
    if !args.pid.is_empty() {
        return processes(&args.pid, args.tree, machine);
    }
    if !args.tid.is_empty() {
        return threads(&args.tid, machine);
    }
    if !args.command.is_empty() {
        let label = format!("command {}", command_words(&args.command));
        return Ok(TargetSpec { filter: Filter::Command(args.command.clone()), label, ids: Vec::new() });
    }
    Err(TargetError::Nothing)
}

fn processes(pids: &[u32], tree: bool, machine: &Machine) -> Result<TargetSpec, TargetError> {
    let ids = unique(pids);
    let mut names = Vec::new();
    for pid in &ids {
        let task = machine.task(*pid).ok_or_else(|| TargetError::no_process(*pid, machine))?;
        if task.tgid != *pid {
            let comm = machine.task(task.tgid).map_or_else(String::new, |process| process.comm);
            return Err(TargetError::NotAProcess { tid: *pid, pid: task.tgid, comm });
        }
        if machine.has_ended(&task) {
            return Err(TargetError::Zombie { pid: *pid, comm: task.comm });
        }
        names.push(format!("{pid} ({})", task.comm));
    }
    let mut label = list("pid", "processes", &names);
    let mut all = ids.clone();
    if tree {
        all = machine.with_descendants(&ids)?;
        let more = all.len() - ids.len();
        label += &format!(" and {more} descendant{}", if more == 1 { "" } else { "s" });
    }
    Ok(TargetSpec { filter: Filter::Processes(all), label, ids })
}

fn threads(tids: &[u32], machine: &Machine) -> Result<TargetSpec, TargetError> {
    let ids = unique(tids);
    let mut names = Vec::new();
    for tid in &ids {
        let task = machine.task(*tid).ok_or_else(|| TargetError::no_thread(*tid, machine))?;
        if task.dead {
            return Err(TargetError::NoThread(*tid));
        }
        names.push(format!("{tid} ({}) of pid {}", task.comm, task.tgid));
    }
    Ok(TargetSpec { filter: Filter::Threads(ids.clone()), label: list("tid", "threads", &names), ids })
}

fn unique(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// One name, a few names, or how many there are and the first few.
fn list(one: &str, many: &str, names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names {
        [name] => format!("{one} {name}"),
        _ if names.len() <= SHOWN => format!("{one}s {}", names.join(", ")),
        _ => format!("{} {many}: {one}s {}, ...", names.len(), names[..SHOWN].join(", ")),
    }
}

/// A command as it was typed, shortened: its arguments can be long, and can hold what is nobody's business.
fn command_words(words: &[OsString]) -> String {
    const SHOWN: usize = 60;
    let words: Vec<String> = words.iter().map(|word| display_bytes(word.as_encoded_bytes())).collect();
    crate::text::fit(&words.join(" "), SHOWN)
}
