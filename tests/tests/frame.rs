//! A frame does no work for threads that are not on the screen: here, that it takes as much memory however many there are.
//! What work there is for each thread is done when its numbers come, and after keys that change the list.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use numatrace::tui::app::App;
use numatrace::tui::filter::Filter;
use numatrace::tui::rows;
use numatrace::tui::state::Key;
use numatrace_tests::fixture;
use numatrace_tests::screens::{app, press, show, type_in};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

thread_local! {
    /// Allocations of this thread, and their bytes.
    static TAKEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

// SAFETY: everything is done by the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more.
        let _ = TAKEN.try_with(|taken| taken.set((taken.get().0 + 1, taken.get().1 + layout.size())));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations and bytes that `work` takes.
fn taken(work: impl FnOnce()) -> (usize, usize) {
    let before = TAKEN.get();
    work();
    let after = TAKEN.get();
    (after.0 - before.0, after.1 - before.1)
}

/// A dashboard with so many threads, after these keys.
fn dashboard(threads: u32, keys: &str) -> App {
    let mut app = app(80, 24);
    for later in [0, 1_000_000_000] {
        let mut snapshot = fixture::snapshot_of_threads(threads);
        snapshot.duration_ns += later;
        for thread in &mut snapshot.threads {
            thread.cgroup = Some(format!("/pods.slice/pod-{}.scope", thread.tid.0 % 8).into());
        }
        show(&mut app, snapshot);
    }
    // By thread id: the same rows are on the screen however many there are.
    while app.state().sort().column.key() != "tid" {
        app.press(Key::Char('s'));
    }
    type_in(&mut app, keys);
    app
}

/// The least of some frames: the same frame takes up to 10 allocations and
/// 5 KB more or less each time, probably by the order of hash maps in ratatui's layout.
fn frame(app: &mut App) -> (usize, usize) {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a test terminal");
    let mut draw = || app.draw(&mut terminal, Instant::now()).map(drop).expect("a test terminal never fails");
    draw();
    (0..16).map(|_| taken(&mut draw)).min().expect("there are some")
}

#[test]
fn a_frame_takes_as_much_memory_however_many_threads_there_are() {
    for keys in ["", "m", "g", "gZ", "ggZ", "/worker", "c", "cKJ"] {
        let of = |threads| frame(&mut dashboard(threads, keys));
        let ((few, few_bytes), (many, many_bytes)) = (of(400), of(4_000));
        // Longer numbers are longer texts: a few bytes.
        assert!(many.abs_diff(few) < 64 && many_bytes.abs_diff(few_bytes) < 4_096, "{keys}: {few} and {many}");
    }
}

#[test]
fn keys_that_change_no_list_take_no_memory_for_each_thread() {
    let mut app = dashboard(10_000, "");
    let (allocations, bytes) = taken(|| press(&mut app, &[Key::Down, Key::PageDown, Key::End, Key::Up, Key::Right]));
    assert!(allocations < 200 && bytes < 1 << 16, "{allocations} allocations of {bytes} bytes");
}

#[test]
fn to_match_a_thread_takes_no_memory() {
    let snapshot = fixture::snapshot_of_threads(1_000);
    let rows = rows::rows(&snapshot, &snapshot.clone().into());
    for text in
        ["WORKER-7", "ä", "name:wörk", "tid:1000-1500,7 node:0,1", "runq.p99>1ms wait<50% !marked", "state:block"]
    {
        let filter = Filter::parse(text).expect(text);
        let mut matching = 0;
        let took = taken(|| {
            let matches = snapshot.threads.iter().zip(&rows).filter(|(thread, row)| filter.matches(thread, row, false));
            matching = matches.count();
        });
        assert_eq!(took, (0, 0), "{text} matches {matching}");
    }
}
