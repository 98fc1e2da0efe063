//! Which sources of numbers a perf.data file has, and why the others are off; and what time it was.

use super::events::Has;
use super::header::{Header, section};
use super::machine::Machine;
use crate::snapshot::{Source, SourceState, sources};

/// Why most are off.
const NOT_THERE: &str = "not in a perf.data file";

fn on(name: &str) -> Source {
    Source { name: name.into(), state: SourceState::On, reason: None }
}

fn source(name: &str, state: SourceState, reason: impl Into<String>) -> Source {
    Source { name: name.into(), state, reason: Some(reason.into()) }
}

/// All of them. `wall` says where the wall-clock time comes from, where that is not sure.
pub(super) fn all(header: &Header, has: Has, machine: &Machine, wall: Option<&'static str>) -> Vec<Source> {
    let mut all = vec![on("sched_switch")];
    let told = |name, has: bool, without: &str| match has {
        true => on(name),
        false => source(name, SourceState::Off, format!("not in this file: {without}")),
    };
    all.push(told("sched_wakeup", has.wakeup, without_wakeup(has.waking)));
    all.push(told("sched_wakeup_new", has.wakeup_new, "no latency of new threads"));
    all.push(told("sched_waking", has.waking, "who wakes a thread is not known"));
    all.push(match has.migrate {
        true => source("sched_migrate_task", SourceState::BestEffort, CAUSES),
        false => told("sched_migrate_task", false, "no migrations; node moves are still counted"),
    });
    all.push(told("sched_process_fork", has.fork, "new threads are known from their first turn on only"));
    all.push(source("iter:task", SourceState::Off, format!("{NOT_THERE}: threads without any event are not known")));
    all.push(on(sources::BEHIND[0]));
    for name in [
        sources::THROTTLE[0],
        sources::QUOTA[0],
        sources::TOUCHES[0],
        sources::WHERE[0],
        sources::HINT_FAULTS[0],
        sources::MIGRATED[0],
        sources::PLACEMENT[0],
        sources::NODE_MEMORY[0],
        "sched_getattr",
        "/proc/PID/cgroup",
    ] {
        all.push(source(name, SourceState::Off, NOT_THERE));
    }
    all.push(match machine.missing.is_empty() {
        true => on("header of perf.data"),
        false => source("header of perf.data", SourceState::BestEffort, machine.missing.join("; ")),
    });
    all.push(clock(header));
    all.push(match wall {
        None => on("wall-clock time"),
        Some(reason) => source("wall-clock time", SourceState::BestEffort, reason),
    });
    all
}

const CAUSES: &str = "causes are inferred from the wakeup before and from who moves: NUMA balancing, and CPUs that go offline, \
                      are not told from others";

const fn without_wakeup(has_waking: bool) -> &'static str {
    if has_waking {
        "waits after wakeups begin at sched_waking, which comes a little earlier"
    } else {
        "no wakeup latency"
    }
}

/// The clock of the events.
fn clock(header: &Header) -> Source {
    const NAME: &str = "CLOCK_MONOTONIC";
    match header.attrs.iter().find_map(super::header::Attr::clock) {
        Some(libc::CLOCK_MONOTONIC) => on(NAME),
        Some(other) => source(NAME, SourceState::Off, format!("not in this file: times are those of clock {other}")),
        None => source(NAME, SourceState::Off, "not in this file: times are those of perf's own clock, sched_clock"),
    }
}

/// What time it was at `start_ns`, ns since the epoch, and why that is not sure. `modified_ns` is when the file was changed
/// last.
pub(super) fn wall_time(header: &Header, start_ns: u64, modified_ns: u64) -> (u64, Option<&'static str>) {
    let told = header.section(section::CLOCK_DATA).and_then(|mut bytes| {
        let (_version, _clock) = (bytes.u32()?, bytes.u32()?);
        Some((bytes.u64()?, bytes.u64()?))
    });
    if let Some((wall_ns, clock_ns)) = told {
        let wall_ns = i128::from(wall_ns) + i128::from(start_ns) - i128::from(clock_ns);
        return (u64::try_from(wall_ns).unwrap_or_default(), None);
    }
    let last_ns = header.section(section::SAMPLE_TIME).and_then(|mut bytes| {
        bytes.u64()?;
        // perf leaves it at 0 where it does not look at its samples.
        bytes.u64().filter(|last| *last >= start_ns)
    });
    match last_ns {
        Some(last_ns) => (
            modified_ns.saturating_sub(last_ns.saturating_sub(start_ns)),
            Some("not in this file: it is taken to end when the file was changed last, so copies of it can be off"),
        ),
        None => (modified_ns, Some("not in this file: it is taken to begin when the file was changed last")),
    }
}
