//! What a person reads: whole screens as text, from fixed snapshots, compared with `fixtures/screens/NAME.txt`.
//!
//! After a wanted change, `NUMATRACE_BLESS=1 cargo test -p numatrace-tests --test screens` writes them anew; the
//! difference is then read in review.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use jiff::tz::TimeZone;
use numatrace::replay::{Command, Motion, Span, Status, Worst};
use numatrace::snapshot::{Source, SourceState, ThreadState};
use numatrace::tui::app::App;
use numatrace::tui::history::{History, Window};
use numatrace::tui::layout::{self, Column};
use numatrace::tui::state::{Action, Key, Mode, Tab};
use numatrace::tui::theme::{Depth, Theme};
use numatrace::tui::{Options, Remote, UiMessage, help};
use numatrace::units::Tid;
use numatrace_tests::fixture;
use numatrace_tests::screens::{
    SIZES, app, check, draw, press, ran_for, replay, running, screen, show, standing, text, type_in, with_memory,
    with_theme,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;

#[test]
fn threads() {
    for (width, height) in [(80, 24), (120, 40), (200, 60), (40, 9)] {
        check(&format!("threads-{width}x{height}"), &mut running(width, height), width, height);
    }
}

#[test]
fn overview() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        app.press(Key::Char('1'));
        check(&format!("overview-{width}x{height}"), &mut app, width, height);
    }
    let mut app = running(40, 9);
    press(&mut app, &[Key::Char('1'), Key::End]);
    check("overview-end-40x9", &mut app, 40, 9);
}

#[test]
fn thread_detail() {
    for (width, height) in SIZES {
        let mut app = running(width, height);
        press(&mut app, &[Key::Enter]);
        check(&format!("thread-{width}x{height}"), &mut app, width, height);
    }
    let mut app = running(80, 24);
    press(&mut app, &[Key::Enter, Key::PageDown]);
    check("thread-page-2-80x24", &mut app, 80, 24);
    press(&mut app, &[Key::End]);
    check("thread-end-80x24", &mut app, 80, 24);
}

#[test]
fn page_touches_are_in_every_view() {
    for (width, height) in SIZES {
        let size = format!("{width}x{height}");
        let mut app = with_memory(width, height);
        check(&format!("memory-threads-{size}"), &mut app, width, height);
        app.press(Key::Char('1'));
        check(&format!("memory-overview-{size}"), &mut app, width, height);
        app.press(Key::Char('3'));
        check(&format!("memory-thread-{size}"), &mut app, width, height);
        app.press(Key::Char('4'));
        check(&format!("nodes-{size}"), &mut app, width, height);
    }
    // What does not fit on the first page.
    let mut app = with_memory(80, 24);
    app.press(Key::Char('1'));
    app.press(Key::PageDown);
    check("memory-overview-page-2-80x24", &mut app, 80, 24);
    press(&mut app, &[Key::Char('3'), Key::PageDown, Key::PageDown]);
    check("memory-thread-page-3-80x24", &mut app, 80, 24);
}

#[test]
fn sixteen_nodes_and_one() {
    for (width, height) in SIZES {
        for nodes in [16, 1] {
            let mut app = app(width, height);
            show(&mut app, fixture::snapshot_many_nodes(nodes));
            app.press(Key::Char('4'));
            let name = |part: &str| format!("nodes-of-{nodes}{part}-{width}x{height}");
            check(&name(""), &mut app, width, height);
            if (nodes, width) == (16, 80) {
                app.press(Key::PageDown);
                check(&name("-page-2"), &mut app, width, height);
                app.press(Key::End);
                check(&name("-end"), &mut app, width, height);
                app.press(Key::Char('1'));
                check(&name("-overview"), &mut app, width, height);
            }
        }
    }
}

#[test]
fn the_nodes_of_a_window_are_those_of_the_window() {
    let mut app = app(120, 40);
    (0..=3).for_each(|seconds| show(&mut app, fixture::snapshot_with_memory_after(seconds)));
    press(&mut app, &['4', 'i'].map(Key::Char));
    check("nodes-last-interval-120x40", &mut app, 120, 40);
}

#[test]
fn what_of_memory_is_not_measured_has_its_reason_in_every_view() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut app = app(width, height);
        show(&mut app, fixture::snapshot_without_memory());
        for (view, digit) in [("threads", '2'), ("overview", '1'), ("thread", '3'), ("nodes", '4')] {
            app.press(Key::Char(digit));
            check(&format!("memory-off-{view}-{width}x{height}"), &mut app, width, height);
        }
    }
}

#[test]
fn gaps_are_marked_in_the_header_and_told_by_the_help() {
    for (width, height) in [(80, 24), (120, 60), (40, 9)] {
        let mut app = app(width, height);
        show(&mut app, fixture::snapshot_with_gaps());
        app.press(Key::Char('4'));
        check(&format!("gaps-{width}x{height}"), &mut app, width, height);
        assert!(screen(&mut app, width, height).contains("! 2 gaps"));
    }
    let lines = help::lines(Mode::Live, None, &fixture::snapshot_with_gaps(), 120);
    let told =
        lines.iter().filter(|line| matches!(line, help::HelpLine::Entry(_, what) if what.contains("nothing of CPU")));
    assert_eq!(told.count(), 2);
}

#[test]
fn threads_sort_by_remote_share_and_those_that_touched_nothing_come_after_those_that_did() {
    let mut app = with_memory(200, 60);
    while app.state().sort().column != Column::Remote {
        app.press(Key::Char('s'));
    }
    let numbers = app.numbers();
    let tids: Vec<u32> = app.state().order().iter().map(|at| numbers.threads[*at].tid.0).collect();
    // The last one has ended, and the one before touched nothing.
    assert_eq!(tids, [4713, 4720, 4711, 4714, 4712, 4801]);
    let touches: Vec<_> = (0..6).map(|at| app.state().row(at).and_then(|row| row.touches)).collect();
    assert_eq!((touches[0], touches[1]), (Some(6_854.0), Some(0.0)));
    assert_eq!(running(200, 60).state().row(0).and_then(|row| row.touches), None);
}

/// A map is told by its numbers and by how dark a cell is, in any set of colours.
#[test]
fn maps_of_nodes_are_the_same_text_without_colour() {
    let shown = [Depth::Mono, Depth::Ansi, Depth::Indexed, Depth::True].map(|depth| {
        let mut app = with_theme(120, 40, depth);
        show(&mut app, fixture::snapshot_many_nodes(16));
        app.press(Key::Char('4'));
        let buffer = draw(&mut app, 120, 40);
        let colours = buffer.content.iter().any(|cell| cell.fg != ratatui::style::Color::Reset);
        assert_eq!(colours, depth != Depth::Mono);
        text(&buffer)
    });
    assert!(shown.iter().all(|text| *text == shown[0] && text.contains('█') && text.contains('░')));
}

#[test]
fn the_detail_of_a_thread_that_did_nothing_says_so() {
    let mut app = running(120, 40);
    app.press(Key::Char('/'));
    type_in(&mut app, "4712");
    press(&mut app, &[Key::Enter, Key::Enter]);
    check("thread-idle-120x40", &mut app, 120, 40);
}

#[test]
fn views_are_reached_by_tab_and_by_digit_and_left_by_escape() {
    let mut app = running(80, 24);
    let tabs = |app: &mut App, keys: &[Key]| -> Vec<Tab> {
        keys.iter()
            .map(|key| {
                app.press(*key);
                app.state().tab()
            })
            .collect()
    };
    let [one, two, three, four] = ['1', '2', '3', '4'].map(Key::Char);
    assert_eq!(tabs(&mut app, &[three, one, four, two]), [Tab::Thread, Tab::Overview, Tab::Nodes, Tab::Threads]);
    let around = [Tab::Thread, Tab::Nodes, Tab::Cpus, Tab::Events, Tab::Overview, Tab::Threads];
    assert_eq!(tabs(&mut app, &[Key::Tab; 6]), around);
    assert_eq!(app.press(Key::Char('7')), Action::None, "there is no such view");
    assert_eq!(tabs(&mut app, &['5', '6', '2'].map(Key::Char)), [Tab::Cpus, Tab::Events, Tab::Threads]);
    assert_eq!(tabs(&mut app, &[Key::BackTab, Key::Enter]), [Tab::Overview, Tab::Threads]);
    assert_eq!(tabs(&mut app, &[Key::Enter, Key::Esc]), [Tab::Thread, Tab::Threads]);
}

#[test]
fn the_detail_goes_from_thread_to_thread() {
    let mut app = running(80, 24);
    press(&mut app, &[Key::Enter]);
    let first = screen(&mut app, 80, 24);
    assert!(first.contains("io_thd_1  tid 4713"), "{first}");
    app.press(Key::Right);
    let second = screen(&mut app, 80, 24);
    assert!(second.contains("jemalloc_bg_thd  tid 4720"), "{second}");
    app.press(Key::Left);
    assert_eq!(screen(&mut app, 80, 24), first);
    app.press(Key::Left);
    assert_eq!(screen(&mut app, 80, 24), first, "there is none above the top row");
}

#[test]
fn a_thread_that_is_gone_leaves_a_sentence() {
    let mut app = running(80, 24);
    app.press(Key::Enter);
    let mut without = fixture::snapshot_two_nodes_after(2);
    without.threads.retain(|thread| thread.tid != Tid(4713));
    show(&mut app, without);
    check("thread-gone-80x24", &mut app, 80, 24);
}

#[test]
fn groups() {
    let mut app = app(120, 40);
    let mut snapshot = fixture::snapshot_of_threads(12);
    for (at, thread) in snapshot.threads.iter_mut().enumerate() {
        thread.comm = ["io", "worker", "gc"][at % 3].into();
    }
    show(&mut app, snapshot);
    app.press(Key::Char('g'));
    check("groups-120x40", &mut app, 120, 40);
    assert_eq!((app.state().order().len(), app.state().thread_count()), (3, 12));
    app.press(Key::Char('d'));
    check("group-detail-120x40", &mut app, 120, 40);
    // A group is not there any more when it is gone from the list; a thread is.
    press(&mut app, &[Key::Char('g'), Key::Char('g')]);
    assert_eq!((app.state().tab(), app.state().order().len()), (Tab::Threads, 12));
    press(&mut app, &[Key::Enter, Key::Char('g')]);
    assert_eq!((app.state().tab(), app.state().order().len()), (Tab::Thread, 3));
}

#[test]
fn windows() {
    let mut app = ran_for(15, 120, 40);
    app.press(Key::Char('1'));
    let durations: Vec<u64> = (0..4)
        .map(|at| {
            app.press(Key::Char('i'));
            if at == 1 {
                check("window-ten-seconds-120x40", &mut app, 120, 40);
            }
            app.numbers().duration_ns / 1_000_000_000
        })
        .collect();
    // The last interval, ten seconds, a minute (as much of it as there is), and since the start again.
    assert_eq!(durations, [1, 10, 25, 25]);
}

#[test]
fn what_was_shown_can_be_looked_at_again() {
    let mut app = ran_for(15, 80, 24);
    let seconds = |app: &App| app.state().shown().now_ns / 1_000_000_000;
    let after = |app: &mut App, key: char| {
        app.press(Key::Char(key));
        seconds(app)
    };
    assert_eq!([after(&mut app, ','), after(&mut app, ',')], [24, 23]);
    check("looking-back-80x24", &mut app, 80, 24);
    show(&mut app, fixture::snapshot_two_nodes_after(16));
    assert_eq!(seconds(&app), 23, "what is looked at stays");
    assert_eq!([after(&mut app, '<'), after(&mut app, '<'), after(&mut app, '>')], [13, 10, 20]);
    assert_eq!([after(&mut app, '.'), after(&mut app, '>'), after(&mut app, '.')], [21, 26, 26]);
    assert_eq!(app.state().choice().window, Window::Start);
    assert!(app.state().paused());
    app.press(Key::Char(' '));
    assert!(!app.state().paused());
    assert_eq!(after(&mut app, '.'), 26);
    assert!(!app.state().paused(), "there is nothing to go forward to from the newest");
    // After the end as well.
    app.tell(UiMessage::Ended("the target has exited".into()));
    assert_eq!(after(&mut app, ','), 25);
}

#[test]
fn before_the_first_numbers_there_is_nothing_to_stand_still() {
    let mut app = app(80, 24);
    press(&mut app, &[' ', ',', '<'].map(Key::Char));
    assert!(!app.state().paused());
    show(&mut app, fixture::snapshot_two_nodes());
    assert_eq!(app.state().thread_count(), 6);
}

#[test]
fn the_interval_is_changed_in_steps_and_the_engine_sees_it() {
    let interval = Arc::new(AtomicU64::new(1_000_000_000));
    let theme = Theme::new(Depth::Indexed);
    let options = Options { theme, interval_ns: Some(Arc::clone(&interval)), ..Options::new("pid 1") };
    let mut app = App::new(&options, 80, 24);
    let mut after = |key| {
        app.press(Key::Char(key));
        (interval.load(Ordering::Relaxed) / 1_000_000, app.state().interval_ns().map(|ns| ns / 1_000_000))
    };
    assert_eq!([after('+'), after('-'), after('-')].map(|(ms, _)| ms), [2_000, 1_000, 500]);
    (0..20).for_each(|_| _ = after('-'));
    assert_eq!(after('-'), (100, Some(100)));
    (0..20).for_each(|_| _ = after('+'));
    assert_eq!(after('+'), (60_000, Some(60_000)));
}

#[test]
fn every_view_keeps_within_the_screen_in_every_theme() {
    for (width, height) in [(40, 9), (79, 24), (80, 24), (119, 30), (120, 40), (200, 60)] {
        for depth in [Depth::Mono, Depth::Ansi, Depth::Indexed, Depth::True] {
            let mut app = with_theme(width, height, depth);
            show(&mut app, fixture::snapshot_with_memory());
            for key in ['1', '2', '3', '4', 't', '1', '2', '3', '4', 't', '1'].map(Key::Char) {
                app.press(key);
                let shown = screen(&mut app, width, height);
                assert_eq!(shown.lines().count(), usize::from(height));
                assert!(shown.starts_with("pid 4711"), "{shown}");
            }
        }
    }
}

#[test]
fn columns_that_did_not_fit_are_reached_by_scrolling() {
    let mut app = running(80, 24);
    press(&mut app, &[Key::Right; 30]);
    check("threads-scrolled-80x24", &mut app, 80, 24);
}

#[test]
fn many_threads_scroll_with_the_selection() {
    let mut app = app(80, 24);
    show(&mut app, fixture::snapshot_of_threads(300));
    press(&mut app, &[Key::PageDown, Key::PageDown, Key::Up]);
    check("threads-many-80x24", &mut app, 80, 24);
}

#[test]
fn too_small_says_so_in_a_sentence() {
    for (width, height) in [(20, 5), (39, 24), (200, 8)] {
        check(&format!("too-small-{width}x{height}"), &mut running(width, height), width, height);
    }
}

#[test]
fn lost_records_are_marked_and_never_cut_off() {
    for (width, height) in [(80, 24), (120, 40), (40, 9)] {
        let mut app = app(width, height);
        show(&mut app, fixture::snapshot_with_loss());
        check(&format!("loss-{width}x{height}"), &mut app, width, height);
        assert!(screen(&mut app, width, height).contains("! LOST 12,345 (2.0%)"));
    }
}

#[test]
fn help() {
    for (width, height) in [(80, 24), (120, 60)] {
        let mut app = running(width, height);
        app.press(Key::Char('?'));
        check(&format!("help-{width}x{height}"), &mut app, width, height);
    }
    let mut app = running(80, 24);
    press(&mut app, &[Key::Char('?'), Key::End]);
    check("help-end-80x24", &mut app, 80, 24);
    press(&mut app, &[Key::Esc]);
    assert_eq!(app.state().help(), None);
}

#[test]
fn filter() {
    let mut app = running(80, 24);
    app.press(Key::Char('/'));
    type_in(&mut app, "IO_");
    check("filter-typed-80x24", &mut app, 80, 24);
    app.press(Key::Enter);
    check("filter-kept-80x24", &mut app, 80, 24);
    app.press(Key::Char('/'));
    type_in(&mut app, "zz");
    app.press(Key::Enter);
    assert!(screen(&mut app, 80, 24).contains("No thread matches 'IO_zz'"));
    app.press(Key::Esc);
    assert_eq!((app.state().filter(), app.state().order().len()), ("", 6));
}

#[test]
fn empty_states_have_a_sentence() {
    for (width, height) in SIZES {
        let size = format!("{width}x{height}");
        let mut waiting = app(width, height);
        check(&format!("waiting-{size}"), &mut waiting, width, height);
        show(&mut waiting, fixture::snapshot_without_threads());
        check(&format!("no-threads-{size}"), &mut waiting, width, height);
        waiting.tell(UiMessage::Ended("the target has exited".into()));
        check(&format!("ended-without-threads-{size}"), &mut waiting, width, height);
        let mut failed = app(width, height);
        failed.tell(UiMessage::Failed("ring memory refused".into()));
        check(&format!("failed-{size}"), &mut failed, width, height);
        for (view, digit) in [("overview", '1'), ("thread", '3'), ("nodes", '4')] {
            failed.press(Key::Char(digit));
            check(&format!("failed-{view}-{size}"), &mut failed, width, height);
        }
        let mut filtered = running(width, height);
        press(&mut filtered, &[Key::Char('/'), Key::Char('~'), Key::Enter]);
        check(&format!("filter-matches-nothing-{size}"), &mut filtered, width, height);
    }
}

#[test]
fn a_source_that_is_off_is_the_reason_for_an_empty_list() {
    let mut snapshot = fixture::snapshot_two_nodes();
    for name in ["tp_btf:sched_waking", "rq->curr"] {
        let reason = Some(format!("{name} is switched off for this test"));
        snapshot.sources.retain(|source| !name.ends_with(&source.name));
        snapshot.sources.push(Source { name: name.into(), state: SourceState::Off, reason });
    }
    for stats in snapshot.threads.iter_mut().map(|thread| &mut thread.stats).chain([&mut snapshot.totals]) {
        (stats.wakers, stats.waited_behind) = (Vec::new(), Vec::new());
    }
    let mut app = app(120, 40);
    show(&mut app, snapshot);
    app.press(Key::Enter);
    check("sources-off-120x40", &mut app, 120, 40);
    let shown = screen(&mut app, 120, 40);
    assert!(shown.contains("tp_btf:sched_waking is switched") && shown.contains("rq->curr is switched"), "{shown}");
}

#[test]
fn no_line_of_a_page_is_wider_than_its_page_where_it_has_two_columns_or_eighty() {
    for width in (80..=220).step_by(7) {
        for memory in [false, true] {
            let mut app = if memory { with_memory(width, 60) } else { ran_for(15, width, 60) };
            app.press(Key::Char('1'));
            let pages = [app.state().overview(app.numbers()), app.state().nodes(app.numbers()), {
                press(&mut app, &[Key::Char('2'), Key::Enter]);
                app.state().detail(app.numbers()).expect("an opened thread")
            }];
            for line in pages.into_iter().flatten() {
                assert!(line.width() <= usize::from(width), "{width}: {line:?}");
            }
        }
    }
}

#[test]
fn the_numbers_of_a_target_that_exited_stay() {
    let mut app = running(80, 24);
    app.tell(UiMessage::Ended("the target has exited".into()));
    check("ended-80x24", &mut app, 80, 24);
}

#[test]
fn evicted_and_refused_threads_are_told() {
    let mut app = app(120, 40);
    let mut snapshot = fixture::snapshot_two_nodes();
    (snapshot.dropped_threads, snapshot.refused_threads) = (1_234, 5);
    show(&mut app, snapshot);
    check("evicted-120x40", &mut app, 120, 40);
}

#[test]
fn pause_holds_the_numbers_and_space_lets_them_go() {
    let mut app = app(80, 24);
    show(&mut app, fixture::snapshot_two_nodes());
    app.press(Key::Char(' '));
    show(&mut app, fixture::snapshot_two_nodes_later());
    check("paused-80x24", &mut app, 80, 24);
    app.press(Key::Char(' '));
    assert_eq!(screen(&mut app, 80, 24), screen(&mut running(80, 24), 80, 24));
}

#[test]
fn without_colour_what_stands_out_still_does() {
    let mut app = with_theme(80, 24, Depth::Mono);
    show(&mut app, fixture::snapshot_with_loss());
    let buffer = draw(&mut app, 80, 24);
    let at = |needle: &str| {
        let found = text(&buffer).lines().enumerate().find_map(|(y, line)| Some((line.find(needle)?, y)));
        let (x, y) = found.unwrap_or_else(|| panic!("{needle} is not shown"));
        buffer[(x as u16, y as u16)].clone()
    };
    assert!(buffer.content.iter().all(|cell| cell.fg == ratatui::style::Color::Reset && cell.bg == cell.fg));
    assert!(at("LOST").modifier.contains(Modifier::BOLD));
    assert!(at("> ").modifier.contains(Modifier::REVERSED));
    assert!(at("4801").modifier.contains(Modifier::DIM), "an exited thread");
    assert!(at("45.0ms").modifier.contains(Modifier::BOLD), "a high latency");
    assert!(!at("180us").modifier.contains(Modifier::BOLD), "an ordinary one");
}

#[test]
fn replays() {
    let worst = Worst { rank: 2, of: 31, wait_ns: 118_000_000 };
    let sentence = "the recording is cut short: its last 4.00KiB are no whole frame, and what they held is lost";
    let states = [
        ("paused", standing()),
        (
            "playing",
            Status { motion: Motion::Playing, plays: true, speed: "0.5".parse().expect("a speed"), ..standing() },
        ),
        ("seeking", Status { motion: Motion::Seeking(43), plays: true, ..standing() }),
        ("end", Status { at_end: true, length_ns: 11_000_000_000, ..standing() }),
        ("worst", Status { worst: Some(worst), ..standing() }),
        ("incomplete", Status { incomplete: Some(sentence.into()), ..standing() }),
    ];
    for (name, status) in states {
        for (width, height) in [(80, 24), (120, 40), (40, 9)] {
            let (mut app, _asked) = replay(width, height, status.clone());
            check(&format!("replay-{name}-{width}x{height}"), &mut app, width, height);
        }
    }
}

#[test]
fn what_a_replay_shows_before_its_first_numbers_and_when_it_fails() {
    let (commands, _asked) = channel();
    let span = Span { start_wall_ns: 0, length_ns: 60_000_000_000, zone: TimeZone::UTC };
    let player = Some(Remote { commands, span });
    let mut app = App::new(&Options { player, ..Options::new("pid 4711 (redis-server)") }, 80, 24);
    assert!(screen(&mut app, 80, 24).contains("0s of 60.0s"));
    app.tell(UiMessage::Failed("cannot read frame 7: it is damaged".into()));
    let shown = screen(&mut app, 80, 24);
    assert!(
        shown.starts_with("REPLAY FAILED")
            && shown.contains("STOPPED")
            && shown.contains("Replay failed: cannot read frame 7"),
        "{shown}"
    );
}

/// Nothing is told by colour alone: each state is another text.
#[test]
fn a_replay_is_told_from_a_live_run_by_its_words() {
    for (width, height) in [(80, 24), (120, 40), (40, 9)] {
        let first_two = |app: &mut App| screen(app, width, height).lines().take(2).collect::<Vec<_>>().join("|");
        assert!(!first_two(&mut running(width, height)).contains("REPLAY"));
        let motions = [Motion::Paused, Motion::Playing, Motion::Seeking(5)];
        let all = motions.map(|motion| first_two(&mut replay(width, height, Status { motion, ..standing() }).0));
        for (shown, words) in all.iter().zip(["PAUSED 1x", "PLAYING 1x", "SEEKING 5%"]) {
            assert!(
                shown.starts_with("REPLAY") && shown.contains("11.0s of 60.0s") && shown.contains(words),
                "{shown}"
            );
        }
    }
}

#[test]
fn a_time_is_typed_and_what_is_wrong_with_it_is_said() {
    for (width, height) in [(80, 24), (120, 40), (40, 9)] {
        let size = format!("{width}x{height}");
        let (mut app, asked) = replay(width, height, standing());
        app.press(Key::Char(':'));
        check(&format!("replay-time-{size}"), &mut app, width, height);
        type_in(&mut app, "2m q");
        press(&mut app, &[Key::Backspace, Key::Enter]);
        check(&format!("replay-time-wrong-{size}"), &mut app, width, height);
        assert!(asked.try_recv().is_err());
        press(&mut app, &[Key::Backspace; 3]);
        type_in(&mut app, "10:22:01");
        app.press(Key::Enter);
        assert_eq!(asked.try_recv(), Ok(Command::Jump(15_000_000_000)));
        assert!(app.state().replay().is_some_and(|replay| replay.prompt().is_none()));
    }
}

#[test]
fn a_time_that_is_typed_is_left_by_escape_by_backspace_and_by_nothing() {
    let (mut app, asked) = replay(80, 24, standing());
    let is_open = |app: &App| app.state().replay().is_some_and(|replay| replay.prompt().is_some());
    for leave in [&[Key::Esc][..], &[Key::Backspace], &[Key::Enter], &[Key::Char(' '), Key::Enter]] {
        app.press(Key::Char(':'));
        assert!(is_open(&app));
        press(&mut app, leave);
        assert!(!is_open(&app), "{leave:?}");
    }
    assert!(asked.try_recv().is_err(), "nothing was asked for");
    app.press(Key::Char(':'));
    assert_eq!(app.press(Key::Interrupt), Action::Quit);
}

#[test]
fn keys_of_a_replay_go_to_the_player_and_those_of_a_live_run_do_nothing() {
    let (mut app, asked) = replay(80, 24, standing());
    let keys = [' ', ',', '.', '<', '>', '[', ']', 'w'];
    let wanted = [
        Command::Toggle,
        Command::Step(-1),
        Command::Step(1),
        Command::Skip(-10),
        Command::Skip(10),
        Command::Slower,
        Command::Faster,
        Command::Worst,
    ];
    for view in ['1', '2', '3', '4'] {
        app.press(Key::Char(view));
        keys.iter().for_each(|key| _ = app.press(Key::Char(*key)));
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), wanted);
        for key in ['+', '-', 'r'].map(Key::Char) {
            assert_eq!(app.press(key), Action::None, "{key:?}");
        }
    }
    assert_eq!(asked.try_iter().count(), 0);
    assert!(!app.state().paused(), "it is the player that stands still");
    let mut live = running(80, 24);
    for key in ['[', ']', ':', 'w'].map(Key::Char) {
        assert_eq!(live.press(key), Action::None, "{key:?}");
    }
}

#[test]
fn another_time_takes_the_place_of_all_that_was_shown() {
    let (mut app, _asked) = replay(80, 24, standing());
    let mut history = History::continued();
    (20..=40).for_each(|second| history.push(Arc::new(fixture::snapshot_two_nodes_after(second))));
    app.tell(UiMessage::Jumped(Box::new(history)));
    let seconds = |app: &App| (app.state().shown().now_ns / 1_000_000_000, app.numbers().duration_ns / 1_000_000_000);
    assert_eq!((seconds(&app), app.state().shown().p99s.len()), ((50, 50), 20));
    press(&mut app, &['i', 'i'].map(Key::Char));
    assert_eq!(seconds(&app), (50, 10));
    // Earlier than before.
    let mut history = History::continued();
    history.push(Arc::new(fixture::snapshot_two_nodes_after(3)));
    app.tell(UiMessage::Jumped(Box::new(history)));
    assert_eq!(seconds(&app), (13, 13));
}

#[test]
fn the_help_of_a_replay_has_its_keys_and_says_what_is_missing() {
    let (mut app, _asked) = replay(120, 60, Status { incomplete: Some("its end is missing".into()), ..standing() });
    app.press(Key::Char('?'));
    check("replay-help-120x60", &mut app, 120, 60);
}

#[test]
fn rates_are_of_the_last_interval_and_shares_since_the_start() {
    let mut app = app(200, 60);
    show(&mut app, fixture::snapshot_two_nodes());
    let first = *app.state().row(0).expect("a thread");
    assert_eq!((first.cpu, first.voluntary, first.cross_node), (Some(0.8), Some(2400.0), Some(0.6)), "since the start");
    show(&mut app, fixture::snapshot_two_nodes_later());
    let row = *app.state().row(2).expect("a thread");
    assert!((row.cpu.expect("a rate") - 0.266_666_666).abs() < 1e-9);
    assert_eq!((row.involuntary, row.migrations, row.cross_node), (Some(60.0), Some(34.0), Some(24.0)));
    assert!((row.wait.expect("a share") - 4.1 / 11.0).abs() < 1e-9);
    assert_eq!(app.state().record_rate(), Some(61_500.0));
}

#[test]
fn a_snapshot_right_after_another_makes_no_interval_of_its_own() {
    let mut app = running(200, 60);
    let before = *app.state().row(0).expect("a thread");
    let mut last = fixture::snapshot_two_nodes_later();
    last.duration_ns += 1_000_000;
    show(&mut app, last);
    let after = *app.state().row(0).expect("a thread");
    assert!((after.voluntary.expect("a rate") / before.voluntary.expect("a rate") - 1.0).abs() < 0.01);
}

#[test]
fn a_reused_thread_id_does_not_take_the_rates_of_the_old_thread() {
    let mut app = app(200, 60);
    let old = fixture::snapshot_two_nodes();
    let mut new = fixture::snapshot_two_nodes_later();
    let mut reborn = new.threads[0].clone();
    reborn.stats.cpu_ns = 500_000_000;
    reborn.born_ns = 77;
    new.threads[0].exited = true;
    new.threads.insert(1, reborn);
    show(&mut app, old);
    show(&mut app, new);
    assert_eq!(app.state().row(1).expect("a thread").cpu, Some(0.5));
    assert_eq!(app.state().row(0).expect("a thread").cpu, Some(0.8));
}

#[test]
fn the_selected_thread_stays_selected_across_sorting_and_snapshots() {
    let mut app = app(200, 60);
    show(&mut app, fixture::snapshot_of_threads(100));
    press(&mut app, &[Key::Down; 7]);
    let tid = |app: &App| {
        let state = app.state();
        state.row(state.order()[state.selected().expect("a selection")]).expect("a row").key.tid
    };
    let chosen = tid(&app);
    for _ in 0..layout::COLUMNS.len() * 2 {
        press(&mut app, &[Key::Char('s'), Key::Char('S')]);
        assert_eq!(tid(&app), chosen);
    }
    let mut next = fixture::snapshot_of_threads(120);
    next.duration_ns *= 2;
    show(&mut app, next);
    assert_eq!(tid(&app), chosen);
    app.press(Key::Home);
    app.press(Key::Char('S'));
    assert_eq!(app.state().selected(), Some(0), "after Home the top row is selected, whichever thread that is");
}

#[test]
fn every_column_sorts_with_ties_by_thread_id_and_absent_values_last() {
    let mut app = app(200, 60);
    let mut snapshot = fixture::snapshot_of_threads(50);
    snapshot.threads[3].stats.runq.all = Default::default();
    snapshot.threads[7].state = ThreadState::Running;
    show(&mut app, snapshot.clone());
    let mut seen = Vec::new();
    for _ in 0..layout::COLUMNS.len() {
        app.press(Key::Char('s'));
        seen.push(app.state().sort().column);
        let order = app.state().order();
        let tids: Vec<Tid> = order.iter().map(|at| snapshot.threads[*at].tid).collect();
        match app.state().sort().column {
            Column::Tid | Column::WaitingNow => assert!(tids.is_sorted()),
            Column::P50 | Column::P99 | Column::Max => assert_eq!(tids[49], Tid(1003)),
            Column::NodeMoves => {
                let moves = |at: &usize| (std::cmp::Reverse(snapshot.threads[*at].stats.node_moves), *at);
                assert!(order.is_sorted_by_key(moves));
            }
            Column::State => assert_eq!(tids[0], Tid(1007)),
            _ => assert_eq!(tids.len(), 50),
        }
    }
    assert!(app.state().columns().iter().all(|placed| seen.contains(&placed.column)));
}

#[test]
fn frames_are_drawn_when_something_changed_and_ten_a_second_at_most() {
    let mut app = app(80, 24);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a test terminal");
    let start = Instant::now();
    let ms = std::time::Duration::from_millis;
    assert_eq!(app.due(start), Some(ms(0)));
    app.draw(&mut terminal, start).expect("a test terminal never fails");
    assert_eq!(app.due(start + ms(5_000)), None, "nothing changed");
    app.press(Key::Backspace);
    app.resize(80, 24);
    assert_eq!(app.due(start), None, "a key without meaning and the same size change nothing");
    app.press(Key::Down);
    assert_eq!(app.due(start + ms(30)), Some(ms(70)));
    assert_eq!(app.due(start + ms(400)), Some(ms(0)));
    app.draw(&mut terminal, start + ms(400)).expect("a test terminal never fails");
    show(&mut app, fixture::snapshot_two_nodes());
    app.press(Key::Char(' '));
    app.draw(&mut terminal, start + ms(600)).expect("a test terminal never fails");
    show(&mut app, fixture::snapshot_two_nodes_later());
    assert_eq!(app.due(start + ms(900)), None, "a paused dashboard does not draw what it does not show");
}

#[test]
fn the_help_names_every_column_and_every_source() {
    let snapshot = fixture::snapshot_two_nodes();
    let lines = help::lines(Mode::Live, None, &snapshot, 120);
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| if let help::HelpLine::Entry(term, _) = line { Some(term.as_str()) } else { None })
        .collect();
    assert!(layout::COLUMNS.iter().all(|spec| names.contains(&spec.title)));
    assert!(snapshot.sources.iter().all(|source| names.contains(&source.name.as_str())));
}

#[test]
fn what_numatrace_leaves_out_is_in_every_header_and_in_the_help() {
    let mut snapshot = fixture::snapshot_two_nodes();
    let mut cost = fixture::self_cost();
    for (width, height) in [(80, 24), (200, 60)] {
        for (not_held, wanted) in [(false, "! 1 in 8 turns  self 0.6%"), (true, "! 1 in 8 turns, not enough")] {
            cost.shed.not_held = not_held;
            snapshot.self_cost = Some(cost.clone());
            let mut app = app(width, height);
            show(&mut app, snapshot.clone());
            for tab in ['1', '2', '4', '5', '6'] {
                app.press(Key::Char(tab));
                let text = screen(&mut app, width, height);
                assert!(text.contains(wanted), "{width}x{height}, tab {tab}:\n{text}");
            }
        }
    }
    cost.shed = numatrace::snapshot::Shed { every: 1, ..Default::default() };
    snapshot.self_cost = Some(cost);
    let mut app = app(80, 24);
    show(&mut app, snapshot);
    assert!(screen(&mut app, 80, 24).contains("self 0.6%"));
    press(&mut app, &[Key::Char('?'), Key::End]);
    let mut help = String::new();
    for _ in 0..20 {
        help += &screen(&mut app, 80, 24);
        app.press(Key::PageUp);
    }
    assert!(help.contains("What numatrace itself takes") && help.contains("(limit 2.0%)"), "{help}");
}
