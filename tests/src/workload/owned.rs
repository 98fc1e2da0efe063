//! Memory that one thread fills on one node, and others read on another: what first touch does to a program.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    args::Args,
    crew::Crew,
    memory::{self, Region},
    os, usage,
};

/// Threads that read.
const READERS: usize = 2;

/// Memory that several threads use.
#[derive(Clone, Copy)]
struct Common(Region);
// SAFETY: an address and a length; whoever reads and writes there does so byte by byte and volatile, and of what is read
// nothing is made.
unsafe impl Send for Common {}

/// `owner` writes N fresh pages on node A, and ends; then `reader-0` and `reader-1` read them again and again on node B, until
/// the time is over; with `--apart` the second of them on the node after B. No policy says where the pages are to be.
pub fn owned(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let (a, b) = args.pair("nodes")?;
    let time = Duration::from_millis(args.number("millis")?);
    let pages = args.count().map_err(usage)?;
    let apart = args.flag("apart");
    memory::no_huge_pages()?;
    let region = Common(Region::anonymous(pages)?);
    let filled = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&filled);
    crew.add(
        "owner",
        move || os::allow_node(a),
        move || {
            // All of it: the wrapper is what may be sent.
            let Common(region) = { region };
            region.write(1);
            tell.store(true, Ordering::Release);
            Ok(json!({ "pages": pages, "node": a }))
        },
    )?;
    for reader in 0..READERS {
        let filled = Arc::clone(&filled);
        crew.add(
            &format!("reader-{reader}"),
            move || os::allow_node(if apart { b + reader } else { b }),
            move || {
                let Common(region) = { region };
                while !filled.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let (end, mut rounds) = (Instant::now() + time, 0u64);
                while Instant::now() < end {
                    region.read(1);
                    rounds += 1;
                }
                Ok(json!({ "rounds": rounds }))
            },
        )?;
    }
    Ok(())
}

/// `filler` writes N fresh pages on node A, more than the node may have room for, keeps them for the time given, and touches a
/// few more all along. No policy says where the pages are to be.
pub fn fill(args: &Args, crew: &mut Crew) -> io::Result<()> {
    /// Pages between two looks at the clock.
    const STEP: usize = 64;
    let node = args.number("node")? as usize;
    let time = Duration::from_millis(args.number("millis")?);
    let pages = args.count().map_err(usage)?;
    memory::no_huge_pages()?;
    crew.add(
        "filler",
        move || os::allow_node(node),
        move || {
            Region::anonymous(pages)?.write(1);
            let end = Instant::now() + time;
            let mut more = 0;
            while Instant::now() < end {
                Region::anonymous(STEP)?.write(1);
                more += STEP;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(json!({ "pages": pages + more }))
        },
    )?;
    Ok(())
}
