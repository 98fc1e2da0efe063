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

    /// The container that the cgroup with this path belongs to, as it is known now.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Container>> {
        self.by_path.get(path)?.clone()
    }
}

#[cfg(test)]
mod tests {
    use numatrace_common::abi::PATH_PIECE;

    use super::*;

    const PATH: &str = "/docker/3f4a9c1be07d52846f0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcd";

    fn told(containers: &mut Containers, path: &Arc<str>, text: &str) {
        for (nth, bytes) in text.as_bytes().chunks(PATH_PIECE).enumerate() {
            let mut piece = [0; PATH_PIECE];
            piece[..bytes.len()].copy_from_slice(bytes);
            let (offset, total) = ((nth * PATH_PIECE) as u16, text.len() as u16);
            let record = abi::CgroupPath { cgroup: 1, offset, total, piece, ..abi::CgroupPath::default() };
            containers.piece(&record, Some(path));
        }
    }

    #[test]
    fn names_that_come_later_are_those_of_the_container() {
        let mut containers = Containers::new(9);
        let path: Arc<str> = PATH.into();
        assert_eq!(containers.get(PATH), None);
        containers.meet(&path);
        let known = containers.get(PATH).expect("a container");
        assert_eq!((known.runtime, known.title()), ("docker", "3f4a9c1be07d"));
        told(&mut containers, &path, "proxy\nweb-0\na-namespace-that-takes-two-pieces\n");
        let known = containers.get(PATH).expect("a container");
        assert_eq!(
            (known.title(), known.namespace.as_deref()),
            ("web-0/proxy", Some("a-namespace-that-takes-two-pieces"))
        );
        assert_eq!((known.title_of(PATH), known.title_of("/docker")), (Some("web-0/proxy"), None));
        told(&mut containers, &path, "\x1b[2J\n\n\n");
        assert_eq!(containers.get(PATH).and_then(|known| known.name.clone()).as_deref(), Some("\\x1b[2J"));
    }

    #[test]
    fn a_cgroup_that_is_no_containers_has_none_whatever_is_told() {
        let mut containers = Containers::new(1);
        let path: Arc<str> = "/system.slice/web.service".into();
        told(&mut containers, &path, "name\n\n\n");
        assert_eq!(containers.get(&path), None);
        // And beyond the bound.
        told(&mut containers, &PATH.into(), "name\n\n\n");
        assert_eq!(containers.get(PATH), None);
    }
}
