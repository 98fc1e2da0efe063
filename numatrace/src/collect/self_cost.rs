//! What numatrace itself takes: the CPU time and memory of this process, and the time in its programs, which others pay.
//!
//! The kernel keeps statistics of programs where it is asked to (`BPF_ENABLE_STATS`, since 5.8), which costs two looks at a
//! clock for each run of each program of the machine. So it is asked for a twentieth of the time or less, and what is
//! measured then stands for the rest. Where `kernel.bpf_stats_enabled` is on anyway, nothing is estimated.

use std::{mem, os::fd::OwnedFd};

use aya::sys::{Stats, enable_stats};

use super::{
    load::{Probes, root},
    system,
};
use crate::snapshot::{Source, SourceState, sources};

/// How long the kernel is asked to keep statistics, at least.
const WINDOW_NS: u64 = 50_000_000;
/// Time from one such stretch to the next, at least, and in how many times its length; it doubles with each up to the last, but for
/// where the cost has a limit.
const EVERY_NS: (u64, u64) = (1_000_000_000, 10_000_000_000);
const PART: u64 = 20;

enum Statistics {
    /// Somebody switched them on for good.
    Always,
    /// In stretches.
    Windows {
        every_ns: u64,
        next_ns: u64,
    },
    /// One of these: the kernel keeps statistics while the file is open.
    Window {
        every_ns: u64,
        open: OwnedFd,
        since: u64,
        probes_ns: u64,
    },
    Off,
}

/// What this process took up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// CPU time of all threads.
    pub(super) cpu_ns: u64,
    /// Time in the programs, and how long it was measured: 0 where it is not known.
    pub(super) probes_ns: u64,
    pub(super) window_ns: u64,
    /// Resident memory.
    pub(super) memory_bytes: u64,
}

/// See the module.
pub(super) struct Meter {
    statistics: Statistics,
    /// Longest time between two stretches.
    most_every_ns: u64,
    /// CPUs of the machine.
    cpus: u64,
    /// Time in the programs so far, and up to when that goes.
    probes_ns: f64,
    until: u64,
    window_ns: u64,
    /// CPUs' worth of time in the programs, as last measured.
    share: f64,
    /// When the share of all CPU time was asked for last, and what had been taken then.
    last: (u64, u64, f64),
}

impl Meter {
    /// From `now` on; `limited` where the cost is to stay below something, `stays` where the right to ask for statistics does. Also
    /// what is to be said about it.
    pub(super) fn start(now: u64, cpus: usize, limited: bool, stays: bool, probes: &Probes) -> (Meter, Source) {
        let most_every_ns = if limited { EVERY_NS.0 } else { EVERY_NS.1 };
        let source = |state, reason: Option<String>| Source { name: sources::SELF[0].into(), state, reason };
        let (statistics, source) = if system::bpf_stats_on() {
            (Statistics::Always, source(SourceState::On, None))
        } else if !stays {
            let reason = "CAP_SYS_ADMIN, which statistics of programs need, is given up with --page-source off and no limit to hold: give --max-overhead, or set kernel.bpf_stats_enabled=1, to know the time in numatrace's own programs";
            (Statistics::Off, source(SourceState::Off, Some(reason.into())))
        } else {
            match enable_stats(Stats::RunTime) {
                Ok(open) => {
                    let reason = format!(
                        "the kernel keeps statistics of programs for some {} ms every {} s, more often at first: time in numatrace's own programs is an estimate from these",
                        WINDOW_NS / 1_000_000,
                        most_every_ns / 1_000_000_000
                    );
                    let first = probes.probes_ns();
                    let window = Statistics::Window { every_ns: EVERY_NS.0, open, since: now, probes_ns: first };
                    (window, source(SourceState::Sampled, Some(reason)))
                }
                Err(error) => {
                    let reason = format!(
                        "statistics of programs are refused ({}; they need CAP_SYS_ADMIN, or kernel.bpf_stats_enabled=1): time in numatrace's own programs is not known",
                        root(&error)
                    );
                    (Statistics::Off, source(SourceState::Off, Some(reason)))
                }
            }
        };
        let meter = Meter {
            statistics,
            most_every_ns,
            cpus: cpus.max(1) as u64,
            probes_ns: 0.0,
            until: now,
            window_ns: 0,
            share: 0.0,
            last: (now, system::own_cpu_ns(), 0.0),
        };
        (meter, source)
    }

    /// Between ticks: begins and ends stretches of statistics.
    pub(super) fn cycle(&mut self, now: u64, probes: &Probes) {
        self.statistics = match mem::replace(&mut self.statistics, Statistics::Off) {
            Statistics::Window { every_ns, since, probes_ns, open } if now >= since + WINDOW_NS => {
                let after = probes.probes_ns();
                drop(open);
                self.measured(now, now - since, after.saturating_sub(probes_ns));
                let took = now - since;
                // Never in step with what comes once a second: a part of the time that it took comes on top.
                let pause = every_ns.max(took * PART) + (took % WINDOW_NS) * 2;
                let every_ns = (every_ns * 2).min(self.most_every_ns);
                Statistics::Windows { every_ns, next_ns: since + pause }
            }
            Statistics::Windows { every_ns, next_ns } if now >= next_ns => match enable_stats(Stats::RunTime) {
                Ok(open) => Statistics::Window { every_ns, open, since: now, probes_ns: probes.probes_ns() },
                // Rights can be given up: from here on it is not known.
                Err(_) => {
                    (self.window_ns, self.share) = (0, 0.0);
                    Statistics::Off
                }
            },
            same => same,
        };
    }

    /// In a stretch of `window_ns` up to `now` the programs took `probes_ns`.
    fn measured(&mut self, now: u64, window_ns: u64, probes_ns: u64) {
        let share = probes_ns as f64 / window_ns.max(1) as f64;
        if self.window_ns == 0 {
            // What came before the first is known from it alone.
            self.share = share;
        }
        self.go_on(now);
        self.share = share;
        self.window_ns += window_ns;
    }

    /// Up to `now` the programs took what they took when it was last measured.
    fn go_on(&mut self, now: u64) {
        self.probes_ns += self.share * now.saturating_sub(self.until) as f64;
        self.until = now;
    }

    /// What was taken up to `now`.
    pub(super) fn taken(&mut self, now: u64, probes: &Probes) -> Taken {
        if let Statistics::Always = self.statistics {
            // Programs that are unloaded have no statistics any more.
            self.probes_ns = self.probes_ns.max(probes.probes_ns() as f64);
            self.window_ns += now.saturating_sub(self.until);
            self.until = now;
        } else {
            self.go_on(now);
        }
        Taken {
            cpu_ns: system::own_cpu_ns(),
            probes_ns: self.probes_ns as u64,
            window_ns: self.window_ns,
            memory_bytes: system::resident_bytes().unwrap_or(0),
        }
    }

    /// Share of all CPU time of the machine that was taken since this was asked last.
    pub(super) fn share_since(&mut self, now: u64, taken: &Taken) -> f64 {
        let (since, cpu_ns, probes_ns) = mem::replace(&mut self.last, (now, taken.cpu_ns, self.probes_ns));
        let all = now.saturating_sub(since).saturating_mul(self.cpus).max(1);
        (taken.cpu_ns.saturating_sub(cpu_ns) as f64 + (self.probes_ns - probes_ns).max(0.0)) / all as f64
    }
}
