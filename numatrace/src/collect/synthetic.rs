//! The benchmarks' producer: turns that nobody had, written by the probes' own code into the lane of the CPU that asks for them.

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::Arc,
};

use aya::{
    Ebpf,
    programs::{ProgramFd, RawTracePoint},
};

use super::load::{LoadError, refusal};

/// Name of the program.
pub(super) const NAME: &str = "synthetic";
const TEST_RUN: libc::c_int = 10;

/// The part of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    program: u32,
    returned: u32,
    data_size: [u32; 2],
    data: [u64; 2],
    repeat: u32,
    duration: u32,
    context_in: u32,
    context_out: u32,
    context: [u64; 2],
    flags: u32,
    cpu: u32,
    batch_size: u32,
    fill: u32,
}

/// Which turns to write.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Number of the first, from 0.
    pub first: u64,
    /// How many: [`SYNTHETIC_BURST`](numatrace_common::config::SYNTHETIC_BURST) at most.
    pub count: u32,
    /// Threads that have them, in turn.
    pub threads: u32,
    /// Id of the first of these threads, and of their process.
    pub first_tid: u32,
}

/// Writes turns. To be used while nothing is traced: it counts without regard to interrupts.
#[derive(Clone)]
pub struct Producer(Arc<ProgramFd>);

impl Producer {
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Producer, LoadError> {
        let failed = |reason: String| LoadError::Program { hook: NAME.into(), reason };
        let program = ebpf.program_mut(NAME).ok_or_else(|| failed("it is not in the eBPF object".into()))?;
        let program: &mut RawTracePoint = program.try_into().map_err(|error| failed(refusal(&error)))?;
        program.load().map_err(|error| failed(refusal(&error)))?;
        let program = program.fd().map_err(|error| failed(refusal(&error)))?;
        program.try_clone().map(|program| Producer(Arc::new(program))).map_err(|error| failed(error.to_string()))
    }

    /// Writes turns into the lane of the CPU that this thread runs on. Those that find no place are lost, and counted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&self, turns: Turns) -> io::Result<()> {
        let arguments = [turns.first, turns.count.into(), turns.threads.into(), turns.first_tid.into()];
        let mut attr = RunAttr {
            // Descriptors are not negative.
            program: self.0.as_fd().as_raw_fd() as u32,
            context_in: size_of_val(&arguments) as u32,
            context: [arguments.as_ptr() as u64, 0],
            ..RunAttr::default()
        };
        // SAFETY: arguments that live across the call, as long as it is told; the kernel writes into `attr` alone.
        let done = unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw mut attr, mem::size_of::<RunAttr>()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
