//! Page touches of a thread: how many from which node on which, by kind, and where they come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use numatrace_common::abi::{self, NO_NODE, touch};

/// Places that are kept of a thread; of more the lightest gives its place away.
const MOST_PLACES: usize = 64;

/// Positions of the nodes of CPU and page; [`NO_NODE`] where one is not known. There are at most (nodes + 1)^2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) cpu_node: u16,
    pub(super) page_node: u16,
}

impl Cell {
    /// Of a machine with so many nodes: a file can say anything.
    pub(super) fn new(record: &abi::Touches, nodes: usize) -> Cell {
        let known = |node: u16| if usize::from(node) < nodes { node } else { NO_NODE };
        Cell { cpu_node: known(record.cpu_node), page_node: known(record.page_node) }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// By [`touch`]. Boxed: most threads have one or two cells, and a map's first node has room for eleven.
    pub(super) cells: BTreeMap<Cell, Box<[u64; touch::COUNTS]>>,
    /// Time in hint faults.
    pub(super) hint_ns: u64,
    pub(super) places: TopPlaces,
}

/// Of [`abi::Touches::hint_units`].
const HINT_UNIT_NS: u64 = 1_024;

impl Touched {
    /// Takes a record of a machine with so many nodes.
    pub(super) fn take(&mut self, record: &abi::Touches, nodes: usize) {
        self.count(Cell::new(record, nodes), &record.counts);
        self.hint_ns = self.hint_ns.saturating_add(u64::from(record.hint_units) * HINT_UNIT_NS);
    }

    pub(super) fn count(&mut self, cell: Cell, counts: &[u64; touch::COUNTS]) {
        self.cells
            .entry(cell)
            .or_default()
            .iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum = sum.saturating_add(*count));
    }

    /// Adds everything to another one.
    pub(super) fn add_to(&self, other: &mut Touched) {
        self.cells.iter().for_each(|(cell, counts)| other.count(*cell, counts));
        other.hint_ns = other.hint_ns.saturating_add(self.hint_ns);
        for place in &self.places.0 {
            other.places.add(&place.mapping, &place.symbol, place.stack.as_ref(), place.counts);
        }
    }
}

/// One place.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) mapping: Arc<str>,
    pub(super) symbol: Arc<str>,
    pub(super) stack: Option<Arc<str>>,
    /// Local and remote touches.
    pub(super) counts: [u64; 2],
    /// What the one had whose place it took, when it took it: so much at most came from here before and is not known.
    inherited: [u64; 2],
}

impl Place {
    /// Remote touches count first.
    pub(super) const fn weight(&self) -> (u64, u64) {
        let [local, remote] = self.counts;
        (remote, local)
    }

    /// How much it takes to keep it.
    const fn standing(&self) -> (u64, u64) {
        let ([local, remote], [local_before, remote_before]) = (self.counts, self.inherited);
        (remote.saturating_add(remote_before), local.saturating_add(local_before))
    }
}

/// The heaviest places. When there is no room for one more, the lightest gives its place away, and its standing with it, so
/// that one that goes on coming stays ("space saving": Metwally, Agrawal, El Abbadi 2005).
#[derive(Clone, Debug, Default)]
pub(super) struct TopPlaces(pub(super) Vec<Place>);

impl TopPlaces {
    pub(super) fn add(&mut self, mapping: &Arc<str>, symbol: &Arc<str>, stack: Option<&Arc<str>>, counts: [u64; 2]) {
        let same =
            |place: &&mut Place| place.mapping == *mapping && place.symbol == *symbol && place.stack.as_ref() == stack;
        if let Some(place) = self.0.iter_mut().find(same) {
            place.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(count));
            return;
        }
        let mut place = Place {
            mapping: Arc::clone(mapping),
            symbol: Arc::clone(symbol),
            stack: stack.map(Arc::clone),
            counts,
            inherited: [0; 2],
        };
        if self.0.len() < MOST_PLACES {
            self.0.push(place);
        } else if let Some(lightest) = self.0.iter_mut().min_by_key(|place| place.standing()) {
            let (remote, local) = lightest.standing();
            place.inherited = [local, remote];
            *lightest = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_not_there_are_not_known() {
        let record = abi::Touches { cpu_node: 1, page_node: 2, ..abi::Touches::default() };
        assert_eq!(Cell::new(&record, 3), Cell { cpu_node: 1, page_node: 2 });
        assert_eq!(Cell::new(&record, 2), Cell { cpu_node: 1, page_node: NO_NODE });
    }

    #[test]
    fn the_places_with_the_most_remote_touches_are_kept() {
        let mut places = TopPlaces::default();
        let text = |n: u64| Arc::<str>::from(n.to_string());
        for n in 1..=MOST_PLACES as u64 {
            places.add(&text(n), &text(0), None, [100, n]);
        }
        places.add(&text(7), &text(0), None, [1, 1_000]);
        places.add(&text(7), &text(0), Some(&text(1)), [0, 50]);
        let of = |mapping: &str| -> Vec<[u64; 2]> {
            places.0.iter().filter(|place| *place.mapping == *mapping).map(|place| place.counts).collect()
        };
        // The lightest of all gave its place to the one with callers.
        assert_eq!((of("7"), of("1")), (vec![[0, 50], [101, 1_007]], vec![]));
        // One that goes on coming stays, whatever others had before it.
        for _ in 0..100 {
            places.add(&text(999), &text(0), None, [0, 2]);
            places.add(&text(1_000), &text(0), None, [0, 1]);
        }
        let of = |mapping: &str| {
            places.0.iter().filter(|place| *place.mapping == *mapping).map(|place| place.counts[1]).sum::<u64>()
        };
        assert_eq!((of("999"), of("64")), (200, 64));
        assert_eq!(places.0.len(), MOST_PLACES);
    }
}
