//! Whatever happens to a dashboard, in whatever order, it neither panics nor shows what is not there.

use std::collections::HashSet;
use std::sync::mpsc::channel;

use numatrace::replay::{Motion, Speed, Status, Worst};
use numatrace::snapshot::{Snapshot, TRACK_SLOTS};
use numatrace::tui::UiMessage;
use numatrace::tui::layout;
use numatrace::tui::state::{Key, Tab, UiState};
use numatrace_tests::fixture;
use numatrace_tests::found::{self, Board};
use numatrace_tests::screens::{app, draw, replay, show, standing, type_in};
use proptest::prelude::*;

/// One thing that can happen to a dashboard.
#[derive(Clone, Debug)]
enum Happening {
    Press(Key),
    /// A filter, or nearly one, is typed.
    Type(&'static str),
    Resize(u16, u16),
    /// How many threads, how much later.
    Numbers(u32, u64),
    End,
    /// What a player says.
    Replay(Status),
}

fn status() -> impl Strategy<Value = Status> {
    let motion = prop_oneof![Just(Motion::Playing), Just(Motion::Paused), (0..100u8).prop_map(Motion::Seeking),];
    let incomplete = prop::option::of(Just("漢字 and much more than fits on any line of any terminal".repeat(4)));
    (motion, any::<u64>(), any::<bool>(), incomplete, prop::option::of((1..9usize, 0..9usize))).prop_map(
        |(motion, length_ns, at_end, incomplete, worst)| Status {
            motion,
            plays: at_end,
            speed: Speed::default(),
            length_ns,
            at_end,
            worst: worst.map(|(rank, of)| Worst { rank, of, wait_ns: length_ns }),
            incomplete,
        },
    )
}

fn happening() -> impl Strategy<Value = Happening> {
    let named = prop::sample::select(vec![
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Enter,
        Key::Esc,
        Key::Tab,
        Key::BackTab,
        Key::Backspace,
        Key::Interrupt,
        Key::Suspend,
        Key::Repaint,
        Key::WheelUp,
        Key::WheelDown,
        Key::Ctrl('x'),
        Key::Function(5),
    ]);
    let letters = "?/sSqhjkl 123456wor,.<>igtpM+-[]:w:zx56zx!k:dgcmuyzZdJK0!\"";
    let chars = prop::sample::select(letters.chars().collect::<Vec<_>>()).prop_map(Key::Char);
    let clicks = (0u16..220, 0u16..64).prop_map(|(column, row)| Key::Click { column, row });
    prop_oneof![
        2 => clicks.prop_map(Happening::Press),
        6 => named.prop_map(Happening::Press),
        6 => chars.prop_map(Happening::Press),
        1 => any::<char>().prop_map(|c| Happening::Press(Key::Char(c))),
        1 => prop::sample::select(FILTERS.to_vec()).prop_map(Happening::Type),
        2 => (0u16..220, 0u16..64).prop_map(|(width, height)| Happening::Resize(width, height)),
        3 => (0u32..60, 0u64..2_000_000_000).prop_map(|(threads, later)| Happening::Numbers(threads, later)),
        1 => Just(Happening::End),
        1 => status().prop_map(Happening::Replay),
    ]
}

const FILTERS: [&str; 8] = [
    "/marked",
    "/wait>10% runq.p99>1us",
    "/node:1 !name:1",
    "/runq.p98>1ms",
    "/cgroup:slice node_moves>=1",
    "/漢 \"not closed",
    "/state:blocked tid:1000-1020",
    "/!marked cpu<",
];

/// Nothing is selected or shown that is not there.
fn check_state(state: &UiState, numbers: &Snapshot, width: u16, height: u16) {
    let listed = state.order().len();
    match state.selected() {
        None => assert_eq!(listed, 0),
        Some(selected) => {
            assert!(selected < listed);
            let first = state.first();
            assert!(first <= selected && selected < first + layout::table_rows(height), "{first} {selected} {height}");
        }
    }
    // Threads and groups alike have a row, each once; groups are there with their threads alone.
    let table = state.table();
    assert!((0..listed).all(|place| table.entry(place, numbers).is_some()));
    assert!(state.order().iter().all(|at| state.row(*at).is_some()));
    if let Some((row, rows, age)) = state.cpus_place() {
        assert!(row < rows && age < TRACK_SLOTS, "row {row} of {rows}, {age} slots ago");
    }
    let (events, selected, first_event) = state.events_place();
    assert!(selected < events.max(1) && first_event <= selected, "{first_event} {selected} {events}");
    let once: HashSet<usize> = state.order().iter().copied().collect();
    assert_eq!(once.len(), listed);
    assert!(state.choice().grouping.is_some() || listed == table.matching());
    assert!(table.matching() <= table.thread_count() && table.marked() <= table.thread_count());
    let used: usize = state.columns().iter().map(|placed| usize::from(placed.width) + 1).sum();
    // On smaller ones no table is drawn.
    if width >= layout::MIN_WIDTH {
        assert!((1..=usize::from(width)).contains(&used), "{used} of {width}");
    }
    if let Some(chooser) = table.chooser() {
        let (first, at, lines) = (chooser.first(), chooser.at(), layout::table_rows(height));
        assert!(first <= at && at < first + lines && at < chooser.entries().len());
        assert!(state.own_columns().is_none_or(|own| own == chooser.chosen()));
    }
    let (first, lines) = state.page();
    assert!(first <= lines.saturating_sub(layout::page_rows(height)), "{first} of {lines} lines");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happens_panics_or_leaves_the_selection_out_of_range(
        all in prop::collection::vec(happening(), 1..60),
        is_replay in any::<bool>(),
    ) {
        let (mut width, mut height) = (80, 24);
        let (mut app, _asked) = if is_replay {
            replay(width, height, standing())
        } else {
            (app(width, height), channel().1)
        };
        let mut time = 0;
        for one in all {
            match one {
                Happening::Press(key) => _ = app.press(key),
                Happening::Type(text) => {
                    type_in(&mut app, text);
                    app.press(Key::Enter);
                }
                Happening::Resize(w, h) => {
                    (width, height) = (w, h);
                    app.resize(w, h);
                }
                Happening::Numbers(threads, later) => {
                    time += later;
                    // Now and then everything of memory is measured, on machines of all sizes.
                    let mut snapshot = match threads {
                        1..=17 => fixture::snapshot_many_nodes(threads),
                        18..=20 => fixture::snapshot_wide(threads * 20, threads),
                        21..=24 => fixture::snapshot_with_events(threads - 21),
                        25..=28 => fixture::snapshot_throttled_after(threads - 25),
                        29 => fixture::snapshot_without_quota(),
                        _ => fixture::snapshot_of_threads(threads),
                    };
                    snapshot.duration_ns = time;
                    for thread in &mut snapshot.threads {
                        let tid = thread.tid.0;
                        thread.cgroup = (tid % 4 > 0).then(|| format!("/a.slice/b-{}.slice{}", tid % 3, "/c".repeat(tid as usize % 5)).into());
                    }
                    show(&mut app, snapshot);
                }
                Happening::Replay(status) => app.tell(UiMessage::Replay(status)),
                Happening::End => app.tell(UiMessage::Ended("the target has exited".into())),
            }
            check_state(app.state(), app.numbers(), width, height);
            draw(&mut app, width, height);
        }
    }
}

/// What is found changes at any time, in kind and in number.
#[derive(Clone, Debug)]
enum Finding {
    Press(Key),
    Found(Vec<usize>),
    Resize(u16, u16),
}

fn finding() -> impl Strategy<Value = Finding> {
    let keys = vec![
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Enter,
        Key::Esc,
        Key::WheelUp,
        Key::WheelDown,
        Key::Char('y'),
        Key::Char('?'),
        Key::Char('1'),
        Key::Char('2'),
        Key::Tab,
    ];
    let clicks = (0u16..130, 0u16..44).prop_map(|(column, row)| Key::Click { column, row });
    prop_oneof![
        8 => prop::sample::select(keys).prop_map(Finding::Press),
        2 => clicks.prop_map(Finding::Press),
        2 => prop::collection::vec(0usize..12, 0..13).prop_map(Finding::Found),
        1 => (0u16..220, 0u16..64).prop_map(|(width, height)| Finding::Resize(width, height)),
    ]
}

/// What is selected or opened is there, or is told as gone.
fn check_found(state: &UiState) {
    let found = state.found();
    match found.selected() {
        Some(at) => assert!(at < found.all().len()),
        None => assert!(found.all().is_empty()),
    }
    if let Some(opened) = found.opened() {
        assert_eq!(state.tab(), Tab::Overview);
        assert_eq!(found.is_gone(), !found.all().contains(opened));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn findings_that_come_and_go_never_leave_a_selection_of_nothing(
        all in prop::collection::vec(finding(), 1..60),
    ) {
        let (mut width, mut height) = (80, 24);
        let mut board = Board::new((width, height), fixture::snapshot_throttled());
        let made = found::findings(12);
        for one in all {
            match one {
                Finding::Press(key) => _ = board.press(key),
                Finding::Found(which) => {
                    let mut which: Vec<usize> = which;
                    which.sort_unstable();
                    which.dedup();
                    board.find_later(which.into_iter().map(|at| made[at].clone()).collect());
                }
                Finding::Resize(w, h) => {
                    (width, height) = (w, h);
                    board.resize(w, h);
                }
            }
            check_state(&board.state, board.numbers(), width, height);
            check_found(&board.state);
            let screen = board.screen();
            // In the list the mark is seen while it is not scrolled away.
            let state = &board.state;
            let listed = state.tab() == Tab::Overview && state.found().opened().is_none() && state.help().is_none();
            if listed && state.page().0 == 0 && state.found().selected().is_some() && layout::fits(width, height) {
                assert_eq!(screen.lines().filter(|line| line.starts_with('>')).count(), 1, "{screen}");
            }
        }
    }
}
