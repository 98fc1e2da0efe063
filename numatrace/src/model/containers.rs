//! The containers that threads are in. Place in the flow: paths of cgroups and ContainerNames records in, [`Container`] out.
//!
//! A container is known from the path of its cgroup alone; what it is called was read from files, and comes as a record.

use std::collections::HashMap;
use std::sync::Arc;

use numatrace_common::abi;

use super::texts::Texts;
use crate::container::{Container, identify};

/// Containers by the path of the cgroup, bounded as the paths are.
#[derive(Clone, Debug)]
pub(super) struct Containers {
    max: usize,
    names: Texts,
    by_path: HashMap<Arc<str>, Option<Arc<Container>>>,
}

impl Containers {
    pub(super) fn new(max: usize) -> Containers {
        Containers { max, names: Texts::new(max), by_path: HashMap::new() }
    }

    /// A thread is in the cgroup with this path.
    pub(super) fn meet(&mut self, path: &Arc<str>) {
        if self.by_path.len() < self.max && !self.by_path.contains_key(path) {
            self.by_path.insert(Arc::clone(path), identify(path.as_bytes()).map(Arc::new));
        }
    }

    /// A piece of what the container in the cgroup with this path is called.
    pub(super) fn piece(&mut self, piece: &abi::CgroupPath, path: Option<&Arc<str>>) {
        self.names.lines(piece);
        let (Some(path), Some(text)) = (path, self.names.get(piece.cgroup).cloned()) else { return };
        self.meet(path);
        let Some(Some(container)) = self.by_path.get_mut(path) else { return };
        let mut lines = text.split('\n').map(|line| (!line.is_empty()).then(|| line.to_owned()));
        let mut next = || lines.next().flatten();
        let (name, pod, namespace, pod_uid) = (next(), next(), next(), next());
        let mut known = Container::clone(container).called(name, pod, namespace);
        known.pod_uid = known.pod_uid.or(pod_uid);
        *container = Arc::new(known);
    }

    /// The container that the cgroup with this path belongs to.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Container>> {
        self.by_path.get(path)?.clone()
    }
}
