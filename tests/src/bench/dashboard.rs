//! What the dashboard costs while somebody looks at it: the real program on a pseudo terminal.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;

use crate::{
    live::{PATIENCE, Workload, bpf, eventually, program},
    tty::Tty,
};

/// Columns and rows.
const SIZE: (u16, u16) = (120, 40);
/// What happens before is not measured: loading, the first names, the first frames.
const SETTLING: Duration = Duration::from_secs(5);
/// A user's clock tick in /proc/PID/stat.
const TICK_MS: f64 = 10.0;
/// At most: share of a core in per cent, resident bytes, bytes a second to the terminal.
const GOALS: (f64, f64, f64) = (1.0, 40e6, 2_000.0);

/// Measures both targets for so long each, and prints a table.
pub fn run(seconds: u64) -> Result<()> {
    let (columns, rows) = SIZE;
    println!("## The dashboard: `numatrace --pid N` on a terminal of {columns}x{rows}, {seconds} s\n");
    let time = Duration::from_secs(seconds);
    // Its threads wait at a gate that is never opened.
    let idle = measure(Workload::start(&["pipes", "3", "--millis", "1"])?, false, time)?;
    // One pair: more than that leave no CPU to the dashboard on a small machine, which then shows how it is starved.
    let millis = (SETTLING * 4 + time).as_millis().to_string();
    let busy = measure(Workload::start(&["pipes", "1", "--millis", &millis])?, true, time)?;
    print(&idle, &busy);
    println!("CPU by thread, % of a core:\n\n- threads that sleep: {}", idle.by_thread());
    println!("- a pair over pipes: {}\n", busy.by_thread());
    Ok(())
}

/// What was measured of one run.
struct Cost {
    seconds: f64,
    /// CPU time of all threads, by the thread's name.
    cpu_ns: BTreeMap<String, u64>,
    /// The kernel's guess at how much of it was in user mode and in the kernel.
    modes_ms: (f64, f64),
    /// Time in our eBPF programs, whichever thread they ran in, and how often they ran.
    programs: (Duration, u64),
    written: u64,
    memory: Memory,
}

/// Of /proc/PID/status, in bytes.
struct Memory {
    peak: f64,
    now: f64,
    anonymous: f64,
}

/// Looks at the target for so long; `busy` lets it begin what it does.
fn measure(mut target: Workload, busy: bool, time: Duration) -> Result<Cost> {
    let dashboard = Dashboard::start(target.pid)?;
    if busy {
        target.go()?;
    }
    thread::sleep(SETTLING);
    // Without statistics (Linux before 5.8) their time is 0.
    let _statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime);
    let (before, started) = (dashboard.read()?, Instant::now());
    thread::sleep(time);
    let (after, elapsed) = (dashboard.read()?, started.elapsed());
    dashboard.quit()?;
    let mut cpu_ns = BTreeMap::new();
    for (tid, (name, ns)) in &after.threads {
        // Threads of one kind have one name.
        *cpu_ns.entry(name.clone()).or_default() += ns - before.threads.get(tid).map_or(0, |(_, before)| *before);
    }
    Ok(Cost {
        seconds: elapsed.as_secs_f64(),
        cpu_ns,
        modes_ms: (after.modes_ms.0 - before.modes_ms.0, after.modes_ms.1 - before.modes_ms.1),
        programs: (after.programs.0 - before.programs.0, after.programs.1 - before.programs.1),
        written: after.written - before.written,
        memory: after.memory,
    })
}

/// numatrace on a terminal that is read all the time.
struct Dashboard {
    child: Child,
    keys: File,
    written: Arc<AtomicU64>,
}

/// Counters at one moment.
struct Counters {
    threads: BTreeMap<u32, (String, u64)>,
    modes_ms: (f64, f64),
    programs: (Duration, u64),
    written: u64,
    memory: Memory,
}

impl Dashboard {
    /// Starts it and returns when it has drawn.
    fn start(pid: u32) -> Result<Dashboard> {
        let mut command = Command::new(program("numatrace")?);
        command.args(["--pid", &pid.to_string()]).env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
        command.env_remove("NO_COLOR");
        let (keys, child) = Tty::open(SIZE.0, SIZE.1)?.spawn(command).context("cannot start numatrace")?;
        let (mut screen, written) = (keys.try_clone()?, Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&written);
        thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            // The terminal ends with an error when the program does.
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        let mut dashboard = Dashboard { child, keys, written };
        eventually("the dashboard draws", PATIENCE, || {
            let ended = dashboard.child.try_wait()?;
            ensure!(ended.is_none(), "numatrace ended ({ended:?}) instead of drawing");
            // More than it takes to switch to the alternate screen.
            Ok(dashboard.written.load(Ordering::Relaxed) > 500)
        })?;
        Ok(dashboard)
    }

    fn read(&self) -> Result<Counters> {
        let pid = self.child.id();
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            let tid = path.file_name().and_then(|name| name.to_str()?.parse().ok()).context("a thread has an id")?;
            // Finer than the ticks of `stat`.
            let on_cpu = fs::read_to_string(path.join("schedstat"))?;
            let on_cpu = on_cpu.split(' ').next().and_then(|ns| ns.parse().ok()).context("schedstat has a number")?;
            threads.insert(tid, (fs::read_to_string(path.join("comm"))?.trim().to_owned(), on_cpu));
        }
        let held = bpf::held_by(pid)?;
        let ours = loaded_programs().flatten().filter(|program| held.contains(&program.id()));
        let programs = ours
            .fold((Duration::ZERO, 0), |(time, runs), program| (time + program.run_time(), runs + program.run_count()));
        let modes_ms = modes_ms(&fs::read_to_string(format!("/proc/{pid}/stat"))?).context("stat has its times")?;
        let memory = memory(&fs::read_to_string(format!("/proc/{pid}/status"))?).context("status has its sizes")?;
        Ok(Counters { threads, modes_ms, programs, written: self.written.load(Ordering::Relaxed), memory })
    }

    fn quit(mut self) -> Result<()> {
        self.keys.write_all(b"q")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "numatrace ended with {status}");
        Ok(())
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // After `quit` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `utime` and `stime` of /proc/PID/stat.
fn modes_ms(stat: &str) -> Option<(f64, f64)> {
    // The name may have spaces; what follows it starts with the third field.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).map(str::parse::<f64>);
    Some((fields.next()?.ok()? * TICK_MS, fields.next()?.ok()? * TICK_MS))
}

fn memory(status: &str) -> Option<Memory> {
    let size = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
    };
    Some(Memory { peak: size("VmHWM")?, now: size("VmRSS")?, anonymous: size("RssAnon")? })
}

impl Cost {
    fn share(&self, ns: f64) -> f64 {
        ns / (self.seconds * 1e9) * 100.0
    }

    fn cpu(&self) -> f64 {
        self.share(self.cpu_ns.values().sum::<u64>() as f64)
    }

    fn bytes_a_second(&self) -> f64 {
        self.written as f64 / self.seconds
    }

    fn by_thread(&self) -> String {
        let shares = self.cpu_ns.iter().map(|(name, ns)| format!("{name} {:.2}", self.share(*ns as f64)));
        shares.collect::<Vec<_>>().join(", ")
    }
}

fn print(idle: &Cost, busy: &Cost) {
    let row = |what: &str, goal: &str, cell: &dyn Fn(&Cost) -> String| {
        println!("| {what} | {} | {goal} | {} |", cell(idle), cell(busy));
    };
    let goal = |unit: &str, measured: f64, most: f64| {
        format!("at most {most} {unit}: {}", if measured <= most { "met" } else { "**not met**" })
    };
    println!("| | 7 threads that sleep | goal | a pair over pipes |\n|---|---:|---|---:|");
    row("CPU, % of a core", &goal("%", idle.cpu(), GOALS.0), &|cost| format!("{:.2}", cost.cpu()));
    row("of that in user mode : in the kernel", "", &|cost| {
        format!("{:.0} : {:.0} ms", cost.modes_ms.0, cost.modes_ms.1)
    });
    row("eBPF programs, in the threads that switch, % of a core", "", &|cost| {
        format!("{:.2}", cost.share(cost.programs.0.as_nanos() as f64))
    });
    row("eBPF programs, runs a second", "", &|cost| format!("{:.0}", cost.programs.1 as f64 / cost.seconds));
    row("resident memory at its peak, MB", &goal("MB", idle.memory.peak / 1e6, GOALS.1 / 1e6), &|cost| {
        format!("{:.1}", cost.memory.peak / 1e6)
    });
    row("resident memory in the end, MB", "", &|cost| format!("{:.1}", cost.memory.now / 1e6));
    row("of that anonymous (not the rings, not the program), MB", "", &|cost| {
        format!("{:.1}", cost.memory.anonymous / 1e6)
    });
    row("to the terminal, B/s", &goal("B/s", idle.bytes_a_second(), GOALS.2), &|cost| {
        format!("{:.0}", cost.bytes_a_second())
    });
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 25 50 0 0 20 0 1 0";
        assert_eq!(modes_ms(stat), Some((250.0, 500.0)));
        assert_eq!(modes_ms("7 (a) S 1"), None);
    }

    #[test]
    fn sizes_are_bytes() {
        let read = memory("VmHWM:\t     100 kB\nVmRSS:\t      50 kB\nRssAnon:\t 2 kB\n").unwrap();
        assert_eq!((read.peak, read.now, read.anonymous), (102_400.0, 51_200.0, 2_048.0));
        assert!(memory("VmHWM:\t1 kB\n").is_none());
    }
}
