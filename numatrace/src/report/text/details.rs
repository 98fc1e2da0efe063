//! For the first few threads: behind whom they waited, and who woke them.

use super::TextOptions;
use super::page::Page;
use crate::report::sorted;
use crate::snapshot::{Culprit, Snapshot, Thread, Waker};
use crate::text::{count, duration};
use crate::units::Tid;

/// Threads with details.
const THREADS: usize = 5;
/// Names for each of them.
const NAMES: usize = 3;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot, options: &TextOptions) {
    let limit = if options.top == 0 { THREADS } else { options.top.min(THREADS) };
    let threads: Vec<&Thread> = sorted(snapshot, options.sort)
        .into_iter()
        .take(limit)
        .filter(|t| !t.stats.waited_behind.is_empty() || !t.stats.wakers.is_empty() || t.stats.waiting_now_ns.is_some())
        .collect();
    if threads.is_empty() || snapshot.groups.is_some() {
        return;
    }
    let which =
        if threads.len() == 1 { "the first thread".into() } else { format!("the first {} threads", threads.len()) };
    page.heading(&format!("Who ran instead and who woke, for {which} above"), "");
    for thread in threads {
        let mut parts = Vec::new();
        if let Some(now) = thread.stats.waiting_now_ns.filter(|now| *now > 0) {
            parts.push(format!("waiting now for {}", duration(now)));
        }
        if let Some(list) = list(&thread.stats.waited_behind, culprit) {
            parts.push(format!("waited {}, behind {list}", duration(thread.stats.wait_ns)));
        }
        if let Some(list) = list(&thread.stats.wakers, waker) {
            parts.push(format!("woken by {list}"));
        }
        page.paragraph("  ", &format!("{} {}: {}", thread.tid, thread.comm, parts.join("; ")));
    }
}

fn list<T>(all: &[T], show: fn(&T) -> String) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    let mut shown: Vec<String> = all.iter().take(NAMES).map(show).collect();
    if all.len() > NAMES {
        shown.push(format!("... and {} more", all.len() - NAMES));
    }
    Some(shown.join(", "))
}

fn culprit(culprit: &Culprit) -> String {
    let times = if culprit.count == 1 { "wait" } else { "waits" };
    format!("{} {} in {} {times}", who(culprit.tid, &culprit.comm), duration(culprit.total_ns), count(culprit.count))
}

fn waker(waker: &Waker) -> String {
    format!("{} {}x", who(waker.tid, &waker.comm), count(waker.count))
}

fn who(tid: Tid, comm: &str) -> String {
    match (tid.0, comm) {
        (0, _) => "idle or interrupt".into(),
        (_, "") => format!("{tid}"),
        _ => format!("{tid} {comm}"),
    }
}
