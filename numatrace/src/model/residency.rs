//! On-CPU time by node and by CPU. Sparse, because a thread runs on few of many CPUs; and bounded, because in hours on a large machine
//! it can run on all of them.

use super::numbers::Cpus;

/// CPUs that are told apart of a thread: the first ones it ran on. A search among so many is all that a turn on another one costs; its
/// time counts for its node, and for the CPU in the sum over all threads.
const PLACES: usize = 32;

/// See the module. Grows by 10 bytes for each CPU that the thread ever ran on, up to [`PLACES`].
#[derive(Clone, Debug, Default)]
pub(super) struct Residency {
    /// By position of the node; empty until the first turn.
    nodes: Box<[u64]>,
    /// On all CPUs, those that are not told apart and those without a node included.
    all_ns: u64,
    /// Position of the CPU of the last turn: most turns stay on it.
    last: usize,
    /// In order.
    cpus: Vec<u16>,
    ns: Vec<u64>,
}

impl Residency {
    /// Adds a turn on a CPU that the machine has.
    #[inline]
    pub(super) fn add(&mut self, cpu: u16, ns: u64, machine: &Cpus) {
        if ns == 0 {
            return;
        }
        self.all_ns = self.all_ns.saturating_add(ns);
        if let Some(node) = machine.node(cpu) {
            self.add_to_node(node, ns, machine);
        }
        if self.cpus.get(self.last) != Some(&cpu) {
            let Some(at) = self.place(cpu) else { return };
            self.last = at;
        }
        if let Some(sum) = self.ns.get_mut(self.last) {
            *sum = sum.saturating_add(ns);
        }
    }

    #[inline]
    fn add_to_node(&mut self, node: u16, ns: u64, machine: &Cpus) {
        if self.nodes.is_empty() {
            self.nodes = vec![0; machine.node_count()].into();
        }
        if let Some(sum) = self.nodes.get_mut(usize::from(node)) {
            *sum = sum.saturating_add(ns);
        }
    }

    /// Position of a CPU, which gets a place while there are any.
    fn place(&mut self, cpu: u16) -> Option<usize> {
        let at = match self.cpus.binary_search(&cpu) {
            Ok(at) => return Some(at),
            Err(at) => at,
        };
        if self.cpus.len() == PLACES {
            return None;
        }
        if self.cpus.len() == self.cpus.capacity() {
            // There are tens of thousands of these lists.
            let more = (self.cpus.len() / 4).clamp(1, PLACES - self.cpus.len());
            self.cpus.reserve_exact(more);
            self.ns.reserve_exact(more);
        }
        self.cpus.insert(at, cpu);
        self.ns.insert(at, 0);
        Some(at)
    }

    /// By position of the node; those without an entry have no time.
    pub(super) fn nodes(&self) -> &[u64] {
        &self.nodes
    }

    /// On all CPUs.
    pub(super) const fn all_ns(&self) -> u64 {
        self.all_ns
    }

    /// `(cpu, ns)` in order of CPU.
    pub(super) fn cpus(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.cpus.iter().copied().zip(self.ns.iter().copied())
    }

    /// Adds time by node, and of all, to another one: which CPUs of many threads were used, the machine keeps.
    pub(super) fn add_nodes_to(&self, other: &mut Residency) {
        other.all_ns = other.all_ns.saturating_add(self.all_ns);
        if other.nodes.is_empty() {
            other.nodes.clone_from(&self.nodes);
        } else {
            other.nodes.iter_mut().zip(&self.nodes).for_each(|(sum, ns)| *sum = sum.saturating_add(*ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four CPUs to a node; the last has none.
    fn machine() -> Cpus {
        Cpus::new((0..400).map(|cpu| (cpu < 399).then_some(cpu / 4)).collect(), 100)
    }

    #[test]
    fn time_is_kept_by_cpu_and_by_node_and_in_order() {
        let (mut r, machine) = (Residency::default(), machine());
        assert!(r.nodes().is_empty());
        for (cpu, ns) in [(9, 1), (2, 10), (9, 100), (40, 1000), (2, 10_000), (399, 5)] {
            r.add(cpu, ns, &machine);
        }
        assert_eq!(r.cpus().collect::<Vec<_>>(), [(2, 10_010), (9, 101), (40, 1000), (399, 5)]);
        assert_eq!((r.nodes().len(), r.nodes()[0], r.nodes()[2], r.nodes()[10]), (100, 10_010, 101, 1000));
        assert_eq!((r.nodes().iter().sum::<u64>(), r.all_ns()), (11_111, 11_116));
        let mut sum = Residency::default();
        r.add_nodes_to(&mut sum);
        r.add_nodes_to(&mut sum);
        assert_eq!((sum.nodes()[2], sum.all_ns(), sum.cpus().count()), (202, 22_232, 0));
    }

    #[test]
    fn of_many_cpus_the_first_are_told_apart_and_no_time_is_lost() {
        let (mut r, machine) = (Residency::default(), machine());
        let mut truth = vec![0u64; 300];
        for turn in 0..6_000usize {
            let cpu = turn.wrapping_mul(7_919) % 300;
            r.add(cpu as u16, 100, &machine);
            truth[cpu] += 100;
        }
        let kept: Vec<(u16, u64)> = r.cpus().collect();
        assert!(kept.len() == PLACES && kept.is_sorted_by(|a, b| a.0 < b.0), "{kept:?}");
        assert!(kept.iter().all(|(cpu, ns)| *ns == truth[usize::from(*cpu)]), "{kept:?}");
        assert!((0..PLACES).all(|turn| kept.iter().any(|(cpu, _)| usize::from(*cpu) == turn * 7_919 % 300)));
        assert_eq!((r.nodes().iter().sum::<u64>(), r.all_ns()), (600_000, 600_000));
    }
}
