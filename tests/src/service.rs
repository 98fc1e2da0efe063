//! Recordings of a service that are never twice the same: waits have a long tail, and load comes and goes, so that neighbouring
//! intervals are alike. What two runs of it have in common, and what not, is known.

use numatrace::source::script::{Comm, Doing, KernelEvent};

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Ticks, 200 ms apart.
    pub ticks: u64,
    /// Waits a second of each of its two threads, on average.
    pub waits: f64,
    /// Median of a wait, ns.
    pub wait_ns: f64,
    /// How wide waits are spread: the standard deviation of their logarithm.
    pub spread: f64,
    /// How much load varies: the standard deviation of the logarithm of waits.
    pub load: f64,
    /// How much of the load of an interval is that of the one before, 0 to 1.
    pub memory: f64,
    /// Moves between nodes a second.
    pub moves: f64,
    /// Runs with the same seed are the same.
    pub seed: u64,
}

impl Default for Service {
    fn default() -> Service {
        let (waits, wait_ns, spread, load) = (120.0, 60_000.0, 1.0, 0.3);
        Service { ticks: 60, waits, wait_ns, spread, load, memory: 0.7, moves: 4.0, seed: 1 }
    }
}

const TICK_NS: u64 = 200_000_000;

/// xorshift64*, and what is made of it.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -self.uniform().ln() * mean
    }
}

impl Service {
    /// Its events: two threads, `worker-1` and `worker-2`, each on a CPU and a node of its own.
    pub fn events(&self) -> Vec<KernelEvent> {
        let mut random = Random(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..10 {
            random.uniform();
        }
        let load = self.load_by_tick(&mut random);
        let mut events = Vec::new();
        for (cpu, tid) in [(0u16, 11u32), (1, 12)] {
            self.thread(cpu, tid, &load, &mut random, &mut events);
        }
        events.extend((1..=self.ticks).map(|tick| KernelEvent::Tick { at: tick * TICK_NS, totals: true }));
        events.sort_by_key(KernelEvent::at);
        events
    }

    /// Logarithm of how much longer waits are, an autoregressive series.
    fn load_by_tick(&self, random: &mut Random) -> Vec<f64> {
        let mut level = random.normal() * self.load;
        let fresh = self.load * (1.0 - self.memory * self.memory).sqrt();
        let next = |_| {
            level = level * self.memory + random.normal() * fresh;
            level
        };
        (0..self.ticks).map(next).collect()
    }

    fn thread(&self, cpu: u16, tid: u32, load: &[f64], random: &mut Random, events: &mut Vec<KernelEvent>) {
        let comm = Some(Comm::Text(format!("worker-{}", tid - 10)));
        let (tgid, state) = (Some(4711), Doing::Blocked);
        events.push(KernelEvent::Attach { at: 0, tid, tgid, comm, state, cpu, queued_for: 0, start: None });
        let end = self.ticks * TICK_NS;
        let switch = |at, prev, next, prev_state| {
            let (state_now, preempt) = (None, false);
            KernelEvent::Switch { at, cpu, prev, next, prev_state, state_now, preempt }
        };
        let mut at = 1_000;
        loop {
            at += random.exponential(1e9 / self.waits) as u64 + 10;
            let level = load[((at / TICK_NS) as usize).min(load.len() - 1)];
            let wait = (self.wait_ns * (level + self.spread * random.normal()).exp()) as u64 + 10;
            let turn = random.exponential(200_000.0) as u64 + 10;
            if at + wait + turn + 10 >= end {
                return;
            }
            events.push(KernelEvent::Waking { at, tid, by: 0 });
            events.push(KernelEvent::Wakeup { at, tid, cpu });
            if random.uniform() < self.moves / (2.0 * self.waits) {
                let (from, to, by_cpu) = (1 - cpu, cpu, cpu);
                let (state, on_rq, by, stopper, offline) = (0, 2, 1, false, false);
                let at = at + 1;
                events.push(KernelEvent::Migrate { at, tid, from, to, state, on_rq, by, by_cpu, stopper, offline });
            }
            events.extend([switch(at + wait, 0, tid, 0), switch(at + wait + turn, tid, 0, 1)]);
            at += wait + turn;
        }
    }
}
