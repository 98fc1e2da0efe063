//! Copies of the model at some ticks, so that going back need not begin at the start.
//!
//! At most [`MOST`] are kept, and as many as fit into [`MOST_BYTES`], one at least. Beyond that those go that are missed
//! least for how far away they are: they lie closer together around the position, since most ways back are short.

use crate::model::Model;

/// How many are kept.
const MOST: usize = 16;
/// How much memory they take together, as far as that can be estimated.
const MOST_BYTES: usize = 256 << 20;
/// A model that is larger is copied less often: copying takes time too.
const LARGE_BYTES: usize = 16 << 20;
/// What makes all that are nearer than this equally near.
const NEAR_NS: u64 = 60_000_000_000;

/// The model at a tick, and where the recording goes on.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Of the tick.
    pub ts: u64,
    /// Place of the record after the tick, and how many records of it come before.
    pub mark: (usize, u64),
    /// Everything up to the tick.
    pub model: Model,
    bytes: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints {
    /// In order of time.
    kept: Vec<Checkpoint>,
    bytes: usize,
}

impl Checkpoints {
    /// The newest one that is not newer than this.
    pub fn newest(&self, ts: u64) -> Option<&Checkpoint> {
        self.kept[..self.kept.partition_point(|kept| kept.ts <= ts)].last()
    }

    /// Takes the model at a tick, unless there is one less than `spacing_ns` away, or less than some multiple of it for a
    /// large model.
    pub fn offer(&mut self, ts: u64, mark: (usize, u64), model: &Model, spacing_ns: u64) {
        let bytes = model.weight();
        let spacing_ns = spacing_ns.saturating_mul(1 + (bytes / LARGE_BYTES) as u64);
        let close = |kept: &&Checkpoint| kept.ts.abs_diff(ts) < spacing_ns;
        let at = self.kept.partition_point(|kept| kept.ts <= ts);
        let before = at.checked_sub(1).and_then(|before| self.kept.get(before));
        if before.filter(close).or(self.kept.get(at).filter(close)).is_some() {
            return;
        }
        self.kept.insert(at, Checkpoint { ts, mark, model: model.clone(), bytes });
        self.bytes += bytes;
        while self.kept.len() > MOST || self.bytes > MOST_BYTES && self.kept.len() > 1 {
            let Some(least) = self.least_missed(ts) else { break };
            self.bytes -= self.kept.remove(least).bytes;
        }
    }

    /// The one whose neighbours are closest together for its distance from `now`. The start of the recording is a
    /// neighbour too.
    fn least_missed(&self, now: u64) -> Option<usize> {
        let missed = |at: usize| {
            let ts = self.kept[at].ts;
            let before = at.checked_sub(1).map_or(0, |before| self.kept[before].ts);
            let after = self.kept.get(at + 1).map_or(ts, |after| after.ts);
            (after - before) as f64 / (now.abs_diff(ts) + NEAR_NS) as f64
        };
        (0..self.kept.len()).min_by(|a, b| missed(*a).total_cmp(&missed(*b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limits, Meta};
    use crate::topology::Topology;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_few_are_kept_over_the_whole_length_denser_towards_the_position() {
        let model = Model::new(Meta::default(), Topology::default(), Limits::default());
        let mut all = Checkpoints::default();
        assert!(all.newest(u64::MAX).is_none());
        (1..=7_200).for_each(|second| all.offer(second * S, (0, second), &model, 5 * S));
        let times: Vec<u64> = all.kept.iter().map(|kept| kept.ts / S).collect();
        assert_eq!((times.len(), all.bytes), (MOST, MOST * model.weight()));
        assert!(times[0] < 3_600 && times[MOST - 1] > 7_190, "{times:?}");
        // Somewhere between the start of the last minute and five minutes before it.
        let back = all.newest(7_130 * S).expect("one").ts / S;
        assert!(back > 6_900, "{times:?}");
        assert_eq!(all.newest(back * S).map(|kept| kept.mark), Some((0, back)));
    }
}
