//! Remembers what was asked lately.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Keeps between half of `bound` entries and all of them: those that were asked lately. What was not asked while half of
/// them were is forgotten at once, which needs no order among them.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    bound: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(bound: usize) -> Cache<K, V> {
        Cache { young: HashMap::new(), old: HashMap::new(), bound }
    }

    pub(super) fn get(&mut self, key: K) -> Option<V> {
        if let Some(value) = self.young.get(&key) {
            return Some(value.clone());
        }
        let value = self.old.remove(&key)?;
        self.put(key, value.clone());
        Some(value)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.bound / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_lately_stays_and_all_is_bounded() {
        let mut cache = Cache::new(10);
        cache.put(0, 0);
        for key in 1..1_000 {
            cache.put(key, key);
            assert_eq!(cache.get(0), Some(0));
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert_eq!((cache.get(999), cache.get(998), cache.get(500)), (Some(999), Some(998), None));
    }
}
