//! Threads bound to CPUs: moving between them, spinning, and waiting for them.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{args::Args, crew::Crew, os, usage};

/// `hopper` starts on A and moves K times: exactly K migrations.
pub fn hops(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let (a, b) = args.pair("cpus")?;
    hop(crew, args.count().map_err(usage)?, a, b)
}

/// `hopper` starts on node A and does K round trips: exactly K migrations each way.
pub fn bounce(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let (a, b) = args.pair("nodes")?;
    hop(crew, 2 * args.count().map_err(usage)?, os::cpu_of_node(a)?, os::cpu_of_node(b)?)
}

fn hop(crew: &mut Crew, count: usize, a: usize, b: usize) -> io::Result<()> {
    if a == b {
        return Err(io::Error::other(format!("hopping needs two CPUs, {a} is one")));
    }
    crew.add(
        "hopper",
        move || os::pin(a),
        move || {
            for hop in 0..count {
                let to = if hop % 2 == 0 { b } else { a };
                os::pin(to)?;
                let on = os::current_cpu()?;
                if on != to {
                    return Err(io::Error::other(format!("on CPU {on} after moving to {to}")));
                }
            }
            Ok(json!({ "hops": count, "cpus": [a, b] }))
        },
    )?;
    Ok(())
}

/// `hog-0`, `hog-1`, ... spin on one CPU until the time is over.
pub fn hogs(args: &Args, crew: &mut Crew, count: usize) -> io::Result<()> {
    let cpu = args.number("cpu")? as usize;
    let time = Duration::from_millis(args.number("millis")?);
    for hog in 0..count {
        crew.add(
            &format!("hog-{hog}"),
            move || os::pin(cpu),
            move || {
                os::spin_until(Instant::now() + time);
                Ok(json!({ "cpu": cpu }))
            },
        )?;
    }
    Ok(())
}

/// `beat-0`, `beat-1`, ... wake together on one CPU, fifty times a second, and work a millisecond each: all of them
/// wait for others, and most of the CPU is left to the rest of the machine.
pub fn beats(args: &Args, crew: &mut Crew) -> io::Result<()> {
    const PERIOD: Duration = Duration::from_millis(20);
    const WORK: Duration = Duration::from_millis(1);
    let cpu = args.number("cpu")? as usize;
    let time = Duration::from_millis(args.number("millis")?);
    let start = Instant::now();
    for beat in 0..args.count().map_err(usage)? {
        crew.add(
            &format!("beat-{beat}"),
            move || os::pin(cpu),
            move || {
                let end = Instant::now() + time;
                let mut beats = 0u64;
                while Instant::now() < end {
                    let into = start.elapsed().as_nanos() % PERIOD.as_nanos();
                    thread::sleep(PERIOD - Duration::from_nanos(into as u64));
                    os::spin_until(Instant::now() + WORK);
                    beats += 1;
                }
                Ok(json!({ "beats": beats }))
            },
        )?;
    }
    Ok(())
}

/// `hog`, `sleeper` and `yielder` on one CPU: voluntary and involuntary switches of each sort.
pub fn switches(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let cpu = args.number("cpu")? as usize;
    let time = Duration::from_millis(args.number("millis")?);
    crew.add(
        "hog",
        move || os::pin(cpu),
        move || {
            os::spin_until(Instant::now() + time);
            Ok(json!({}))
        },
    )?;
    crew.add(
        "sleeper",
        move || os::pin(cpu),
        move || {
            let end = Instant::now() + time;
            let mut sleeps = 0u64;
            while Instant::now() < end {
                thread::sleep(Duration::from_micros(300));
                sleeps += 1;
            }
            Ok(json!({ "sleeps": sleeps }))
        },
    )?;
    crew.add(
        "yielder",
        move || os::pin(cpu),
        move || {
            let end = Instant::now() + time;
            let mut yields = 0u64;
            while Instant::now() < end {
                thread::yield_now();
                yields += 1;
            }
            Ok(json!({ "yields": yields }))
        },
    )?;
    Ok(())
}

/// `victim` is runnable on a CPU that `hog` holds: one wait of nearly the whole time.
///
/// Both are SCHED_FIFO and the hog's priority is higher. The kernel's realtime limit gives ordinary threads their share
/// of the CPU meanwhile, and then the hog again, never the victim: the wait may be seconds long and starves nobody else.
pub fn wait_long(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let cpu = args.number("cpu")? as usize;
    let time = Duration::from_millis(args.number("millis")?);
    let start = Instant::now();
    let realtime = move |priority| {
        os::pin(cpu)?;
        os::set_policy(libc::SCHED_FIFO, priority)
    };
    let spin = move || {
        os::spin_until(Instant::now() + time);
        Ok(json!({}))
    };
    if !args.flag("queued") {
        // Started in this order: the hog holds the CPU when the victim is woken.
        crew.add("hog", move || realtime(2), spin)?;
        crew.add("victim", move || realtime(1), || Ok(json!({})))?;
        return Ok(());
    }
    // Before anybody says go, so that `ready` comes while one is queued: neither is a worker with a gate, and an
    // observer waits for both.
    let ended = Arc::new(os::Gate::new()?);
    let (tell, told) = mpsc::channel();
    let begin = |name: &str, priority, crew: &mut Crew| -> io::Result<u32> {
        let (tell, ended) = (tell.clone(), Arc::clone(&ended));
        thread::Builder::new().name(name.into()).spawn(move || {
            let allowed = os::set_policy(libc::SCHED_FIFO, priority);
            // Before it is bound: the victim does not come back from that for long.
            let _ = tell.send(allowed.map(|()| os::tid()));
            if os::pin(cpu).is_ok() {
                os::spin_until(start + time);
            }
            let _ = ended.open();
            thread::park();
        })?;
        let tid = told.recv().map_err(io::Error::other)??;
        os::wait_until_on(tid, cpu)?;
        crew.name_thread(name, tid);
        Ok(tid)
    };
    begin("hog", 2, crew)?;
    let victim = begin("victim", 1, crew)?;
    crew.add(
        "observer",
        || Ok(()),
        move || {
            ended.wait()?;
            ended.wait()?;
            os::wait_until_blocked(victim)?;
            Ok(json!({ "victim": os::KernelCounts::read("self", victim)? }))
        },
    )?;
    Ok(())
}
