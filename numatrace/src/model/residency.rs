//! On-CPU time by CPU: sparse, because a thread runs on few of many CPUs.

/// Time by CPU number. Grows by 10 bytes for each CPU the thread ever ran on.
#[derive(Clone, Debug, Default)]
pub(super) struct Residency {
    /// Position of the CPU of the last turn: most turns stay on it.
    last: usize,
    /// In order.
    cpus: Vec<u16>,
    ns: Vec<u64>,
}

impl Residency {
    /// Adds a turn.
    #[inline]
    pub(super) fn add(&mut self, cpu: u16, ns: u64) {
        if self.cpus.get(self.last) != Some(&cpu) {
            self.last = match self.cpus.binary_search(&cpu) {
                Ok(at) => at,
                Err(at) => {
                    self.cpus.insert(at, cpu);
                    self.ns.insert(at, 0);
                    at
                }
            };
        }
        self.ns[self.last] = self.ns[self.last].saturating_add(ns);
    }

    /// `(cpu, ns)` in order of CPU.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.cpus.iter().copied().zip(self.ns.iter().copied())
    }

    /// Adds everything to another one.
    pub(super) fn merge_into(&self, other: &mut Residency) {
        for (cpu, ns) in self.iter() {
            other.add(cpu, ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_kept_by_cpu_and_in_order() {
        let mut r = Residency::default();
        for (cpu, ns) in [(9, 1), (2, 10), (9, 100), (40, 1000), (2, 10_000)] {
            r.add(cpu, ns);
        }
        assert_eq!(r.iter().collect::<Vec<_>>(), [(2, 10_010), (9, 101), (40, 1000)]);
        let mut sum = Residency::default();
        sum.add(3, 5);
        r.merge_into(&mut sum);
        r.merge_into(&mut sum);
        assert_eq!(sum.iter().collect::<Vec<_>>(), [(2, 20_020), (3, 5), (9, 202), (40, 2000)]);
    }
}
