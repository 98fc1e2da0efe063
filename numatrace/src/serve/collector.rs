//! Collects for clients, and by itself when nobody asks: what ended is forgotten, and nothing in the kernel fills up.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{Collect, sums::Sums};
use crate::{
    collect::counting::Counting,
    container::{self, Container, names::Names},
};

/// Time between two reads at most: 8,192 processes can come and go in it.
const PERIOD: Duration = Duration::from_secs(5);

struct Shared {
    counting: Counting,
    read: Instant,
    over: bool,
}

/// See the module.
pub struct Collector {
    shared: Arc<(Mutex<Shared>, Condvar)>,
    thread: Option<thread::JoinHandle<()>>,
    names: Names,
}

impl Collector {
    /// Takes over what counts, and what containers are called.
    ///
    /// # Errors
    /// When there can be no thread more.
    pub fn start(counting: Counting, names: Names) -> std::io::Result<Collector> {
        let shared = Shared { counting, read: Instant::now(), over: false };
        let shared = Arc::new((Mutex::new(shared), Condvar::new()));
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("numatrace-count".into()).spawn(move || keep_reading(&own))?;
        Ok(Collector { shared, thread: Some(thread), names })
    }
}

/// Reads when nobody else has for a while.
fn keep_reading((shared, changed): &(Mutex<Shared>, Condvar)) {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    while !shared.over {
        let left = PERIOD.saturating_sub(shared.read.elapsed());
        if left.is_zero() {
            // Whoever asks next is told what is wrong.
            let _ = shared.counting.collect();
            shared.read = Instant::now();
            continue;
        }
        shared = changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Collect for Collector {
    fn collect(&mut self) -> anyhow::Result<Sums> {
        let mut shared = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = shared.counting.collect();
        shared.read = Instant::now();
        Ok(sums?)
    }

    fn container(&mut self, path: &[u8]) -> Option<Container> {
        let mut container = container::identify(path)?;
        self.names.look_up(&mut container, path);
        Some(container)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It says nothing.
            let _ = thread.join();
        }
    }
}
