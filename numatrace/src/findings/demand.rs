//! How many CPUs threads want, and how many they may have: what several rules ask of a snapshot.

use crate::snapshot::{Snapshot, Thread, ThreadStats, Throttle};
use crate::topology;
use crate::units::sum;

/// A share, 0 of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A number for evidence: to a thousandth, which is as exact as anybody reads it.
pub(super) fn rounded(number: f64) -> f64 {
    // What is larger has no thousandths.
    if number.abs() < 1e12 { (number * 1_000.0).round() / 1_000.0 } else { number }
}

/// Milliseconds as a limit has them.
pub(super) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// How many CPUs or threads, in words: `1`, `2.5`, `16`.
pub(super) fn how_many(number: f64) -> String {
    if number >= 99.95 {
        return format!("{number:.0}");
    }
    let tenths = (number * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 { format!("{tenths:.0}") } else { format!("{tenths:.1}") }
}

/// `1 CPU`, `2.5 CPUs`.
pub(super) fn cpus(number: f64) -> String {
    let number = how_many(number);
    if number == "1" { "1 CPU".into() } else { format!("{number} CPUs") }
}

/// `1 thread`, `2.5 threads`.
pub(super) fn threads(number: f64) -> String {
    let number = how_many(number);
    if number == "1" { "1 thread".into() } else { format!("{number} threads") }
}

/// Time of some threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    /// On a CPU.
    pub(super) cpu_ns: u64,
    /// Waiting for one.
    pub(super) wait_ns: u64,
    /// Waiting because of a quota, part of `wait_ns`; 0 where that is not known.
    pub(super) throttled_ns: u64,
}

impl Time {
    pub(super) fn of(stats: &ThreadStats) -> Time {
        let throttled_ns = stats.throttled_wait_ns.unwrap_or(0).min(stats.wait_ns);
        Time { cpu_ns: stats.cpu_ns, wait_ns: stats.wait_ns, throttled_ns }
    }

    pub(super) fn add(self, other: Time) -> Time {
        Time {
            cpu_ns: sum([&self.cpu_ns, &other.cpu_ns]),
            wait_ns: sum([&self.wait_ns, &other.wait_ns]),
            throttled_ns: sum([&self.throttled_ns, &other.throttled_ns]),
        }
    }

    /// Time that they could have run.
    pub(super) fn runnable_ns(&self) -> u64 {
        sum([&self.cpu_ns, &self.wait_ns])
    }

    /// So many could run on average.
    pub(super) fn runnable(&self, duration_ns: u64) -> f64 {
        ratio(self.runnable_ns(), duration_ns)
    }

    /// So many could run on average, those left out that a quota stopped.
    pub(super) fn wanted(&self, duration_ns: u64) -> f64 {
        ratio(self.runnable_ns().saturating_sub(self.throttled_ns), duration_ns)
    }
}

/// What became of the time waited. The parts sum to it: what is more than that, because records and counters are not of the
/// same moment, is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waited {
    /// All of it.
    pub(super) wait_ns: u64,
    /// A quota caused it; `None` where that is not known.
    pub(super) throttled_ns: Option<u64>,
    /// Threads of the same process ran, and all others; `None` where that is not known.
    pub(super) own_ns: Option<u64>,
    pub(super) others_ns: Option<u64>,
    /// Nobody is known to have run.
    pub(super) rest_ns: u64,
}

impl Waited {
    pub(super) fn of(stats: &ThreadStats) -> Waited {
        let mut rest_ns = stats.wait_ns;
        let mut take = |ns: u64| {
            let ns = ns.min(rest_ns);
            rest_ns -= ns;
            ns
        };
        let throttled_ns = stats.throttled_wait_ns.map(&mut take);
        let own_ns = stats.behind.map(|behind| take(behind.own_ns));
        let others_ns = stats.behind.map(|behind| take(behind.others_ns));
        Waited { wait_ns: stats.wait_ns, throttled_ns, own_ns, others_ns, rest_ns }
    }
}

/// Numbers of CPUs below this are told apart: `allowed_cpus` is known up to here.
const MOST: usize = 1_024;
const WORDS: usize = MOST / 64;

/// A set of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cpus([u64; WORDS]);

impl Cpus {
    /// Of a list such as `0-3,8`; `None` for what is none, or empty.
    pub(super) fn parse(list: &str) -> Option<Cpus> {
        let numbers = topology::list::parse(list)?;
        let all = numbers.iter().all(|cpu| (*cpu as usize) < MOST);
        (all && !numbers.is_empty()).then(|| numbers.into_iter().collect())
    }

    /// Those of a machine that are online.
    pub(super) fn online(numbers: &Snapshot) -> Cpus {
        numbers.host.nodes.iter().flat_map(|node| node.cpus.iter().copied()).collect()
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn has(&self, cpu: u32) -> bool {
        self.0.get(cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    pub(super) fn or(&self, other: &Cpus) -> Cpus {
        Cpus(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    pub(super) fn without(&self, other: &Cpus) -> Cpus {
        Cpus(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }

    pub(super) fn is_within(&self, other: &Cpus) -> bool {
        self.without(other).count() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..MOST as u32).filter(|cpu| self.has(*cpu))
    }

    /// As the kernel writes it.
    pub(super) fn list(&self) -> String {
        topology::list::format(self.iter())
    }
}

impl FromIterator<u32> for Cpus {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Cpus {
        let mut cpus = Cpus::default();
        for cpu in numbers {
            if let Some(word) = cpus.0.get_mut(cpu as usize / 64) {
                *word |= 1 << (cpu % 64);
            }
        }
        cpus
    }
}

/// Threads that live, or all of them where all have ended.
fn living(numbers: &Snapshot) -> impl Iterator<Item = &Thread> {
    let all_ended = numbers.threads.iter().all(|thread| thread.exited);
    numbers.threads.iter().filter(move |thread| all_ended || !thread.exited)
}

/// Those of the living that want a CPU now and then.
pub(super) fn active(numbers: &Snapshot) -> impl Iterator<Item = &Thread> {
    living(numbers).filter(|thread| Time::of(&thread.stats).runnable_ns() > 0)
}

/// All CPUs that threads which want one may use: of one of which it is not known those of the machine. `None` where nothing
/// is known of the machine either.
pub(super) fn allowed(numbers: &Snapshot) -> Option<Cpus> {
    let machine = Cpus::online(numbers);
    let mut known: Vec<&str> = Vec::new();
    let mut all = Cpus::default();
    for thread in active(numbers) {
        let Some(list) = thread.sched.as_ref().map(|sched| &*sched.allowed_cpus) else { return some(machine) };
        if !known.contains(&list) {
            all = all.or(&Cpus::parse(list).unwrap_or(machine));
            // Few differ; where many do, each is read again.
            if known.len() < 64 {
                known.push(list);
            }
        }
    }
    some(all).or(some(machine))
}

fn some(cpus: Cpus) -> Option<Cpus> {
    (cpus.count() > 0).then_some(cpus)
}

/// Whether a thread is in a cgroup or below it.
pub(super) fn is_in(thread: &Thread, cgroup: &str) -> bool {
    let below = |path: &str| path.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    thread.cgroup.as_deref().is_some_and(|path| cgroup == "/" || below(path))
}

/// Whether the quota of a cgroup holds for every thread that lives: some are in it, and none is known to be elsewhere.
pub(super) fn holds_all(numbers: &Snapshot, quota: &Throttle) -> bool {
    let mut some = quota.threads > 0;
    for thread in living(numbers).filter(|thread| thread.cgroup.is_some()) {
        if !is_in(thread, &quota.cgroup) {
            return false;
        }
        some = true;
    }
    some
}

/// Quotas that are looked at, the tightest ones.
const LOOKED_AT: usize = 64;

/// The tightest quota that holds for all, and its CPUs.
pub(super) fn tightest(numbers: &Snapshot) -> Option<(&Throttle, f64)> {
    let cpus = |quota: &Throttle| quota.quota_cpus.filter(|cpus| *cpus > 0.0 && cpus.is_finite());
    let quotas = numbers.throttle.iter().flatten();
    let mut quotas: Vec<(&Throttle, f64)> = quotas.filter_map(|quota| Some((quota, cpus(quota)?))).collect();
    quotas.sort_by(|a, b| a.1.total_cmp(&b.1));
    quotas.into_iter().take(LOOKED_AT).find(|(quota, _)| holds_all(numbers, quota))
}

/// A name for a sentence, with what tells it from others of the name: `redis-server/4711`.
pub(super) fn named(comm: &str, id: impl std::fmt::Display) -> String {
    if comm.is_empty() { format!("thread {id}") } else { format!("{comm}/{id}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Behind, Sched};

    #[test]
    fn the_parts_of_a_wait_sum_to_it() {
        let stats = |throttled_wait_ns, behind: Option<(u64, u64)>| ThreadStats {
            wait_ns: 100,
            throttled_wait_ns,
            behind: behind.map(|(own_ns, others_ns)| Behind { own_ns, others_ns }),
            ..ThreadStats::default()
        };
        let parts = |stats| {
            let waited = Waited::of(&stats);
            (waited.throttled_ns, waited.own_ns, waited.others_ns, waited.rest_ns)
        };
        assert_eq!(parts(stats(Some(30), Some((40, 20)))), (Some(30), Some(40), Some(20), 10));
        assert_eq!(parts(stats(Some(30), Some((u64::MAX, 20)))), (Some(30), Some(70), Some(0), 0));
        assert_eq!(parts(stats(None, None)), (None, None, None, 100));
    }

    #[test]
    fn sets_of_cpus_are_as_their_lists() {
        let set = |list| Cpus::parse(list).expect(list);
        assert_eq!(set("0-3,64,1023").list(), "0-3,64,1023");
        assert_eq!(set("0-3").or(&set("3-5")).without(&set("1")).list(), "0,2-5");
        assert!(set("2").is_within(&set("1-2")) && !set("0,2").is_within(&set("1-2")));
        assert_eq!((Cpus::parse("1024"), Cpus::parse(""), Cpus::parse("x")), (None, None, None));
    }

    #[test]
    fn a_thread_is_in_the_cgroups_above_it_and_in_none_of_a_similar_name() {
        let thread = Thread { cgroup: Some("/a/bc".into()), ..Thread::default() };
        let told = ["/", "/a", "/a/bc", "/a/b", "/a/bc/d", ""].map(|path| is_in(&thread, path));
        assert_eq!(told, [true, true, true, false, false, true]);
        assert!(!is_in(&Thread::default(), "/"), "nothing is known of it");
    }

    #[test]
    fn all_may_use_what_one_may_and_the_machine_where_it_is_not_known() {
        let thread = |cpu_ns, cpus: Option<&str>| Thread {
            sched: cpus.map(|cpus| Sched { allowed_cpus: cpus.into(), ..Sched::default() }.into()),
            stats: ThreadStats { cpu_ns, ..ThreadStats::default() },
            ..Thread::default()
        };
        let mut numbers = Snapshot::nothing_yet("");
        numbers.host.nodes = vec![crate::snapshot::HostNode { cpus: (0..8).collect(), ..Default::default() }];
        numbers.threads = vec![thread(1, Some("0-1")), thread(1, Some("3")), thread(0, Some("0-7"))];
        assert_eq!(allowed(&numbers).map(|cpus| cpus.list()), Some("0-1,3".into()));
        numbers.threads.push(thread(1, None));
        assert_eq!(allowed(&numbers).map(|cpus| cpus.list()), Some("0-7".into()));
        assert_eq!(allowed(&Snapshot::nothing_yet("")), None);
    }

    #[test]
    fn numbers_in_words() {
        assert_eq!([0.04, 1.0, 2.46, 99.96, 1e6].map(how_many), ["0", "1", "2.5", "100", "1000000"]);
        assert_eq!([0.5, 1.0, 2.0].map(cpus), ["0.5 CPUs", "1 CPU", "2 CPUs"]);
        assert_eq!([0.96, 4.25].map(threads), ["1 thread", "4.3 threads"]);
    }
}
