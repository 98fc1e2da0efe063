//! What clients get, made once for all that ask within a second. Place in the flow: a thread of its own between [`Collect`] and `http`,
//! so that collecting and packing hold no connection up.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::sync::{mpsc, oneshot};

use super::{
    Collect,
    exposition::{Format, Served, encode, families},
    http::Refusals,
    sums::Sums,
};
use crate::text::visible;

/// How long numbers are good for: a thousand scrapes in this time cost one collection.
const KEPT: Duration = Duration::from_secs(1);

/// A form in which numbers can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

/// An answer; clones share its bytes.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    /// Counts collections: answers with an older number are sent to slower clients.
    pub(super) generation: u64,
}

/// An answer, or why there is none, in a sentence.
type Outcome = Result<Answer, String>;

struct Question {
    form: Form,
    reply: oneshot::Sender<Outcome>,
}

/// The thread that makes answers.
pub(super) struct Answers {
    questions: mpsc::Sender<Question>,
    /// Bytes of answers that are kept, or still being sent.
    alive: Arc<AtomicUsize>,
    /// Of these, the bytes of the newest collection.
    newest_bytes: Arc<AtomicUsize>,
    newest: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Answers {
    /// Starts the thread. `most` questions can wait.
    pub(super) fn start(collector: Box<dyn Collect>, refusals: Arc<Refusals>, most: usize) -> std::io::Result<Answers> {
        let (questions, waiting) = mpsc::channel(most.max(1));
        let (alive, newest_bytes, newest) = (Arc::default(), Arc::default(), Arc::new(AtomicU64::new(0)));
        let mut maker = Maker {
            collector,
            refusals,
            alive: Arc::clone(&alive),
            newest_bytes: Arc::clone(&newest_bytes),
            generation: Arc::clone(&newest),
            failure: None,
            kept: None,
        };
        let thread = thread::Builder::new().name("numatrace-sums".into()).spawn(move || maker.run(waiting))?;
        Ok(Answers { questions, alive, newest_bytes, newest, thread })
    }

    /// The newest numbers in a form.
    pub(super) async fn get(&self, form: Form) -> Outcome {
        const ENDED: &str = "collecting has ended";
        let (reply, answer) = oneshot::channel();
        self.questions.send(Question { form, reply }).await.map_err(|_| ENDED.to_owned())?;
        answer.await.unwrap_or_else(|_| Err(ENDED.to_owned()))
    }

    /// Bytes of answers from older collections, which are still being sent.
    pub(super) fn older_bytes(&self) -> usize {
        older(&self.alive, &self.newest_bytes)
    }

    /// The number of the newest collection.
    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Whether the thread has ended, which it does not by itself: it panicked.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The order of [`Maker`]'s changes sees to it that this is never too much.
fn older(alive: &AtomicUsize, newest: &AtomicUsize) -> usize {
    let alive = alive.load(Ordering::SeqCst);
    alive.saturating_sub(newest.load(Ordering::SeqCst))
}

/// One collection, and what was made of it.
struct Kept {
    at: Instant,
    sums: Result<Sums, String>,
    collect_ns: u64,
    made: HashMap<Form, Bytes>,
}

struct Maker {
    collector: Box<dyn Collect>,
    refusals: Arc<Refusals>,
    alive: Arc<AtomicUsize>,
    newest_bytes: Arc<AtomicUsize>,
    generation: Arc<AtomicU64>,
    /// What went wrong and was told.
    failure: Option<String>,
    kept: Option<Kept>,
}

impl Maker {
    fn run(&mut self, mut questions: mpsc::Receiver<Question>) {
        while let Some(question) = questions.blocking_recv() {
            if !question.reply.is_closed() {
                let outcome = self.answer(question.form);
                // A client that left meanwhile is no failure.
                let _ = question.reply.send(outcome);
            }
        }
    }

    fn answer(&mut self, form: Form) -> Outcome {
        if self.kept.as_ref().is_none_or(|kept| kept.at.elapsed() >= KEPT) {
            self.collect();
        }
        let Maker { kept: Some(kept), collector, refusals, alive, newest_bytes, generation, .. } = self else {
            return Err("nothing was collected".into());
        };
        let generation = generation.load(Ordering::Relaxed);
        let sums = kept.sums.as_ref().map_err(Clone::clone)?;
        if let Some(bytes) = kept.made.get(&form) {
            return Ok(Answer { bytes: bytes.clone(), generation });
        }
        let served = Served { collect_ns: kept.collect_ns, refused: refusals.counts() };
        let families = families(sums, &served, &mut |path| collector.container(path));
        let plain = encode(&families, form.format, sums.started_ns);
        let bytes = if form.gzip { gzip(&plain)? } else { plain };
        newest_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let bytes = Counted::bytes(bytes, alive);
        kept.made.insert(form, bytes.clone());
        Ok(Answer { bytes, generation })
    }

    fn collect(&mut self) {
        // The old ones go first: what of them is still being sent is counted as alive.
        self.kept = None;
        self.newest_bytes.store(0, Ordering::SeqCst);
        let begin = Instant::now();
        let sums = self.collector.collect().map_err(|error| visible(&format!("cannot collect: {error:#}")));
        let collect_ns = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let failure = sums.as_ref().err().cloned();
        if failure != self.failure
            && let Some(failure) = &failure
        {
            // A closed standard error is no reason to end.
            let _ = writeln!(std::io::stderr(), "numatrace: {failure}");
        }
        self.failure = failure;
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.kept = Some(Kept { at: Instant::now(), sums, collect_ns, made: HashMap::new() });
    }
}

fn gzip(plain: &[u8]) -> Result<Vec<u8>, String> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(plain).and_then(|()| packer.finish()).map_err(|error| format!("cannot pack the answer: {error}"))
}

/// Bytes that are counted for as long as anyone has them.
struct Counted {
    bytes: Box<[u8]>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn bytes(bytes: Vec<u8>, alive: &Arc<AtomicUsize>) -> Bytes {
        // Without what it grew too large.
        let bytes = bytes.into_boxed_slice();
        alive.fetch_add(bytes.len(), Ordering::SeqCst);
        Bytes::from_owner(Counted { bytes, alive: Arc::clone(alive) })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Empty;

    impl Collect for Empty {
        fn collect(&mut self) -> anyhow::Result<Sums> {
            Ok(Sums::default())
        }
    }

    #[test]
    fn what_is_sent_of_older_collections_is_counted_and_the_newest_is_not() {
        let mut maker = Maker {
            collector: Box::new(Empty),
            refusals: Arc::default(),
            alive: Arc::default(),
            newest_bytes: Arc::default(),
            generation: Arc::default(),
            failure: None,
            kept: None,
        };
        let counters = (Arc::clone(&maker.alive), Arc::clone(&maker.newest_bytes));
        let older = || older(&counters.0, &counters.1);
        let form = |gzip| Form { format: Format::Text, gzip };
        maker.collect();
        let sent = [false, true].map(|gzip| maker.answer(form(gzip)).unwrap().bytes);
        let length = sent[0].len() + sent[1].len();
        assert!(sent.iter().all(|bytes| !bytes.is_empty()));
        assert_eq!((counters.0.load(Ordering::SeqCst), older()), (length, 0));
        maker.collect();
        assert_eq!(older(), length);
        let newest = maker.answer(form(false)).unwrap().bytes;
        assert_eq!(older(), length);
        drop(sent);
        assert_eq!((counters.0.load(Ordering::SeqCst), older()), (newest.len(), 0));
    }
}
