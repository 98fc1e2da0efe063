//! Small system calls: clocks and priorities.

use std::mem;

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the records.
pub fn monotonic_ns() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME` in nanoseconds since the epoch.
pub fn realtime_ns() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to a timespec; these two clocks always exist.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
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
