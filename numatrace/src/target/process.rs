//! Processes and threads as /proc tells them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use super::{Machine, TargetError, preflight};
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
        let task = task(tid, &status)?;
        Some(Task { comm: self.comm(tid).unwrap_or(task.comm), ..task })
    }

    /// Whether /proc is mounted so that it may hide processes of other users from this one.
    pub(super) fn hides_processes(&self) -> bool {
        let table = fs::read(self.path("/proc/self/mountinfo")).unwrap_or_default();
        !preflight::may_look_into_all(self) && hidepid(&table, self.proc())
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

/// What /proc/TID/status says.
fn task(tid: u32, status: &[u8]) -> Option<Task> {
    let field = |name: &str| {
        status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes())).map(<[u8]>::trim_ascii)
    };
    let number = |name: &str| field(name).and_then(first_number);
    Some(Task {
        tid,
        tgid: number("Tgid:")?,
        comm: field("Name:").map(display_bytes).unwrap_or_default(),
        uid: number("Uid:"),
        dead: field("State:").is_some_and(|state| matches!(state.first(), Some(b'Z' | b'X'))),
    })
}

/// Whether a table of mounts says that what is mounted at `proc` hides processes. The last mount there is the one that is seen.
fn hidepid(mountinfo: &[u8], proc: &Path) -> bool {
    let text = String::from_utf8_lossy(mountinfo);
    let options = text.lines().rev().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let is_there = filesystem.next()? == "proc" && Path::new(mount.split(' ').nth(4)?) == proc;
        is_there.then(|| filesystem.nth(1)).flatten()
    });
    let hides = |option: &str| option.strip_prefix("hidepid=").is_some_and(|how| !matches!(how, "0" | "off"));
    options.is_some_and(|options| options.split(',').any(hides))
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

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    if let Some(task) = task(7, bytes) {
        assert_eq!(crate::text::visible(&task.comm), task.comm, "not safe to show");
    }
    let _ = parent_of(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_is_seen_tells_whether_processes_are_hidden() {
        let line =
            |at: &str, kind: &str, options: &str| format!("22 1 0:20 / {at} rw,relatime - {kind} proc rw{options}\n");
        let hides = |table: &str| hidepid(table.as_bytes(), Path::new("/proc"));
        for (options, hidden) in [
            ("", false),
            (",hidepid=0", false),
            (",hidepid=off", false),
            (",hidepid=2", true),
            (",gid=4,hidepid=invisible", true),
        ] {
            assert_eq!(hides(&line("/proc", "proc", options)), hidden, "{options}");
        }
        // Of two that lie over each other the last is seen; others are none of its business.
        let over =
            line("/proc", "proc", ",hidepid=2") + &line("/proc", "proc", "") + &line("/other", "proc", ",hidepid=2");
        assert!(!hides(&over));
        assert!(!hides(&line("/proc", "tmpfs", ",hidepid=2")) && !hides("garbage - proc\n - \n\u{fffd}"));
    }
}
