//! Names of threads that are no targets but are spoken of: wakers, and those who ran while a target waited.

use super::table::TidMap;

/// Names by thread id, as they were looked up. Bounded: when full, everything is forgotten and looked up again.
#[derive(Clone, Debug)]
pub(super) struct Names {
    by_tid: TidMap<String>,
    max: usize,
}

impl Names {
    pub(super) fn new(max: usize) -> Names {
        Names { by_tid: TidMap::default(), max: max.max(1) }
    }

    pub(super) fn insert(&mut self, tid: u32, name: String) {
        if self.by_tid.len() >= self.max && !self.by_tid.contains_key(&tid) {
            self.by_tid.clear();
        }
        self.by_tid.insert(tid, name);
    }

    /// An empty name says that nobody with this id could be found: it is not looked up again.
    pub(super) fn get(&self, tid: u32) -> Option<&str> {
        self.by_tid.get(&tid).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_and_stays_bounded() {
        let mut names = Names::new(2);
        for tid in 1..=5 {
            names.insert(tid, format!("t{tid}"));
            assert_eq!(names.get(tid), Some(format!("t{tid}").as_str()));
            assert!(names.by_tid.len() <= 2);
        }
        names.insert(5, "again".into());
        assert_eq!(names.get(5), Some("again"));
    }
}
