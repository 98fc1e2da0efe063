//! Packets to bytes: a trace is nothing but packets one after the other, each with its length before it, so it is written as
//! it comes, and what is kept is one chunk of [`CHUNK`] bytes and the packet that is being made.
//!
//! Packets can come in any order: whoever reads a trace sorts it by time.

use std::io::{self, Write};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::schema::TracePacket;

/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;

/// `Trace.packet`.
const PACKET: u32 = 1;
/// `TracePacket.ftrace_events`.
const FTRACE_EVENTS: u32 = 1;
/// `TracePacket.trusted_packet_sequence_id`.
const SEQUENCE_ID: u32 = 10;
/// `FtraceEventBundle.cpu`.
const CPU: u32 = 1;
/// `FtraceEventBundle.event`.
const EVENT: u32 = 2;

/// Sequences: packets of one are in order, and share interned texts.
pub(super) mod sequence {
    /// Clocks and the machine.
    pub(in super::super) const HEAD: u32 = 1;
    /// Events of the scheduler, names of threads.
    pub(in super::super) const SCHED: u32 = 2;
    /// Tracks of our own.
    pub(in super::super) const TRACKS: u32 = 3;
}

/// Where packets go.
pub(super) struct Packets<'a> {
    out: &'a mut dyn Write,
    chunk: Vec<u8>,
    written: u64,
    /// The first failure: no more is written after it.
    failed: Option<io::Error>,
}

impl<'a> Packets<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Packets<'a> {
        Packets { out, chunk: Vec::with_capacity(2 * CHUNK), written: 0, failed: None }
    }

    /// Adds a packet.
    pub(super) fn push(&mut self, packet: &TracePacket) {
        encode_key(PACKET, WireType::LengthDelimited, &mut self.chunk);
        // A vector has room for everything.
        let _ = packet.encode_length_delimited(&mut self.chunk);
        self.flush_above(CHUNK);
    }

    /// Adds a packet with the events of a CPU, each of them with its key and length.
    pub(super) fn push_bundle(&mut self, cpu: u16, events: &[u8]) {
        let bundle = key_len(CPU) + encoded_len_varint(cpu.into()) + events.len();
        let sequence = key_len(SEQUENCE_ID) + encoded_len_varint(sequence::SCHED.into());
        let packet = key_len(FTRACE_EVENTS) + encoded_len_varint(bundle as u64) + bundle + sequence;
        let chunk = &mut self.chunk;
        encode_key(PACKET, WireType::LengthDelimited, chunk);
        encode_varint(packet as u64, chunk);
        encode_key(FTRACE_EVENTS, WireType::LengthDelimited, chunk);
        encode_varint(bundle as u64, chunk);
        encode_key(CPU, WireType::Varint, chunk);
        encode_varint(cpu.into(), chunk);
        chunk.extend_from_slice(events);
        encode_key(SEQUENCE_ID, WireType::Varint, chunk);
        encode_varint(sequence::SCHED.into(), chunk);
        self.flush_above(CHUNK);
    }

    fn flush_above(&mut self, most: usize) {
        if self.chunk.len() <= most {
            return;
        }
        if self.failed.is_none() {
            match self.out.write_all(&self.chunk) {
                Ok(()) => self.written = self.written.saturating_add(self.chunk.len() as u64),
                Err(error) => self.failed = Some(error),
            }
        }
        self.chunk.clear();
    }

    /// Fails when something could not be written.
    pub(super) fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Writes what is left, and tells how many bytes there were.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush_above(0);
        self.check()?;
        self.out.flush()?;
        Ok(self.written)
    }
}

/// Adds an event to those of a bundle.
pub(super) fn add_event(event: &super::schema::FtraceEvent, to: &mut Vec<u8>) {
    prost::encoding::message::encode(EVENT, event, to);
}

/// Times beyond what Perfetto's signed numbers hold are in no recording that was made by a kernel.
pub(super) fn time(ts: u64) -> Option<u64> {
    Some(ts.min(i64::MAX as u64))
}
