//! The few system calls that workloads are made of, and what /proc says about a thread.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Turns -1 into the error it stands for.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The calling thread's id.
pub fn tid() -> u32 {
    // SAFETY: gettid has no argument and cannot fail.
    unsafe { libc::gettid() }.unsigned_abs()
}

/// Voluntary switches of all threads of this process, those that are gone included: all but the last one of each, which the
/// kernel no longer adds.
pub fn switches_of_process() -> io::Result<i64> {
    // SAFETY: all zeroes are a rusage; it lives across the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        check(libc::getrusage(libc::RUSAGE_SELF, &mut usage))?;
        usage
    };
    Ok(usage.ru_nvcsw)
}

/// The CPU that the calling thread is on.
pub fn current_cpu() -> io::Result<usize> {
    // SAFETY: sched_getcpu has no argument.
    check(unsafe { libc::sched_getcpu() }).map(|cpu| cpu.unsigned_abs() as usize)
}

/// Allows the calling thread this CPU alone; it is there when this returns.
pub fn pin(cpu: usize) -> io::Result<()> {
    allow(0, &[cpu])
}

/// Allows a thread (0: the calling one) these CPUs alone.
pub fn allow(tid: u32, cpus: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET is given numbers within the set's size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus {
            if *cpu >= libc::CPU_SETSIZE as usize {
                return Err(io::Error::other(format!("CPU {cpu} is beyond {}", libc::CPU_SETSIZE)));
            }
            libc::CPU_SET(*cpu, &mut set);
        }
        check(libc::sched_setaffinity(tid.cast_signed(), size_of::<libc::cpu_set_t>(), &set))?;
    }
    Ok(())
}

/// Lets the calling thread run on the CPUs of a node alone.
pub fn allow_node(node: usize) -> io::Result<()> {
    allow(0, &cpus_of_node(node)?)
}

/// CPUs of a node that are online.
pub fn cpus_of_node(node: usize) -> io::Result<Vec<usize>> {
    Ok(cpu_list(&fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"))?))
}

/// Gives a thread a nice value.
pub fn renice(tid: u32, nice: libc::c_int) -> io::Result<()> {
    // SAFETY: setpriority has no preconditions.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, tid, nice) }).map(drop)
}

/// CPUs that the calling thread may use, in order.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: the kernel fills the zeroed set; CPU_ISSET reads within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        check(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set))?;
        Ok((0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect())
    }
}

/// The first allowed CPU of a node.
pub fn cpu_of_node(node: usize) -> io::Result<usize> {
    let list = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let allowed = allowed_cpus()?;
    let cpus = cpu_list(&list).into_iter();
    cpus.into_iter()
        .find(|cpu| allowed.contains(cpu))
        .ok_or_else(|| io::Error::other(format!("node {node} has no CPU")))
}

/// The node of a CPU.
pub fn node_of_cpu(cpu: usize) -> io::Result<usize> {
    let nodes = cpu_list(&fs::read_to_string("/sys/devices/system/node/online")?);
    let has = |node: &usize| {
        let list = fs::read_to_string(format!("/sys/devices/system/node/node{node}/cpulist"));
        list.is_ok_and(|list| cpu_list(&list).contains(&cpu))
    };
    nodes.into_iter().find(has).ok_or_else(|| io::Error::other(format!("CPU {cpu} is of no node")))
}

/// CPUs of a list as the kernel prints it: `0-3,8`.
pub fn cpu_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse().ok()?..=to.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Scheduling policy of the calling thread. `priority` is 0 for those that have none.
pub fn set_policy(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    set_policy_of(0, policy, priority)
}

/// The same of any thread.
pub fn set_policy_of(tid: u32, policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: `param` outlives the call.
    check(unsafe { libc::sched_setscheduler(tid.cast_signed(), policy, &param) }).map(drop)
}

/// Names the calling thread; the kernel keeps 15 bytes, whatever they are.
pub fn set_name(name: &[u8]) -> io::Result<()> {
    let mut terminated = name.to_vec();
    terminated.push(0);
    // SAFETY: the name is terminated and outlives the call.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, terminated.as_ptr()) }).map(drop)
}

/// What the calling thread has used of its CPU: others that run on the machine do not count.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which cannot fail for a thread's own clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Burns CPU until then.
pub fn spin_until(end: Instant) {
    while Instant::now() < end {
        for _ in 0..200 {
            std::hint::spin_loop();
        }
    }
}

/// A pipe: where to read, where to write.
pub fn pipe() -> io::Result<(fs::File, fs::File)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors, which nobody else owns.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((fs::File::from_raw_fd(ends[0]), fs::File::from_raw_fd(ends[1])))
    }
}

/// An event counter: each `wait` takes one `open`. Neither takes a lock that sleeps (fs/eventfd.c).
#[derive(Debug)]
pub struct Gate(OwnedFd);

impl Gate {
    /// A closed gate.
    pub fn new() -> io::Result<Gate> {
        // SAFETY: a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_SEMAPHORE | libc::EFD_CLOEXEC))?) };
        Ok(Gate(fd))
    }

    /// Blocks until it is opened.
    pub fn wait(&self) -> io::Result<()> {
        let mut count = 0u64;
        // SAFETY: `count` is as large as the read says, and outlives it.
        check_size(unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) })
    }

    /// Lets one pass.
    pub fn open(&self) -> io::Result<()> {
        let one = 1u64;
        // SAFETY: `one` is as large as the write says, and outlives it.
        check_size(unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) })
    }
}

fn check_size(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the kernel itself counts for a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounts {
    /// schedstat: time on CPU, ns.
    pub cpu_ns: u64,
    /// schedstat: time waiting on a run queue, ns.
    pub run_delay_ns: u64,
    /// schedstat: turns on a CPU.
    pub turns: u64,
    /// status: voluntary_ctxt_switches.
    pub voluntary: u64,
    /// status: nonvoluntary_ctxt_switches.
    pub involuntary: u64,
    /// stat: minflt, page faults without I/O, those that the kernel takes on the thread's behalf included.
    pub minor_faults: u64,
    /// stat: majflt, page faults with I/O.
    pub major_faults: u64,
}

impl KernelCounts {
    /// Reads them for a thread of `pid` (or `self`).
    pub fn read(pid: &str, tid: u32) -> io::Result<KernelCounts> {
        let schedstat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"))?;
        let mut fields = schedstat.split_whitespace().map(|field| field.parse::<u64>().map_err(io::Error::other));
        let mut field = || fields.next().unwrap_or_else(|| Err(io::Error::other("schedstat has too few fields")));
        let (cpu_ns, run_delay_ns, turns) = (field()?, field()?, field()?);
        let status = fs::read(format!("/proc/{pid}/task/{tid}/status"))?;
        let status = String::from_utf8_lossy(&status);
        let line = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value
                .and_then(|value| value.trim().parse().ok())
                .ok_or_else(|| io::Error::other(format!("status has no {name}")))
        };
        let (voluntary, involuntary) = (line("voluntary_ctxt_switches")?, line("nonvoluntary_ctxt_switches")?);
        // Fields 10 and 12 of the file.
        let stat = StatFields::read(pid, tid)?;
        let (minor_faults, major_faults) = (stat.number(10)?, stat.number(12)?);
        Ok(KernelCounts { cpu_ns, run_delay_ns, turns, voluntary, involuntary, minor_faults, major_faults })
    }

    /// What was added since `before`.
    pub fn since(&self, before: &KernelCounts) -> KernelCounts {
        KernelCounts {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            run_delay_ns: self.run_delay_ns - before.run_delay_ns,
            turns: self.turns - before.turns,
            voluntary: self.voluntary - before.voluntary,
            involuntary: self.involuntary - before.involuntary,
            minor_faults: self.minor_faults - before.minor_faults,
            major_faults: self.major_faults - before.major_faults,
        }
    }

    /// Page faults, minor and major.
    pub fn faults(&self) -> u64 {
        self.minor_faults + self.major_faults
    }
}

/// /proc/PID/task/TID/stat behind the name, which may hold anything, closing parentheses too.
struct StatFields(String);

impl StatFields {
    fn read(pid: &str, tid: u32) -> io::Result<StatFields> {
        let stat = fs::read(format!("/proc/{pid}/task/{tid}/stat"))?;
        let stat = String::from_utf8_lossy(&stat);
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.trim_end().to_owned());
        rest.map(StatFields).ok_or_else(|| io::Error::other("stat has no name"))
    }

    /// A field by its position in the file, which counts from 1; the state is field 3.
    fn field(&self, position: usize) -> io::Result<&str> {
        let field = self.0.split(' ').nth(position - 3);
        field.ok_or_else(|| io::Error::other(format!("stat has no field {position}")))
    }

    fn number(&self, position: usize) -> io::Result<u64> {
        self.field(position)?.parse().map_err(io::Error::other)
    }
}

/// The state letter of a thread of `pid` (or `self`): R, S, D, ..., and the CPU it was put on last.
pub fn state(pid: &str, tid: u32) -> io::Result<(char, usize)> {
    let stat = StatFields::read(pid, tid)?;
    let state = stat.field(3)?.chars().next().ok_or_else(|| io::Error::other("stat has no state"))?;
    Ok((state, usize::try_from(stat.number(39)?).map_err(io::Error::other)?))
}

/// Waits until a thread of this process is blocked, off its CPU and in no queue.
///
/// Its state alone does not say that: a thread that is about to block can be preempted on the way. The kernel tells what
/// system call a thread is blocked in only after it has waited for it to leave the queue (`wait_task_inactive`).
pub fn wait_until_blocked(tid: u32) -> io::Result<()> {
    let blocked = || match fs::read_to_string(format!("/proc/self/task/{tid}/syscall")) {
        Ok(call) => Ok(call.trim() != "running" && state("self", tid)?.0 == 'S'),
        // A kernel that does not tell: then the state must do.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(state("self", tid)?.0 == 'S'),
        Err(error) => Err(error),
    };
    wait_until(blocked, &format!("thread {tid} is blocked"))
}

/// Waits until a thread of this process is on this CPU or queued there.
pub fn wait_until_on(tid: u32, cpu: usize) -> io::Result<()> {
    wait_until(|| Ok(state("self", tid)? == ('R', cpu)), &format!("thread {tid} is on CPU {cpu}"))
}

/// Looks again and again, at most ten seconds.
fn wait_until(mut reached: impl FnMut() -> io::Result<bool>, what: &str) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !reached()? {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("waited 10 s in vain until {what}")));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lists_of_cpus_are_read() {
        assert_eq!(cpu_list("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(cpu_list("\n"), [0usize; 0]);
    }

    #[test]
    fn a_gate_lets_one_pass_for_each_opening() {
        let gate = Gate::new().unwrap();
        gate.open().unwrap();
        gate.open().unwrap();
        gate.wait().unwrap();
        gate.wait().unwrap();
    }

    #[test]
    fn the_kernel_counts_this_thread() {
        let before = KernelCounts::read("self", tid()).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let change = KernelCounts::read("self", tid()).unwrap().since(&before);
        assert!(change.voluntary >= 1, "{change:?}");
        assert_eq!(state("self", tid()).unwrap().0, 'R');
    }
}
