//! Distributions of waits in few buckets, which can be added up with weights: what percentiles of resampled intervals are made
//! of. Buckets are those of a thread's histograms in the model: 512 ns wide up to 16 us, then 16 for each doubling.

use crate::snapshot::Latency;

/// Width of the buckets of short waits, ns.
const WIDTH_NS: u64 = 512;
/// From here on there are [`PER_DOUBLING`] buckets for each doubling.
const LINEAR_NS: u64 = 16_384;
const LINEAR: usize = (LINEAR_NS / WIDTH_NS) as usize;
const PER_DOUBLING: usize = 16;
/// Buckets that there are.
#[cfg(test)]
const BUCKETS: usize = LINEAR + (64 - LINEAR_NS.ilog2() as usize) * PER_DOUBLING;

/// The bucket of a wait.
fn bucket(ns: u64) -> u16 {
    if ns < LINEAR_NS {
        return (ns / WIDTH_NS) as u16;
    }
    let octave = ns.ilog2();
    // The four bits behind the first one.
    let within = (ns >> (octave - 4)) as usize & (PER_DOUBLING - 1);
    (LINEAR + (octave - LINEAR_NS.ilog2()) as usize * PER_DOUBLING + within) as u16
}

/// Lower edge of a bucket, ns; that of the one after the last is 2^64.
fn edge(bucket: usize) -> f64 {
    if bucket < LINEAR {
        return (bucket as u64 * WIDTH_NS) as f64;
    }
    let (doublings, within) = ((bucket - LINEAR) / PER_DOUBLING, (bucket - LINEAR) % PER_DOUBLING);
    LINEAR_NS as f64 * 2f64.powi(doublings as i32) * (1.0 + within as f64 / PER_DOUBLING as f64)
}

/// Waits of an interval: buckets in order, those that are empty left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse(Vec<(u16, f64)>);

impl Sparse {
    /// From what a snapshot tells.
    pub fn of(latency: &Latency) -> Sparse {
        let mut all: Vec<(u16, f64)> = Vec::new();
        for (edge, count) in &latency.buckets {
            let (at, count) = (bucket(edge), count as f64);
            match all.last_mut() {
                Some((last, sum)) if *last == at => *sum += count,
                _ => all.push((at, count)),
            }
        }
        all.sort_by_key(|(at, _)| *at);
        Sparse(all)
    }

    /// All of another one beside its own.
    pub fn add(&mut self, other: &Sparse) {
        for (bucket, count) in &other.0 {
            match self.0.binary_search_by_key(bucket, |(at, _)| *at) {
                Ok(at) => self.0[at].1 += count,
                Err(at) => self.0.insert(at, (*bucket, *count)),
            }
        }
    }

    fn bounds(&self) -> Option<(u16, u16)> {
        Some((self.0.first()?.0, self.0.last()?.0))
    }
}

/// A sum of distributions, whose buckets lie between two.
#[derive(Clone, Debug, Default)]
pub struct Dense {
    from: u16,
    counts: Vec<f64>,
}

impl Dense {
    /// Nothing yet, with room for all of these.
    pub fn for_all<'a>(all: impl Iterator<Item = &'a Sparse>) -> Dense {
        let bounds = all.filter_map(Sparse::bounds).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let (from, to) = bounds.map_or((0, 0), |(from, to)| (from, to + 1));
        Dense { from, counts: vec![0.0; usize::from(to - from)] }
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.fill(0.0);
    }

    /// Adds one so many times.
    pub fn add(&mut self, part: &Sparse, weight: f64) {
        for (bucket, count) in &part.0 {
            if let Some(sum) = self.counts.get_mut(usize::from(bucket.wrapping_sub(self.from))) {
                *sum += count * weight;
            }
        }
    }

    /// Adds what another one holds in the same buckets.
    pub fn add_all(&mut self, other: &Dense) {
        let shift = usize::from(other.from.wrapping_sub(self.from));
        for (at, count) in other.counts.iter().enumerate() {
            if let Some(sum) = self.counts.get_mut(at.wrapping_add(shift)) {
                *sum += count;
            }
        }
    }

    /// Waits in it.
    pub fn count(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// The wait below which this share of them lies, ns: waits are taken to be spread evenly over their bucket. `None` of none.
    pub fn quantile(&self, share: f64, count: f64) -> Option<f64> {
        if !(count > 0.0 && count.is_finite()) {
            return None;
        }
        let rank = count * share;
        let mut below = 0.0;
        let mut found = None;
        for (at, inside) in self.counts.iter().enumerate().filter(|(_, inside)| **inside > 0.0) {
            let (low, high) = (edge(at + usize::from(self.from)), edge(at + usize::from(self.from) + 1));
            found = Some(low + (high - low) * ((rank - below) / inside).clamp(0.0, 1.0));
            below += inside;
            if below >= rank {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_in_its_bucket() {
        let near = [0, 1, 511, 512, 16_383, 16_384, 17_407, 17_408, 1_000_000, 1 << 40, u64::MAX - 1, u64::MAX];
        for ns in near {
            let at = usize::from(bucket(ns));
            assert!(at < BUCKETS, "{ns}");
            assert!(edge(at) <= ns as f64 && ns as f64 <= edge(at + 1), "{ns} is in {at}");
        }
        assert!((0..BUCKETS).all(|at| edge(at) < edge(at + 1)));
        assert_eq!(edge(BUCKETS), 2f64.powi(64));
    }

    #[test]
    fn percentiles_lie_within_their_bucket_by_how_many_are_below() {
        let latency = Latency { buckets: vec![(1_023, 50), (16_895, 50)].into(), ..Latency::default() };
        let part = Sparse::of(&latency);
        let mut sum = Dense::for_all([&part].into_iter());
        sum.add(&part, 2.0);
        let at = |share| sum.quantile(share, sum.count());
        assert_eq!(
            (sum.count(), at(0.25), at(0.5), at(0.75), at(1.0)),
            (200.0, Some(768.0), Some(1_024.0), Some(16_896.0), Some(17_408.0))
        );
        assert_eq!(Dense::default().quantile(0.5, 0.0), None);
        let mut both = Dense::for_all([&part].into_iter());
        both.add_all(&sum);
        assert_eq!(both.count(), 200.0);
        sum.clear();
        assert_eq!(sum.count(), 0.0);
    }

    #[test]
    fn sums_hold_what_both_hold() {
        let of =
            |buckets: &[(u64, u64)]| Sparse::of(&Latency { buckets: buckets.to_vec().into(), ..Latency::default() });
        let mut sum = of(&[(600, 1), (u64::MAX, 2)]);
        sum.add(&of(&[(10, 5), (700, 3)]));
        assert_eq!(sum, of(&[(10, 5), (600, 4), (u64::MAX, 2)]));
    }
}
