//! Threads that wake each other through pipes.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{args::Args, crew::Crew, os, usage};

/// `a` sends, `b` answers, N times.
///
/// On one CPU under SCHED_FIFO of equal priority neither preempts the other, so each blocks once a round trip: N waits
/// after wakeups a side, and the one of its gate. Where realtime is refused SCHED_BATCH comes close, and `exact` is
/// false. On two CPUs an answer may be there before it is waited for.
pub fn ping_pong(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let rounds = args.count().map_err(usage)?;
    let cpu = args.number("cpu")? as usize;
    let other = args.optional("cpu-b")?.map_or(cpu, |cpu| cpu as usize);
    let ((mut from_a, mut to_b), (mut from_b, mut to_a)) = (os::pipe()?, os::pipe()?);
    let realtime = cpu == other && realtime_is_allowed();
    let prepare = move |cpu| {
        os::pin(cpu)?;
        match (realtime, cpu == other) {
            (true, _) => os::set_policy(libc::SCHED_FIFO, 1),
            (false, true) => os::set_policy(libc::SCHED_BATCH, 0),
            (false, false) => Ok(()),
        }
    };
    // `b` first: it must be waiting when the first byte comes.
    crew.add(
        "b",
        move || prepare(other),
        move || {
            let mut byte = [0];
            for _ in 0..rounds {
                from_a.read_exact(&mut byte)?;
                to_a.write_all(&byte)?;
            }
            Ok(json!({ "rounds": rounds }))
        },
    )?;
    crew.add(
        "a",
        move || prepare(cpu),
        move || {
            let mut byte = [1];
            for _ in 0..rounds {
                to_b.write_all(&byte)?;
                from_b.read_exact(&mut byte)?;
            }
            Ok(json!({ "rounds": rounds }))
        },
    )?;
    crew.fact("exact", realtime);
    crew.fact("waits_per_side", rounds + 1);
    Ok(())
}

/// Whether this machine lets a thread of ours be SCHED_FIFO (a control group without realtime share does not).
fn realtime_is_allowed() -> bool {
    std::thread::spawn(|| os::set_policy(libc::SCHED_FIFO, 1).is_ok()).join().unwrap_or(false)
}

/// Pairs of threads that ping-pong until the time is over, anywhere: saturates a machine with switches, or with a pause after
/// each round makes about as many on any.
pub fn pairs(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let count = args.count().map_err(usage)?;
    let time = Duration::from_millis(args.number("millis")?);
    let pause = args.optional("pause")?.map(Duration::from_micros);
    for pair in 0..count {
        let ((mut from_a, mut to_b), (mut from_b, mut to_a)) = (os::pipe()?, os::pipe()?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        crew.add(
            &format!("b{pair}"),
            || Ok(()),
            move || {
                let mut byte = [0];
                while from_a.read(&mut byte)? == 1 && !stopped.load(Ordering::Relaxed) {
                    to_a.write_all(&byte)?;
                }
                Ok(json!({}))
            },
        )?;
        crew.add(
            &format!("a{pair}"),
            || Ok(()),
            move || {
                let end = Instant::now() + time;
                let mut byte = [1];
                let mut rounds = 0u64;
                while Instant::now() < end {
                    to_b.write_all(&byte)?;
                    from_b.read_exact(&mut byte)?;
                    rounds += 1;
                    pause.into_iter().for_each(std::thread::sleep);
                }
                stop.store(true, Ordering::Relaxed);
                to_b.write_all(&byte)?;
                Ok(json!({ "rounds": rounds }))
            },
        )?;
    }
    Ok(())
}
