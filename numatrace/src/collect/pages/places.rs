//! Where page touches come from, off the hot path: a thread takes samples, turns their addresses into words, and sums up by
//! thread and place. At a tick its sums are asked for; they are records like any other.
//!
//! Bounded: 64 batches of 1,024 samples on their way, 16,384 texts of 1,024 bytes, 65,536 places between two ticks, and the
//! caches of [`crate::symbols`]. What is beyond is in one place with a name that says so.

use std::{
    collections::HashMap,
    io,
    path::Path,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use numatrace_common::{
    abi::{NO_NODE, PATH_PIECE, STACK_DEPTH, TouchSample, TouchStack, Where, Words, sample_flags, touch},
    config::NO_NODE_BYTE,
};
use zerocopy::IntoBytes as _;

use super::unresolved::Group;
use crate::{
    mempolicy,
    rights::{self, Role},
    snapshot::HostNode,
    symbols::Resolver,
};

/// Samples in one batch.
const BATCH: usize = 1_024;
/// Batches on their way.
const BATCHES: usize = 64;
/// Texts that are told apart.
const MOST_TEXTS: usize = 16_384;
/// Bytes of a text.
const LONGEST_TEXT: usize = 1_024;
/// Places between two ticks.
const MOST_PLACES: usize = 65_536;
/// Addresses in one question about nodes, which takes the kernel about a tenth of a millisecond.
const ASKED_AT_ONCE: usize = 512;
/// Between two attempts to hand something over when everything ends.
const OFFER_PAUSE: Duration = Duration::from_millis(5);
/// Longest wait for the thread's end.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Stands for texts and places beyond the bounds.
const MORE: &str = "(more places than are kept)";

/// A sample, and its callers where they were asked for.
struct Seen {
    sample: TouchSample,
    depth: u32,
    frames: [u64; STACK_DEPTH],
}

enum Job {
    Samples(Vec<Seen>),
    Meet(u32),
    /// Its number, and whether all texts are to be told again from here on.
    Tick(u64, bool),
}

/// Thread, process, mapping, place in the code, callers: numbers of texts.
pub(super) type Place = (u32, u32, u32, u32, u32);

/// What came of samples since the last answer.
#[derive(Default)]
pub(super) struct Answer {
    tick: u64,
    words: Vec<(u32, String)>,
    /// Local and remote touches, by thread.
    pub(super) places: Vec<(Place, [u64; 2])>,
    /// Nodes of pages that were asked for.
    pub(super) resolved: Vec<(Group, u8, u64)>,
}

impl Answer {
    /// As records.
    pub(super) fn tell(&self, ts: u64, sink: &mut dyn FnMut(&[u8])) {
        for (id, text) in &self.words {
            for (nth, bytes) in text.as_bytes().chunks(PATH_PIECE).enumerate() {
                let mut piece = [0; PATH_PIECE];
                piece[..bytes.len()].copy_from_slice(bytes);
                // A text has at most `LONGEST_TEXT` bytes.
                let (offset, total) = ((nth * PATH_PIECE) as u16, text.len() as u16);
                sink(Words { header: Words::header(ts, 0, 0), id: *id, offset, total, piece }.as_bytes());
            }
        }
        for ((tid, tgid, mapping, symbol, stack), [local, remote]) in &self.places {
            let record = Where {
                header: Where::header(ts, 0, 0),
                tid: *tid,
                tgid: *tgid,
                mapping: *mapping,
                symbol: *symbol,
                stack: *stack,
                reserved: 0,
                local: *local,
                remote: *remote,
            };
            sink(record.as_bytes());
        }
    }
}

/// The thread, from outside.
pub(super) struct Places {
    to: Option<SyncSender<Job>>,
    from: Receiver<Answer>,
    thread: Option<JoinHandle<Option<()>>>,
    batch: Vec<Seen>,
    tick: u64,
    /// Texts that were told are to be told again.
    forget: bool,
    /// It is to end, whatever it has to do still.
    stop: Arc<AtomicBool>,
}

impl Places {
    /// Starts it. It names at most `a_second` samples of the processes that `proc` has.
    pub(super) fn start(proc: &Path, a_second: u32, nodes: Vec<HostNode>) -> io::Result<Places> {
        let (to, jobs) = sync_channel(BATCHES);
        let (answers, from) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let proc = proc.to_owned();
        let thread = rights::spawn("numatrace-where", Role::Where, move || {
            let mut worker = Worker {
                resolver: Resolver::new(&proc),
                nodes,
                a_second,
                named_since: Instant::now(),
                named: 0,
                left_out: [0; 2],
                texts: HashMap::new(),
                told: Vec::new(),
                answer: Answer::default(),
                places: HashMap::new(),
                resolved: HashMap::new(),
            };
            for job in jobs {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(answer) = worker.work(job)
                    && answers.send(answer).is_err()
                {
                    return;
                }
            }
        })?;
        let batch = Vec::with_capacity(BATCH);
        Ok(Places { to: Some(to), from, thread: Some(thread), batch, tick: 0, forget: false, stop })
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self, sample: TouchSample) {
        self.batch.push(Seen { sample, depth: 0, frames: [0; STACK_DEPTH] });
        if self.batch.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Takes callers, of the sample that came before.
    pub(super) fn stack(&mut self, stack: &TouchStack) {
        let of_it =
            |seen: &&mut Seen| (seen.sample.tid, seen.sample.header.ts, seen.depth) == (stack.tid, stack.header.ts, 0);
        if let Some(seen) = self.batch.iter_mut().rev().find(of_it) {
            (seen.depth, seen.frames) = (stack.depth.min(STACK_DEPTH as u32), stack.frames);
        }
    }

    /// A process is traced from now on, or runs another program.
    pub(super) fn meet(&mut self, tgid: u32) {
        self.offer(Job::Meet(tgid));
    }

    /// Gives the thread what there is. Where it is far behind, that is left out.
    pub(super) fn hand_over(&mut self) {
        if !self.batch.is_empty() {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            self.offer(Job::Samples(batch));
        }
    }

    pub(super) fn forget_told(&mut self) {
        self.forget = true;
    }

    /// Never waits: a thread that waits for a file system takes nothing, and neither does one that has ended.
    fn offer(&mut self, job: Job) -> bool {
        self.to.as_ref().is_some_and(|to| to.try_send(job).is_ok())
    }

    /// What it has found so far; where `wait` says so, all of it, if that takes no longer.
    pub(super) fn tick(&mut self, wait: Option<Duration>) -> Answer {
        self.hand_over();
        self.tick += 1;
        let mut all = Answer::default();
        let until = wait.map(|wait| Instant::now() + wait);
        let mut offered = self.offer(Job::Tick(self.tick, self.forget));
        while !offered && until.is_some_and(|until| Instant::now() < until) {
            thread::sleep(OFFER_PAUSE);
            offered = self.offer(Job::Tick(self.tick, self.forget));
        }
        self.forget &= !offered;
        loop {
            let answer = match until.filter(|_| all.tick < self.tick) {
                Some(until) => match self.from.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(answer) => answer,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return all,
                },
                None => match self.from.try_recv() {
                    Ok(answer) => answer,
                    Err(_) => return all,
                },
            };
            all.tick = answer.tick;
            all.words.extend(answer.words);
            all.places.extend(answer.places);
            all.places.sort_by_key(|(place, _)| *place);
            all.resolved.extend(answer.resolved);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.to = None;
        let Some(thread) = self.thread.take() else { return };
        let until = Instant::now() + LAST_WAIT;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(OFFER_PAUSE);
        }
        // One that waits for a file system is left to itself. What others were about to say interests nobody any more.
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    resolver: Resolver,
    nodes: Vec<HostNode>,
    /// Samples that are named in a second, at most: those that are taken at the beginning of faults are all faults.
    a_second: u32,
    named_since: Instant,
    named: u32,
    /// Touches of samples that were not named: local, remote.
    left_out: [u64; 2],
    texts: HashMap<String, u32>,
    /// By number of the text, less one.
    told: Vec<bool>,
    answer: Answer,
    places: HashMap<Place, [u64; 2]>,
    resolved: HashMap<(Group, u8), u64>,
}

impl Worker {
    fn work(&mut self, job: Job) -> Option<Answer> {
        match job {
            Job::Meet(tgid) => {
                // What was known is of a program before this one, or of a process before it with this id.
                self.resolver.forget(tgid);
                self.resolver.meet(tgid);
            }
            Job::Samples(batch) => self.samples(batch),
            Job::Tick(tick, forget) => {
                let mut answer = std::mem::take(&mut self.answer);
                answer.tick = tick;
                answer.places = self.places.drain().collect();
                answer.places.sort_unstable_by_key(|(place, _)| *place);
                let resolved = self.resolved.drain().map(|((group, node), count)| (group, node, count));
                answer.resolved = resolved.collect();
                if forget {
                    // What this answer names is told with it.
                    self.told.iter_mut().for_each(|told| *told = false);
                    self.tell_again(&mut answer);
                }
                if self.texts.len() > MOST_TEXTS * 3 / 4 {
                    // Most are of mappings that are gone. Their numbers stand for others from now on.
                    self.texts.clear();
                    self.told.clear();
                }
                return Some(answer);
            }
        }
        None
    }

    /// The texts of all places of an answer, for one who has heard none of them.
    fn tell_again(&mut self, answer: &mut Answer) {
        let mut needed: Vec<u32> = answer.places.iter().flat_map(|((_, _, a, b, c), _)| [*a, *b, *c]).collect();
        needed.sort_unstable();
        needed.dedup();
        let names: HashMap<u32, &String> = self.texts.iter().map(|(text, number)| (*number, text)).collect();
        answer.words = needed.iter().filter_map(|number| Some((*number, (*names.get(number)?).clone()))).collect();
        for (number, _) in &answer.words {
            if let Some(told) = self.told.get_mut(*number as usize - 1) {
                *told = true;
            }
        }
    }

    fn samples(&mut self, mut batch: Vec<Seen>) {
        if batch.iter().any(|seen| seen.sample.flags & sample_flags::ENTRY != 0) {
            self.ask_for_nodes(&mut batch);
        }
        for seen in &batch {
            let sample = &seen.sample;
            let (cpu_node, page_node) = (sample.cpu_node, sample.header.cpu2);
            if page_node == NO_NODE || cpu_node == NO_NODE {
                continue;
            }
            let remote = usize::from(cpu_node != page_node);
            self.left_out[remote] = self.left_out[remote].saturating_add(u64::from(sample.weight));
            if self.may_name() {
                let touches = std::mem::take(&mut self.left_out[remote]);
                let place = self.place(seen);
                let sums = self.places.entry(place).or_default();
                sums[remote] = sums[remote].saturating_add(touches);
            }
        }
    }

    fn may_name(&mut self) -> bool {
        if self.named_since.elapsed() >= Duration::from_secs(1) {
            (self.named_since, self.named) = (Instant::now(), 0);
        }
        self.named += 1;
        // The probes bound it as well, but for a CPU more or less, and stretches that do not begin with seconds.
        self.named <= self.a_second.saturating_add(self.a_second / 4)
    }

    fn place(&mut self, seen: &Seen) -> Place {
        let sample = &seen.sample;
        let mapping = self.mapping(sample);
        let mapping = self.number(mapping);
        let symbol = self.resolver.symbol(sample.tgid, sample.ip);
        let symbol = self.number(symbol);
        // Where there are no frame pointers, the walk ends in nothing.
        let real = |frame: &&u64| **frame != 0;
        let depth = seen.frames[..seen.depth as usize].iter().take_while(real).count();
        let frames = &seen.frames[..depth];
        let stack = if frames.is_empty() {
            0
        } else {
            let lines: Vec<String> =
                frames.iter().map(|frame| self.resolver.symbol(sample.tgid, frame.saturating_sub(1))).collect();
            self.number(lines.join("\n"))
        };
        let place = (sample.tid, sample.tgid, mapping, symbol, stack);
        if self.places.len() < MOST_PLACES || self.places.contains_key(&place) {
            return place;
        }
        let more = self.number(MORE.to_owned());
        (sample.tid, sample.tgid, more, more, 0)
    }

    /// The mapping in words. Where the process is gone, what the probe saw.
    fn mapping(&mut self, sample: &TouchSample) -> String {
        let has = |flag| sample.flags & flag != 0;
        let with_policy =
            |mapping: &str| mempolicy::with_mapping(mapping, &mempolicy::words(sample.policy, sample.policy_nodes));
        let named = self.resolver.mapping(sample.tgid, sample.address);
        match named {
            Some(name) if mempolicy::has_policy(&name) => with_policy(&name),
            Some(name) => name,
            None if has(sample_flags::HEAP) => with_policy("heap"),
            None if has(sample_flags::STACK) => "stack".to_owned(),
            None if has(sample_flags::FILE) => "a file (unmapped before its name was read)".to_owned(),
            None if has(sample_flags::MAPPING) => {
                with_policy(&format!("anon {:#x}-{:#x}", sample.map_start, sample.map_end))
            }
            None => "(unmapped before it was looked at)".to_owned(),
        }
    }

    /// The number of a text, which is told with the next answer.
    fn number(&mut self, mut text: String) -> u32 {
        if text.len() > LONGEST_TEXT {
            let end = (0..=LONGEST_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        let number = match self.texts.get(&text) {
            Some(number) => *number,
            None if self.texts.len() + 1 >= MOST_TEXTS && text != MORE => return self.number(MORE.to_owned()),
            None => {
                // At most `MOST_TEXTS`.
                let number = self.told.len() as u32 + 1;
                self.told.push(false);
                self.texts.insert(text.clone(), number);
                number
            }
        };
        let told = &mut self.told[number as usize - 1];
        if !std::mem::replace(told, true) {
            self.answer.words.push((number, text));
        }
        number
    }

    /// Asks the kernel where the pages of samples have come to lie that were taken when their faults began.
    fn ask_for_nodes(&mut self, batch: &mut Vec<Seen>) {
        let mut by_process: HashMap<u32, Vec<usize>> = HashMap::new();
        for at in 0..batch.len() {
            let sample = &batch[at].sample;
            if sample.flags & sample_flags::ENTRY == 0 {
                continue;
            }
            if sample.kind == u16::from(touch::HINT_LOCAL) {
                // The fault before it, of the same thread, was planted by NUMA balancing.
                let tid = sample.tid;
                if let Some(before) = batch[..at].iter_mut().rev().find(|seen| seen.sample.tid == tid) {
                    before.sample.weight = 0;
                }
                batch[at].sample.weight = 0;
            } else {
                by_process.entry(sample.tgid).or_default().push(at);
            }
        }
        for (tgid, all) in by_process {
            for some in all.chunks(ASKED_AT_ONCE) {
                let addresses: Vec<u64> = some.iter().map(|at| batch[*at].sample.address).collect();
                for (at, node) in some.iter().zip(nodes_of(tgid, &addresses)) {
                    let sample = &mut batch[*at].sample;
                    let position = node.and_then(|id| self.nodes.iter().position(|node| node.id.0 == id));
                    let Some(position) = position.and_then(|position| u8::try_from(position).ok()) else { continue };
                    sample.header.cpu2 = u16::from(position);
                    if sample.weight > 0 {
                        let cpu_node = u8::try_from(sample.cpu_node).unwrap_or(NO_NODE_BYTE);
                        let group = (sample.tid, cpu_node, sample.kind as u8);
                        *self.resolved.entry((group, position)).or_default() += 1;
                    }
                }
            }
        }
        batch.retain(|seen| seen.sample.weight > 0);
    }
}

/// Nodes of pages of a process, by the kernel's numbers: `move_pages(2)` without a place to move to. `None` for those that
/// are not there, or are the zero page, or where the process is gone.
fn nodes_of(tgid: u32, addresses: &[u64]) -> Vec<Option<u32>> {
    let page = super::page_bytes();
    let pages: Vec<u64> = addresses.iter().map(|address| address & !(page - 1)).collect();
    let mut status = vec![-libc::ENOENT; pages.len()];
    // SAFETY: as many addresses and places for answers as it is told; addresses are of the other process.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            tgid as libc::pid_t,
            pages.len() as libc::c_ulong,
            pages.as_ptr(),
            ptr::null::<libc::c_int>(),
            status.as_mut_ptr(),
            0 as libc::c_int,
        )
    };
    status.into_iter().map(|status| u32::try_from(status).ok().filter(|_| done == 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_this_program_are_named_and_told_once() {
        let here = Box::new([0u8; 64]);
        let sample = TouchSample {
            tid: 7,
            tgid: std::process::id(),
            address: here.as_ptr() as u64,
            ip: places_of_this_program_are_named_and_told_once as *const () as u64,
            weight: 5,
            flags: sample_flags::HEAP | sample_flags::MAPPING,
            ..TouchSample::default()
        };
        let mut places = Places::start(Path::new("/proc"), 100, vec![HostNode::default()]).expect("a thread");
        places.sample(sample);
        places.sample(TouchSample { weight: 3, cpu_node: 1, ..sample });
        let answer = places.tick(Some(Duration::from_secs(60)));
        let [(place, counts)] = &answer.places[..] else { panic!("{:?}", answer.places) };
        assert_eq!((place.0, *counts), (7, [5, 3]));
        assert!(answer.words.iter().any(|(_, text)| text.contains("places_of_this_program")), "{:?}", answer.words);
        places.sample(sample);
        let again = places.tick(Some(Duration::from_secs(60)));
        assert_eq!((again.words.len(), again.places.len()), (0, 1));
        places.forget_told();
        places.sample(sample);
        assert_eq!(places.tick(Some(Duration::from_secs(60))).words.len(), answer.words.len());
        places.sample(sample);
        assert_eq!(places.tick(Some(Duration::from_secs(60))).words.len(), 0);
    }

    #[test]
    fn nodes_of_pages_are_those_that_the_kernel_tells() {
        let page = vec![1u8; 8192];
        let nodes = nodes_of(std::process::id(), &[page.as_ptr() as u64 + 4096, 0]);
        assert_eq!(nodes.len(), 2);
        assert!(nodes[1].is_none());
        assert_eq!(nodes_of(u32::MAX, &[1]), [None]);
    }
}
