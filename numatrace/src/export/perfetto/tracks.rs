//! Tracks of our own beside those that Perfetto makes of scheduler events: waits and migrations of threads, moves between
//! nodes, counters, times without records.
//!
//! Texts are told once and then named by numbers ("interned"): the fixed ones at the start, names of threads as they come. Of
//! more than [`MOST_TEXTS`] all are forgotten and told again.

use std::collections::HashMap;

use super::packets::{Packets, sequence, time};
use super::schema::{
    CounterDescriptor, DebugAnnotation, DebugAnnotationName, EventCategory, EventName, InternedData, InternedString,
    ORDER_EXPLICIT, SEQ_INCREMENTAL_STATE_CLEARED, SEQ_NEEDS_INCREMENTAL_STATE, ThreadDescriptor, TracePacket,
    TrackDescriptor, TrackEvent,
};

/// Names of threads that are interned.
const MOST_TEXTS: usize = 16_384;

/// Ids of tracks begin here, so that they are none of another trace in the same file.
const FIRST: u64 = 0x4e75_6d61 << 16;

/// Ids of tracks.
pub(super) mod track {
    use super::FIRST;

    /// All that belongs to no thread.
    pub(in super::super) const ROOT: u64 = FIRST;
    /// Times in which records were lost.
    pub(in super::super) const LOST: u64 = FIRST + 1;
    /// Moves between nodes: has a track for each node.
    pub(in super::super) const MOVES: u64 = FIRST + 2;

    /// A counter.
    pub(in super::super) const fn counter(number: u64) -> u64 {
        FIRST + 0x100 + number
    }

    /// A CPU of which a source saw nothing.
    pub(in super::super) const fn gap(cpu: u32) -> u64 {
        FIRST + 0x1_0000 + cpu as u64
    }

    /// A node, by its position.
    pub(in super::super) const fn node(position: usize) -> u64 {
        FIRST + (1 << 34) + position as u64
    }

    /// A thread, by the number of its life.
    pub(in super::super) const fn thread(life: u64) -> u64 {
        FIRST + (1 << 36) + life
    }
}

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($variant),+ }

        impl $name {
            const TEXTS: &[&str] = &[$($text),+];

            /// Its number: 0 is none.
            const fn iid(self) -> u64 {
                self as u64 + 1
            }
        }
    };
}

texts!(
    /// What is seen on a track.
    Name {
        WaitWakeup = "waiting after wakeup",
        WaitPreempted = "waiting after preemption",
        WaitNew = "waiting, new thread",
        Migration = "migration",
        CrossNode = "cross-node migration",
        Lost = "records lost",
        Gap = "not seen",
        Recording = "recording",
        Incomplete = "incomplete",
    }
);

texts!(
    /// What is told of it.
    Key {
        Waker = "waker",
        WakerTid = "waker_tid",
        QueuedCpu = "queued_cpu",
        Cpu = "cpu",
        Holder = "held_by",
        HolderTid = "held_by_tid",
        Prev = "ran_before",
        PrevTid = "ran_before_tid",
        PrevRan = "ran_before_ns",
        Throttled = "throttled_ns",
        Cause = "cause",
        Level = "level",
        FromCpu = "from_cpu",
        ToCpu = "to_cpu",
        FromNode = "from_node",
        ToNode = "to_node",
        By = "by",
        ByTid = "by_tid",
        Tid = "tid",
        Away = "away_ns",
        Records = "records",
        Source = "source",
    }
);

texts!(
    /// What a kind of events is about.
    Category {
        Wait = "wait",
        Migration = "migration",
        NodeMove = "node_move",
        Loss = "loss",
        Info = "info",
    }
);

/// See the module.
pub(super) struct Tracks {
    /// Made anew for each event in the memory of the one before.
    packet: TracePacket,
    texts: HashMap<Box<str>, u64>,
    begun: bool,
}

impl Tracks {
    pub(super) fn new() -> Tracks {
        let packet = TracePacket {
            trusted_packet_sequence_id: Some(sequence::TRACKS),
            track_event: Some(TrackEvent::default()),
            ..TracePacket::default()
        };
        Tracks { packet, texts: HashMap::new(), begun: false }
    }

    /// Begins an event. What is told of it comes next, and [`Tracks::push`] at last.
    pub(super) fn event(&mut self, ts: u64, kind: i32, uuid: u64) -> &mut TrackEvent {
        let cleared = !self.begun || self.texts.len() >= MOST_TEXTS;
        self.packet.timestamp = time(ts);
        self.packet.sequence_flags = Some(SEQ_NEEDS_INCREMENTAL_STATE);
        self.packet.interned_data = None;
        if cleared {
            self.begun = true;
            self.texts.clear();
            self.packet.sequence_flags = Some(SEQ_NEEDS_INCREMENTAL_STATE | SEQ_INCREMENTAL_STATE_CLEARED);
            self.packet.interned_data = Some(fixed_texts());
        }
        let event = self.packet.track_event.get_or_insert_default();
        event.category_iids.clear();
        event.debug_annotations.clear();
        event.flow_ids.clear();
        (event.name, event.name_iid) = (None, None);
        event.double_counter_value = None;
        (event.r#type, event.track_uuid) = (Some(kind), Some(uuid));
        event
    }

    /// The same with one of the fixed names.
    pub(super) fn named(&mut self, ts: u64, kind: i32, uuid: u64, name: Name, category: Category) -> &mut TrackEvent {
        let event = self.event(ts, kind, uuid);
        event.name_iid = Some(name.iid());
        event.category_iids.push(category.iid());
        event
    }

    /// The same with a name of its own.
    pub(super) fn called(&mut self, ts: u64, kind: i32, uuid: u64, name: &str, category: Category) -> &mut TrackEvent {
        let event = self.event(ts, kind, uuid);
        event.name = Some(name.to_owned());
        event.category_iids.push(category.iid());
        event
    }

    fn tell(&mut self, annotation: DebugAnnotation) {
        self.packet.track_event.get_or_insert_default().debug_annotations.push(annotation);
    }

    /// Tells a number.
    pub(super) fn number(&mut self, key: Key, value: u64) {
        let name_iid = Some(key.iid());
        self.tell(DebugAnnotation { name_iid, uint_value: Some(value), ..DebugAnnotation::default() });
    }

    /// Tells a text that comes often.
    pub(super) fn text(&mut self, key: Key, text: &str) {
        let iid = match self.texts.get(text) {
            Some(iid) => *iid,
            None => {
                let iid = self.texts.len() as u64 + 1;
                self.texts.insert(text.into(), iid);
                let interned = self.packet.interned_data.get_or_insert_default();
                let str = Some(text.as_bytes().to_vec());
                interned.debug_annotation_string_values.push(InternedString { iid: Some(iid), str });
                iid
            }
        };
        let name_iid = Some(key.iid());
        self.tell(DebugAnnotation { name_iid, string_value_iid: Some(iid), ..DebugAnnotation::default() });
    }

    /// Tells a text that comes once.
    pub(super) fn sentence(&mut self, key: &str, text: &str) {
        let (name, string_value) = (Some(key.to_owned()), Some(text.to_owned()));
        self.tell(DebugAnnotation { name, string_value, ..DebugAnnotation::default() });
    }

    /// Hands over the event.
    pub(super) fn push(&mut self, packets: &mut Packets<'_>) {
        packets.push(&self.packet);
    }
}

fn fixed_texts() -> InternedData {
    let numbered = |texts: &[&str]| -> Vec<(Option<u64>, Option<String>)> {
        (1u64..).map(Some).zip(texts.iter().map(|text| Some((*text).to_owned()))).collect()
    };
    let names = numbered(Name::TEXTS).into_iter().map(|(iid, name)| EventName { iid, name });
    let keys = numbered(Key::TEXTS).into_iter().map(|(iid, name)| DebugAnnotationName { iid, name });
    let categories = numbered(Category::TEXTS).into_iter().map(|(iid, name)| EventCategory { iid, name });
    InternedData {
        event_names: names.collect(),
        debug_annotation_names: keys.collect(),
        event_categories: categories.collect(),
        debug_annotation_string_values: Vec::new(),
    }
}

/// A track below another one, at a place among its siblings.
pub(super) fn describe(uuid: u64, parent: Option<u64>, name: &str, rank: i32) -> TrackDescriptor {
    TrackDescriptor {
        uuid: Some(uuid),
        parent_uuid: parent,
        name: Some(name.to_owned()),
        child_ordering: Some(ORDER_EXPLICIT),
        sibling_order_rank: Some(rank),
        ..TrackDescriptor::default()
    }
}

/// The track of a thread: what is on it stands below the thread's states.
pub(super) fn describe_thread(uuid: u64, tid: u32, tgid: u32) -> TrackDescriptor {
    let thread = ThreadDescriptor { pid: Some(tgid as i32), tid: Some(tid.into()) };
    TrackDescriptor { uuid: Some(uuid), thread: Some(thread), ..TrackDescriptor::default() }
}

/// Hands over a description. Descriptions come before what is on the track.
pub(super) fn push_description(descriptor: TrackDescriptor, packets: &mut Packets<'_>) {
    packets.push(&TracePacket {
        trusted_packet_sequence_id: Some(sequence::TRACKS),
        track_descriptor: Some(descriptor),
        ..TracePacket::default()
    });
}

/// What a counter counts.
pub(super) fn counter(descriptor: TrackDescriptor, unit: Option<i32>, unit_name: Option<&str>) -> TrackDescriptor {
    let counter = CounterDescriptor { unit, unit_name: unit_name.map(str::to_owned) };
    TrackDescriptor { counter: Some(counter), child_ordering: None, ..descriptor }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::Message;

    use super::super::schema::TYPE_INSTANT;
    use super::*;

    #[test]
    fn texts_are_told_once_and_of_too_many_all_anew() {
        #[derive(Clone, PartialEq, Message)]
        struct Trace {
            #[prost(message, repeated, tag = "1")]
            packet: Vec<TracePacket>,
        }
        let mut bytes = Vec::new();
        let (mut tracks, mut packets) = (Tracks::new(), Packets::new(&mut bytes));
        let text = |nth: usize| format!("thread {}", nth / 2);
        let events = 5 * MOST_TEXTS;
        for nth in 0..events {
            tracks.named(nth as u64, TYPE_INSTANT, track::ROOT, Name::Recording, Category::Info);
            tracks.text(Key::Waker, &text(nth));
            tracks.push(&mut packets);
        }
        assert!(tracks.texts.len() <= MOST_TEXTS);
        packets.finish().expect("a vector has room");
        let trace = Trace::decode(&*bytes).expect("a trace");
        let (mut known, mut told, mut cleared) = (HashMap::new(), 0, 0);
        for (nth, packet) in trace.packet.into_iter().enumerate() {
            if packet.sequence_flags.unwrap_or(0) & SEQ_INCREMENTAL_STATE_CLEARED != 0 {
                known.clear();
                cleared += 1;
                assert!(packet.interned_data.as_ref().is_some_and(|data| data.event_names.len() == Name::TEXTS.len()));
            }
            for string in packet.interned_data.into_iter().flat_map(|data| data.debug_annotation_string_values) {
                told += 1;
                assert_eq!(known.insert(string.iid, string.str), None, "a number stands for one text");
            }
            let event = packet.track_event.expect("an event");
            let value = &known[&event.debug_annotations[0].string_value_iid];
            assert_eq!(value.as_deref(), Some(text(nth).as_bytes()));
        }
        // Each time it is cleared between two events with the same text.
        assert_eq!((cleared, told), (3, events / 2 + 2));
    }
}
