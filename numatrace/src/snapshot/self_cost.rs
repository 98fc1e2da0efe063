//! What numatrace itself takes of the machine, and what it leaves out to take less.

use serde::Serialize;

/// What it took since tracing began, and lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SelfCost {
    /// CPU time of its own threads, in user mode and in the kernel.
    pub cpu_ns: u64,
    /// Time in its eBPF programs, in whatever thread they ran: an estimate from short stretches in which the kernel kept
    /// statistics of programs, and a little more than the truth, for these cost time themselves. `None` where it may not be asked to.
    pub probes_ns: Option<u64>,
    /// Resident memory, the rings that it shares with the kernel included.
    pub memory_bytes: u64,
    /// How full the fullest ring or lane was between the last two ticks: a share.
    pub ring_fill: f64,
    /// The same at most.
    pub ring_fill_max: f64,
    /// Share of all CPU time of the machine that its threads and programs took lately; without `probes_ns` its threads alone.
    pub overhead: f64,
    /// What that is to stay below; `None` where nothing was said.
    pub max_overhead: Option<f64>,
    /// What it left out.
    pub shed: Shed,
}

/// What is left out to take less.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Shed {
    /// Turns on a CPU for which one record stands at the end: 1 where each has its own.
    pub every: u32,
    /// Turns that have no record for that. Counts and sums have them; distributions are estimates from the others.
    pub turns: u64,
    /// What is not looked at, at the end.
    pub left_out: Vec<&'static str>,
    /// The last step was because records were lost; else because of `max_overhead`, as is all of `left_out`.
    pub for_loss: bool,
    /// Everything that can be left out is, and `overhead` is still above its limit.
    pub not_held: bool,
    /// When something was left out: bounded; the oldest are merged.
    pub intervals: Vec<ShedInterval>,
}

/// A time in which something was left out, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShedInterval {
    /// Its start.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// Turns for which one record stood; of merged intervals the most.
    pub every: u32,
    /// Turns without a record.
    pub turns: u64,
    /// What was not looked at; of merged intervals all of it.
    pub left_out: Vec<&'static str>,
}

impl Shed {
    /// Something is left out now.
    pub fn is_on(&self) -> bool {
        self.every > 1 || !self.left_out.is_empty()
    }
}

impl SelfCost {
    /// What was taken after `before`, if that was `start_ns` after the start; what is no sum is that of the end.
    pub fn since(&self, before: Option<&SelfCost>, start_ns: u64) -> SelfCost {
        // Intervals are in order of time, and their sum is what was left out: so what was left out before is in the first of them.
        let mut known = before.map_or(0, |before| before.shed.turns);
        let left = self.shed.intervals.iter().filter_map(|interval| {
            let of_before = interval.turns.min(known);
            known -= of_before;
            (interval.end_ns > start_ns).then(|| ShedInterval {
                start_ns: interval.start_ns.saturating_sub(start_ns),
                end_ns: interval.end_ns - start_ns,
                turns: interval.turns - of_before,
                ..interval.clone()
            })
        });
        let less = |now: u64, before: Option<u64>| now.saturating_sub(before.unwrap_or(0));
        SelfCost {
            cpu_ns: less(self.cpu_ns, before.map(|before| before.cpu_ns)),
            probes_ns: self.probes_ns.map(|now| less(now, before.and_then(|before| before.probes_ns))),
            shed: Shed {
                turns: less(self.shed.turns, before.map(|before| before.shed.turns)),
                intervals: left.collect(),
                ..self.shed.clone()
            },
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_has_the_turns_of_its_time() {
        let interval =
            |start_ns, end_ns, turns| ShedInterval { start_ns, end_ns, every: 4, turns, left_out: Vec::new() };
        let at = |cpu_ns, intervals: &[ShedInterval]| SelfCost {
            cpu_ns,
            probes_ns: Some(cpu_ns / 2),
            shed: Shed {
                every: 4,
                turns: intervals.iter().map(|interval| interval.turns).sum(),
                intervals: intervals.to_vec(),
                ..Shed::default()
            },
            ..SelfCost::default()
        };
        let before = at(100, &[interval(0, 10, 50), interval(20, 90, 700)]);
        let now = at(300, &[interval(0, 10, 50), interval(20, 100, 800), interval(110, 120, 60)]);
        let made = now.since(Some(&before), 90);
        assert_eq!((made.cpu_ns, made.probes_ns, made.shed.turns), (200, Some(100), 160));
        assert_eq!(made.shed.intervals, [interval(0, 10, 100), interval(20, 30, 60)]);
        assert_eq!(now.since(None, 0), now);
    }
}
