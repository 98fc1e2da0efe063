//! The table of events: a row a turn on a CPU with the wait before it, a migration, page touches counted between two ticks, a
//! place that page touches came from, and what happened in the life of a thread.
//!
//! [`COLUMNS`] is the one definition of its columns; docs/export.md has the same list, and a test holds them together.

use numatrace_common::abi::{Migrate, NO_CPU, NO_TID, Slice, Touches, Where, slice_flags, task_event, touch};
use numatrace_common::cause::Cause;

use crate::decode::Event;
use crate::model::Model;
use crate::recording::Timeline;
use crate::report::cells::Value;
use crate::topology::{Level, Topology};
use crate::words;

use super::table::{Column, Rows, Type};
use super::walk::{Step, walk};
use super::{ExportError, Progress, Subject, Summary};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventColumn {
    /// Its name.
    pub name: &'static str,
    /// A cell without a value.
    empty: Value<'static>,
    /// What it says, for docs/export.md.
    pub about: &'static str,
}

impl EventColumn {
    /// What it holds.
    pub const fn holds(&self) -> Type {
        Type::of(&self.empty)
    }
}

macro_rules! columns {
    ($($id:ident $name:literal $ty:ident $about:literal)+) => {
        /// A position in [`COLUMNS`].
        #[derive(Clone, Copy)]
        enum C { $($id,)+ }

        /// All columns in their order.
        pub const COLUMNS: &[EventColumn] =
            &[$(EventColumn { name: $name, empty: Value::$ty(None), about: $about },)+];

        const EMPTY: [Value<'static>; COLUMNS.len()] = [$(Value::$ty(None),)+];
    };
}

columns! {
    Recording "recording" Text "what the recording is called: `--label`, else the name of its file without its ending"
    Time "time" Time "when, UTC; of a turn its end"
    MonoNs "mono_ns" Number "the same in ns of `CLOCK_MONOTONIC`"
    EventKind "event" Text "`turn`, `migration`, `touches`, `place`, or of the life of a thread `seen` (it was there already), `new`, `exec`, `rename`, `exit`, `untracked` (no target any more)"
    Tid "tid" Small "the thread"
    Pid "pid" Small "its process"
    Comm "comm" Text "the thread's name at that moment, escaped as everywhere"
    Cpu "cpu" Small "turn: where it ran; migration: where it goes; life: where that was noticed"
    Node "node" Small "the node of `cpu`, by the kernel's number; touches: the node of the CPU that touched"
    FromCpu "from_cpu" Small "turn: where it ran before; migration: what it leaves"
    FromNode "from_node" Small "the node of `from_cpu`"
    WaitKind "wait_kind" Text "turn: how the wait before it began: `wakeup`, `new` (the first wakeup, which reports count to wakeup) or `preempted`; absent where no wait is known"
    WaitNs "wait_ns" Number "turn: how long it was runnable before it ran; absent where no wait is known"
    ThrottledNs "throttled_ns" Number "turn: the part of `wait_ns` that a CPU quota caused, to 1/63 of it; absent where that is not measured"
    SliceNs "slice_ns" Number "turn: how long it ran"
    QueuedCpu "queued_cpu" Small "turn: the CPU on which it was queued when the wait began"
    WakerTid "waker_tid" Small "turn: who woke it; 0 is the idle task or an interrupt while idle"
    WakerComm "waker_comm" Text "its name, where known"
    HolderTid "holder_tid" Small "turn: who had the CPU when the wait began"
    HolderComm "holder_comm" Text "its name, where known"
    HolderOwn "holder_own" Flag "turn: the holder is of the same process; absent where that is not measured"
    PrevTid "prev_tid" Small "turn: who ran right before it on that CPU"
    PrevComm "prev_comm" Text "its name, where known"
    PrevOwn "prev_own" Flag "turn: that one is of the same process; absent where that is not measured"
    PrevRanNs "prev_ran_ns" Number "turn: how long that one had run, to 1,024 ns"
    Voluntary "voluntary" Flag "turn: its end counts as a voluntary switch"
    Runnable "runnable" Flag "turn: at its end the thread could have gone on"
    LastTurn "last_turn" Flag "turn: the thread was dead then"
    Clipped "clipped" Flag "turn: wait or turn began before tracing did; a turn counts from there, a wait from the kernel's stamp"
    Level "level" Text "migration: the closest thing that both CPUs share: `smt`, `llc`, `node` or `cross_node`; absent where the place of a CPU is not known"
    CauseName "cause" Text "migration: `wakeup`, `load_balance`, `active_balance_or_affinity`, `numa_balancing`, `hotplug` or `other`"
    ByTid "by_tid" Small "migration: who was running on the CPU that moved it"
    ByComm "by_comm" Text "its name, where known"
    ByCpu "by_cpu" Small "migration: the CPU that moved it"
    TouchKind "touch_kind" Text "touches: `first_touch`, `file`, `cow`, `huge`, `zero`, `other`; also counted in this way: `hint_local`, `hint_remote` (NUMA hint faults), `pages_migrated`"
    PageNode "page_node" Small "touches: the node of the pages; absent where it is not known"
    Locality "locality" Text "touches: `local`, `remote` or `unknown`, as reports count them"
    Touches "touches" Number "touches: how many since the tick before; exact"
    Mapping "mapping" Text "place: the mapping that was touched"
    Symbol "symbol" Text "place: the function, else file and offset"
    Stack "stack" Text "place: its callers, a line each, innermost first; with `record --stacks`"
    Local "local" Number "place: local touches from there since the tick before, an estimate from samples"
    Remote "remote" Number "place: remote ones"
    ParentPid "parent_pid" Small "life: the process that made it"
}

/// The columns as any table has them.
pub fn columns() -> Vec<Column> {
    COLUMNS.iter().map(|column| Column { name: column.name.into(), holds: column.holds() }).collect()
}

/// Writes a row for each event of the part.
///
/// # Errors
/// When the recording cannot be read, nobody was selected, or `rows` cannot take them.
pub fn write<T: Timeline>(
    timeline: T,
    subject: &Subject,
    mut rows: Box<dyn Rows + '_>,
    progress: Progress<'_, T>,
) -> Result<Summary, ExportError> {
    let machine = Machine::new(&timeline);
    let mut written = 0u64;
    let mut summary = walk(timeline, &subject.part, progress, &mut |model, step| {
        let Step::Event(event) = step else { return Ok(()) };
        machine.rows(model, event, &subject.label, &mut |row| {
            written += 1;
            rows.row(row)
        })
    })?;
    if subject.part.is_selective() && written == 0 {
        return Err(ExportError::Nobody);
    }
    summary.rows = written;
    rows.finish(&summary)?;
    Ok(summary)
}

type Row<'a> = [Value<'a>; COLUMNS.len()];
type Take<'a> = &'a mut dyn FnMut(&[Value<'_>]) -> Result<(), ExportError>;

/// What does not change while a recording is read.
struct Machine {
    topology: Topology,
    throttled: bool,
    owners: bool,
}

impl Machine {
    fn new(timeline: &impl Timeline) -> Machine {
        let head = timeline.head();
        let waits = head.meta.waits;
        Machine { topology: head.topology.clone(), throttled: waits.throttled, owners: waits.owners }
    }

    fn rows(&self, model: &Model, event: &Event, label: &str, take: Take<'_>) -> Result<(), ExportError> {
        let mut row = EMPTY;
        let begin = |row: &mut Row<'_>, kind: &'static str| {
            let wall = i64::try_from(model.wall_ns(event.ts())).ok();
            row[C::Time as usize] = Value::Time(wall);
            row[C::MonoNs as usize] = Value::Number(Some(event.ts()));
            row[C::EventKind as usize] = Value::Text(Some(kind));
        };
        match event {
            Event::Slice(turn) => {
                begin(&mut row, "turn");
                let mut row = named(row, model, label, turn.tid, turn.tgid);
                self.turn(&mut row, turn, model);
                take(&row)
            }
            Event::Migrate(migrate) => {
                begin(&mut row, "migration");
                let mut row = named(row, model, label, migrate.tid, migrate.tgid);
                self.migration(&mut row, migrate, model);
                take(&row)
            }
            Event::Task(task) => {
                let Some(kind) = life(task.event) else { return Ok(()) };
                begin(&mut row, kind);
                let mut row = named(row, model, label, task.tid, task.tgid);
                self.cpu(&mut row, task.header.cpu, C::Cpu, C::Node);
                row[C::ParentPid as usize] = who(task.parent);
                take(&row)
            }
            Event::Touches(touches) => {
                begin(&mut row, "touches");
                let mut row = named(row, model, label, touches.tid, touches.tgid);
                self.touches(&mut row, touches, take)
            }
            Event::Where(place) => {
                begin(&mut row, "place");
                let mut row = named(row, model, label, place.tid, place.tgid);
                places(&mut row, place, model);
                take(&row)
            }
            _ => Ok(()),
        }
    }

    fn turn<'a>(&self, row: &mut Row<'a>, turn: &Slice, model: &'a Model) {
        self.cpu(row, turn.header.cpu, C::Cpu, C::Node);
        self.cpu(row, turn.header.cpu2, C::FromCpu, C::FromNode);
        let has = |flag: u16| turn.flags & flag != 0;
        let kind = match turn.flags & slice_flags::WAIT_MASK {
            slice_flags::WAIT_NONE => None,
            slice_flags::WAIT_PREEMPTED => Some("preempted"),
            slice_flags::WAIT_NEW => Some("new"),
            _ => Some("wakeup"),
        };
        if kind.is_some() {
            row[C::WaitKind as usize] = Value::Text(kind);
            row[C::WaitNs as usize] = Value::Number(Some(turn.wait_ns));
            if self.throttled {
                let throttled = slice_flags::throttled_ns(turn.flags, turn.wait_ns);
                row[C::ThrottledNs as usize] = Value::Number(Some(throttled));
            }
        }
        row[C::SliceNs as usize] = Value::Number(Some(turn.slice_ns));
        row[C::QueuedCpu as usize] = Value::Small(known_cpu(turn.queued_cpu));
        person(row, turn.waker, model, C::WakerTid, C::WakerComm);
        person(row, turn.holder, model, C::HolderTid, C::HolderComm);
        person(row, turn.prev, model, C::PrevTid, C::PrevComm);
        if turn.prev != NO_TID {
            row[C::PrevRanNs as usize] = Value::Number(Some(u64::from(turn.prev_ran) << 10));
        }
        let flags = [
            (self.owners && turn.holder != NO_TID, C::HolderOwn, slice_flags::HOLDER_OWN),
            (self.owners && turn.prev != NO_TID, C::PrevOwn, slice_flags::PREV_OWN),
            (true, C::Voluntary, slice_flags::OUT_VOLUNTARY),
            (true, C::Runnable, slice_flags::OUT_RUNNABLE),
            (true, C::LastTurn, slice_flags::OUT_DEAD),
            (true, C::Clipped, slice_flags::WAIT_SEEDED | slice_flags::SLICE_CLIPPED),
        ];
        for (_, column, flag) in flags.into_iter().filter(|(measured, ..)| *measured) {
            row[column as usize] = Value::Flag(Some(has(flag)));
        }
    }

    fn migration<'a>(&self, row: &mut Row<'a>, migrate: &Migrate, model: &'a Model) {
        let (from, to) = (migrate.header.cpu, migrate.header.cpu2);
        self.cpu(row, to, C::Cpu, C::Node);
        self.cpu(row, from, C::FromCpu, C::FromNode);
        let level = self.topology.level(from.into(), to.into());
        row[C::Level as usize] = Value::Text(level.map(Level::name));
        row[C::CauseName as usize] = Value::Text(Some(words::cause(Cause::from_number(migrate.cause))));
        person(row, migrate.by, model, C::ByTid, C::ByComm);
        row[C::ByCpu as usize] = Value::Small(known_cpu(migrate.by_cpu));
    }

    /// A row for each kind of which there were some.
    fn touches(&self, row: &mut Row<'_>, touches: &Touches, take: Take<'_>) -> Result<(), ExportError> {
        let node = |position: u16| self.topology.nodes.get(usize::from(position)).map(|node| node.id.0);
        let nodes = (node(touches.cpu_node), node(touches.page_node));
        (row[C::Node as usize], row[C::PageNode as usize]) = (Value::Small(nodes.0), Value::Small(nodes.1));
        let locality = match nodes {
            (Some(cpu), Some(page)) if cpu == page => "local",
            (Some(_), Some(_)) => "remote",
            _ => "unknown",
        };
        for ((kind, name), count) in TOUCH_KINDS.into_iter().zip(touches.counts) {
            if count == 0 {
                continue;
            }
            let page = usize::from(kind) < touch::KINDS;
            row[C::TouchKind as usize] = Value::Text(Some(name));
            row[C::Locality as usize] = Value::Text(page.then_some(locality));
            row[C::Touches as usize] = Value::Number(Some(count));
            take(row)?;
        }
        Ok(())
    }

    fn cpu(&self, row: &mut Row<'_>, cpu: u16, to: C, node: C) {
        row[to as usize] = Value::Small(known_cpu(cpu));
        let position = self.topology.node_of(cpu.into());
        let id = position.and_then(|position| self.topology.nodes.get(position)).map(|node| node.id.0);
        row[node as usize] = Value::Small(id);
    }
}

/// The rows of a thread begin so.
fn named<'a>(row: Row<'a>, model: &'a Model, label: &'a str, tid: u32, pid: u32) -> Row<'a> {
    let mut row = row;
    row[C::Recording as usize] = Value::Text(Some(label));
    row[C::Tid as usize] = Value::Small(Some(tid));
    row[C::Pid as usize] = Value::Small(Some(pid));
    row[C::Comm as usize] = Value::Text(model.name_of(tid));
    row
}

fn places<'a>(row: &mut Row<'a>, place: &Where, model: &'a Model) {
    row[C::Mapping as usize] = Value::Text(model.words(place.mapping));
    row[C::Symbol as usize] = Value::Text(model.words(place.symbol));
    row[C::Stack as usize] = Value::Text(model.words(place.stack));
    row[C::Local as usize] = Value::Number(Some(place.local));
    row[C::Remote as usize] = Value::Number(Some(place.remote));
}

/// Somebody who is spoken of.
fn person<'a>(row: &mut Row<'a>, tid: u32, model: &'a Model, id: C, name: C) {
    row[id as usize] = who(tid);
    if tid != NO_TID {
        row[name as usize] = Value::Text(model.name_of(tid));
    }
}

fn who(tid: u32) -> Value<'static> {
    Value::Small((tid != NO_TID).then_some(tid))
}

fn known_cpu(cpu: u16) -> Option<u32> {
    (cpu != NO_CPU).then_some(u32::from(cpu))
}

/// By [`touch`], as in JSON.
const TOUCH_KINDS: [(u8, &str); touch::COUNTS] = [
    (touch::FIRST, "first_touch"),
    (touch::FILE, "file"),
    (touch::COW, "cow"),
    (touch::HUGE, "huge"),
    (touch::ZERO, "zero"),
    (touch::OTHER, "other"),
    (touch::HINT_LOCAL, "hint_local"),
    (touch::HINT_REMOTE, "hint_remote"),
    (touch::MIGRATED, "pages_migrated"),
];

/// What a record of a thread's life is called; `None` for one that only tells a name.
const fn life(event: u16) -> Option<&'static str> {
    match event {
        task_event::SEEN => Some("seen"),
        task_event::NEW => Some("new"),
        task_event::EXEC => Some("exec"),
        task_event::RENAME => Some("rename"),
        task_event::EXIT => Some("exit"),
        task_event::UNTRACKED => Some("untracked"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_touches_stand_at_their_numbers() {
        for (at, (kind, _)) in TOUCH_KINDS.iter().enumerate() {
            assert_eq!(usize::from(*kind), at);
        }
    }

    #[test]
    fn names_of_columns_are_words_and_each_is_there_once() {
        let mut names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COLUMNS.len());
    }
}
