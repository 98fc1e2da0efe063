//! Time on CPU and time waiting, without all the rest of a snapshot: what a series over many ticks is made of.

use super::Model;

/// Times of all threads since the start of tracing, those that ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// On a CPU, ns.
    pub cpu_ns: u64,
    /// Runnable and not on a CPU, ns.
    pub wait_ns: u64,
}

impl Model {
    /// What the totals of a snapshot would say now.
    pub fn active(&self) -> Active {
        let gone = &self.table.gone.sums;
        let waited = |sums: &super::numbers::Sums| sums.latency_ns().saturating_add(sums.cut_wait_ns);
        let mut all = Active { cpu_ns: gone.cpu_ns, wait_ns: waited(gone) };
        for thread in self.table.iter() {
            let (open, sums) = (thread.open_at(self.now_ns, self.before_ns), &thread.numbers.sums);
            all.cpu_ns = all.cpu_ns.saturating_add(sums.cpu_ns).saturating_add(open.cpu_ns);
            all.wait_ns = all.wait_ns.saturating_add(waited(sums)).saturating_add(open.wait_ns);
        }
        all
    }
}
