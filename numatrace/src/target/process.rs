//! Processes and threads as /proc tells them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use super::{Machine, TargetError};
use crate::text::display_bytes;

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// Its id.
    pub(super) tid: u32,
    /// Its process.
    pub(super) tgid: u32,
    /// Its command name, safe to show.
    pub(super) comm: String,
    /// Owner: the real user id.
    pub(super) uid: Option<u32>,
    /// A zombie or dead.
    pub(super) dead: bool,
}

impl Machine {
    /// The thread with this id; `None` when there is none.
    pub(super) fn task(&self, tid: u32) -> Option<Task> {
        let status = fs::read(self.path(format!("/proc/{tid}/status"))).ok()?;
        let field = |name: &str| {
            status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes())).map(<[u8]>::trim_ascii)
        };
        let number = |name: &str| field(name).and_then(first_number);
        Some(Task {
            tid,
            tgid: number("Tgid:")?,
            comm: self.comm(tid).or_else(|| field("Name:").map(display_bytes)).unwrap_or_default(),
            uid: number("Uid:"),
            dead: field("State:").is_some_and(|state| matches!(state.first(), Some(b'Z' | b'X'))),
        })
    }

    /// The raw name from `comm`: that in `status` is escaped by the kernel.
    fn comm(&self, tid: u32) -> Option<String> {
        let raw = fs::read(self.path(format!("/proc/{tid}/comm"))).ok()?;
        Some(display_bytes(raw.strip_suffix(b"\n").unwrap_or(&raw)))
    }

    /// Whether a process has ended: its first thread is dead, and no other lives on (a process goes on when its first
    /// thread ends before the others).
    pub(super) fn has_ended(&self, process: &Task) -> bool {
        process.dead
            && !numbers_in(&self.path(format!("/proc/{}/task", process.tid)))
                .unwrap_or_default()
                .iter()
                .any(|tid| *tid != process.tid && self.task(*tid).is_some_and(|task| !task.dead))
    }

    /// These processes and all they begat, in order of id.
    pub(super) fn with_descendants(&self, pids: &[u32]) -> Result<Vec<u32>, TargetError> {
        let proc = self.path("/proc");
        let all = numbers_in(&proc).map_err(|source| TargetError::Read { path: proc, source })?;
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in all {
            // A process that is gone by now has no children here any more: they have a new parent.
            let Ok(stat) = fs::read(self.path(format!("/proc/{pid}/stat"))) else { continue };
            if let Some(parent) = parent_of(&stat) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut found: BTreeSet<u32> = BTreeSet::new();
        let mut todo = pids.to_vec();
        while let Some(pid) = todo.pop() {
            if found.insert(pid) {
                todo.extend(children.get(&pid).into_iter().flatten());
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// The names in a directory that are numbers.
fn numbers_in(dir: &Path) -> std::io::Result<Vec<u32>> {
    Ok(fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn first_number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.split_whitespace().next()?.parse().ok()
}

/// The fourth field of `/proc/PID/stat`. The second is the name in parentheses, which can hold any bytes, also spaces and
/// parentheses: the last `)` ends it.
fn parent_of(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_whitespace().nth(1)?.parse().ok()
}
