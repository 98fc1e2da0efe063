//! Threads and processes that come, go, and change their names and programs.

use std::{
    ffi::{CString, OsStr},
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::symlink, process::CommandExt as _},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{args::Args, crew::Crew, os, usage};

/// Threads that live at the same time in [`threads`].
const WAVE: usize = 50;

/// Children of each process of [`fork_bomb`], and how deep it may go: 9,840 processes.
const FAN: u32 = 3;
const MOST_GENERATIONS: u32 = 8;

/// Hidden command of the process that changes its program from its second thread.
pub const EXEC_FROM_SECOND_THREAD: &str = "__exec-from-second-thread";

/// Names as a hostile program may choose them: an escape sequence, bytes that are no UTF-8, a text that turns
/// direction, and one that would end a line.
pub const HOSTILE_NAMES: [&[u8]; 4] =
    [b"\x1b[31mred\x1b[0m", b"bad\xff\xfe\x80utf8", "a\u{202e}b\u{2066}c".as_bytes(), b"x\r\ny\t\"\\"];

/// `forker` makes N children, one after another; each works a little and exits.
pub fn fork_storm(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let count = args.count().map_err(usage)?;
    crew.add(
        "forker",
        || Ok(()),
        move || {
            let mut children = Vec::with_capacity(count);
            for _ in 0..count {
                children.push(fork(|| 0)?);
                // In waves, so that the number of processes stays small.
                if children.len() % WAVE == 0 {
                    children[children.len() - WAVE..].iter().try_for_each(|pid| reap(*pid))?;
                }
            }
            children[count - count % WAVE..].iter().try_for_each(|pid| reap(*pid))?;
            Ok(json!({ "children": children }))
        },
    )?;
    Ok(())
}

/// `bomber` begins a tree of processes: each makes [`FAN`] more, down to so many generations, works a little and waits for
/// them. No more than that is ever made, and what is left of it ends with it.
pub fn fork_bomb(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let generations = u32::try_from(args.count().map_err(usage)?).unwrap_or(u32::MAX);
    if generations > MOST_GENERATIONS {
        return Err(usage(format!("{generations} generations are more than {MOST_GENERATIONS}")));
    }
    crew.add(
        "bomber",
        || Ok(()),
        move || {
            bomb(generations)?;
            Ok(json!({ "children": (1..=generations).map(|generation| FAN.pow(generation)).sum::<u32>() }))
        },
    )?;
    Ok(())
}

fn bomb(generations: u32) -> io::Result<()> {
    if generations == 0 {
        return Ok(());
    }
    let mut children = [0; FAN as usize];
    for child in &mut children {
        *child = fork(|| i32::from(bomb(generations - 1).is_err()))?;
    }
    // All of them, or what failed would leave the others unawaited.
    let ends = children.map(reap);
    ends.into_iter().collect()
}

/// Runs `body` in a child process, which exits with its result. `body` may call only what is safe after a fork in a
/// process with several threads.
fn fork(body: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child calls async-signal-safe functions only, up to _exit.
    let pid = os::check(unsafe { libc::fork() })?;
    if pid == 0 {
        for step in 0..20_000u32 {
            std::hint::black_box(step);
        }
        let code = body();
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) };
    }
    Ok(pid)
}

/// Waits for a child; it must have succeeded.
fn reap(pid: i32) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    os::check(unsafe { libc::waitpid(pid, &mut status, 0) })?;
    if status == 0 { Ok(()) } else { Err(io::Error::other(format!("child {pid} ended with status {status:#x}"))) }
}

/// `spawner` has N threads started, in waves, by a thread for each CPU, fewer where the time is over before; each of the N blocks once and
/// works a little.
pub fn threads(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let count = args.count().map_err(usage)?;
    let limit = args.optional("millis")?.map_or(Duration::MAX, Duration::from_millis);
    crew.add(
        "spawner",
        || Ok(()),
        move || {
            let (began, before) = (Instant::now(), os::switches_of_process()?);
            let spawners = os::allowed_cpus()?.len().min(count.max(1));
            let share = |nth: usize| count / spawners + usize::from(nth < count % spawners);
            let started = thread::scope(|scope| {
                let spawn = |nth| {
                    thread::Builder::new()
                        .name("spawn".into())
                        .spawn_scoped(scope, move || waves(share(nth), began, limit))
                };
                let all = (0..spawners).map(spawn).collect::<io::Result<Vec<_>>>()?;
                let started = all
                    .into_iter()
                    .map(|spawner| spawner.join().map_err(|_| io::Error::other("a spawner panicked"))?);
                started.sum::<io::Result<usize>>()
            })?;
            let (seconds, after) = (began.elapsed().as_secs_f64(), os::switches_of_process()?);
            Ok(json!({ "started": started, "seconds": seconds, "voluntary": after - before, "spawners": spawners }))
        },
    )?;
    Ok(())
}

/// Starts `count` short threads, or as many as there is time for, and says how many.
fn waves(count: usize, began: Instant, limit: Duration) -> io::Result<usize> {
    let mut started = 0;
    while started < count && began.elapsed() < limit {
        let wave = WAVE.min(count - started);
        let handles = (0..wave).map(|_| {
            thread::Builder::new().name("short".into()).stack_size(64 << 10).spawn(|| {
                thread::sleep(Duration::from_micros(50));
            })
        });
        for handle in handles.collect::<io::Result<Vec<_>>>()? {
            handle.join().map_err(|_| io::Error::other("a short thread panicked"))?;
        }
        started += wave;
    }
    Ok(started)
}

/// A child that changes its program from its first thread, and one that does so from another, which then takes over
/// the id of the first. Their new names are `exec-first` and `exec-second`; each sleeps for a second and exits.
pub fn exec(crew: &mut Crew) -> io::Result<()> {
    let dir = std::env::temp_dir().join(format!("workload-exec-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let program = std::env::current_exe()?;
    let mut paths = Vec::new();
    for name in ["exec-first", "exec-second"] {
        let link = dir.join(name);
        // The kernel names a thread after the path that it was given, not after what a link points to.
        symlink(&program, &link)?;
        paths.push(CString::new(link.as_os_str().as_bytes())?);
    }
    let words = [c"sleeper", c"--now", c"--seconds", c"1"];
    let (first, second) = (paths[0].clone(), paths[1].clone());
    crew.add(
        "execer",
        || Ok(()),
        move || {
            let argv = |path: &CString| {
                [
                    path.as_ptr(),
                    words[0].as_ptr(),
                    words[1].as_ptr(),
                    words[2].as_ptr(),
                    words[3].as_ptr(),
                    std::ptr::null(),
                ]
            };
            let arguments = argv(&first);
            let nowhere = fs::OpenOptions::new().write(true).open("/dev/null")?;
            // SAFETY: both are async-signal-safe; execv gets terminated strings in a terminated array, and returns only
            // when it fails.
            let one = fork(|| unsafe {
                libc::dup2(nowhere.as_raw_fd(), libc::STDOUT_FILENO);
                libc::execv(first.as_ptr(), arguments.as_ptr())
            })?;
            // A process of its own is needed to change program from a second thread; it starts from a fresh program.
            let mut two = std::process::Command::new(std::env::current_exe()?);
            two.arg(EXEC_FROM_SECOND_THREAD).arg(OsStr::from_bytes(second.as_bytes()));
            let mut two = two.stdout(std::process::Stdio::null()).spawn()?;
            let pids = json!({ "first": one, "second": two.id() });
            reap(one)?;
            if !two.wait()?.success() {
                return Err(io::Error::other("the second child failed"));
            }
            fs::remove_dir_all(&dir)?;
            Ok(pids)
        },
    )?;
    Ok(())
}

/// Changes program from a thread that is not the first: never returns when it succeeds.
pub fn exec_from_second_thread(path: &str) -> io::Error {
    let path = path.to_owned();
    let thread = thread::spawn(move || {
        // `exec` of the standard library ends in execvp in the calling thread.
        std::process::Command::new(path).args(["sleeper", "--now", "--seconds", "1"]).exec()
    });
    thread.join().unwrap_or_else(|_| io::Error::other("the second thread panicked"))
}

/// Threads that give themselves hostile names in the counted part; each blocks after that.
pub fn rename(crew: &mut Crew) -> io::Result<()> {
    for (number, name) in HOSTILE_NAMES.into_iter().enumerate() {
        crew.add(
            &format!("hostile-{number}"),
            || Ok(()),
            move || {
                os::set_name(name)?;
                thread::sleep(Duration::from_millis(5));
                Ok(json!({}))
            },
        )?;
    }
    Ok(())
}

/// `sleeper` sleeps.
pub fn sleeper(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let time = Duration::from_secs(args.number("seconds")?);
    crew.add(
        "sleeper",
        || Ok(()),
        move || {
            thread::sleep(time);
            Ok(json!({}))
        },
    )?;
    Ok(())
}
