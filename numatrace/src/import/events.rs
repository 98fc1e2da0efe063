//! Records of a perf.data file to events of the scheduler, in the order of the file. What is of no use is passed over; what
//! cannot be read is counted.

use std::collections::HashMap;

use numatrace_common::wait::TASK_DEAD;

use super::bytes::{comm, u16_at, u32_at, u64_at};
use super::formats::{Field, Format};
use super::header::{Attr, Header, section};
use super::replay::GONE;
use super::sample::{Common, Layout};
use super::{ImportError, formats};

/// Thread ids are smaller than this (`PID_MAX_LIMIT`).
const IDS: usize = 1 << 22;
/// `PERF_RECORD_MISC_COMM_EXEC`
const BY_EXEC: u16 = 1 << 13;

/// Types of records (`enum perf_event_type`).
mod record {
    pub(super) const LOST: u32 = 2;
    pub(super) const COMM: u32 = 3;
    pub(super) const FORK: u32 = 7;
    pub(super) const SAMPLE: u32 = 9;
    pub(super) const LOST_SAMPLES: u32 = 13;
}

/// Something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// When; 0 for what was so before.
    pub(super) ts: u64,
    /// Where.
    pub(super) cpu: u16,
    /// Who was on that CPU; all ones for a thread that has ended.
    pub(super) tid: u32,
    /// Its process.
    pub(super) tgid: u32,
    pub(super) what: What,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `state` is that of the probes: 0 still runnable, 0x80 dead, 1 anything else.
    Switch {
        prev: u32,
        next: u32,
        state: u32,
        preempt: bool,
    },
    Waking {
        tid: u32,
        cpu: u16,
    },
    Wakeup {
        tid: u32,
        cpu: u16,
        new: bool,
    },
    Migrate {
        tid: u32,
        from: u16,
        to: u16,
    },
    Fork {
        tid: u32,
        tgid: u32,
        parent: u32,
    },
    Comm {
        tid: u32,
        tgid: u32,
        comm: [u8; 16],
        exec: bool,
    },
    /// The name of a thread that no record names, as a tracepoint says it.
    Name {
        tid: u32,
        comm: [u8; 16],
    },
    /// So many events did not fit into perf's buffers.
    Lost(u32),
    /// So many in all, as the kernel says in the end: the same ones.
    LostInAll(u32),
}

impl What {
    /// The scheduler did it: the file's time begins with the first such event.
    pub(super) const fn is_traced(&self) -> bool {
        matches!(self, What::Switch { .. } | What::Waking { .. } | What::Wakeup { .. } | What::Migrate { .. })
    }
}

/// A tracepoint and where its fields lie.
#[derive(Clone, Copy, Debug)]
enum Tracepoint {
    Switch {
        prev: [Field; 2],
        next: [Field; 2],
        state: Field,
    },
    Waking {
        of: [Field; 2],
        cpu: Field,
    },
    Wakeup {
        of: [Field; 2],
        cpu: Field,
        new: bool,
    },
    Migrate {
        of: [Field; 2],
        from: Field,
        to: Field,
    },
    /// Where there are no records of births.
    Fork {
        child: Field,
        parent: Field,
    },
}

/// What the bits of `prev_state` mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct States {
    dead: u64,
    preempted: u64,
}

impl States {
    fn of(format: &Format) -> States {
        let mut states = States { dead: 0, preempted: 0 };
        for (bits, letter) in format.letters() {
            if matches!(letter, "X" | "Z" | "x") {
                states.dead |= u64::from(bits);
            }
            // One above all states, whatever they are: `TASK_REPORT_MAX`, or `TASK_STATE_MAX` before 4.14.
            states.preempted = states.preempted.max(u64::from(bits) << 1);
        }
        if states.dead == 0 { States { dead: 0x30, preempted: 0x100 } } else { states }
    }

    fn read(self, state: u64) -> (u32, bool) {
        let preempt = state & self.preempted != 0;
        let state = match state & (self.preempted - 1) {
            0 => 0,
            bits if bits & self.dead != 0 => TASK_DEAD,
            _ => 1,
        };
        (state, preempt)
    }
}

/// Which events a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Has {
    pub(super) waking: bool,
    pub(super) wakeup: bool,
    pub(super) wakeup_new: bool,
    pub(super) migrate: bool,
    /// Births of threads, by a tracepoint or by records.
    pub(super) fork: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Decoder {
    /// By the number that samples begin with, those of most samples first.
    tracepoints: Vec<(u16, Tracepoint)>,
    states: States,
    /// Of all samples, or by id.
    layout: Layout,
    by_id: HashMap<u64, Layout>,
    trailer: Attr,
    /// Threads that have a name.
    named: Vec<u64>,
    pub(super) has: Has,
    /// Records that could not be read.
    pub(super) unreadable: u64,
    /// Switches, and those of which the sample names another thread than the event: perf counted ids in a namespace.
    switches: u64,
    strange: u64,
}

impl Decoder {
    /// Most switches that were read so far are of other threads than their samples say.
    pub(super) const fn has_other_ids(&self) -> bool {
        self.strange > self.switches / 2
    }

    pub(super) fn new(header: &Header) -> Result<Decoder, ImportError> {
        let data = header.section(section::TRACING_DATA).ok_or(ImportError::NoSwitches)?;
        let formats = formats::read(data).ok_or(ImportError::Header("the description of its events"))?;
        let traced: Vec<&Attr> = header.attrs.iter().filter(|attr| attr.tracepoint().is_some()).collect();
        let format = |name: &str| {
            formats
                .iter()
                .find(|format| format.name == name)
                .filter(|format| traced.iter().any(|attr| attr.tracepoint() == Some(u64::from(format.id))))
        };
        let tells_lives = header.attrs.iter().any(Attr::tells_lives);
        let switch = format("sched_switch").ok_or(ImportError::NoSwitches)?;
        let mut tracepoints = Vec::new();
        for name in SUPPORTED {
            if let Some(format) = format(name).filter(|_| name != "sched_process_fork" || !tells_lives) {
                let tracepoint = tracepoint(format).ok_or(ImportError::Lacks("fields that are needed"))?;
                tracepoints.push((format.id, tracepoint));
            }
        }
        let has = |name| format(name).is_some();
        let (layout, by_id) = layouts(header, &traced)?;
        Ok(Decoder {
            tracepoints,
            states: States::of(switch),
            layout,
            by_id,
            trailer: header.attrs.first().cloned().unwrap_or_default(),
            named: vec![0; IDS / 64],
            has: Has {
                waking: has("sched_waking"),
                wakeup: has("sched_wakeup"),
                wakeup_new: has("sched_wakeup_new"),
                migrate: has("sched_migrate_task"),
                fork: tells_lives || has("sched_process_fork"),
            },
            unreadable: 0,
            switches: 0,
            strange: 0,
        })
    }

    /// Takes in one record: its type, its flags and what follows its header.
    #[inline]
    pub(super) fn take(&mut self, kind: u32, misc: u16, body: &[u8], out: &mut Vec<Event>) {
        let readable = match kind {
            record::SAMPLE => self.sample(body, out),
            record::LOST => self.other(body, out, |body| Some(What::Lost(number(body, 8)?))),
            record::LOST_SAMPLES => self.other(body, out, |body| Some(What::LostInAll(number(body, 0)?))),
            record::COMM => self.other(body, out, |body| {
                let (tgid, tid) = (u32_at(body, 0)?, u32_at(body, 4)?);
                Some(What::Comm { tid, tgid, comm: comm(body.get(8..)?), exec: misc & BY_EXEC != 0 })
            }),
            record::FORK => self.other(body, out, |body| {
                let (tgid, tid, parent) = (u32_at(body, 0)?, u32_at(body, 8)?, u32_at(body, 12)?);
                Some(What::Fork { tid, tgid, parent })
            }),
            _ => Some(()),
        };
        if readable.is_none() {
            self.unreadable = self.unreadable.saturating_add(1);
        }
    }

    fn other(&mut self, body: &[u8], out: &mut Vec<Event>, read: impl FnOnce(&[u8]) -> Option<What>) -> Option<()> {
        let what = read(body)?;
        let Common { tid, tgid, time, cpu } = Common::at_end(&self.trailer, body).unwrap_or_default();
        if let What::Comm { tid, .. } | What::Fork { tid, .. } = what {
            self.is_first_name_of(tid);
        }
        out.push(Event { ts: time, cpu, tid, tgid, what });
        Some(())
    }

    #[inline]
    fn sample(&mut self, body: &[u8], out: &mut Vec<Event>) -> Option<()> {
        let layout = match self.by_id.is_empty() {
            true => &self.layout,
            false => match self.by_id.get(&u64_at(body, 0)?) {
                Some(layout) => layout,
                // Of an event that is none of ours.
                None => return Some(()),
            },
        };
        let (Common { tid, tgid, time, cpu }, raw) = layout.sample(body)?;
        let number = u16_at(raw, 0)?;
        let Some((_, tracepoint)) = self.tracepoints.iter().find(|(of, _)| *of == number) else { return Some(()) };
        let mut names: [Option<(u32, Field)>; 2] = [None; 2];
        let what = match *tracepoint {
            Tracepoint::Switch { prev, next, state } => {
                let (state, preempt) = self.states.read(state.number(raw)?);
                let (of_prev, of_next) = (prev[0].id(raw)?, next[0].id(raw)?);
                names = [Some((of_prev, prev[1])), Some((of_next, next[1]))];
                self.switches += 1;
                self.strange += u64::from(tid != of_prev && tid != GONE);
                What::Switch { prev: of_prev, next: of_next, state, preempt }
            }
            Tracepoint::Waking { of, cpu } => {
                let tid = of[0].id(raw)?;
                names[0] = Some((tid, of[1]));
                What::Waking { tid, cpu: cpu.cpu(raw)? }
            }
            Tracepoint::Wakeup { of, cpu, new } => {
                let tid = of[0].id(raw)?;
                names[0] = Some((tid, of[1]));
                What::Wakeup { tid, cpu: cpu.cpu(raw)?, new }
            }
            Tracepoint::Migrate { of, from, to } => {
                let tid = of[0].id(raw)?;
                names[0] = Some((tid, of[1]));
                What::Migrate { tid, from: from.cpu(raw)?, to: to.cpu(raw)? }
            }
            Tracepoint::Fork { child, parent } => {
                What::Fork { tid: child.id(raw)?, tgid: child.id(raw)?, parent: parent.id(raw)? }
            }
        };
        for (of, name) in names.into_iter().flatten() {
            if self.is_first_name_of(of) {
                let what = What::Name { tid: of, comm: name.comm(raw) };
                out.push(Event { ts: time, cpu, tid, tgid, what });
            }
        }
        out.push(Event { ts: time, cpu, tid, tgid, what });
        Some(())
    }

    /// It had no name until now. Of ids that no kernel gives nothing is kept.
    #[inline]
    fn is_first_name_of(&mut self, tid: u32) -> bool {
        let Some(word) = self.named.get_mut(tid as usize / 64) else { return false };
        let bit = 1 << (tid % 64);
        let first = *word & bit == 0 && tid != 0;
        *word |= bit;
        first
    }
}

/// A number that is no larger than an [`Event`] has place for, or that.
fn number(body: &[u8], at: usize) -> Option<u32> {
    u64_at(body, at).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// Tracepoints that are read, those of which there are most first.
const SUPPORTED: [&str; 6] =
    ["sched_switch", "sched_waking", "sched_wakeup", "sched_migrate_task", "sched_wakeup_new", "sched_process_fork"];

fn tracepoint(format: &Format) -> Option<Tracepoint> {
    let field = |name: &str| format.field(name);
    let of = || Some([field("pid")?, field("comm").unwrap_or_default()]);
    Some(match format.name.as_str() {
        "sched_switch" => Tracepoint::Switch {
            prev: [field("prev_pid")?, field("prev_comm").unwrap_or_default()],
            next: [field("next_pid")?, field("next_comm").unwrap_or_default()],
            state: field("prev_state")?,
        },
        "sched_waking" => Tracepoint::Waking { of: of()?, cpu: field("target_cpu")? },
        "sched_wakeup" => Tracepoint::Wakeup { of: of()?, cpu: field("target_cpu")?, new: false },
        "sched_wakeup_new" => Tracepoint::Wakeup { of: of()?, cpu: field("target_cpu")?, new: true },
        "sched_migrate_task" => Tracepoint::Migrate { of: of()?, from: field("orig_cpu")?, to: field("dest_cpu")? },
        "sched_process_fork" => Tracepoint::Fork { child: field("child_pid")?, parent: field("parent_pid")? },
        _ => return None,
    })
}

/// How samples are laid out: all alike, which they are where `perf sched` recorded, or by the id that they begin with.
fn layouts(header: &Header, traced: &[&Attr]) -> Result<(Layout, HashMap<u64, Layout>), ImportError> {
    let layout_of = |attr: &Attr| Layout::of(attr).map_err(ImportError::Lacks);
    let first = layout_of(traced.first().ok_or(ImportError::NoSwitches)?)?;
    let with_samples = header.attrs.iter().filter(|attr| !attr.is_dummy());
    if with_samples.clone().all(|attr| Layout::of(attr).is_ok_and(|layout| layout == first)) {
        return Ok((first, HashMap::new()));
    }
    let mut by_id = HashMap::new();
    for attr in traced {
        let layout = layout_of(attr)?;
        by_id.extend(attr.ids.iter().map(|id| (*id, layout)));
    }
    // All begin with it, or it is not known which sample is whose.
    if by_id.values().all(Layout::begins_with_id) && !by_id.is_empty() {
        return Ok((first, by_id));
    }
    Err(ImportError::Lacks("an id, among events that differ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_mean_what_the_print_format_says() {
        let states = States { dead: 0x30, preempted: 0x100 };
        assert_eq!(States::of(&Format::default()), states);
        assert_eq!(
            [0, 0x100, 1, 0x102, 0x10, 0x20, 0x80].map(|state| states.read(state)),
            [(0, false), (0, true), (1, false), (1, true), (TASK_DEAD, false), (TASK_DEAD, false), (1, false)]
        );
    }

    #[test]
    fn an_event_is_small() {
        assert!(size_of::<Event>() <= 48, "{}", size_of::<Event>());
    }
}
