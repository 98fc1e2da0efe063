//! What the cgroups with a CPU quota counted, and what the nodes' memory holds. Place in the flow: Quota and NodeMemory
//! records in, what was counted since the first of them out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use numatrace_common::abi;

use crate::snapshot::{NodeMemory, Throttle};

/// Quotas of cgroups, by the number of the cgroup. Bounded: of further ones nothing is kept.
#[derive(Clone, Debug)]
pub(super) struct Quotas {
    by_cgroup: BTreeMap<u32, Counted>,
    max: usize,
}

/// What one cgroup counted since it was first heard of.
#[derive(Clone, Debug)]
struct Counted {
    path: Arc<str>,
    last: abi::Quota,
    periods: u64,
    throttled_periods: u64,
    throttled_ns: u64,
}

impl Quotas {
    pub(super) fn new(max: usize) -> Quotas {
        Quotas { by_cgroup: BTreeMap::new(), max }
    }

    /// A cgroup whose path is not known is not told apart from others, and left out.
    pub(super) fn record(&mut self, record: &abi::Quota, path: Option<&Arc<str>>) {
        if let Some(known) = self.by_cgroup.get_mut(&record.cgroup) {
            known.count(record);
        } else if let Some(path) = path.filter(|_| self.by_cgroup.len() < self.max) {
            let (path, last) = (Arc::clone(path), *record);
            self.by_cgroup
                .insert(record.cgroup, Counted { path, last, periods: 0, throttled_periods: 0, throttled_ns: 0 });
        }
    }

    /// Those that have a quota, or were throttled by one, the deepest first. `threads` are the cgroups of threads that live, each with how many
    /// there are.
    pub(super) fn view(&self, threads: &[(&str, u64)]) -> Vec<Throttle> {
        let told = self.by_cgroup.values().filter(|counted| counted.last.quota_us > 0 || counted.throttled_periods > 0);
        let mut all: Vec<Throttle> = told.map(|counted| counted.view(threads)).collect();
        let depth = |path: &str| path.bytes().filter(|byte| *byte == b'/').count();
        let order =
            |cgroup: &Throttle| (std::cmp::Reverse((depth(&cgroup.cgroup), cgroup.threads)), cgroup.cgroup.clone());
        all.sort_by_cached_key(order);
        all
    }
}

impl Counted {
    /// Counts begin anew where the cgroup was removed and one with its name was made.
    fn count(&mut self, record: &abi::Quota) {
        let gained = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let add = |sum: &mut u64, part: u64| *sum = sum.saturating_add(part);
        add(&mut self.periods, gained(record.periods, self.last.periods));
        add(&mut self.throttled_periods, gained(record.throttled_periods, self.last.throttled_periods));
        add(&mut self.throttled_ns, gained(record.throttled_ns, self.last.throttled_ns));
        self.last = *record;
    }

    fn view(&self, threads: &[(&str, u64)]) -> Throttle {
        let mine = threads.iter().filter(|(path, _)| holds(&self.path, path));
        let quota = |period_us: u64| self.last.quota_us as f64 / period_us as f64;
        Throttle {
            cgroup: self.path.to_string(),
            periods: self.periods,
            throttled_periods: self.throttled_periods,
            throttled_ns: self.throttled_ns,
            quota_cpus: (self.last.quota_us > 0 && self.last.period_us > 0).then(|| quota(self.last.period_us)),
            threads: mine.fold(0, |sum, (_, count)| sum.saturating_add(*count)),
        }
    }
}

/// Whether a cgroup is this one, or lies below it.
fn holds(cgroup: &str, path: &str) -> bool {
    path.strip_prefix(cgroup.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How many threads there are in each cgroup; each path is one text that its threads share.
pub(super) fn tally<'a>(paths: impl Iterator<Item = &'a Arc<str>>) -> Vec<(&'a str, u64)> {
    let mut counts: HashMap<*const u8, (&str, u64)> = HashMap::new();
    for path in paths {
        counts.entry(path.as_ptr()).or_insert((path, 0)).1 += 1;
    }
    counts.into_values().collect()
}

/// Memory of the nodes, by position.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeMemories(Vec<Option<Node>>);

/// The first and the last that was heard of a node.
#[derive(Clone, Copy, Debug)]
struct Node {
    first: abi::NodeMemory,
    last: abi::NodeMemory,
}

impl NodeMemories {
    pub(super) fn record(&mut self, record: &abi::NodeMemory, nodes: usize) {
        let at = usize::from(record.node);
        if usize::from(record.nodes) != nodes || at >= nodes {
            return;
        }
        self.0.resize(nodes, None);
        if let Some(node) = self.0.get_mut(at) {
            node.get_or_insert(Node { first: *record, last: *record }).last = *record;
        }
    }

    /// All nodes, once each was heard of.
    pub(super) fn view(&self) -> Option<Vec<NodeMemory>> {
        let all: Option<Vec<NodeMemory>> = self.0.iter().map(|node| node.map(Node::view)).collect();
        all.filter(|all| !all.is_empty())
    }
}

impl Node {
    fn view(self) -> NodeMemory {
        let Node { first, last } = self;
        NodeMemory {
            total_bytes: last.total_bytes,
            free_bytes: last.free_bytes,
            file_bytes: last.file_bytes,
            hit: last.hit.saturating_sub(first.hit),
            miss: last.miss.saturating_sub(first.miss),
            foreign: last.foreign.saturating_sub(first.foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(cgroup: u32, n: u64, quota_us: u64) -> abi::Quota {
        abi::Quota {
            cgroup,
            periods: 10 * n,
            throttled_periods: n,
            throttled_ns: 1_000 * n,
            quota_us,
            period_us: 100_000,
            ..abi::Quota::default()
        }
    }

    #[test]
    fn a_quota_counts_from_when_it_was_first_heard_of() {
        let mut quotas = Quotas::new(3);
        let path: Arc<str> = "/app/web".into();
        quotas.record(&quota(1, 50, 150_000), Some(&path));
        quotas.record(&quota(1, 57, 150_000), None);
        // Made anew: what it counts now came since.
        quotas.record(&quota(1, 2, 150_000), None);
        quotas.record(&quota(2, 5, 200_000), Some(&"/app".into()));
        quotas.record(&quota(3, 5, 0), Some(&"/app/web/none".into()));
        quotas.record(&quota(4, 5, 100_000), Some(&"/beyond".into()));
        let threads = [("/app/web", 3), ("/app/webs", 5), ("/app/web/none", 1)];
        let made = quotas.view(&threads);
        let web = Throttle {
            cgroup: "/app/web".into(),
            periods: 90,
            throttled_periods: 9,
            throttled_ns: 9_000,
            quota_cpus: Some(1.5),
            threads: 4,
        };
        let app = Throttle { cgroup: "/app".into(), quota_cpus: Some(2.0), threads: 9, ..Throttle::default() };
        assert_eq!(made, [web, app]);
        assert!(holds("/", "/a") && holds("/", "/") && !holds("/a", "/"));
    }

    #[test]
    fn threads_are_counted_by_the_text_that_they_share() {
        let (a, b): (Arc<str>, Arc<str>) = ("/a".into(), "/b".into());
        let again = Arc::clone(&a);
        let mut counts = tally([&a, &b, &again].into_iter());
        counts.sort_unstable();
        assert_eq!(counts, [("/a", 2), ("/b", 1)]);
    }

    #[test]
    fn memory_is_told_when_all_nodes_are_known() {
        let part =
            |node, hit| abi::NodeMemory { node, nodes: 2, hit, miss: hit, free_bytes: hit, ..Default::default() };
        let mut memory = NodeMemories::default();
        assert_eq!(memory.view(), None);
        memory.record(&part(1, 10), 2);
        memory.record(&part(2, 10), 2);
        memory.record(&part(0, 10), 3);
        assert_eq!(memory.view(), None);
        memory.record(&part(0, 5), 2);
        memory.record(&part(1, 17), 2);
        let told: Vec<_> =
            memory.view().into_iter().flatten().map(|node| (node.hit, node.miss, node.free_bytes)).collect();
        assert_eq!(told, [(0, 0, 5), (7, 7, 17)]);
    }
}
