//! Pairs of numbers in few bytes: buckets of a histogram, time by CPU. There are tens of thousands of such lists in a snapshot.

use std::fmt;
use std::marker::PhantomData;

use prost::encoding::{decode_varint, encode_varint};

/// Pairs in order of their first number, each of which occurs once: `(upper edge, count)`, `(cpu, ns)`. What is written down is by how
/// much the first number grows, and the second one, each as a varint (7 bits a byte): 3 to 8 bytes a pair instead of 16.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs<K> {
    pub(super) bytes: Box<[u8]>,
    pub(super) kind: PhantomData<K>,
}

/// What a first number can be.
pub trait Key: Copy + Into<u64> + TryFrom<u64> + Default {}

impl Key for u32 {}
impl Key for u64 {}

impl<K: Key> Pairs<K> {
    /// No pairs.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many there are; counts them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Bytes that they take.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Each of them, in order.
    pub const fn iter(&self) -> PairsIter<'_, K> {
        PairsIter { rest: &self.bytes, last: 0, kind: PhantomData }
    }

    /// The pair with the largest first number.
    pub fn last(&self) -> Option<(K, u64)> {
        self.iter().last()
    }
}

/// See [`Pairs::iter`].
#[derive(Clone, Debug)]
pub struct PairsIter<'a, K> {
    rest: &'a [u8],
    last: u64,
    kind: PhantomData<K>,
}

impl<K: Key> Iterator for PairsIter<'_, K> {
    type Item = (K, u64);

    fn next(&mut self) -> Option<(K, u64)> {
        if self.rest.is_empty() {
            return None;
        }
        // Nobody else writes the bytes: neither can fail.
        let more = decode_varint(&mut self.rest).unwrap_or(0);
        let second = decode_varint(&mut self.rest).unwrap_or(0);
        self.last = self.last.wrapping_add(more);
        Some((K::try_from(self.last).unwrap_or_default(), second))
    }
}

impl<K: Key> FromIterator<(K, u64)> for Pairs<K> {
    /// Of pairs in order.
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(pairs: I) -> Pairs<K> {
        let (mut bytes, mut last) = (Vec::new(), 0u64);
        for (first, second) in pairs {
            let first: u64 = first.into();
            debug_assert!(bytes.is_empty() || first > last, "{first} after {last}");
            encode_varint(first.wrapping_sub(last), &mut bytes);
            encode_varint(second, &mut bytes);
            last = first;
        }
        Pairs { bytes: bytes.into(), kind: PhantomData }
    }
}

impl<K: Key> From<Vec<(K, u64)>> for Pairs<K> {
    fn from(pairs: Vec<(K, u64)>) -> Pairs<K> {
        pairs.into_iter().collect()
    }
}

impl<'a, K: Key> IntoIterator for &'a Pairs<K> {
    type Item = (K, u64);
    type IntoIter = PairsIter<'a, K>;

    fn into_iter(self) -> PairsIter<'a, K> {
        self.iter()
    }
}

impl<K: Key + fmt::Debug> fmt::Debug for Pairs<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<K: Key + PartialEq, const N: usize> PartialEq<[(K, u64); N]> for Pairs<K> {
    fn eq(&self, other: &[(K, u64); N]) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_bytes_hold_them() {
        let buckets: Pairs<u64> = (10..40u64).map(|n| (n * 512 - 1, n)).collect();
        assert_eq!((buckets.len(), buckets.last()), (30, Some((39 * 512 - 1, 39))));
        assert!(buckets.bytes() <= 30 * 3 + 1, "{}", buckets.bytes());
        assert_eq!(format!("{:?}", Pairs::<u32>::from(vec![(0, 5), (7, 0)])), "[(0, 5), (7, 0)]");
        assert!(Pairs::<u32>::default().is_empty() && Pairs::<u32>::default().last().is_none());
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(all in btree_map(any::<u64>(), any::<u64>(), 0..40), cpus in btree_map(any::<u32>(), any::<u64>(), 0..40)) {
            let pairs: Pairs<u64> = all.iter().map(|(first, second)| (*first, *second)).collect();
            prop_assert!(pairs.iter().eq(all.iter().map(|(first, second)| (*first, *second))));
            prop_assert_eq!(pairs.is_empty(), all.is_empty());
            let by_cpu: Pairs<u32> = cpus.iter().map(|(cpu, ns)| (*cpu, *ns)).collect();
            prop_assert!(by_cpu.iter().eq(cpus.iter().map(|(cpu, ns)| (*cpu, *ns))));
        }
    }
}
