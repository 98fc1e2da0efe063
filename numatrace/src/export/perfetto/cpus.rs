//! CPUs as Perfetto knows them: events of the kernel's scheduler, from which it makes the tracks of CPUs and the states of
//! threads.
//!
//! A record tells of one turn, when it ends; turns of a CPU come in the order of their ends and do not overlap. So each CPU
//! is told as a chain of `sched_switch`: from whoever had it to the thread, and from the thread to whoever comes next. Who
//! that is shows the next record of the CPU, so the last switch of each CPU is kept until then.

use numatrace_common::config::MAX_CPUS;

use super::packets::{Packets, add_event, time};
use super::schema::{
    FtraceEvent, SchedProcessFreeFtraceEvent, SchedSwitchFtraceEvent, SchedWakingFtraceEvent, TaskNewtaskFtraceEvent,
};

/// Events of a CPU that are kept, in bytes, before they become a packet.
const BUNDLE: usize = 16 << 10;
/// Priority of a thread with nice 0: others are not in records of turns.
const PRIO: i32 = 120;
/// Priority of the idle task.
const IDLE_PRIO: i32 = 120;
/// `CLONE_THREAD`.
const CLONE_THREAD: u64 = 0x1_0000;

/// `prev_state` of a switch.
pub(super) mod state {
    /// Runnable.
    pub(in super::super) const RUNNABLE: i64 = 0;
    /// Blocked.
    pub(in super::super) const SLEEPING: i64 = 1;
    /// Dead.
    pub(in super::super) const DEAD: i64 = 0x10;
    /// Runnable, and another one was preferred (`TASK_REPORT_MAX` since kernel 4.14).
    pub(in super::super) const PREEMPTED: i64 = 0x100;

    /// What to tell of a thread that was preempted: Perfetto reads states as that kernel writes them, and takes one whose
    /// version it cannot read for 4.4, where this number is another state.
    pub(in super::super) fn preempted(kernel: &str) -> i64 {
        let number = |text: &str| text.parse::<u32>().ok();
        let mut parts = kernel.split(|c: char| !c.is_ascii_digit());
        match (parts.next().and_then(number), parts.next().and_then(number)) {
            (Some(major), Some(minor)) if (major, minor) >= (4, 14) => PREEMPTED,
            _ => RUNNABLE,
        }
    }
}

/// A turn on a CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'a> {
    pub(super) cpu: u16,
    pub(super) tid: u32,
    pub(super) comm: &'a str,
    pub(super) start: u64,
    /// `None` where it has not ended.
    pub(super) end: Option<u64>,
    /// One of [`state`].
    pub(super) left: i64,
    /// Who had the CPU right before it, where that is known: id, name, and since how long.
    pub(super) before: Option<(u32, &'a str, u64)>,
}

/// A wakeup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waking<'a> {
    pub(super) ts: u64,
    pub(super) cpu: u16,
    pub(super) tid: u32,
    pub(super) comm: &'a str,
    /// 0 for an interrupt, and where it is not known.
    pub(super) waker: u32,
}

/// What one CPU does.
#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Who has it since the last switch; 0 where that is idle or not known.
    tid: u32,
    comm: String,
    left: i64,
    /// When that one leaves, or left.
    until: Option<u64>,
    /// Time of the last switch.
    since: u64,
    /// Encoded events.
    events: Vec<u8>,
}

/// All CPUs. At most [`MAX_CPUS`], with [`BUNDLE`] bytes each: Perfetto refuses a trace with more.
pub(super) struct Cpus {
    cpus: Vec<Cpu>,
    /// Made anew for each event in the memory of the one before.
    switch: FtraceEvent,
    waking: FtraceEvent,
}

impl Cpus {
    pub(super) fn new() -> Cpus {
        Cpus {
            cpus: Vec::new(),
            switch: FtraceEvent { sched_switch: Some(SchedSwitchFtraceEvent::default()), ..FtraceEvent::default() },
            waking: FtraceEvent { sched_waking: Some(SchedWakingFtraceEvent::default()), ..FtraceEvent::default() },
        }
    }

    /// Whether there is a track for this CPU.
    pub(super) fn has(cpu: u16) -> bool {
        usize::from(cpu) < MAX_CPUS
    }

    fn cpu(cpus: &mut Vec<Cpu>, cpu: u16) -> Option<&mut Cpu> {
        let at = usize::from(cpu);
        if at >= MAX_CPUS {
            return None;
        }
        if cpus.len() <= at {
            cpus.resize_with(at + 1, Cpu::default);
        }
        cpus.get_mut(at)
    }

    /// Takes in a turn. One that begins before the end of the one before it on the same CPU, which no kernel tells, is cut at
    /// that end: gives back whether it was.
    pub(super) fn turn(&mut self, turn: &Turn<'_>, packets: &mut Packets<'_>) -> bool {
        let Some(cpu) = Self::cpu(&mut self.cpus, turn.cpu) else { return false };
        let free = cpu.until.unwrap_or(cpu.since).max(cpu.since);
        let start = turn.start.max(free);
        let end = turn.end.map(|end| end.max(start));
        if let Some((tid, comm, ran_ns)) = turn.before
            && free < start
            && tid != 0
            && tid != turn.tid
        {
            let since = start.saturating_sub(ran_ns).max(free);
            if since < start {
                cpu.switch_to(turn.cpu, since, (tid, comm), &mut self.switch);
                // What it did then is told of threads that are traced alone.
                (cpu.until, cpu.left) = (Some(start), state::SLEEPING);
            }
        }
        cpu.switch_to(turn.cpu, start, (turn.tid, turn.comm), &mut self.switch);
        (cpu.until, cpu.left) = (end, turn.left);
        cpu.hand_over(turn.cpu, BUNDLE, packets);
        start != turn.start
    }

    /// Takes in a wakeup.
    pub(super) fn waking(&mut self, waking: &Waking<'_>, packets: &mut Packets<'_>) {
        let Some(cpu) = Self::cpu(&mut self.cpus, waking.cpu) else { return };
        let event = &mut self.waking;
        (event.timestamp, event.pid) = (time(waking.ts), Some(waking.waker));
        let told = event.sched_waking.get_or_insert_default();
        set(&mut told.comm, waking.comm);
        told.pid = Some(waking.tid as i32);
        (told.prio, told.success, told.target_cpu) = (Some(PRIO), Some(1), Some(waking.cpu.into()));
        add_event(event, &mut cpu.events);
        cpu.hand_over(waking.cpu, BUNDLE, packets);
    }

    /// A thread is made: whoever has its id from now on is another one. `maker` is the process that made it.
    pub(super) fn newtask(
        &mut self,
        cpu: u16,
        ts: u64,
        (tid, tgid, maker): (u32, u32, u32),
        comm: &str,
        packets: &mut Packets<'_>,
    ) {
        let number = if Self::has(cpu) { cpu } else { 0 };
        let Some(cpu) = Self::cpu(&mut self.cpus, number) else { return };
        let of_process = tid != tgid;
        let made = TaskNewtaskFtraceEvent {
            pid: Some(tid as i32),
            comm: Some(comm.to_owned()),
            clone_flags: Some(if of_process { CLONE_THREAD } else { 0 }),
            oom_score_adj: Some(0),
        };
        let pid = Some(if of_process { tgid } else { maker });
        let event = FtraceEvent { timestamp: time(ts), pid, task_newtask: Some(made), ..FtraceEvent::default() };
        add_event(&event, &mut cpu.events);
        cpu.hand_over(number, BUNDLE, packets);
    }

    /// A thread is gone, and its id free.
    pub(super) fn freed(&mut self, cpu: u16, ts: u64, tid: u32, comm: &str, packets: &mut Packets<'_>) {
        let number = if Self::has(cpu) { cpu } else { 0 };
        let Some(cpu) = Self::cpu(&mut self.cpus, number) else { return };
        let freed =
            SchedProcessFreeFtraceEvent { comm: Some(comm.to_owned()), pid: Some(tid as i32), prio: Some(PRIO) };
        let event = FtraceEvent {
            timestamp: time(ts),
            pid: Some(0),
            sched_process_free: Some(freed),
            ..FtraceEvent::default()
        };
        add_event(&event, &mut cpu.events);
        cpu.hand_over(number, BUNDLE, packets);
    }

    /// The last switches, and all that is kept.
    pub(super) fn finish(&mut self, packets: &mut Packets<'_>) {
        for (number, cpu) in self.cpus.iter_mut().enumerate() {
            let Ok(number) = u16::try_from(number) else { return };
            cpu.leave(number, &mut self.switch);
            cpu.hand_over(number, 0, packets);
        }
    }
}

impl Cpu {
    /// Somebody gets the CPU at `ts`; who had it before left then, or earlier.
    fn switch_to(&mut self, number: u16, ts: u64, next: (u32, &str), event: &mut FtraceEvent) {
        if self.until.is_some_and(|until| until < ts) {
            self.leave(number, event);
        }
        self.switch(number, ts, next, event);
    }

    /// Who has the CPU leaves it to nobody that is known.
    fn leave(&mut self, number: u16, event: &mut FtraceEvent) {
        if let Some(until) = self.until.take() {
            self.switch(number, until, (0, ""), event);
            self.left = state::RUNNABLE;
        }
    }

    fn switch(&mut self, number: u16, ts: u64, (tid, comm): (u32, &str), event: &mut FtraceEvent) {
        (event.timestamp, event.pid) = (time(ts), Some(self.tid));
        let told = event.sched_switch.get_or_insert_default();
        set_name(&mut told.prev_comm, number, self.tid, &self.comm);
        told.prev_pid = Some(self.tid as i32);
        told.prev_prio = Some(if self.tid == 0 { IDLE_PRIO } else { PRIO });
        told.prev_state = Some(self.left);
        set_name(&mut told.next_comm, number, tid, comm);
        told.next_pid = Some(tid as i32);
        told.next_prio = Some(if tid == 0 { IDLE_PRIO } else { PRIO });
        add_event(event, &mut self.events);
        (self.tid, self.since) = (tid, ts);
        self.comm.clear();
        self.comm.push_str(comm);
    }

    fn hand_over(&mut self, number: u16, most: usize, packets: &mut Packets<'_>) {
        if self.events.len() > most {
            packets.push_bundle(number, &self.events);
            self.events.clear();
        }
    }
}

/// The idle task is called as the kernel calls it.
fn set_name(text: &mut Option<String>, cpu: u16, tid: u32, comm: &str) {
    if tid == 0 {
        use std::fmt::Write as _;
        let text = text.get_or_insert_default();
        text.clear();
        // Writing to a string cannot fail.
        let _ = write!(text, "swapper/{cpu}");
    } else {
        set(text, comm);
    }
}

fn set(text: &mut Option<String>, to: &str) {
    let text = text.get_or_insert_default();
    text.clear();
    text.push_str(to);
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::packets::Packets;
    use super::*;

    /// `(time, previous, state, next)` of each switch on one CPU, which is all that the trace holds.
    fn switches(tell: impl FnOnce(&mut Cpus, &mut Packets<'_>)) -> Vec<(u64, i32, i64, i32)> {
        #[derive(Clone, PartialEq, Message)]
        struct Trace {
            #[prost(message, repeated, tag = "1")]
            packet: Vec<Packet>,
        }
        #[derive(Clone, PartialEq, Message)]
        struct Packet {
            #[prost(message, optional, tag = "1")]
            ftrace_events: Option<Bundle>,
            #[prost(uint32, optional, tag = "10")]
            sequence: Option<u32>,
        }
        #[derive(Clone, PartialEq, Message)]
        struct Bundle {
            #[prost(uint32, optional, tag = "1")]
            cpu: Option<u32>,
            #[prost(message, repeated, tag = "2")]
            event: Vec<FtraceEvent>,
        }
        let mut bytes = Vec::new();
        let (mut cpus, mut packets) = (Cpus::new(), Packets::new(&mut bytes));
        tell(&mut cpus, &mut packets);
        cpus.finish(&mut packets);
        packets.finish().expect("a vector has room");
        let trace = Trace::decode(&*bytes).expect("a trace");
        let mut all = Vec::new();
        for packet in trace.packet {
            let bundle = packet.ftrace_events.expect("events alone");
            assert!(packet.sequence.is_some() && bundle.cpu.is_some());
            for event in bundle.event {
                let switch = event.sched_switch.expect("switches alone");
                assert_eq!(event.pid.map(|pid| pid as i32), switch.prev_pid);
                let ids =
                    (switch.prev_pid.unwrap_or(-1), switch.prev_state.unwrap_or(-1), switch.next_pid.unwrap_or(-1));
                all.push((event.timestamp.expect("a time"), ids.0, ids.1, ids.2));
            }
        }
        all
    }

    fn turn(tid: u32, start: u64, end: u64) -> Turn<'static> {
        Turn { cpu: 0, tid, comm: "x", start, end: Some(end), left: state::SLEEPING, before: None }
    }

    #[test]
    fn turns_become_a_chain_of_switches() {
        let foreign = Turn { before: Some((9, "foreign", 15)), ..turn(7, 80, 90) };
        let all = switches(|cpus, packets| {
            for turn in [turn(7, 10, 20), Turn { left: state::PREEMPTED, ..turn(8, 20, 30) }, turn(7, 40, 50), foreign]
            {
                assert!(!cpus.turn(&turn, packets));
            }
        });
        let (s, r) = (state::SLEEPING, state::RUNNABLE);
        let first = [(10, 0, r, 7), (20, 7, s, 8), (30, 8, state::PREEMPTED, 0), (40, 0, r, 7), (50, 7, s, 0)];
        assert_eq!(all[..5], first);
        assert_eq!(all[5..], [(65, 0, r, 9), (80, 9, s, 7), (90, 7, s, 0)]);
    }

    #[test]
    fn turns_that_contradict_each_other_are_cut_and_numbers_without_a_cpu_left_out() {
        let all = switches(|cpus, packets| {
            assert!(!cpus.turn(&turn(7, 10, 20), packets));
            assert!(cpus.turn(&turn(8, 15, 25), packets));
            // All of it lies in what others had.
            assert!(cpus.turn(&turn(9, 5, 24), packets));
            assert!(!cpus.turn(&Turn { cpu: 1024, ..turn(9, 5, 24) }, packets));
            // Somebody ran before it for longer than there was room.
            assert!(!cpus.turn(&Turn { before: Some((7, "x", u64::MAX)), ..turn(8, 40, 50) }, packets));
            assert!(!cpus.turn(&Turn { end: None, ..turn(7, 60, 0) }, packets));
        });
        let (s, r) = (state::SLEEPING, state::RUNNABLE);
        let cut = [(10, 0, r, 7), (20, 7, s, 8), (25, 8, s, 9), (25, 9, s, 7), (40, 7, s, 8)];
        assert_eq!(all[..5], cut);
        assert_eq!(all[5..], [(50, 8, s, 0), (60, 0, r, 7)], "the last has no end");
    }

    #[test]
    fn preempted_threads_are_told_as_the_kernel_would() {
        for (kernel, told) in [
            ("6.12.9-cloud-amd64", state::PREEMPTED),
            ("4.14", state::PREEMPTED),
            ("4.4.0", state::RUNNABLE),
            ("", state::RUNNABLE),
            ("unknown", state::RUNNABLE),
            ("99999999999.1", state::RUNNABLE),
        ] {
            assert_eq!(state::preempted(kernel), told, "{kernel}");
        }
    }
}
