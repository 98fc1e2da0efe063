//! Threads in groups: by name a list, by cgroup a tree. Made once for each snapshot. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::container::{Container, identify};
use crate::snapshot::{GroupBy, Snapshot, Thread, ThreadStats};
use crate::window::{self, ThreadKey};

/// A group of threads, which has a row of its own.
#[derive(Clone, Debug)]
pub struct Group {
    /// Stands for all its threads, those of groups below it included.
    pub thread: Thread,
    /// Its numbers in the stretch of time that rates are over.
    pub rates: ThreadStats,
    /// What its row is called: the name, or the part of the cgroup's path below the group above.
    pub label: String,
    /// The group above.
    pub parent: Option<usize>,
    /// The groups below.
    pub children: Vec<usize>,
    /// Positions in `Snapshot::threads` of the threads right below.
    pub own: Vec<usize>,
}

/// All groups, those above before those below.
#[derive(Clone, Debug)]
pub struct Tree {
    /// What threads of a group have in common.
    pub by: GroupBy,
    /// The groups.
    pub groups: Vec<Group>,
    /// The group of each thread, by its position in `Snapshot::threads`.
    pub group_of: Vec<usize>,
}

/// A group before its threads are summed.
struct Plan<'a> {
    /// The name, or the path; `None` where the cgroup is not known.
    common: Option<&'a str>,
    label: String,
    parent: Option<usize>,
    own: Vec<usize>,
}

impl Tree {
    /// The threads of `numbers` in groups, with the rates of `rates`.
    pub fn new(numbers: &Snapshot, rates: &Snapshot, by: GroupBy) -> Tree {
        let plans = match by {
            GroupBy::Comm => by_name(&numbers.threads),
            GroupBy::Cgroup => by_cgroup(&numbers.threads),
        };
        let mut group_of = vec![0; numbers.threads.len()];
        for (at, plan) in plans.iter().enumerate() {
            plan.own.iter().for_each(|thread| group_of[*thread] = at);
        }
        let members = members(&plans);
        let same = std::ptr::eq(numbers, rates);
        let by_key: HashMap<ThreadKey, &Thread> =
            if same { HashMap::new() } else { window::keyed(&rates.threads).collect() };
        let distances = &numbers.host.distances;
        let mut groups: Vec<Group> = Vec::with_capacity(plans.len());
        for (plan, members) in plans.into_iter().zip(members) {
            let threads: Vec<&Thread> = members.iter().map(|at| &numbers.threads[*at]).collect();
            // A group has a thread at least.
            let mut thread = window::group(&threads, by, distances).unwrap_or_default();
            match by {
                GroupBy::Comm => {}
                GroupBy::Cgroup => {
                    thread.cgroup = plan.common.map(Into::into);
                    // Of the first member: a cgroup above that of a container is none.
                    let own = plan.common.and_then(|path| identify(path.as_bytes())).map(|container| container.id);
                    thread.container.take_if(|first| own.as_ref() != Some(&first.id));
                }
            }
            let rates = if same {
                thread.stats.clone()
            } else {
                let threads: Vec<&Thread> =
                    threads.iter().filter_map(|thread| by_key.get(&window::key(thread)).copied()).collect();
                window::group(&threads, by, distances).unwrap_or_default().stats
            };
            let at = groups.len();
            if let Some(parent) = plan.parent.and_then(|parent| groups.get_mut(parent)) {
                parent.children.push(at);
            }
            groups.push(Group {
                thread,
                rates,
                label: plan.label,
                parent: plan.parent,
                children: Vec::new(),
                own: plan.own,
            });
        }
        Tree { by, groups, group_of }
    }

    /// The groups above all others.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().enumerate().filter(|(_, group)| group.parent.is_none()).map(|(at, _)| at)
    }

    /// For each group the sum over its threads, those of groups below included.
    pub fn sums(&self, of: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut sums: Vec<u32> =
            self.groups.iter().map(|group| group.own.iter().filter(|thread| of(**thread)).count() as u32).collect();
        for at in (0..self.groups.len()).rev() {
            if let Some(parent) = self.groups[at].parent {
                sums[parent] += sums[at];
            }
        }
        sums
    }

    /// A group, the one above it, and so on.
    pub fn upwards(&self, from: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(from), |at| self.groups.get(*at)?.parent)
    }

    /// Positions of all threads of a group, those of groups below included.
    pub fn threads(&self, group: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut left = vec![group];
        while let Some(group) = left.pop().and_then(|at| self.groups.get(at)) {
            found.extend(&group.own);
            left.extend(&group.children);
        }
        found
    }
}

/// Positions of the threads of each group, those of groups below included.
fn members(plans: &[Plan<'_>]) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = plans.iter().map(|plan| plan.own.clone()).collect();
    for at in (0..plans.len()).rev() {
        if let Some(parent) = plans[at].parent {
            let below = members[at].clone();
            members[parent].extend(below);
        }
    }
    // The first member gives its id, and lists with equal weights are in order of members.
    members.iter_mut().for_each(|members| members.sort_unstable());
    members
}

fn by_name(threads: &[Thread]) -> Vec<Plan<'_>> {
    let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, thread) in threads.iter().enumerate() {
        names.entry(&thread.comm).or_default().push(at);
    }
    let label = |name: &str| if name.is_empty() { "(name not known)" } else { name }.to_owned();
    names.into_iter().map(|(name, own)| Plan { common: None, label: label(name), parent: None, own }).collect()
}

/// What lies below a path, while the tree is made.
#[derive(Default)]
struct Node<'a> {
    own: Vec<usize>,
    below: BTreeMap<&'a str, usize>,
}

/// Levels of a tree at most: what lies deeper hangs below the last one. Nobody nests so deep; a made-up recording can.
const MAX_DEPTH: usize = 32;

/// A tree by path. A cgroup with nothing but one other below it has no row of its own: that one has both names.
fn by_cgroup(threads: &[Thread]) -> Vec<Plan<'_>> {
    let mut paths: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let containers: HashMap<&str, &Container> =
        threads.iter().filter_map(|thread| thread.container.as_deref()).map(|known| (&*known.id, known)).collect();
    let called = |path: &str| {
        let id = identify(path.as_bytes()).filter(|_| !containers.is_empty())?.id;
        containers.get(&*id)?.title_of(path)
    };
    let mut unknown = Vec::new();
    for (at, thread) in threads.iter().enumerate() {
        match thread.cgroup.as_deref() {
            Some(path) => paths.entry(path).or_default().push(at),
            None => unknown.push(at),
        }
    }
    let mut nodes: Vec<Node<'_>> = vec![Node::default()];
    for (path, own) in paths {
        // The root's own threads stand beside what is below it.
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).take(MAX_DEPTH).chain([path.len()]);
        let mut at = 0;
        for end in ends {
            let next = nodes.len();
            let found = *nodes[at].below.entry(&path[..end]).or_insert(next);
            if found == next {
                nodes.push(Node::default());
            }
            at = found;
        }
        nodes[at].own.extend(own);
    }
    let mut plans = Vec::new();
    // Node, path, and the group above with the length of its path.
    let mut left: Vec<(usize, &str, Option<usize>, usize)> =
        nodes[0].below.iter().rev().map(|(path, at)| (*at, *path, None, 0)).collect();
    while let Some((mut at, mut path, parent, above)) = left.pop() {
        while let (true, 1, Some((below, next))) =
            (nodes[at].own.is_empty(), nodes[at].below.len(), nodes[at].below.first_key_value())
        {
            (path, at) = (*below, *next);
        }
        let below = path[above..].trim_start_matches(if above > 0 { "/" } else { "" });
        let label = called(path).unwrap_or(below);
        let group = plans.len();
        plans.push(Plan {
            common: Some(path),
            label: if label.is_empty() { path.to_owned() } else { label.to_owned() },
            parent,
            own: std::mem::take(&mut nodes[at].own),
        });
        left.extend(nodes[at].below.iter().rev().map(|(below, at)| (*at, *below, Some(group), path.len())));
    }
    if !unknown.is_empty() {
        plans.push(Plan { common: None, label: "(cgroup not known)".into(), parent: None, own: unknown });
    }
    plans
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::units::Tid;

    fn snapshot(threads: &[(u32, &str, Option<&str>)]) -> Snapshot {
        let threads = threads.iter().map(|(tid, comm, cgroup)| Thread {
            tid: Tid(*tid),
            comm: (*comm).into(),
            cgroup: cgroup.map(Into::into),
            stats: ThreadStats { cpu_ns: u64::from(*tid), ..ThreadStats::default() },
            ..Thread::default()
        });
        Snapshot { threads: threads.collect(), ..Snapshot::nothing_yet("pid 1") }
    }

    /// Label, group above, threads, time on CPU.
    fn told(tree: &Tree) -> Vec<(&str, Option<usize>, u32, u64)> {
        let of = |group: &'_ Group| (group.parent, group.thread.members, group.rates.cpu_ns);
        tree.groups.iter().map(|group| (group.label.as_str(), of(group).0, of(group).1, of(group).2)).collect()
    }

    #[test]
    fn cgroups_are_a_tree_by_path_and_chains_are_one_row() {
        let numbers = snapshot(&[
            (1, "a", Some("/system.slice/web.service")),
            (2, "a", Some("/system.slice/db.service")),
            (4, "b", Some("/system.slice")),
            (8, "b", Some("/user.slice/user-1000.slice/session-1.scope")),
            (16, "c", None),
            (32, "c", Some("/")),
            (64, "c", Some("/system.slice/db.service/worker")),
        ]);
        let tree = Tree::new(&numbers, &numbers, GroupBy::Cgroup);
        assert_eq!(
            told(&tree),
            [
                ("/", None, 1, 32),
                ("/system.slice", None, 4, 71),
                ("db.service", Some(1), 2, 66),
                ("worker", Some(2), 1, 64),
                ("web.service", Some(1), 1, 1),
                ("/user.slice/user-1000.slice/session-1.scope", None, 1, 8),
                ("(cgroup not known)", None, 1, 16),
            ]
        );
        let keys: std::collections::HashSet<_> = tree.groups.iter().map(|group| window::key(&group.thread)).collect();
        assert_eq!(keys.len(), tree.groups.len(), "no two groups are the same");
        assert_eq!(tree.groups[2].thread.cgroup.as_deref(), Some("/system.slice/db.service"));
        assert_eq!(tree.roots().collect::<Vec<_>>(), [0, 1, 5, 6]);
        assert_eq!(tree.upwards(3).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(tree.sums(|thread| thread == 6), [0, 1, 1, 1, 0, 0, 0]);
        let mut below = tree.threads(1);
        below.sort_unstable();
        assert_eq!(below, [0, 1, 2, 6]);
        assert_eq!(tree.group_of, [4, 2, 1, 5, 6, 0, 3]);
    }

    #[test]
    fn a_container_that_is_known_is_called_by_its_name() {
        let id = "3f4a9c1be07d52846f0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcd";
        let paths = [
            format!("/system.slice/docker-{id}.scope/init.scope"),
            format!("/system.slice/docker-{id}.scope/web.service"),
            format!("/system.slice/docker-{}.scope", id.replace('3', "4")),
            "/system.slice/db.service".to_owned(),
        ];
        let threads: Vec<_> = paths.iter().zip(1..).map(|(path, tid)| (tid, "a", Some(path.as_str()))).collect();
        let mut numbers = snapshot(&threads);
        for (thread, path) in numbers.threads.iter_mut().zip(&paths) {
            thread.container = identify(path.as_bytes()).map(Arc::new);
        }
        let nameless = Tree::new(&numbers, &numbers, GroupBy::Cgroup);
        assert!(
            nameless.groups.iter().any(|group| group.label == format!("docker-{id}.scope")),
            "{:?}",
            told(&nameless)
        );
        for thread in &mut numbers.threads[..2] {
            let known = thread.container.as_deref().cloned().unwrap_or_default();
            thread.container = Some(Arc::new(known.called(Some("web".into()), None, None)));
        }
        let tree = Tree::new(&numbers, &numbers, GroupBy::Cgroup);
        let labels: Vec<&str> = tree.groups.iter().map(|group| group.label.as_str()).collect();
        let other = paths[2].trim_start_matches("/system.slice/");
        assert_eq!(labels, ["/system.slice", "db.service", "web", "init.scope", "web.service", other]);
        let containers: Vec<_> = tree.groups.iter().map(|group| group.thread.container.is_some()).collect();
        assert_eq!(containers, [false, false, true, true, true, true]);
    }

    #[test]
    fn names_are_a_list_with_rates_of_their_own() {
        let numbers = snapshot(&[(1, "a", None), (2, "b", None), (3, "a", None), (4, "", None)]);
        let mut rates = numbers.clone();
        rates.threads.remove(2);
        let tree = Tree::new(&numbers, &rates, GroupBy::Comm);
        assert_eq!(told(&tree), [("(name not known)", None, 1, 4), ("a", None, 2, 1), ("b", None, 1, 2)]);
        assert_eq!(tree.groups[1].thread.stats.cpu_ns, 4);
    }

    #[test]
    fn paths_of_any_shape_have_their_place() {
        let deep = "/x".repeat(500);
        let odd = ["", "/", "//", "a/b", "/a//b/", "/a", deep.as_str(), "ä/ö"];
        let threads: Vec<(u32, &str, Option<&str>)> =
            odd.iter().enumerate().map(|(at, path)| (at as u32 + 1, "x", Some(*path))).collect();
        let numbers = snapshot(&threads);
        let tree = Tree::new(&numbers, &numbers, GroupBy::Cgroup);
        let all: usize = tree.groups.iter().map(|group| group.own.len()).sum();
        assert_eq!(all, odd.len());
        assert!(tree.groups.iter().enumerate().all(|(at, group)| group.parent.is_none_or(|parent| parent < at)));
    }
}
