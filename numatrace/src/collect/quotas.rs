//! Tells what the cgroups of threads, and those above them, have as CPU quota, and what their cpu.stat counted.
//!
//! A quota can be given and taken at any time, so of cgroups without one it is asked again and again, some a tick; those that
//! have one are read on each tick.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use numatrace_common::abi::Quota;
use zerocopy::IntoBytes;

use super::cgroups::Cgroups;
use super::system::monotonic_ns;
use crate::target::QuotaHierarchy;

/// Cgroups that are asked for a quota on each tick, one file each, about 10 us.
const ASKED: usize = 64;
/// Cgroups with a quota that are read on each tick, three files each at most; with more, each has its turn.
const READ: usize = 256;
/// It is looked this often at most: to read cpu.stat has the kernel sum up over all CPUs.
const EVERY_NS: u64 = 500_000_000;

/// What was told.
#[derive(Debug)]
pub(super) struct Quotas {
    hierarchy: QuotaHierarchy,
    /// Those that have a quota, or had one.
    limited: BTreeSet<u32>,
    told: HashMap<u32, Counts>,
    /// What was counted when tracing began.
    begun: HashMap<u32, Counts>,
    /// The number of the cgroup that was asked last.
    asked: u32,
    /// The number of the one with a quota that was read last.
    read: u32,
    next_ns: u64,
}

/// What the files of a cgroup say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    periods: u64,
    throttled_periods: u64,
    throttled_ns: u64,
    quota_us: u64,
    period_us: u64,
}

impl Quotas {
    pub(super) fn new(hierarchy: QuotaHierarchy) -> Quotas {
        Quotas {
            hierarchy,
            limited: BTreeSet::new(),
            told: HashMap::new(),
            begun: HashMap::new(),
            asked: 0,
            read: 0,
            next_ns: 0,
        }
    }

    /// The cgroups of these threads are shown here: those of another cgroup namespace, or outside of what is mounted, are not.
    pub(super) fn shows(&self, tids: &[u32], cgroups: &mut Cgroups) -> bool {
        tids.iter().all(|tid| {
            let number = cgroups.number_of(*tid);
            number.and_then(|number| cgroups.path(number)).is_none_or(|path| self.hierarchy.directory(path).is_some())
        })
    }

    /// Notes what the cgroup of a thread that is about to be traced, and those above it, counted so far, so that what they
    /// count from now on is known although it is told later.
    pub(super) fn begin(&mut self, tid: u32, cgroups: &mut Cgroups) {
        let Some(first) = cgroups.number_of(tid) else { return };
        let mut number = Some(first);
        while let Some(at) = number {
            if let Some(counts) = cgroups.path(at).and_then(|path| self.read(path)) {
                self.begun.insert(at, counts);
            }
            number = cgroups.parent(at);
        }
    }

    /// Everything is told again.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
        self.begun.clear();
        self.next_ns = 0;
    }

    /// Tells those whose numbers are news; with the `last` tick whatever was read before.
    pub(super) fn tick(&mut self, last: bool, cgroups: &mut Cgroups, sink: &mut dyn FnMut(&[u8])) {
        let now = monotonic_ns();
        if !last && now < self.next_ns {
            return;
        }
        self.next_ns = now.saturating_add(EVERY_NS);
        self.ask(cgroups);
        let after = self.limited.range(self.read.saturating_add(1)..);
        let limited: Vec<u32> = after.chain(self.limited.range(..=self.read)).copied().take(READ).collect();
        for number in limited {
            self.read = number;
            // A cgroup that was removed stays as it was told last, and is asked again in its turn.
            let Some(counts) = cgroups.path(number).and_then(|path| self.read(path)) else {
                self.limited.remove(&number);
                continue;
            };
            if self.told.get(&number) == Some(&counts) {
                continue;
            }
            cgroups.tell_path(number, sink);
            if let Some(begun) = self.begun.remove(&number) {
                tell(number, &begun, sink);
            }
            tell(number, &counts, sink);
            self.told.insert(number, counts);
        }
    }

    /// Looks for quotas, at some cgroups in turn. Those above one are known by number before it is their turn.
    fn ask(&mut self, cgroups: &mut Cgroups) {
        for _ in 0..ASKED.min(cgroups.count()) {
            self.asked = if (self.asked as usize) < cgroups.count() { self.asked + 1 } else { 1 };
            cgroups.parent(self.asked);
            let has_one = |path: &[u8]| self.hierarchy.directory(path).and_then(|at| self.quota(&at)).is_some();
            if cgroups.path(self.asked).is_some_and(has_one) {
                self.limited.insert(self.asked);
            }
        }
    }

    fn read(&self, path: &[u8]) -> Option<Counts> {
        let at = self.hierarchy.directory(path)?;
        let counts = stat(&fs::read_to_string(at.join("cpu.stat")).ok()?, self.hierarchy.is_v1());
        let (quota_us, period_us) = self.quota(&at).unwrap_or((0, 0));
        Some(Counts { quota_us, period_us, ..counts })
    }

    /// CPU time in a period, and the length of a period, us.
    fn quota(&self, at: &Path) -> Option<(u64, u64)> {
        let number = |name: &str| fs::read_to_string(at.join(name)).ok()?.trim().parse::<u64>().ok();
        if self.hierarchy.is_v1() {
            // -1 without one.
            return Some((number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?));
        }
        quota_v2(&fs::read_to_string(at.join("cpu.max")).ok()?)
    }
}

/// `50000 100000`, or `max 100000` without a quota.
fn quota_v2(text: &str) -> Option<(u64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((quota.parse().ok()?, period.parse().ok()?))
}

/// cpu.stat: v1 counts nanoseconds, v2 microseconds. A cgroup whose cpu controller is off has no such lines.
fn stat(text: &str, v1: bool) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let Ok(value) = value.trim().parse::<u64>() else { continue };
        match name {
            "nr_periods" => counts.periods = value,
            "nr_throttled" => counts.throttled_periods = value,
            "throttled_time" if v1 => counts.throttled_ns = value,
            "throttled_usec" if !v1 => counts.throttled_ns = value.saturating_mul(1_000),
            _ => {}
        }
    }
    counts
}

fn tell(cgroup: u32, counts: &Counts, sink: &mut dyn FnMut(&[u8])) {
    let Counts { periods, throttled_periods, throttled_ns, quota_us, period_us } = *counts;
    let header = Quota::header(monotonic_ns(), 0, 0);
    let record = Quota { header, cgroup, reserved: 0, periods, throttled_periods, throttled_ns, quota_us, period_us };
    sink(record.as_bytes());
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(text: &str) {
    let v1 = stat(text, true);
    assert_eq!(stat(text, false).periods, v1.periods);
    let _ = quota_v2(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Event, decode};

    /// A hierarchy with two cgroups, `/app` with a quota and `/app/web` below it without one.
    fn hierarchy(v1: bool) -> (tempfile::TempDir, Quotas) {
        let root = tempfile::tempdir().expect("a folder");
        let web = root.path().join("app/web");
        fs::create_dir_all(&web).expect("folders");
        let write = |at: &Path, name: &str, text: &str| fs::write(at.join(name), text).expect("a file");
        let (app, unit) = (root.path().join("app"), if v1 { ("throttled_time", 1_000) } else { ("throttled_usec", 1) });
        for (at, quota, n) in [(&app, Some(150_000), 7), (&web, None, 0)] {
            write(at, "cpu.stat", &format!("nr_periods {}\nnr_throttled {n}\n{} {}\nx\n", 3 * n, unit.0, n * unit.1));
            match (v1, quota) {
                (true, quota) => {
                    write(at, "cpu.cfs_quota_us", &quota.map_or("-1\n".into(), |us: u64| us.to_string()));
                    write(at, "cpu.cfs_period_us", "100000\n");
                }
                (false, quota) => {
                    write(at, "cpu.max", &format!("{} 100000\n", quota.map_or("max".into(), |us| us.to_string())));
                }
            }
        }
        let quotas = Quotas::new(QuotaHierarchy::at(root.path(), v1));
        (root, quotas)
    }

    fn told(quotas: &mut Quotas, cgroups: &mut Cgroups) -> Vec<(u32, u64, u64, u64)> {
        let mut all = Vec::new();
        quotas.next_ns = 0;
        quotas.tick(false, cgroups, &mut |record| match decode(record).expect("a record") {
            Event::Quota(q) => all.push((q.cgroup, q.throttled_periods, q.throttled_ns, q.quota_us)),
            Event::CgroupPath(_) => {}
            other => panic!("{other:?}"),
        });
        all
    }

    #[test]
    fn a_quota_above_the_cgroup_of_a_thread_is_found_and_told_when_it_counts() {
        for v1 in [true, false] {
            let (root, mut quotas) = hierarchy(v1);
            let mut cgroups = Cgroups::default();
            assert_eq!(told(&mut quotas, &mut cgroups), []);
            let web = cgroups.number(b"/app/web");
            // The one above is known after the first look, and asked in the next.
            let mut all = told(&mut quotas, &mut cgroups);
            all.extend(told(&mut quotas, &mut cgroups));
            let app = cgroups.number(b"/app");
            assert!(web != app);
            assert_eq!(all, [(app, 7, 7_000, 150_000)], "v1: {v1}");
            assert_eq!(told(&mut quotas, &mut cgroups), [], "nothing is new");
            let (name, file) = if v1 { ("throttled_time 9000", "cpu.stat") } else { ("throttled_usec 9", "cpu.stat") };
            fs::write(root.path().join("app").join(file), format!("nr_periods 30\nnr_throttled 8\n{name}\n"))
                .expect("a file");
            assert_eq!(told(&mut quotas, &mut cgroups), [(app, 8, 9_000, 150_000)]);
            quotas.forget_told();
            assert_eq!(told(&mut quotas, &mut cgroups).len(), 1);
            fs::remove_dir_all(root.path().join("app")).expect("it is there");
            assert_eq!(told(&mut quotas, &mut cgroups), []);
        }
    }

    #[test]
    fn what_was_counted_before_tracing_began_is_told_first() {
        let (root, mut quotas) = hierarchy(false);
        let mut cgroups = Cgroups::default();
        let app = cgroups.number(b"/app");
        let begun = quotas.read(b"/app").expect("it is there");
        quotas.begun.insert(app, begun);
        fs::write(root.path().join("app/cpu.stat"), "nr_throttled 9\nthrottled_usec 50\n").expect("a file");
        assert_eq!(told(&mut quotas, &mut cgroups), [(app, 7, 7_000, 150_000), (app, 9, 50_000, 150_000)]);
    }

    #[test]
    fn hostile_files_are_no_quota() {
        for text in ["", "max 100000", "1", "x 1", "1 x", "-1 100000", "99999999999999999999 1"] {
            assert_eq!(quota_v2(text), None, "{text}");
        }
        assert_eq!(quota_v2("50000 100000\n"), Some((50_000, 100_000)));
        assert_eq!(
            stat("nr_periods\nnr_throttled -1\nthrottled_usec 99999999999999999999\n\n", false),
            Counts::default()
        );
        assert_eq!(stat("throttled_usec 18446744073709551615", false).throttled_ns, u64::MAX);
    }
}
