//! One thread: counters that stay exact when records are lost, and what it is doing now.
//!
//! Two sources say the same things. Slice records bring each turn as it ends; Totals records bring the kernel's
//! sums, which cover exactly the turns up to their `seq`. At any time
//!
//! ```text
//! sums = sums of the newest Totals + every received turn with seq > covered
//! ```
//!
//! so a turn that arrives after Totals that already include it changes distributions only, a lost turn is made good
//! by the next Totals, and nothing is counted twice. `seq` wraps: "newer" is a signed difference.
//!
//! What is open (the current turn, wait or block) is never added to the sums: [`Tracked::open_at`] lays it over
//! them, up to the last tick. It is replaced as a whole by whatever record is newer.
//!
//! In a recording that begins in the middle of a trace all of this counts from there: see `thread/base.rs`.

mod base;

use std::sync::Arc;

use numatrace_common::abi::{Migrate, NO_CPU, Slice, Throttled, Totals, slice_flags};
use numatrace_common::wait::phase;

use self::base::Base;
use super::attributes::Attributes;
use super::buckets::Buckets;
use super::cgroups::Membership;
use super::latency::WaitKind;
use super::names::Comm;
use super::numbers::{Cpus, Numbers, Sums};
use super::track::{OpenTurn, Track};
use crate::topology::Level;

/// `a` comes after `b`, for numbers that wrap.
#[inline]
pub(super) const fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

/// What a thread is doing since when.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// One of [`phase`].
    phase: u16,
    since: u64,
    /// While running: the wait before the turn.
    wait_ns: u64,
    /// Blocked time before the wait or the turn.
    blocked_ns: u64,
    /// Part of the wait that a CPU quota caused, as far as it was told.
    throttled_ns: u64,
    /// When Totals said so; 0 when it follows from another record.
    told: u64,
    /// While queued: it was switched out while runnable, not woken.
    preempted: bool,
}

/// What is open, laid over the sums up to some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenTime {
    pub(super) cpu_ns: u64,
    pub(super) wait_ns: u64,
    pub(super) blocked_ns: u64,
    pub(super) throttled_ns: u64,
    pub(super) waiting_now_ns: Option<u64>,
}

/// How a thread left the model's sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is dead.
    Exited,
    /// It lives on, but is no target any more.
    Untracked,
}

/// What user space is asked about a thread, again and again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Attributes,
    Cgroup,
}

/// One thread.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) tid: u32,
    pub(super) tgid: u32,
    /// The kernel's start time of the thread; 0 while not known.
    pub(super) start_ns: u64,
    /// When it was first heard of.
    pub(super) born_ns: u64,
    pub(super) comm: Comm,
    /// Another thread had this id before: a record from before `born_ns` is that one's.
    pub(super) reused: bool,
    /// How and when it ended.
    pub(super) end: Option<(End, u64)>,
    /// It is in the queue of those to be evicted.
    pub(super) listed: bool,
    /// CPU of the current or last turn.
    pub(super) cpu: u16,
    /// How it may be scheduled; apart, since few records speak of it.
    pub(super) attributes: Option<Box<Attributes>>,
    /// Its cgroup; `None` until it was told.
    pub(super) cgroup: Option<Membership>,
    /// Its id in its own pid namespace, where that is another.
    pub(super) ns_pid: Option<u32>,
    /// By [`Question`], number of the round in which it was asked last; 0: never.
    pub(super) asked: [u32; 2],
    pub(super) numbers: Numbers,
    /// Where it ran lately.
    pub(super) track: Track,
    pub(super) wakeup: Buckets,
    pub(super) preempted: Buckets,
    /// The sums include every turn up to this one.
    covered: u32,
    /// The newest turn that is known of.
    latest: u32,
    /// The newest turn, where it came as a record.
    last_turn: Sums,
    open: Open,
    /// Number of the newest migration.
    latest_migration: u32,
    /// Sums from before it was tracked anew.
    carried: Option<Box<Sums>>,
    /// What is not of the recording, where that began in the middle.
    base: Option<Box<Base>>,
}

impl Tracked {
    /// A thread that was first heard of at `born_ns`, of a trace that began at `trace_ns`.
    pub(super) fn new(tid: u32, tgid: u32, born_ns: u64, trace_ns: u64) -> Tracked {
        Tracked {
            tid,
            tgid,
            start_ns: 0,
            born_ns,
            comm: Comm::default(),
            reused: false,
            end: None,
            listed: false,
            cpu: NO_CPU,
            attributes: None,
            cgroup: None,
            ns_pid: None,
            asked: [0; 2],
            numbers: Numbers::default(),
            track: Track::new(trace_ns),
            wakeup: Buckets::default(),
            preempted: Buckets::default(),
            covered: 0,
            latest: 0,
            last_turn: Sums::default(),
            open: Open::default(),
            latest_migration: 0,
            carried: None,
            base: None,
        }
    }

    /// No rule of reused or ended ids applies.
    #[inline]
    pub(super) const fn is_plain(&self) -> bool {
        self.end.is_none() && !self.reused
    }

    /// The first number that is heard of says where the thread is, where 0 would be too far away to compare (a
    /// recording that begins in the middle): the sums cover what came before it.
    fn join_at(&mut self, before_first: u32) {
        if (before_first as i32) < 0 && self.latest == 0 && self.numbers.sums == Sums::default() {
            (self.covered, self.latest) = (before_first, before_first);
        }
    }

    /// A turn that ended, and stands for `times` ones in all that only records tell.
    #[inline]
    pub(super) fn turn(&mut self, turn: &Slice, machine: &mut Cpus, times: u64) {
        self.join_at(turn.seq.wrapping_sub(1));
        let blocked_ns = self.blocked_before(turn);
        match &self.base {
            None => self.count(turn, blocked_ns, machine, times),
            Some(base) => {
                let (turn, blocked_ns) = base.rest_of(turn, blocked_ns);
                self.count(&turn, blocked_ns, machine, times);
            }
        }
    }

    /// Counts a turn, or what of it counts.
    #[inline]
    fn count(&mut self, turn: &Slice, blocked_ns: u64, machine: &mut Cpus, times: u64) {
        let sums = Sums::of_turn(turn, blocked_ns);
        if after(turn.seq, self.covered) {
            self.numbers.sums.add(&sums);
        }
        if after(turn.seq, self.latest) {
            self.latest = turn.seq;
            self.last_turn = sums;
            self.cpu = turn.header.cpu;
            self.open = Open::default();
            if turn.flags & slice_flags::OUT_DEAD != 0 {
                self.ended(End::Exited, turn.header.ts);
            } else if self.end.is_none() {
                self.open.since = turn.header.ts;
                let runnable = turn.flags & slice_flags::OUT_RUNNABLE != 0;
                self.open.phase = if runnable { phase::QUEUED } else { phase::BLOCKED };
                self.open.preempted = runnable;
            }
        }
        self.numbers.spread(turn, machine, times);
        if machine.has(turn.header.cpu) {
            self.track.add(turn.header.cpu, turn.header.ts, turn.slice_ns);
        }
        match WaitKind::of(turn.flags) {
            None => {}
            Some(WaitKind::Wakeup) => self.wakeup.record(turn.wait_ns, times),
            Some(WaitKind::Preempted) => self.preempted.record(turn.wait_ns, times),
        }
    }

    /// Blocked time of a turn: what is known to be open when it follows right upon the newest one, else 0 until
    /// the next Totals.
    #[inline]
    fn blocked_before(&self, turn: &Slice) -> u64 {
        if turn.seq.wrapping_sub(self.latest) != 1 || WaitKind::of(turn.flags).is_none() {
            return 0;
        }
        if self.open.phase != phase::BLOCKED {
            return self.open.blocked_ns;
        }
        let wait_began = turn.header.ts.saturating_sub(turn.slice_ns).saturating_sub(turn.wait_ns);
        wait_began.saturating_sub(self.open.since).saturating_add(self.open.blocked_ns)
    }

    /// The kernel's sums.
    pub(super) fn totals(&mut self, totals: &Totals) {
        self.migrations_up_to(totals.migrations);
        self.join_at(totals.seq);
        let (mut sums, mut unseen) = (Sums::of_totals(totals), u64::from(totals.resyncs));
        if let Some(base) = &self.base {
            (sums, unseen) = (base.rest_of_sums(totals.seq, &sums), base.rest_of_unseen(unseen));
        }
        self.numbers.unseen = self.numbers.unseen.max(unseen);
        if let Some(carried) = &self.carried {
            sums.add(carried);
        }
        let ahead = totals.seq.wrapping_sub(self.latest) as i32;
        if ahead >= 0 {
            if ahead > 0 || totals.header.ts >= self.open.told {
                self.tell(totals);
            }
            self.latest = totals.seq;
        } else if ahead == -1 && self.latest != self.covered {
            // Read just before the newest turn ended, which came as a record.
            sums.add(&self.last_turn);
        } else {
            // Older than what is known: the next ones will be newer.
            return;
        }
        self.covered = totals.seq;
        // Totals do not tell of it: `throttled` does.
        sums.throttled_ns = self.numbers.sums.throttled_ns;
        self.numbers.sums = sums;
    }

    /// The kernel's sum of the throttled part of waits, which follows the Totals that cover the same turns. When others
    /// came in between, the next ones will tell.
    pub(super) fn throttled(&mut self, throttled: &Throttled) {
        let ahead = self.latest.wrapping_sub(self.covered);
        if throttled.seq != self.covered || ahead > 1 {
            return;
        }
        let counted = self.base.as_ref().map_or(0, |base| base.throttled_ns());
        let newest = if ahead == 1 { self.last_turn.throttled_ns } else { 0 };
        let carried = self.carried.as_ref().map_or(0, |carried| carried.throttled_ns);
        let parts = [throttled.throttled_ns.saturating_sub(counted), carried, newest];
        self.numbers.sums.throttled_ns = parts.iter().fold(0, |sum, part| sum.saturating_add(*part));
        if ahead == 0 && self.end.is_none() {
            self.open.throttled_ns = throttled.open_ns;
        }
    }

    /// Takes over what Totals say is open.
    fn tell(&mut self, totals: &Totals) {
        if totals.header.cpu != NO_CPU {
            self.cpu = totals.header.cpu;
        }
        if self.end.is_some() {
            return;
        }
        self.open = Open {
            phase: totals.phase,
            since: totals.since,
            wait_ns: totals.open_wait_ns,
            blocked_ns: totals.open_blocked_ns,
            // What was told of the same wait stays until more is.
            throttled_ns: if (totals.phase, totals.since) == (self.open.phase, self.open.since) {
                self.open.throttled_ns
            } else {
                0
            },
            told: totals.header.ts,
            preempted: totals.flags & slice_flags::WAIT_MASK == slice_flags::WAIT_PREEMPTED,
        };
    }

    /// A migration.
    pub(super) fn migrate(&mut self, migrate: &Migrate, level: Option<Level>) {
        self.migrations_up_to(migrate.seq);
        self.numbers.classify(level, migrate.cause);
    }

    fn migrations_up_to(&mut self, number: u32) {
        if after(number, self.latest_migration) {
            let more = number.wrapping_sub(self.latest_migration);
            self.numbers.migrations = self.numbers.migrations.saturating_add(u64::from(more));
            self.latest_migration = number;
        }
    }

    /// It is in `phase` since `since`, where nothing better is known.
    pub(super) fn begins(&mut self, phase: u16, since: u64) {
        if self.open.phase == phase::UNKNOWN && self.latest == 0 && self.end.is_none() {
            self.open = Open { phase, since, ..Open::default() };
        }
    }

    /// It ceases to be a target: what was open until then stays.
    pub(super) fn untracked(&mut self, at: u64, machine: &mut Cpus) {
        let open = self.open_at(at, 0);
        let sums = &mut self.numbers.sums;
        sums.add(&Sums {
            cpu_ns: open.cpu_ns,
            blocked_ns: open.blocked_ns,
            cut_wait_ns: open.wait_ns,
            throttled_ns: open.throttled_ns,
            cut_throttled_ns: open.throttled_ns,
            ..Sums::default()
        });
        self.numbers.ran(self.cpu, open.cpu_ns, machine);
        if machine.has(self.cpu) {
            self.track.add(self.cpu, at, open.cpu_ns);
        }
        self.ended(End::Untracked, at);
    }

    /// It leaves the model's sight: nothing is open any more.
    pub(super) fn ended(&mut self, how: End, at: u64) {
        self.open = Open::default();
        self.end = Some((how, at));
        if self.attributes.as_ref().is_some_and(|attributes| !attributes.are_from_before(at)) {
            self.attributes = None;
        }
        self.cgroup.take_if(|cgroup| !cgroup.is_from_before(at));
    }

    /// An answer about how it may be scheduled.
    pub(super) fn attributes(&mut self, answer: Attributes) {
        match &mut self.attributes {
            Some(known) => known.renew(answer),
            None => self.attributes = Some(Box::new(answer)),
        }
    }

    /// It is in this cgroup, or in one whose path is not known. That it is in the same one still changes nothing.
    pub(super) fn cgroup(&mut self, path: Option<&Arc<str>>, ts: u64) {
        let known = self.cgroup.as_ref().map(|cgroup| &cgroup.path);
        if known != path {
            self.cgroup = path.map(|path| Membership::new(Arc::clone(path), ts));
        }
    }

    /// It is a target again: the kernel side counts from 0, on top of what was counted before.
    pub(super) fn tracked_again(&mut self) {
        self.end = None;
        self.carried = Some(Box::new(self.numbers.sums));
        (self.covered, self.latest, self.latest_migration) = (0, 0, 0);
        self.open = Open::default();
        self.base = None;
    }

    /// One of [`phase`] as of `now`. What began after that is left out: reading all Totals takes a while, and takes a CPU
    /// from somebody.
    pub(super) const fn phase_at(&self, now: u64) -> u16 {
        match self.open.phase {
            phase if self.open.since <= now => phase,
            phase::QUEUED if !self.open.preempted => phase::BLOCKED,
            phase::QUEUED | phase::BLOCKED => phase::RUNNING,
            phase::RUNNING => phase::QUEUED,
            phase => phase,
        }
    }

    /// Whether Totals said that it runs or waits and then said nothing more: they do so on every tick, so its last
    /// records were lost. What it has been doing since is not known.
    pub(super) const fn is_stale(&self, before: u64) -> bool {
        matches!(self.open.phase, phase::RUNNING | phase::QUEUED) && self.open.told != 0 && self.open.told < before
    }

    /// The turn that `open` has of it, where there is one.
    pub(super) fn open_turn(&self, open: &OpenTime) -> Option<OpenTurn> {
        let not_ours = self.base.as_ref().and_then(|base| base.open_of(self.latest)).map_or(0, |open| open.cpu_ns);
        let since = self.open.since.saturating_add(not_ours);
        (open.cpu_ns > 0).then(|| OpenTurn { cpu: self.cpu, time: since..since.saturating_add(open.cpu_ns) })
    }

    /// What is open, up to `now`, the last tick; `before` is the tick before it.
    pub(super) fn open_at(&self, now: u64, before: u64) -> OpenTime {
        let stale = self.is_stale(before);
        let lasts = if stale { self.open.told } else { now }.saturating_sub(self.open.since);
        let mut open = OpenTime { blocked_ns: self.open.blocked_ns, ..OpenTime::default() };
        match self.open.phase {
            phase::RUNNING => {
                open.cpu_ns = lasts;
                open.wait_ns = self.open.wait_ns;
                open.throttled_ns = self.open.throttled_ns.min(open.wait_ns);
            }
            phase::QUEUED => {
                open.wait_ns = lasts;
                open.throttled_ns = self.open.throttled_ns.min(lasts);
                open.waiting_now_ns = if stale || self.open.since > now { None } else { Some(lasts) };
            }
            phase::BLOCKED => open.blocked_ns = open.blocked_ns.saturating_add(lasts),
            _ => open.blocked_ns = 0,
        }
        match &self.base {
            None => open,
            Some(base) => base.rest_of_open(self.latest, open),
        }
    }
}
