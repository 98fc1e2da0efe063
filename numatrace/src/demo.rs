//! The workload that `numatrace demo` traces: threads that wait, hop and touch memory, with names that say so.
//!
//! It runs in a process of its own, this same program started again with a hidden subcommand, so that tracing it is
//! tracing another process. It takes about one and a half CPUs and some megabytes, and ends with the process that
//! started it, however that ends: its standard input is a pipe whose other end that process holds.
//!
//! Place in the flow: outside of it; the demo command spawns a [`Workload`] and traces its process id.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::topology::Topology;

/// The hidden subcommand that calls [`run_workload`].
pub const COMMAND: &str = "__demo-workload";

/// The workload ends after this time whatever happens.
const LIMIT: Duration = Duration::from_secs(3600);

/// Printed when all threads are there.
const READY: &str = "ready";

/// Threads that spin on one CPU.
const HOGS: usize = 2;

/// The running workload; dropping it ends it.
#[derive(Debug)]
pub struct Workload {
    child: Child,
}

impl Workload {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the workload, and returns when its threads are there.
///
/// # Errors
/// When this program cannot be started again, or the workload cannot start its threads.
pub fn spawn() -> io::Result<Workload> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("numatrace-demo").arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
    // `child` keeps its end of the standard input open for as long as it lives.
    let mut workload = Workload { child: command.spawn()? };
    let mut line = String::new();
    if let Some(stdout) = workload.child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.trim() != READY {
        return Err(io::Error::other("the demo's workload did not start"));
    }
    Ok(workload)
}

/// Is the workload: starts the threads and returns when standard input ends, at the latest after an hour. The caller
/// should exit then, which ends the threads.
///
/// # Errors
/// When a thread cannot be started or bound to its CPU.
pub fn run_workload() -> io::Result<()> {
    set_own_name(c"numatrace-demo")?;
    let places = Places::choose(&allowed_cpus()?, &Topology::read(Path::new("/sys")).unwrap_or_default());
    for hog in 0..HOGS {
        start(&format!("hog-{hog}"), Some(places.busy), spin)?;
    }
    start("victim", Some(places.busy), suffer)?;
    start("hopper", None, move || hop(places.hop))?;
    let ((from_ping, to_pong), (from_pong, to_ping)) = (io::pipe()?, io::pipe()?);
    start("ping", None, move || ping(to_pong, from_pong))?;
    start("pong", None, move || pong(from_ping, to_ping))?;
    start("toucher", None, touch)?;
    writeln!(io::stdout(), "{READY}")?;
    wait_for_end_of_input()
}

/// Where pinned threads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    /// The CPU of the hogs and of their victim.
    busy: u32,
    /// Between these the hopper moves: CPUs of two nodes where there are two. The same twice where there is one CPU.
    hop: [u32; 2],
}

impl Places {
    /// Chooses among the allowed CPUs, which are not empty; the last is the busy one.
    fn choose(allowed: &[u32], topology: &Topology) -> Places {
        let first = allowed.first().copied().unwrap_or(0);
        let busy = allowed.last().copied().unwrap_or(0);
        let node = topology.node_of(first);
        let differs = |cpu: &u32| node.zip(topology.node_of(*cpu)).is_some_and(|(one, other)| one != other);
        let elsewhere = allowed.iter().copied().find(differs);
        Places { busy, hop: [first, elsewhere.unwrap_or(busy)] }
    }
}

/// Starts a thread of that name, on one CPU where one is given. A thread that fails ends the process: a demo with a
/// part missing would show wrong things.
fn start(name: &str, cpu: Option<u32>, body: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let label = name.to_owned();
    thread::Builder::new().name(name.into()).stack_size(256 << 10).spawn(move || {
        if let Err(error) = cpu.map_or(Ok(()), pin).and_then(|()| body()) {
            eprintln!("numatrace: the demo's thread {label} failed: {error}");
            std::process::exit(1);
        }
    })?;
    Ok(())
}

/// `hog`: never gives its CPU up.
fn spin() -> io::Result<()> {
    loop {
        work(Duration::from_secs(1));
    }
}

/// `victim`: wakes every few milliseconds, behind the hogs. As SCHED_BATCH it does not preempt them on wakeup, as a
/// thread that used its share would not either, so it waits for the end of a hog's turn.
fn suffer() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` outlives the call.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &param) })?;
    loop {
        thread::sleep(Duration::from_millis(4));
        work(Duration::from_micros(200));
    }
}

/// `hopper`: works on one CPU, then on the other.
fn hop(cpus: [u32; 2]) -> io::Result<()> {
    loop {
        for cpu in cpus {
            pin(cpu)?;
            work(Duration::from_millis(2));
            thread::sleep(Duration::from_millis(8));
        }
    }
}

/// `ping`: some round trips, then a pause.
fn ping(mut to: impl Write, mut from: impl Read) -> io::Result<()> {
    loop {
        for _ in 0..50 {
            to.write_all(&[1])?;
            from.read_exact(&mut [0])?;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `pong`: answers.
fn pong(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        to.write_all(&byte)?;
    }
}

/// `toucher`: maps fresh memory, touches each page, gives it back.
fn touch() -> io::Result<()> {
    const BYTES: usize = 2 << 20;
    const PAGE: usize = 4096;
    loop {
        // SAFETY: a fresh private mapping; writes stay inside; nothing refers to it after munmap.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let memory = libc::mmap(std::ptr::null_mut(), BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if memory == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            for page in (0..BYTES).step_by(PAGE) {
                memory.cast::<u8>().add(page).write_volatile(1);
            }
            check(libc::munmap(memory, BYTES))?;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Uses the CPU for that long by the clock on the wall.
fn work(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        for _ in 0..200 {
            std::hint::spin_loop();
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Allows the calling thread this CPU alone.
fn pin(cpu: u32) -> io::Result<()> {
    // SAFETY: an all-zero set is empty; the number is one of `allowed_cpus`, within the set's size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu as usize, &mut set);
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set))
    }
}

/// CPUs that this thread may use, in order; of a machine with more than 1,024 only those below.
fn allowed_cpus() -> io::Result<Vec<u32>> {
    // SAFETY: the kernel fills the zeroed set; CPU_ISSET reads within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        check(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set))?;
        Ok((0..libc::CPU_SETSIZE.unsigned_abs()).filter(|cpu| libc::CPU_ISSET(*cpu as usize, &set)).collect())
    }
}

fn set_own_name(name: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: the name is terminated and outlives the call.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) })
}

/// Returns when nobody holds the other end of standard input any more, or after [`LIMIT`].
fn wait_for_end_of_input() -> io::Result<()> {
    let end = Instant::now() + LIMIT;
    let mut stdin = io::stdin().lock();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: stdin.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `poll` is one entry, and outlives the call.
        match check(unsafe { libc::poll(&mut poll, 1, timeout) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        // Nothing is ever written to it: what can be read is its end, and the time limit shows as nothing.
        if poll.revents == 0 || stdin.read(&mut [0; 64])? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{snapshot::HostNode, topology::Cpu};

    fn machine(node_of_cpu: &[usize]) -> Topology {
        let cpu =
            |(id, node): (usize, &usize)| Cpu { id: id as u32, online: true, node: Some(*node), ..Cpu::default() };
        let nodes = node_of_cpu.iter().max().map_or(1, |node| node + 1);
        Topology {
            cpus: node_of_cpu.iter().enumerate().map(cpu).collect(),
            nodes: vec![HostNode::default(); nodes],
            ..Topology::default()
        }
    }

    #[test]
    fn the_hopper_crosses_nodes_where_there_are_two() {
        let places = Places::choose(&[0, 1, 2, 3], &machine(&[0, 0, 1, 1]));
        assert_eq!(places, Places { busy: 3, hop: [0, 2] });
    }

    #[test]
    fn on_one_node_it_moves_between_the_first_and_the_last_cpu() {
        assert_eq!(Places::choose(&[0, 1], &machine(&[0, 0])), Places { busy: 1, hop: [0, 1] });
        assert_eq!(Places::choose(&[2], &machine(&[0, 0, 0])), Places { busy: 2, hop: [2, 2] });
    }

    #[test]
    fn only_allowed_cpus_are_chosen() {
        let places = Places::choose(&[1, 3], &machine(&[0, 0, 0, 1]));
        assert_eq!(places, Places { busy: 3, hop: [1, 3] });
    }
}
