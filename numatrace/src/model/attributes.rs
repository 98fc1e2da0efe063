//! How a thread may be scheduled: policy, nice value or priority, allowed CPUs. Place in the flow: Attributes records in,
//! [`Sched`] out.
//!
//! The kernel tells of no change, so user space asks for every thread again and again; the newest answer counts. An
//! answer is about whoever has the thread id at that moment, and the model may learn only later that the thread that it
//! asked for had ended before: [`Attributes::are_from_before`] tells what of it is certain.

use std::collections::VecDeque;
use std::sync::Arc;

use numatrace_common::abi::{self, CPU_WORDS};

use crate::snapshot::Sched;
use crate::topology::list;

/// `SCHED_*` of the kernel's `include/uapi/linux/sched.h` by number; 4 was never used.
const POLICIES: [&str; 8] = ["other", "fifo", "rr", "batch", "", "idle", "deadline", "ext"];
const FIFO: u32 = 1;
const RR: u32 = 2;

/// What is known of one thread.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    /// Shared by threads that may use the same CPUs in the same way.
    sched: Arc<Sched>,
    /// The first answer that said so.
    since_ns: u64,
    /// The newest answer.
    read_ns: u64,
}

impl Attributes {
    pub(super) fn new(record: &abi::Attributes, seen: &mut Seen) -> Attributes {
        Attributes { sched: seen.sched(record), since_ns: record.header.ts, read_ns: record.header.ts }
    }

    /// Takes over a newer answer; an older one changes nothing.
    pub(super) fn renew(&mut self, newer: Attributes) {
        if newer.read_ns < self.read_ns {
            return;
        }
        if self.sched == newer.sched {
            self.read_ns = newer.read_ns;
        } else {
            *self = newer;
        }
    }

    /// They were told before `end`, when the thread ended, so they are its own. Otherwise they may be those of the
    /// next thread with its id.
    pub(super) const fn are_from_before(&self, end: u64) -> bool {
        self.since_ns <= end
    }

    /// As reports show it.
    pub(super) const fn view(&self) -> &Arc<Sched> {
        &self.sched
    }
}

/// As reports show it. A number that does not belong to the policy is left out.
fn sched(record: &abi::Attributes, allowed_cpus: Arc<str>) -> Sched {
    let name = POLICIES.get(record.policy as usize).filter(|name| !name.is_empty());
    Sched {
        policy: name.map_or_else(|| format!("policy {}", record.policy).into(), |name| (*name).into()),
        nice: matches!(name, Some(&"other" | &"batch")).then_some(record.nice),
        rt_priority: matches!(record.policy, FIFO | RR).then_some(record.rt_priority),
        allowed_cpus,
    }
}

/// The last few answers, and the last few sets of CPUs as lists: most threads of a machine share one, so it is written and kept once.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    scheds: VecDeque<Arc<Sched>>,
    lists: VecDeque<([u64; CPU_WORDS], Arc<str>)>,
}

impl Seen {
    const KEPT: usize = 16;

    fn sched(&mut self, record: &abi::Attributes) -> Arc<Sched> {
        let sched = sched(record, self.list(&record.allowed));
        if let Some(known) = self.scheds.iter().find(|known| ***known == sched) {
            return Arc::clone(known);
        }
        let sched = Arc::new(sched);
        self.scheds.truncate(Self::KEPT - 1);
        self.scheds.push_front(Arc::clone(&sched));
        sched
    }

    fn list(&mut self, set: &[u64; CPU_WORDS]) -> Arc<str> {
        if let Some((_, list)) = self.lists.iter().find(|(known, _)| known == set) {
            return Arc::clone(list);
        }
        let has = |cpu: &u32| set.get(*cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1);
        let list: Arc<str> = list::format((0..64 * CPU_WORDS as u32).filter(has)).into();
        self.lists.truncate(Self::KEPT - 1);
        self.lists.push_front((*set, Arc::clone(&list)));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ts: u64, policy: u32, first_word: u64) -> abi::Attributes {
        let mut allowed = [0; CPU_WORDS];
        allowed[0] = first_word;
        let header = abi::Attributes::header(ts, 0, 0);
        abi::Attributes { header, policy, nice: -5, rt_priority: 7, allowed, ..abi::Attributes::default() }
    }

    fn view(record: &abi::Attributes) -> Arc<Sched> {
        Arc::clone(Attributes::new(record, &mut Seen::default()).view())
    }

    #[test]
    fn only_the_number_that_the_policy_has_is_shown() {
        let shown: Vec<_> = (0..9).map(|policy| view(&record(1, policy, 1))).collect();
        let numbers = |sched: &Sched| (sched.policy.to_string(), sched.nice, sched.rt_priority);
        let expected = [
            ("other", Some(-5), None),
            ("fifo", None, Some(7)),
            ("rr", None, Some(7)),
            ("batch", Some(-5), None),
            ("policy 4", None, None),
            ("idle", None, None),
            ("deadline", None, None),
            ("ext", None, None),
            ("policy 8", None, None),
        ];
        let expected = expected.map(|(policy, nice, priority)| (policy.to_owned(), nice, priority));
        assert_eq!(shown.iter().map(|sched| numbers(sched)).collect::<Vec<_>>(), expected);
        assert_eq!(view(&record(1, u32::MAX, 1)).policy, "policy 4294967295");
    }

    #[test]
    fn the_list_has_every_cpu_of_the_set() {
        assert_eq!(view(&record(1, 0, 0b1_0000_1111)).allowed_cpus.as_ref(), "0-3,8");
        assert_eq!(view(&record(1, 0, 0)).allowed_cpus.as_ref(), "");
        let all = abi::Attributes { allowed: [u64::MAX; CPU_WORDS], ..record(1, 0, 0) };
        assert_eq!(view(&all).allowed_cpus.as_ref(), "0-1023");
        let mut edges = record(1, 0, 1 << 63);
        (edges.allowed[1], edges.allowed[CPU_WORDS - 1]) = (1, 1 << 63);
        assert_eq!(view(&edges).allowed_cpus.as_ref(), "63-64,1023");
    }

    #[test]
    fn threads_that_are_scheduled_alike_share_it_and_few_are_kept() {
        let mut seen = Seen::default();
        let first = seen.sched(&record(1, 0, 1));
        assert!(Arc::ptr_eq(&first, &seen.sched(&record(2, 0, 1))));
        let other = seen.sched(&record(2, 1, 1));
        assert!(other != first && Arc::ptr_eq(&first.allowed_cpus, &other.allowed_cpus));
        for set in 2..100 {
            seen.sched(&record(1, 0, set));
        }
        assert_eq!((seen.scheds.len(), seen.lists.len()), (Seen::KEPT, Seen::KEPT));
    }

    #[test]
    fn the_newest_answer_counts_and_the_first_that_said_so_is_remembered() {
        let mut seen = Seen::default();
        let mut of = |ts, cpus| Attributes::new(&record(ts, 0, cpus), &mut seen);
        let mut known = of(10, 1);
        known.renew(of(20, 1));
        assert!(known.are_from_before(10) && !known.are_from_before(9));
        known.renew(of(30, 2));
        assert!(known.are_from_before(30) && !known.are_from_before(29));
        known.renew(of(25, 4));
        assert_eq!(known.view().allowed_cpus.as_ref(), "1");
    }
}
