//! A producer of turns that nobody had, to measure how many records a second the lanes and what reads them can take. Loaded by
//! benchmarks and tests alone, which run it with `BPF_PROG_TEST_RUN` on the CPU whose lane is to be filled.
//!
//! The kernel runs it with preemption off, not with interrupts off: it counts right as long as no interrupt on this CPU
//! counts anything, that is, while nothing is traced.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use numatrace_common::{
    abi::{Slice, slice_flags},
    config::SYNTHETIC_BURST,
};

use crate::{
    emit::{TurnOf, emit_turn},
    kernel::{now, this_cpu},
};

/// Arguments: number of the first turn, how many (at most [`SYNTHETIC_BURST`]), among how many threads, id of the first of them. Each
/// thread has a turn in turn.
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn synthetic(ctx: RawTracePointContext) -> i32 {
    let (first, count, threads, first_tid): (u64, u64, u64, u64) = (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    if threads == 0 {
        return 0;
    }
    let cpu = this_cpu();
    let mut at = 0;
    while at < u64::from(SYNTHETIC_BURST) && at < count {
        let number = first.wrapping_add(at);
        let turn = turn(number, threads, first_tid, cpu);
        emit_turn(cpu, TurnOf { tid: turn.tid, seq: turn.seq }, true, turn.wait_ns, || turn);
        at += 1;
    }
    0
}

/// Waits from 1 us to 4 ms, turns of up to 131 us, one in four waits after preemption, by the number alone.
#[inline(always)]
fn turn(number: u64, threads: u64, first_tid: u64, cpu: u32) -> Slice {
    // Fibonacci hashing: the high bits are as good as random.
    let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let thread = number % threads;
    let woken = slice_flags::WAIT_WAKEUP | slice_flags::OUT_VOLUNTARY;
    let other = (first_tid + (random >> 8) % threads) as u32;
    Slice {
        header: Slice::header(now(), cpu as u16, cpu as u16),
        wait_ns: 1_024 << (random % 13),
        slice_ns: random & 0x1_ffff,
        tid: (first_tid + thread) as u32,
        tgid: first_tid as u32,
        waker: other,
        seq: (number / threads) as u32 + 1,
        holder: other,
        prev: other,
        prev_ran: (random & 0x3ff) as u32,
        queued_cpu: cpu as u16,
        flags: if random & 0x300 == 0 { slice_flags::WAIT_PREEMPTED } else { woken },
    }
}
