//! Arithmetic of nodes that rules and estimates share: where memory lies against where threads run. Lists are by position of
//! the node.

use crate::snapshot::Host;

/// Bytes of a page, where the machine's architecture has one size; `None` where the kernel chooses it, because that is in no
/// snapshot.
pub(crate) fn page_bytes(host: &Host) -> Option<u64> {
    (host.arch == "x86_64").then_some(4_096)
}

/// `part / whole`; `None` of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The one with the largest number, the first of equals; `None` where all are 0.
pub(crate) fn most(numbers: &[u64]) -> Option<usize> {
    let largest = numbers.iter().max().filter(|largest| **largest > 0)?;
    numbers.iter().position(|number| number == largest)
}

/// The expected remote share: of accesses that are spread over all pages alike, by time on CPU. `None` without time or pages.
pub(crate) fn expected_remote(residency_ns: &[u64], pages: &[u64]) -> Option<f64> {
    mean(residency_ns, pages, |from, to| Some(if from == to { 0.0 } else { 1.0 }))
}

/// What the same accesses cost, 1.0 for all local: the mean of distance/10. `None` also where a distance is not known.
pub(crate) fn expected_cost(residency_ns: &[u64], pages: &[u64], distances: &[Vec<u32>]) -> Option<f64> {
    mean(residency_ns, pages, |from, to| far(distances, from, to))
}

/// Mean distance/10 of the remote ones of these accesses; `None` where there are none.
pub(crate) fn remote_distance(residency_ns: &[u64], pages: &[u64], distances: &[Vec<u32>]) -> Option<f64> {
    let remote = expected_remote(residency_ns, pages).filter(|remote| *remote > 0.0)?;
    let cost = mean(residency_ns, pages, |from, to| if from == to { Some(0.0) } else { far(distances, from, to) })?;
    Some(cost / remote)
}

/// Distance/10 from a CPU of one node to memory of another.
fn far(distances: &[Vec<u32>], from: usize, to: usize) -> Option<f64> {
    Some(f64::from(*distances.get(from)?.get(to)?) / 10.0)
}

/// Their sum, which may be more than 64 bits hold.
fn total(numbers: &[u64]) -> f64 {
    numbers.iter().map(|number| *number as f64).sum()
}

/// Mean over time on CPU by node and pages by node.
fn mean(residency_ns: &[u64], pages: &[u64], of: impl Fn(usize, usize) -> Option<f64>) -> Option<f64> {
    let (time, all) = (total(residency_ns), total(pages));
    if time <= 0.0 || all <= 0.0 {
        return None;
    }
    let mut mean = 0.0;
    for (from, ns) in residency_ns.iter().enumerate().filter(|(_, ns)| **ns > 0) {
        for (to, pages) in pages.iter().enumerate().filter(|(_, pages)| **pages > 0) {
            mean += *ns as f64 / time * (*pages as f64 / all) * of(from, to)?;
        }
    }
    Some(mean)
}

/// The part of accesses that is remote even if each thread uses the memory of its own node as far as there is any: what is
/// left when time on CPU and pages, each as shares by node, are laid over each other. 0 for a process whose memory lies where
/// its threads run, on however many nodes; 1 for one none of whose pages lie where it runs. `None` without time or pages.
pub(crate) fn misplaced(residency_ns: &[u64], pages: &[u64]) -> Option<f64> {
    let (time, all) = (total(residency_ns), total(pages));
    let both = residency_ns.iter().zip(pages).map(|(ns, pages)| (*ns as f64 / time).min(*pages as f64 / all));
    (time > 0.0 && all > 0.0).then(|| (1.0 - both.sum::<f64>()).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISTANCES: [[u32; 2]; 2] = [[10, 21], [21, 10]];

    fn close(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?} is not {expected}");
    }

    #[test]
    fn expected_accesses_are_time_by_pages() {
        let distances = DISTANCES.map(|row| row.to_vec());
        // 3/4 of the time on node 0, 1/5 of the pages there: 3/4 x 4/5 + 1/4 x 1/5.
        close(expected_remote(&[3, 1], &[2, 8]), 0.65);
        close(expected_cost(&[3, 1], &[2, 8], &distances), 1.0 + 0.65 * 1.1);
        close(remote_distance(&[3, 1], &[2, 8], &distances), 2.1);
        for (time, pages) in [([0, 0], [1, 1]), ([1, 1], [0, 0])] {
            assert_eq!((expected_remote(&time, &pages), misplaced(&time, &pages)), (None, None));
        }
        assert_eq!(expected_cost(&[1, 0], &[0, 1], &[vec![10]]), None, "a distance is not known");
        assert_eq!(remote_distance(&[1, 0], &[1, 0], &distances), None, "nothing is remote");
    }

    #[test]
    fn memory_beside_its_threads_is_not_misplaced_on_however_many_nodes() {
        close(misplaced(&[1; 16], &[9; 16]), 0.0);
        close(misplaced(&[5, 0], &[0, 7]), 1.0);
        close(misplaced(&[3, 1], &[1, 3]), 0.5);
        close(misplaced(&[u64::MAX, u64::MAX], &[u64::MAX, 0]), 0.5);
    }

    #[test]
    fn the_first_of_equals_has_most() {
        assert_eq!((most(&[1, 7, 7]), most(&[0, 0]), most(&[])), (Some(1), None, None));
        assert_eq!((ratio(1, 4), ratio(1, 0)), (Some(0.25), None));
    }
}
