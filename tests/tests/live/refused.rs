//! What the kernel refuses at the last moment: one sentence, exit code 1, nothing left behind.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use anyhow::Result;
use numatrace_tests::live::{Workload, memory::MemoryLimit, program};

use crate::{Case, rights::refused};

pub const CASES: &[Case] =
    &[("bpf_refused_is_one_sentence", bpf_refused), ("ring_memory_refused_is_one_sentence", ring_memory_refused)];

fn bpf_refused() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let mut command = Command::new(program("numatrace")?);
    command.args(["--pid", &workload.pid.to_string(), "-d", "1s"]);
    // SAFETY: forbid_bpf only makes system calls, on data of its own.
    unsafe { command.pre_exec(forbid_bpf) };
    refused(command, &["the kernel refused the eBPF object", "seccomp"])
}

/// A seccomp filter, as containers have one: bpf(2) fails with EPERM, everything else goes on.
fn forbid_bpf() -> io::Result<()> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let load_number = step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0);
    let is_bpf = step((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, libc::SYS_bpf as u32);
    let refuse = step((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let allow = step((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_ALLOW);
    let mut filter = [load_number, is_bpf, refuse, allow];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live across the calls.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn ring_memory_refused() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let limit = MemoryLimit::of(64 << 20)?;
    let mut command = limit.command(&program("numatrace")?);
    command.args(["--pid", &workload.pid.to_string(), "-d", "1s", "--ring-size", "512M"]);
    refused(command, &["the kernel refused 512MiB for a ring", "--ring-size"])
}
