//! Gives the page touches of each thread, which are known exactly, to the places that samples were taken at, in proportion.
//! A sample comes late or not at all where touches come in bursts: what it stands for is right on average alone. Pure.

use std::collections::HashMap;

use super::places::Place;

/// Threads that are remembered.
const MOST: usize = 131_072;

/// What was touched and what was given to places, of one thread; local, remote.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    open: [u64; 2],
    /// Where the last sample was.
    last: [Option<Place>; 2],
    /// The thread has ended by the tick before.
    ended: bool,
}

/// See the module. Beyond the bound, touches of further threads are in no place.
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<u32, Account>);

impl Shares {
    /// So many more touches of a thread.
    pub(super) fn touched(&mut self, tid: u32, remote: bool, more: u64) {
        if self.0.len() < MOST || self.0.contains_key(&tid) {
            let open = &mut self.0.entry(tid).or_default().open[usize::from(remote)];
            *open = open.saturating_add(more);
        }
    }

    /// Makes sample weights of a tick, in order of thread, into touches. What a thread without a sample touched waits for
    /// one; a tick after it has ended, and where this is the `last` tick, it goes where its last sample was.
    pub(super) fn settle(&mut self, places: &mut Vec<(Place, [u64; 2])>, ended: impl Fn(u32) -> bool, last: bool) {
        for of_thread in places.chunk_by_mut(|(a, _), (b, _)| a.0 == b.0) {
            let tid = of_thread[0].0.0;
            // One whose touches are told later: its samples wait for them as its touches would for samples.
            let account = self.0.entry(tid).or_default();
            for part in 0..2 {
                let weights: u128 = of_thread.iter().map(|(_, weight)| u128::from(weight[part])).sum();
                let heaviest = of_thread.iter().max_by_key(|(_, weight)| weight[part]).map(|(place, _)| *place);
                if weights == 0 {
                    continue;
                }
                account.last[part] = heaviest;
                let open = std::mem::take(&mut account.open[part]);
                let mut left = open;
                for (_, weight) in of_thread.iter_mut() {
                    // A part of `open`, which has 64 bits.
                    let share = (u128::from(open) * u128::from(weight[part]) / weights) as u64;
                    weight[part] = share;
                    left -= share;
                }
                if let Some((_, weight)) = of_thread.iter_mut().find(|(place, _)| Some(*place) == heaviest) {
                    weight[part] += left;
                }
            }
        }
        let mut rest = Vec::new();
        self.0.retain(|tid, account| {
            // Of one that has just ended, samples are on their way still.
            let over = last || account.ended;
            account.ended |= ended(*tid);
            if !over {
                return true;
            }
            for part in 0..2 {
                if let (Some(place), open @ 1..) = (account.last[part], account.open[part]) {
                    let mut counts = [0; 2];
                    counts[part] = open;
                    rest.push((place, counts));
                }
            }
            false
        });
        rest.sort_unstable_by_key(|(place, _)| *place);
        places.extend(rest);
        places.retain(|(_, counts)| *counts != [0; 2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = (7, 7, 1, 1, 0);
    const THERE: Place = (7, 7, 1, 2, 0);

    #[test]
    fn touches_are_where_the_samples_are_and_none_is_lost() {
        let mut shares = Shares::default();
        shares.touched(7, false, 1_000);
        shares.touched(7, true, 7);
        let mut places = vec![(HERE, [30, 0]), (THERE, [10, 2])];
        shares.settle(&mut places, |_| false, false);
        assert_eq!(places, [(HERE, [750, 0]), (THERE, [250, 7])]);
        // Without a sample they wait for one.
        shares.touched(7, false, 10);
        let mut places = Vec::new();
        shares.settle(&mut places, |_| false, false);
        assert!(places.is_empty());
        shares.touched(7, false, 5);
        let mut places = vec![(THERE, [1, 0])];
        shares.settle(&mut places, |_| false, false);
        assert_eq!(places, [(THERE, [15, 0])]);
        // At the end they are where the last one was.
        shares.touched(7, false, 3);
        shares.touched(8, false, 3);
        let mut places = Vec::new();
        shares.settle(&mut places, |tid| tid == 7, false);
        assert!(places.is_empty(), "samples of it may come still");
        shares.settle(&mut places, |_| false, false);
        assert_eq!((places, shares.0.len()), (vec![(THERE, [3, 0])], 1));
    }
}
