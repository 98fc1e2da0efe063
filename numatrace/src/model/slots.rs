//! Threads by number of their place, in memory that grows by a few of them at a time: a `Vec` has room for up to twice as many as
//! there are, and while it grows for three times as many; and what is taken in when there are tens of thousands must not wait until
//! all are copied.

use super::thread::Tracked;

/// Threads of a chunk: a power of two.
const CHUNK: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// All but the last are full, with [`CHUNK`] places.
    chunks: Vec<Vec<Option<Tracked>>>,
}

impl Slots {
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Tracked> {
        let at = slot as usize;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Tracked> {
        self.entry(slot)?.as_mut()
    }

    fn entry(&mut self, slot: u32) -> Option<&mut Option<Tracked>> {
        let at = slot as usize;
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    /// Empties a place.
    pub(super) fn take(&mut self, slot: u32) -> Option<Tracked> {
        self.entry(slot)?.take()
    }

    /// Fills a place that is empty; says whether there is such a place.
    pub(super) fn put(&mut self, slot: u32, thread: Tracked) -> bool {
        self.entry(slot).map(|entry| *entry = Some(thread)).is_some()
    }

    /// Makes one more place; its number.
    pub(super) fn push(&mut self, thread: Tracked) -> Option<u32> {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let full = self.chunks.len().checked_sub(1)?;
        let last = self.chunks.last_mut()?;
        let slot = u32::try_from(full * CHUNK + last.len()).ok()?;
        last.push(Some(thread));
        Some(slot)
    }

    /// Everybody, in order of place.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.chunks.iter().flatten().flatten()
    }

    /// The same.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.chunks.iter_mut().flatten().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_their_numbers_while_there_are_more_and_more() {
        let mut slots = Slots::default();
        let thread = |tid: u32| Tracked::new(tid, 1, 0, 0);
        for tid in 0..1_000 {
            assert_eq!(slots.push(thread(tid)), Some(tid));
        }
        assert!(slots.chunks.iter().all(|chunk| chunk.capacity() == CHUNK));
        assert_eq!(slots.take(700).map(|taken| taken.tid), Some(700));
        assert!(slots.get(700).is_none() && slots.get(1_000).is_none() && slots.take(700).is_none());
        assert!(slots.put(700, thread(7)) && !slots.put(1_000, thread(8)));
        assert_eq!((slots.get(700).map(|of| of.tid), slots.get_mut(999).map(|of| of.tid)), (Some(7), Some(999)));
        assert_eq!(slots.iter().count(), 1_000);
        assert_eq!(slots.iter_mut().map(|of| u64::from(of.tid)).sum::<u64>(), 499_500 - 700 + 7);
    }
}
