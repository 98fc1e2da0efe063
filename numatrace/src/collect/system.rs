//! Small system calls: clocks, priorities, and how a thread may be scheduled.

use std::mem;

use numatrace_common::abi::{Attributes, CPU_WORDS};

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the records.
pub fn monotonic_ns() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME` in nanoseconds since the epoch.
pub fn realtime_ns() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

/// CPU time of all threads of this process, in user mode and in the kernel, in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Whether the kernel keeps statistics of programs all the time.
pub fn bpf_stats_on() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|text| text.trim() == "1")
}

/// Resident memory of this process in bytes; `None` where there is no /proc.
pub fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: no preconditions.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    Some(pages.saturating_mul(page))
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to a timespec; these clocks always exist.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Whether the scheduler's clock is as steady as the kernel's clock source: it is made of the same counter, and the
/// kernel trusts that (`sched_clock_stable`). Where it uses another source, it does not.
pub fn clock_is_steady() -> bool {
    const STEADY: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    source.is_ok_and(|source| STEADY.contains(&source.trim()))
}

/// Waits until every program that was running on a tracepoint has ended: they run with preemption off, and the kernel's
/// `MEMBARRIER_CMD_GLOBAL` waits for each CPU to have been somewhere else. Says whether the kernel did.
pub fn wait_for_probes() -> bool {
    const GLOBAL: libc::c_int = 1;
    // SAFETY: a system call with three integers, which touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) == 0 }
}

/// Asks for `SCHED_FIFO` priority 1 for the calling thread, not inherited by what it forks; says whether the kernel
/// granted it.
pub fn become_realtime() -> bool {
    // SAFETY: all zeroes is a valid sched_param.
    let mut param: libc::sched_param = unsafe { mem::zeroed() };
    param.sched_priority = 1;
    // SAFETY: a valid parameter; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param) == 0 }
}

/// Leaves signals to other threads, but for those that a fault of the calling thread raises.
pub fn block_signals() {
    // SAFETY: all zeroes is a valid set, which is filled and changed before it is read.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
            libc::sigdelset(&raw mut all, own);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

/// Asks for nice -10 for the calling thread and those that it makes from now on: the thread that takes in the records
/// must keep up when every CPU is busy. Without the right to it nothing changes.
pub fn raise_priority() {
    // SAFETY: no preconditions; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
}

/// Whether the kernel would grant `SCHED_FIFO`, found out on a thread of its own.
pub fn realtime_allowed() -> bool {
    std::thread::Builder::new()
        .name("numatrace-rt?".into())
        .spawn(become_realtime)
        .is_ok_and(|thread| thread.join().unwrap_or(false))
}

/// How the kernel may schedule a thread, as a record. `None` when there is no such thread, when the kernel does not tell
/// (a security module may forbid it), and on machines with more CPUs than a record has room for.
pub fn attributes(tid: u32) -> Option<Attributes> {
    // 0 would be the calling thread.
    let pid = libc::pid_t::try_from(tid).ok().filter(|pid| *pid > 0)?;
    // SAFETY: all zeroes is a valid sched_attr.
    let mut attr: libc::sched_attr = unsafe { mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: `attr` has room for the `size` bytes that the kernel writes at most. libc has no function for this call.
    if unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut attr, size, 0) } != 0 {
        return None;
    }
    let mut allowed = [0u64; CPU_WORDS];
    // SAFETY: the kernel writes a bit for each CPU, in words of 64 bits, into at most as many bytes as `allowed` has.
    if unsafe { libc::sched_getaffinity(pid, size_of_val(&allowed), allowed.as_mut_ptr().cast()) } != 0 {
        return None;
    }
    Some(Attributes {
        header: Attributes::header(monotonic_ns(), 0, 0),
        tid,
        policy: attr.sched_policy,
        nice: attr.sched_nice,
        rt_priority: attr.sched_priority,
        allowed,
    })
}

/// Release and machine of the running kernel, as `uname -r` and `uname -m`.
pub fn uname() -> (String, String) {
    // SAFETY: all zeroes is a valid utsname.
    let mut names: libc::utsname = unsafe { mem::zeroed() };
    // SAFETY: a valid pointer.
    if unsafe { libc::uname(&raw mut names) } != 0 {
        return (String::new(), String::new());
    }
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    (text(&names.release), text(&names.machine))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::list;

    #[test]
    fn the_kernel_tells_how_this_thread_may_be_scheduled() {
        // SAFETY: gettid has no argument and cannot fail.
        let tid = unsafe { libc::gettid() }.unsigned_abs();
        let before = monotonic_ns();
        let own = attributes(tid).expect("this thread is there");
        assert_eq!((own.tid, own.policy), (tid, libc::SCHED_OTHER as u32));
        assert!((before..=monotonic_ns()).contains(&own.header.ts));
        // SAFETY: getpriority has no preconditions.
        assert_eq!(own.nice, unsafe { libc::getpriority(libc::PRIO_PROCESS, tid) });
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("its CPUs");
        let allowed = list::parse(allowed).expect("a list");
        let told: Vec<u32> = (0..1024).filter(|cpu| own.allowed[*cpu as usize / 64] >> (cpu % 64) & 1 == 1).collect();
        // CPUs that are offline stay in /proc.
        assert!(!told.is_empty() && told.iter().all(|cpu| allowed.contains(cpu)), "{told:?} of {allowed:?}");
    }

    #[test]
    fn a_thread_that_is_not_there_has_no_attributes() {
        for nobody in [0, i32::MAX as u32, u32::MAX] {
            assert_eq!(attributes(nobody), None);
        }
    }
}
