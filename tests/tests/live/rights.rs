//! Who may trace: nobody without rights, with a sentence; anybody with the three capabilities. What each further one adds.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use numatrace_tests::live::{
    Tracer, Workload,
    bpf::{self, nothing_left},
    credentials::{
        BPF as CAP_BPF, DAC_READ_SEARCH, PERFMON as CAP_PERFMON, SYS_ADMIN, SYS_NICE, SYS_PTRACE as CAP_SYS_PTRACE,
    },
    program,
};

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[
    ("without_rights_it_names_the_capabilities", no_rights),
    ("three_capabilities_are_enough", three_capabilities),
    ("anothers_process_needs_ptrace_rights", no_ptrace),
    ("each_feature_is_there_with_what_the_docs_say_and_not_without", features),
];

const NOBODY: u32 = 65_534;

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

/// What `doctor` says with exactly these capabilities: why nothing can be traced, and sources that work.
fn doctor(scratch: &Scratch, capabilities: &'static [u32]) -> Result<(Option<String>, Vec<String>)> {
    let output = as_nobody(scratch, capabilities)?.args(["doctor", "-f", "json"]).stdin(Stdio::null()).output()?;
    let all: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let sources = all["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let works = sources.iter().filter(|source| source["state"] == "on" || source["state"] == "sampled");
    let works = works.filter_map(|source| source["name"].as_str().map(str::to_owned)).collect();
    Ok((all["problem"].as_str().map(str::to_owned), works))
}

/// The rows of docs/privileges.md that a source stands for.
fn features() -> Result<()> {
    let scratch = Scratch::new("features")?;
    for (alone, missing) in [(CAP_BPF, "CAP_PERFMON"), (CAP_PERFMON, "CAP_BPF")] {
        let (problem, works) = doctor(&scratch, if alone == CAP_BPF { &[CAP_BPF] } else { &[CAP_PERFMON] })?;
        let problem = problem.unwrap_or_default();
        ensure!(problem.contains(missing) && works.is_empty(), "with {alone} alone: {problem}, {works:?}");
    }
    // With these, scans of pages, and real-time priority.
    let rows: [(&[u32], bool, bool); 5] = [
        (&[CAP_BPF, CAP_PERFMON], false, false),
        (&[CAP_BPF, CAP_PERFMON, SYS_NICE], false, true),
        (&[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, SYS_ADMIN], false, false),
        (&[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, DAC_READ_SEARCH], false, false),
        (&[CAP_BPF, CAP_PERFMON, SYS_ADMIN, DAC_READ_SEARCH], true, false),
    ];
    for (capabilities, scans, realtime) in rows {
        let (problem, works) = doctor(&scratch, capabilities)?;
        ensure!(problem.is_none(), "{capabilities:?}: {problem:?}");
        let has = |name: &str| works.iter().any(|source| source == name);
        for always in ["iter:task", "sched_getattr", "seccomp", "page-touch samples"] {
            ensure!(has(always), "{capabilities:?}: no {always} in {works:?}");
        }
        ensure!(has("/proc/PID/pagemap") == scans, "{capabilities:?}: scans of pages in {works:?}");
        ensure!(has("drain:SCHED_FIFO") == realtime, "{capabilities:?}: priority in {works:?}");
    }
    Ok(())
}

fn no_ptrace() -> Result<()> {
    let scratch = Scratch::new("ptrace")?;
    let workload = Workload::start(&["sleeper", "--seconds", "60"])?;
    let mut command = as_nobody(&scratch, &[CAP_BPF, CAP_PERFMON])?;
    command.args(["live", "--duration", "1s", "--pid", &workload.pid.to_string()]);
    refused(command, &["CAP_SYS_PTRACE"])
}
