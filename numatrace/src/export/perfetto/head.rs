//! The start of a trace: its clocks, the machine, what was recorded, and the tracks that are always there.

use super::packets::{Packets, sequence, time};
use super::schema::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, Clock, ClockSnapshot, SystemInfo, TYPE_INSTANT, TracePacket,
    Utsname,
};
use super::tracks::{Category, Name, Tracks, describe, push_description, track};
use crate::recording::Head;
use crate::snapshot::SourceState;
use crate::text::visible;

/// Writes it.
pub(super) fn write(head: &Head, tracks: &mut Tracks, packets: &mut Packets<'_>) {
    packets.push(&clocks(head));
    packets.push(&machine(head));
    let root = describe(track::ROOT, None, "numatrace", 0);
    push_description(root, packets);
    // Moves come behind the counters, nodes in their order.
    if head.topology.nodes.len() > 1 {
        push_description(describe(track::MOVES, Some(track::ROOT), "moves between nodes", 100), packets);
        for (position, node) in head.topology.nodes.iter().enumerate() {
            let name = format!("node {}", node.id);
            push_description(describe(track::node(position), Some(track::MOVES), &name, position as i32), packets);
        }
    }
    recording(head, tracks, packets);
}

/// Times are of `CLOCK_MONOTONIC`, as in records. For how long the machine had slept is not in a recording, so the clock that
/// Perfetto takes for its own, which counts sleep, is told as if it had not.
fn clocks(head: &Head) -> TracePacket {
    let clock = |id, ts| Clock { clock_id: Some(id), timestamp: time(ts) };
    let (start, wall) = (head.meta.start_ns, head.meta.start_wall_ns);
    let clocks = vec![clock(CLOCK_BOOTTIME, start), clock(CLOCK_MONOTONIC, start), clock(CLOCK_REALTIME, wall)];
    TracePacket {
        timestamp: time(start),
        trusted_packet_sequence_id: Some(sequence::HEAD),
        clock_snapshot: Some(ClockSnapshot { clocks }),
        ..TracePacket::default()
    }
}

fn machine(head: &Head) -> TracePacket {
    let host = &head.meta.host;
    let known = |text: &String| (!text.is_empty()).then(|| visible(text));
    let utsname = Utsname { sysname: Some("Linux".into()), release: known(&host.kernel), machine: known(&host.arch) };
    let info = SystemInfo {
        utsname: Some(utsname),
        tracing_service_version: Some(visible(&head.tool)),
        num_cpus: Some(host.cpus),
    };
    TracePacket {
        timestamp: time(head.meta.start_ns),
        trusted_packet_sequence_id: Some(sequence::HEAD),
        system_info: Some(info),
        ..TracePacket::default()
    }
}

/// An instant at the start, which tells what was recorded and what was not.
fn recording(head: &Head, tracks: &mut Tracks, packets: &mut Packets<'_>) {
    let start = head.meta.start_ns;
    tracks.named(start, TYPE_INSTANT, track::ROOT, Name::Recording, Category::Info);
    tracks.sentence("target", &visible(&head.meta.target.label));
    tracks.sentence("recorded_by", &visible(&head.tool));
    tracks.sentence("exported_by", concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
    if head.anonymized {
        tracks.sentence("anonymized", "names, paths and cgroups were replaced");
    }
    for source in head.meta.sources.iter().filter(|source| source.state != SourceState::On) {
        let state = match source.state {
            SourceState::On => "on",
            SourceState::Off => "off",
            SourceState::BestEffort => "best effort",
            SourceState::Sampled => "sampled",
        };
        let reason = source.reason.as_deref().unwrap_or("no reason is known");
        tracks.sentence(&visible(&source.name), &visible(&format!("{state}: {reason}")));
    }
    tracks.push(packets);
}
