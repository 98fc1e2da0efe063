//! For the first few threads: behind whom they waited, who woke them, and where their remote page touches come from.

use super::TextOptions;
use super::page::Page;
use super::touches;
use crate::report::sorted;
use crate::snapshot::{Culprit, Location, Snapshot, Thread, ThreadStats, Waker};
use crate::text::{count, duration};
use crate::units::Tid;

/// Threads with details.
const THREADS: usize = 5;
/// Names for each of them.
const NAMES: usize = 3;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot, options: &TextOptions) {
    let limit = if options.top == 0 { THREADS } else { options.top.min(THREADS) };
    let threads: Vec<&Thread> =
        sorted(snapshot, options.sort).into_iter().take(limit).filter(|thread| has_details(&thread.stats)).collect();
    if threads.is_empty() || snapshot.groups.is_some() {
        return;
    }
    let which =
        if threads.len() == 1 { "the first thread".into() } else { format!("the first {} threads", threads.len()) };
    let touched = threads.iter().any(|thread| remote(&thread.stats).next().is_some());
    let what = if touched { "Waits, wakers and remote page touches" } else { "Who ran instead and who woke" };
    page.heading(&format!("{what}, for {which} above"), "");
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
        let locations: Vec<&Location> = remote(&thread.stats).collect();
        if let Some(list) = list(&locations, |location| touches::location(location)) {
            parts.push(format!("touched remote pages from {list}"));
        }
        page.paragraph("  ", &format!("{} {}: {}", thread.tid, thread.comm, parts.join("; ")));
    }
}

fn has_details(stats: &ThreadStats) -> bool {
    let waited = !stats.waited_behind.is_empty() || stats.waiting_now_ns.is_some();
    waited || !stats.wakers.is_empty() || remote(stats).next().is_some()
}

/// Places from which remote pages were touched.
fn remote(stats: &ThreadStats) -> impl Iterator<Item = &Location> {
    stats.locations.iter().flatten().filter(|location| location.remote > 0)
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
