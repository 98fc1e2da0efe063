//! Drives the synthetic producer of the eBPF object: a thread on each CPU that has turns written there, at a rate or as fast as it
//! goes. The lanes and everything behind them are the real ones.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use numatrace::{
    collect::{
        MaxOverhead,
        live::Pace,
        load::{DEFAULT_MAX_TASKS, Plan},
        pages::PagePlan,
        synthetic::{Producer, Turns},
    },
    target::{Filter, Ids, Machine},
};
use numatrace_common::{config::SYNTHETIC_BURST, sums::counting};

use crate::workload::os;

/// Between two looks at how many turns are due: lanes hold the turns of 8 ms at least.
const PAUSE: Duration = Duration::from_micros(500);
/// What was not written for longer than this, since the thread got no CPU, is left out: catching up would be another rate.
const LATEST: Duration = Duration::from_millis(4);
/// Ids that no thread of this machine has.
const FIRST_TID: u32 = 1 << 23;
/// The same for each CPU's threads.
const OF_A_CPU: u32 = 1 << 17;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Turns a second on each CPU; as fast as it goes without.
    pub of_each_cpu: Option<f64>,
    /// How long.
    pub time: Duration,
    /// Threads on each CPU that have these turns.
    pub threads: u32,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Produced {
    /// Turns that were to be written: what the probes must have counted as wanted.
    pub wanted: u64,
    /// CPU time of the threads that had them written.
    pub cpu: Duration,
    /// How long it took.
    pub time: Duration,
}

/// A plan that traces nothing: the producer's turns are all that there is.
pub fn plan(ring_bytes: u32) -> Plan {
    Plan {
        max_overhead: MaxOverhead::Off,
        statistics: false,
        filter: Filter::Comm(*b"\x01nobody at all\0\0"),
        filter_ids: Ids::Own,
        machine: Machine::this(),
        ring_bytes,
        max_tasks: DEFAULT_MAX_TASKS,
        wakers: true,
        culprits: true,
        pages: PagePlan::OFF,
        counting: counting::OFF,
        cgroups_v1: false,
        flavour: None,
    }
}

/// Ticks each `interval`, until told to stop.
pub fn pace(interval: Duration) -> Pace {
    let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    Pace { interval_ns: Arc::new(AtomicU64::new(interval_ns)), duration: None, end_with_targets: false, linger: None }
}

/// Writes on every CPU that this process may use.
///
/// # Errors
/// When a thread cannot be bound to its CPU, or the kernel does not run the producer.
pub fn produce(producer: &Producer, rate: Rate) -> Result<Produced> {
    let cpus = os::allowed_cpus()?;
    let parts = thread::scope(|scope| {
        let start = |(index, cpu): (usize, &usize)| {
            let (producer, cpu) = (producer.clone(), *cpu);
            scope.spawn(move || on(cpu, index as u32, &producer, rate).with_context(|| format!("CPU {cpu}")))
        };
        let threads: Vec<_> = cpus.iter().enumerate().map(start).collect();
        let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a producer panicked"))?);
        ended.collect::<Result<Vec<Produced>>>()
    })?;
    Ok(parts.into_iter().fold(Produced::default(), |sum, part| Produced {
        wanted: sum.wanted + part.wanted,
        cpu: sum.cpu + part.cpu,
        time: sum.time.max(part.time),
    }))
}

fn on(cpu: usize, index: u32, producer: &Producer, rate: Rate) -> io::Result<Produced> {
    os::pin(cpu)?;
    let first_tid = FIRST_TID + index * OF_A_CPU;
    let threads = rate.threads.clamp(1, OF_A_CPU);
    let mut done = Produced::default();
    let (start, began) = (os::cpu_time(), Instant::now());
    let mut left_out = 0;
    loop {
        done.time = began.elapsed();
        if done.time >= rate.time {
            break;
        }
        let mut due = u64::from(SYNTHETIC_BURST);
        if let Some(each) = rate.of_each_cpu {
            let until_now = (each * done.time.as_secs_f64()) as u64;
            due = until_now.saturating_sub(done.wanted + left_out);
            let most = (each * LATEST.as_secs_f64()) as u64;
            left_out += due.saturating_sub(most);
            due = due.min(most);
        }
        while due > 0 {
            // At most a burst.
            let count = due.min(SYNTHETIC_BURST.into()) as u32;
            producer.write(Turns { first: done.wanted, count, threads, first_tid })?;
            done.wanted += u64::from(count);
            due -= u64::from(count);
        }
        if rate.of_each_cpu.is_some() {
            thread::sleep(PAUSE);
        }
    }
    done.cpu = os::cpu_time() - start;
    Ok(done)
}

/// Sets a flag when dropped, so that a run ends whatever happens.
pub struct Stop(pub Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
