//! What `perf script --ns -F tid,cpu,time,event,trace` prints of scheduler events, counted by the definition in
//! docs/metrics.md: a second opinion on imports that shares no code with them.

use std::collections::BTreeMap;

/// A thread's numbers; of all owners of its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Times it was switched out.
    pub switches: u64,
    /// Waits after wakeups of turns that ended, and their sum in ns.
    pub wakeup: (u64, u64),
    /// The same after it was switched out while still runnable.
    pub preempted: (u64, u64),
    /// Migrations to another CPU.
    pub migrations: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    /// Since when it waits, and whether after a wakeup.
    waits: Option<(u64, bool)>,
    /// The wait before its turn.
    waited: Option<(u64, bool)>,
    counts: Counts,
}

#[derive(Default)]
struct Machine {
    threads: BTreeMap<u32, Thread>,
    on: BTreeMap<u32, u32>,
}

impl Machine {
    fn thread(&mut self, tid: u32) -> &mut Thread {
        self.threads.entry(tid).or_default()
    }

    /// A line names who is on its CPU. How long one waited that came there, or left, unseen is not known.
    fn is_on(&mut self, cpu: u32, tid: u32) {
        let before = self.on.insert(cpu, tid).unwrap_or(0);
        if before != tid {
            self.thread(before).waited = None;
            self.thread(tid).waited = None;
        }
    }

    fn wakes(&mut self, now: u64, tid: u32) {
        if !self.on.values().any(|on| *on == tid) {
            let thread = self.thread(tid);
            thread.waits = thread.waits.or(Some((now, true)));
            thread.waited = None;
        }
    }

    fn switch(&mut self, now: u64, cpu: u32, prev: u32, next: u32, runnable: bool) {
        self.is_on(cpu, prev);
        let leaves = self.thread(prev);
        leaves.counts.switches += 1;
        if let Some((ns, woken)) = leaves.waited.take() {
            let sum = if woken { &mut leaves.counts.wakeup } else { &mut leaves.counts.preempted };
            *sum = (sum.0 + 1, sum.1 + ns);
        }
        leaves.waits = runnable.then_some((now, false));
        self.on.insert(cpu, next);
        let enters = self.thread(next);
        enters.waited = enters.waits.take().map(|(since, woken)| (now - since, woken));
    }
}

/// The number after the last `name=`, or after `short` in the other form of tracepoints.
fn number(text: &str, name: &str) -> Option<u32> {
    let rest = text.rsplit_once(&format!("{name}="))?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `NAME:TID [PRIO] ...`: the name can hold anything.
fn short(text: &str) -> Option<(u32, &str)> {
    let (before, after) = text.rsplit_once(" [")?;
    Some((before.rsplit_once(':')?.1.parse().ok()?, after.split_once(']')?.1.trim_start()))
}

fn switched(text: &str) -> Option<(u32, bool, u32)> {
    let (prev, next) = text.split_once(" ==> ")?;
    match number(prev, " prev_pid") {
        Some(tid) => {
            let state = prev.rsplit_once("prev_state=")?.1;
            Some((tid, state.starts_with('R'), number(next, " next_pid")?))
        }
        None => {
            let (tid, state) = short(prev)?;
            Some((tid, state.starts_with('R'), short(next)?.0))
        }
    }
}

fn woken(text: &str) -> Option<u32> {
    number(text, " pid").or_else(|| Some(short(text)?.0))
}

/// Counts by thread id. The idle thread is none.
pub fn count(script: &str) -> BTreeMap<u32, Counts> {
    let waking = if script.contains("sched:sched_wakeup: ") { "sched_wakeup" } else { "sched_waking" };
    let mut machine = Machine::default();
    for line in script.lines() {
        let Some((tid, cpu, now, event, text)) = split(line) else { continue };
        if let Some(tid) = tid.filter(|_| event != "sched_switch") {
            machine.is_on(cpu, tid);
        }
        match event {
            "sched_switch" => {
                if let Some((prev, runnable, next)) = switched(text) {
                    machine.switch(now, cpu, prev, next, runnable);
                }
            }
            "sched_migrate_task" => {
                if let Some(tid) = woken(text).filter(|_| number(text, "orig_cpu") != number(text, "dest_cpu")) {
                    machine.thread(tid).counts.migrations += 1;
                }
            }
            _ if event == waking || event == "sched_wakeup_new" => {
                if let Some(tid) = woken(text) {
                    machine.wakes(now, tid);
                }
            }
            _ => {}
        }
    }
    machine.threads.into_iter().filter(|(tid, _)| *tid != 0).map(|(tid, thread)| (tid, thread.counts)).collect()
}

/// `TID [CPU] SECONDS.NANOSECONDS: sched:EVENT: TEXT`
fn split(line: &str) -> Option<(Option<u32>, u32, u64, &str, &str)> {
    let (tid, rest) = line.trim_start().split_once(' ')?;
    let (cpu, rest) = rest.trim_start().strip_prefix('[')?.split_once(']')?;
    let (time, rest) = rest.trim_start().split_once(": ")?;
    let (seconds, ns) = time.split_once('.')?;
    let (event, text) = rest.trim_start().strip_prefix("sched:")?.split_once(':')?;
    let now = seconds.parse::<u64>().ok()? * 1_000_000_000 + ns.parse::<u64>().ok()?;
    // -1 is one that has ended.
    Some((tid.parse().ok(), cpu.parse().ok()?, now, event, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_in_both_forms() {
        let text = "\
    0 [000]   1.000000100: sched:sched_waking: comm=a b pid=7 prio=120 target_cpu=000
    0 [000]   1.000000150: sched:sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=a b next_pid=7 next_prio=120
    7 [000]   1.000000160:   sched:sched_switch: a b:7 [120] R+ ==> c:1:8 [120]
    8 [000]   1.000000200:   sched:sched_switch: c:1:8 [120] S ==> a b:7 [120]
    7 [000]   1.000000210:   sched:sched_switch: a b:7 [120] S ==> swapper/0:0 [120]
";
        let counts = count(text);
        let expected = Counts { switches: 2, wakeup: (1, 50), preempted: (1, 40), migrations: 0 };
        assert_eq!((counts[&7], counts[&8].switches), (expected, 1));
    }
}
