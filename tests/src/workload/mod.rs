//! Workloads that do a known number of things: the truth that live tests and guests compare numatrace with.
//!
//! A workload sets its threads up, prints one JSON line `{"ready":true,"pid":..,"tids":{..}}`, waits for a line on
//! its standard input so that a tracer can attach, does the counted part, prints `{"done":true,..}` with what the
//! kernel itself says about each thread before and after, and waits for another line, so that its threads can still
//! be looked at. With `--now` it waits for neither.
//!
//! What is exact: each worker blocks on a gate of its own before the counted part, and on another after it. Gates
//! are event counters, which take no lock that could make somebody sleep, so each worker has exactly one wait after a
//! wakeup (the first gate) and one voluntary switch (the second) besides what the counted part does.

mod args;
mod churn;
mod crew;
pub mod memory;
pub mod os;
mod owned;
mod pinned;
mod pipes;
mod touch;

use std::io;

use self::{args::Args, crew::Crew};
pub use self::{churn::HOSTILE_NAMES, crew::ThreadFacts, touch::Kind};

/// How to call it.
const USAGE: &str = "\
usage: workload [--now] COMMAND
  pingpong N --cpu A [--cpu-b B]   two threads exchange N round trips over a pair of pipes
  pipes PAIRS --millis T [--pause US]   pairs of threads exchange bytes for a time, unpinned; --pause: after each round
  hops K --cpus A,B                a thread moves K times between two CPUs
  bounce K --nodes A,B             a thread does K round trips between a CPU of node A and one of node B
  pin --cpu C --millis T           a thread spins on one CPU
  hogs M --cpu C --millis T        M threads spin on one CPU
  beats M --cpu C --millis T       M threads wake together on one CPU, again and again, and work a little
  switches --cpu C --millis T      a hog, a sleeper and a yielder share one CPU
  wait-long --cpu C --millis T [--queued]   a thread is kept queued; --queued: before it says that it is ready
  forkstorm N                      N children, one after another
  forkbomb G                       a tree of processes of G generations, three children each
  threads N [--millis T]           N short threads, in waves, for that time at most
  exec                             a child changes its program, another does so from its second thread
  rename                           threads with hostile names
  touch N --kind KIND --nodes A,B [--cpu C]   a thread on node A (or that CPU) touches N pages of node B, see KINDS
  touch N --kind hint --nodes A,B --millis T  reads them again and again, so that NUMA balancing samples it
  touch N --kind rounds --nodes A,B --millis T   maps, touches and unmaps them again and again
  owned N --nodes A,B --millis T [--apart]   a thread fills N pages on node A, then two read them again and again on node B;
                                   --apart: the second of them on the node after B
  fill N --node A --millis T       a thread on node A fills N pages, more than the node may have room for
  sleeper --seconds S              does nothing
KINDS, each with N page faults of the thread unless it says otherwise:
  anon            writes to fresh anonymous pages
  anon_read_zero  reads of fresh anonymous pages: the page of zeros
  file            reads of a file in the page cache, one page for each window that a fault maps around itself
  file_around     reads of every page of such a file: a fault for each window, and for each page that is locked just then
  shared          writes to fresh shared memory
  shared_file     writes to a shared mapping of a file in the page cache
  cow             writes to pages of node A that a child shares since a fork; the copies are on node B
  cow_file        writes to a private mapping of a file that is in the page cache on node A; the copies are on node B
  cow_child       the same as cow, by the child, which exits at once
  exiting         a child writes to fresh pages and exits at once
  huge            writes to N huge pages
  short           maps, touches and unmaps one page, N times
  kernel          read(2) into fresh pages: the kernel takes the faults
  retouch         reads of pages that are mapped: none
  populate        MAP_POPULATE: none that is a page touch, though the kernel counts N faults";

/// Runs the workload that `args` (without the program's name) ask for.
///
/// # Errors
/// When the arguments make no sense, or the kernel refuses what the workload needs.
pub fn main(args: impl Iterator<Item = String>) -> io::Result<()> {
    let args = Args::parse(args).map_err(usage)?;
    if args.command() == churn::EXEC_FROM_SECOND_THREAD {
        return Err(churn::exec_from_second_thread(args.word(1)));
    }
    let mut crew = Crew::new(args.flag("now"));
    match args.command() {
        "pingpong" => pipes::ping_pong(&args, &mut crew),
        "pipes" => pipes::pairs(&args, &mut crew),
        "hops" => pinned::hops(&args, &mut crew),
        "bounce" => pinned::bounce(&args, &mut crew),
        "pin" => pinned::hogs(&args, &mut crew, 1),
        "hogs" => pinned::hogs(&args, &mut crew, args.count().map_err(usage)?),
        "beats" => pinned::beats(&args, &mut crew),
        "switches" => pinned::switches(&args, &mut crew),
        "wait-long" => pinned::wait_long(&args, &mut crew),
        "forkstorm" => churn::fork_storm(&args, &mut crew),
        "forkbomb" => churn::fork_bomb(&args, &mut crew),
        "threads" => churn::threads(&args, &mut crew),
        "exec" => churn::exec(&mut crew),
        "rename" => churn::rename(&mut crew),
        "touch" => touch::touch(&args, &mut crew),
        "owned" => owned::owned(&args, &mut crew),
        "fill" => owned::fill(&args, &mut crew),
        "sleeper" => churn::sleeper(&args, &mut crew),
        other => Err(usage(format!("there is no workload '{other}'"))),
    }?;
    crew.run()
}

fn usage(problem: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{problem}\n{USAGE}"))
}
