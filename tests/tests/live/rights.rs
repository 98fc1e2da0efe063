//! Who may trace: nobody without rights, with a sentence; anybody with the three capabilities.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use numatrace_tests::live::{
    Tracer, Workload,
    bpf::{self, nothing_left},
    program,
};

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[
    ("without_rights_it_names_the_capabilities", no_rights),
    ("three_capabilities_are_enough", three_capabilities),
    ("anothers_process_needs_ptrace_rights", no_ptrace),
];

const NOBODY: u32 = 65_534;
const CAP_SYS_PTRACE: u32 = 19;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// numatrace as somebody without rights but these capabilities. It is copied to where such a one can read it.
pub fn as_nobody(scratch: &Scratch, capabilities: &'static [u32]) -> Result<Command> {
    let copy = scratch.0.join("numatrace");
    fs::copy(program("numatrace")?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(copy);
    // SAFETY: the closure makes system calls only, which is what may be done between fork and exec.
    unsafe { command.pre_exec(move || become_nobody(capabilities)) };
    Ok(command)
}

/// Gives up root and keeps the capabilities, also over exec.
fn become_nobody(capabilities: &[u32]) -> io::Result<()> {
    let check = |result: libc::c_long| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    let mut sets = [0u32; 6];
    for capability in capabilities {
        let (word, bit) = ((*capability / 32) as usize, 1 << (*capability % 32));
        for set in 0..3 {
            sets[word * 3 + set] |= bit;
        }
    }
    // `struct __user_cap_header_struct` with _LINUX_CAPABILITY_VERSION_3, this process.
    let header = [0x2008_0522u32, 0];
    // SAFETY: system calls with plain numbers, and pointers to arrays that outlive them.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0).into())?;
        check(libc::setgroups(0, std::ptr::null()).into())?;
        check(libc::setresgid(NOBODY, NOBODY, NOBODY).into())?;
        check(libc::setresuid(NOBODY, NOBODY, NOBODY).into())?;
        check(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()))?;
        for capability in capabilities {
            let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
            check(libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(*capability), 0, 0).into())?;
        }
    }
    Ok(())
}

/// Exit code 1 and one sentence with these words; nothing left behind.
pub fn refused(mut command: Command, words: &[&str]) -> Result<()> {
    let before = bpf::programs()?;
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {stderr}", output.status);
    ensure!(output.stdout.is_empty(), "it printed {}", String::from_utf8_lossy(&output.stdout));
    let missing: Vec<_> = words.iter().filter(|word| !stderr.contains(**word)).collect();
    ensure!(missing.is_empty(), "{missing:?} is not in: {stderr}");
    ensure!(stderr.lines().count() == 1, "not one sentence: {stderr}");
    nothing_left(&before)
}

fn no_rights() -> Result<()> {
    let scratch = Scratch::new("rights")?;
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let mut command = as_nobody(&scratch, &[])?;
    command.args(["live", "--pid", &workload.pid.to_string()]);
    refused(command, &["CAP_BPF", "CAP_PERFMON", "setcap"])
}

fn three_capabilities() -> Result<()> {
    let scratch = Scratch::new("caps")?;
    let mut workload = Workload::start(&["sleeper", "--seconds", "0"])?;
    let mut command = as_nobody(&scratch, &[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE])?;
    command.args(["live", "-f", "json", "--interval", "100ms", "--pid", &workload.pid.to_string()]);
    let mut tracer = Tracer::spawn(command)?;
    tracer.next_report()?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    let facts = &done.threads["sleeper"];
    let ours = report.thread(facts.tid)?.number("/switches/voluntary")?;
    let truth = facts.after.since(&facts.before).voluntary;
    ensure!(ours == truth, "{ours} voluntary switches, the kernel says {truth}");
    Ok(())
}

fn no_ptrace() -> Result<()> {
    let scratch = Scratch::new("ptrace")?;
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let mut command = as_nobody(&scratch, &[CAP_BPF, CAP_PERFMON])?;
    command.args(["live", "--duration", "1s", "--pid", &workload.pid.to_string()]);
    refused(command, &["CAP_SYS_PTRACE"])
}
