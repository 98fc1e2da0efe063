//! Workers and their gates: ready, go, done, exit.

use std::{
    io::{self, BufRead as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::os::{Gate, KernelCounts, tid, wait_until_blocked};

/// What the kernel says about one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadFacts {
    /// Its thread id.
    pub tid: u32,
    /// Before the counted part, blocked on the first gate.
    pub before: KernelCounts,
    /// After it, blocked on the second.
    pub after: KernelCounts,
}

/// One thread of the workload.
struct Worker {
    name: String,
    tid: u32,
    shared: Arc<Shared>,
    handle: thread::JoinHandle<()>,
}

/// What a worker and the first thread share. The result is stored before `done` opens and read after: nobody ever
/// sleeps for the lock, as somebody might for a channel's.
struct Shared {
    start: Gate,
    done: Gate,
    end: Gate,
    result: Mutex<Option<io::Result<Value>>>,
}

/// All threads of a workload besides the first, which only reads and prints.
pub struct Crew {
    now: bool,
    workers: Vec<Worker>,
    others: Map<String, Value>,
    facts: Map<String, Value>,
}

impl Crew {
    /// An empty crew; `now` means that nobody will say go.
    pub fn new(now: bool) -> Crew {
        Crew { now, workers: Vec::new(), others: Map::new(), facts: Map::new() }
    }

    /// Adds a worker: `prepare` runs at once, `work` is the counted part, and what it returns is among the facts
    /// under the worker's name. Returns when the worker is blocked on its gate.
    pub fn add(
        &mut self,
        name: &str,
        prepare: impl FnOnce() -> io::Result<()> + Send + 'static,
        work: impl FnOnce() -> io::Result<Value> + Send + 'static,
    ) -> io::Result<u32> {
        self.add_prepared(name, prepare, |()| work())
    }

    /// The same, where the counted part needs what was prepared.
    pub fn add_prepared<T: 'static>(
        &mut self,
        name: &str,
        prepare: impl FnOnce() -> io::Result<T> + Send + 'static,
        work: impl FnOnce(T) -> io::Result<Value> + Send + 'static,
    ) -> io::Result<u32> {
        let gates = [Gate::new()?, Gate::new()?, Gate::new()?];
        let [start, done, end] = gates;
        let shared = Arc::new(Shared { start, done, end, result: Mutex::new(None) });
        let mine = Arc::clone(&shared);
        let (tell_tid, told_tid) = mpsc::channel();
        let body = move || {
            let prepared = match prepare() {
                Ok(prepared) => prepared,
                Err(error) => {
                    let _ = tell_tid.send(Err(error));
                    return;
                }
            };
            let _ = tell_tid.send(Ok(tid()));
            if mine.start.wait().is_err() {
                return;
            }
            let work = AssertUnwindSafe(|| work(prepared));
            let result = catch_unwind(work).unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            *mine.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            let _ = mine.done.open();
            let _ = mine.end.wait();
        };
        let handle = thread::Builder::new().name(name.into()).stack_size(128 << 10).spawn(body)?;
        let tid = told_tid.recv().map_err(io::Error::other)??;
        wait_until_blocked(tid)?;
        self.workers.push(Worker { name: name.into(), tid, shared, handle });
        Ok(tid)
    }

    /// Names a thread that is no worker among the threads that `ready` lists.
    pub fn name_thread(&mut self, name: &str, tid: u32) {
        self.others.insert(name.into(), tid.into());
    }

    /// Adds something to what `done` says.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.into(), value.into());
    }

    /// From ready to exit.
    pub fn run(mut self) -> io::Result<()> {
        let mut tids = std::mem::take(&mut self.others);
        tids.extend(self.workers.iter().map(|worker| (worker.name.clone(), worker.tid.into())));
        print_line(&json!({ "ready": true, "pid": std::process::id(), "main": tid(), "tids": tids }))?;
        self.wait_for_line()?;
        let read = |worker: &Worker| KernelCounts::read("self", worker.tid);
        let before: Vec<KernelCounts> = self.workers.iter().map(read).collect::<io::Result<_>>()?;
        for worker in &self.workers {
            worker.shared.start.open()?;
        }
        for worker in &self.workers {
            worker.shared.done.wait()?;
            let result = worker.shared.result.lock().unwrap_or_else(PoisonError::into_inner).take();
            let result = result.unwrap_or_else(|| Err(io::Error::other("it has no result")));
            let result = result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", worker.name)))?;
            self.facts.insert(worker.name.clone(), result);
        }
        // Counted numbers stand still only when everybody is off the CPU.
        self.workers.iter().try_for_each(|worker| wait_until_blocked(worker.tid))?;
        let after: Vec<KernelCounts> = self.workers.iter().map(read).collect::<io::Result<_>>()?;
        let threads: Map<String, Value> = (self.workers.iter().zip(before.iter().zip(&after)))
            .map(|(worker, (before, after))| {
                let facts = ThreadFacts { tid: worker.tid, before: *before, after: *after };
                (worker.name.clone(), serde_json::to_value(facts).unwrap_or_default())
            })
            .collect();
        print_line(&json!({ "done": true, "threads": threads, "facts": self.facts }))?;
        self.wait_for_line()?;
        for worker in self.workers {
            worker.shared.end.open()?;
            worker.handle.join().map_err(|_| io::Error::other(format!("{} panicked", worker.name)))?;
        }
        Ok(())
    }

    /// Blocks until a line, or the end of the input.
    fn wait_for_line(&self) -> io::Result<()> {
        if self.now {
            return Ok(());
        }
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(drop)
    }
}

fn print_line(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}
