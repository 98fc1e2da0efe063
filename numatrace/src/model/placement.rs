//! Where the memory of processes lies: the newest scan of each.

use std::collections::{BTreeMap, HashSet};

use numatrace_common::abi;
use zerocopy::IntoBytes;

/// Resident pages of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// By position of the node.
    pub(super) pages: Vec<u64>,
    pub(super) unknown: u64,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
}

impl Placed {
    /// Share of its pages that lie elsewhere than on a node; `None` where it has none.
    pub(super) fn share_elsewhere(&self, node: usize) -> Option<f64> {
        let all: u64 = self.pages.iter().fold(0, |sum, pages| sum.saturating_add(*pages));
        let here = *self.pages.get(node)?;
        (all > 0).then(|| 1.0 - here as f64 / all as f64)
    }
}

/// Newest scans, by process.
#[derive(Clone, Debug)]
pub(super) struct Placements {
    by_process: BTreeMap<u32, Placed>,
    /// Parts of a scan whose last part has not come.
    coming: Option<(u32, Placed)>,
    max: usize,
}

impl Placements {
    pub(super) fn new(max: usize) -> Placements {
        Placements { by_process: BTreeMap::new(), coming: None, max: max.max(1) }
    }

    /// A part of a scan: they come node by node, at one moment.
    pub(super) fn part(&mut self, part: &abi::Placement, nodes: usize) {
        let at = usize::from(part.node);
        if usize::from(part.nodes) != nodes || at >= nodes {
            return;
        }
        let coming = self
            .coming
            .take()
            .filter(|(tgid, placed)| (*tgid, placed.began_ns, placed.pages.len()) == (part.tgid, part.began_ns, at));
        let first = || Placed {
            pages: Vec::with_capacity(nodes),
            unknown: part.unknown,
            began_ns: part.began_ns,
            ended_ns: part.header.ts,
        };
        let (tgid, mut placed) = match coming {
            Some(coming) => coming,
            None if at == 0 => (part.tgid, first()),
            None => return,
        };
        placed.pages.push(part.pages);
        if placed.pages.len() < nodes {
            self.coming = Some((tgid, placed));
            return;
        }
        if self.by_process.len() >= self.max
            && !self.by_process.contains_key(&tgid)
            && let Some(oldest) =
                self.by_process.iter().min_by_key(|(_, placed)| placed.ended_ns).map(|(tgid, _)| *tgid)
        {
            self.by_process.remove(&oldest);
        }
        self.by_process.insert(tgid, placed);
    }

    /// Of one process.
    pub(super) fn of(&self, tgid: u32) -> Option<&Placed> {
        self.by_process.get(&tgid)
    }

    /// Pages by node of the processes that live, and when the oldest of their scans ended; where none lives, of all that
    /// are known.
    pub(super) fn sum(&self, living: &HashSet<u32>) -> Option<(Vec<u64>, u64)> {
        let any = self.by_process.keys().any(|tgid| living.contains(tgid));
        let counted =
            self.by_process.iter().filter(|(tgid, _)| !any || living.contains(tgid)).map(|(_, placed)| placed);
        counted.fold(None, |sum, placed| {
            let (mut pages, oldest) = sum.unwrap_or_else(|| (vec![0u64; placed.pages.len()], u64::MAX));
            pages.iter_mut().zip(&placed.pages).for_each(|(sum, pages)| *sum = sum.saturating_add(*pages));
            Some((pages, oldest.min(placed.ended_ns)))
        })
    }

    /// As records again, for a recording that begins now.
    pub(super) fn tell(&self, sink: &mut dyn FnMut(&[u8])) {
        for (tgid, placed) in &self.by_process {
            // As many as came in parts, whose number has 16 bits.
            let nodes = placed.pages.len() as u16;
            for (node, pages) in (0..nodes).zip(&placed.pages) {
                let record = abi::Placement {
                    header: abi::Placement::header(placed.ended_ns, 0, 0),
                    tgid: *tgid,
                    node,
                    nodes,
                    pages: *pages,
                    unknown: placed.unknown,
                    began_ns: placed.began_ns,
                };
                sink(record.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(tgid: u32, node: u16, pages: u64, ts: u64) -> abi::Placement {
        let header = abi::Placement::header(ts, 0, 0);
        abi::Placement { header, tgid, node, nodes: 2, pages, unknown: 0, began_ns: ts - 5 }
    }

    #[test]
    fn a_scan_counts_when_all_of_it_has_come() {
        let mut placements = Placements::new(2);
        placements.part(&part(7, 0, 10, 100), 2);
        assert!(placements.of(7).is_none());
        // A part of another one in between: neither is whole.
        placements.part(&part(8, 1, 1, 100), 2);
        placements.part(&part(7, 1, 30, 100), 2);
        assert!(placements.of(7).is_none() && placements.of(8).is_none());
        for (node, pages) in [(0, 10), (1, 30)] {
            placements.part(&part(7, node, pages, 200), 2);
        }
        assert_eq!(placements.of(7).and_then(|placed| placed.share_elsewhere(0)), Some(0.75));
        let mut again = Placements::new(2);
        placements.tell(&mut |record| match crate::decode::decode(record) {
            Ok(crate::decode::Event::Placement(part)) => again.part(&part, 2),
            other => panic!("{other:?}"),
        });
        assert_eq!(again.of(7), placements.of(7));
    }

    #[test]
    fn the_sum_is_of_those_that_live_and_the_oldest_goes() {
        let mut placements = Placements::new(2);
        for (tgid, pages, ts) in [(7, 10, 100), (8, 20, 90)] {
            placements.part(&part(tgid, 0, pages, ts), 2);
            placements.part(&part(tgid, 1, 1, ts), 2);
        }
        assert_eq!(placements.sum(&HashSet::from([7, 8])), Some((vec![30, 2], 90)));
        assert_eq!(placements.sum(&HashSet::from([7])), Some((vec![10, 1], 100)));
        assert_eq!(placements.sum(&HashSet::new()), Some((vec![30, 2], 90)));
        placements.part(&part(9, 0, 5, 300), 2);
        placements.part(&part(9, 1, 5, 300), 2);
        assert!(placements.of(8).is_none() && placements.of(7).is_some());
        assert_eq!(Placements::new(1).sum(&HashSet::new()), None);
    }
}
