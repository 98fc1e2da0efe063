//! What processes and cgroups are called, from /proc and the cgroup hierarchy.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::table::Look;
use crate::target::{Ids, Machine, QuotaHierarchy, quota_path};

/// Cgroups that are remembered.
const MOST_CGROUPS: usize = 65_536;
/// Deepest cgroup that is looked at.
const MOST_DEPTH: usize = 32;
/// Time between two walks through the hierarchy: cgroups whose processes are gone are found by it alone.
const WALK_PAUSE: Duration = Duration::from_secs(10);

/// Looks at a machine.
pub struct MachineLook {
    machine: Machine,
    /// What the ids that the probes tell are good for here.
    ids: Ids,
    hierarchy: Option<QuotaHierarchy>,
    paths: HashMap<u64, Vec<u8>>,
    walked: Option<Instant>,
}

impl MachineLook {
    /// Nothing is looked at yet.
    pub fn new(machine: Machine) -> MachineLook {
        let (ids, hierarchy) = (machine.ids(), QuotaHierarchy::find(&machine));
        MachineLook { machine, ids, hierarchy, paths: HashMap::new(), walked: None }
    }

    /// The probes have to look at the v1 hierarchy of the cpu controller.
    pub fn is_v1(&self) -> bool {
        self.hierarchy.as_ref().is_some_and(QuotaHierarchy::is_v1)
    }

    fn directory(&self, path: &[u8]) -> Option<PathBuf> {
        self.hierarchy.as_ref()?.directory(path)
    }

    fn remember(&mut self, id: u64, path: Vec<u8>) {
        if self.paths.len() >= MOST_CGROUPS {
            self.paths.clear();
        }
        self.paths.insert(id, path);
    }

    /// The cgroup that a process is in now, where it is the one that is looked for.
    fn of_process(&mut self, id: u64, pid: u32) -> Option<Vec<u8>> {
        let lines = fs::read(self.machine.path(format!("/proc/{pid}/cgroup"))).ok()?;
        let (path, _) = quota_path(&lines)?;
        if fs::metadata(self.directory(path)?).ok()?.ino() != id {
            return None;
        }
        let path = path.to_vec();
        self.remember(id, path.clone());
        Some(path)
    }

    fn walk(&mut self) {
        if self.walked.is_some_and(|at| at.elapsed() < WALK_PAUSE) {
            return;
        }
        self.walked = Some(Instant::now());
        self.paths.clear();
        let Some(hierarchy) = &self.hierarchy else { return };
        let (top, inside) = hierarchy.top();
        let mut found = HashMap::new();
        walk(&top, &inside, 0, &mut found);
        self.paths = found;
    }
}

fn walk(directory: &Path, path: &Path, depth: usize, found: &mut HashMap<u64, Vec<u8>>) {
    if depth > MOST_DEPTH || found.len() >= MOST_CGROUPS {
        return;
    }
    let Ok(meta) = fs::metadata(directory) else { return };
    found.insert(meta.ino(), OsString::from(path).into_vec());
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), &path.join(entry.file_name()), depth + 1, found);
        }
    }
}

impl Look for MachineLook {
    fn lives(&mut self, pid: u32) -> bool {
        // Where ids mean others here, the probes alone tell of ends.
        self.ids == Ids::Own || self.machine.path(format!("/proc/{pid}")).exists()
    }

    fn cgroup_path(&mut self, id: u64, pid: u32) -> Option<Vec<u8>> {
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        if let Some(path) = self.of_process(id, pid) {
            return Some(path);
        }
        self.walk();
        self.paths.get(&id).cloned()
    }

    fn cgroup_lives(&mut self, id: u64) -> bool {
        let directory = self.paths.get(&id).and_then(|path| self.directory(path));
        directory.is_some_and(|directory| fs::metadata(directory).is_ok_and(|meta| meta.ino() == id))
    }
}
