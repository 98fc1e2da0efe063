//! The map of CPUs as a person reads it: see `numatrace_tests::screens`.

use std::sync::Arc;

use numatrace::tui::app::App;
use numatrace::tui::keymap::Keymap;
use numatrace::tui::state::{Key, Tab};
use numatrace::tui::theme::{Depth, Theme};
use numatrace::tui::{Options, Preferences};
use numatrace_tests::fixture;
use numatrace_tests::screens::{app, check, press, ran_for, screen, show, with_theme, without_rules};

/// Sizes of terminals.
const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (200, 60), (40, 10)];

fn two_nodes(width: u16, height: u16) -> App {
    let mut app = ran_for(2, width, height);
    app.press(Key::Char('5'));
    app
}

fn wide(width: u16, height: u16) -> App {
    let mut app = app(width, height);
    show(&mut app, fixture::snapshot_wide(600, 0));
    show(&mut app, fixture::snapshot_wide(600, 1));
    app.press(Key::Char('5'));
    app
}

#[test]
fn a_small_machine_is_seen_as_a_whole() {
    for (width, height) in SIZES {
        check(&format!("cpus-{width}x{height}"), &mut two_nodes(width, height), width, height);
    }
}

#[test]
fn a_wide_machine_scrolls_and_says_what_is_shown() {
    for (width, height) in SIZES {
        check(&format!("cpus-wide-{width}x{height}"), &mut wide(width, height), width, height);
    }
    let mut app = wide(80, 24);
    press(&mut app, &[Key::PageDown, Key::PageDown, Key::Left, Key::Left, Key::Left]);
    check("cpus-wide-page-3-80x24", &mut app, 80, 24);
    press(&mut app, &[Key::End]);
    check("cpus-wide-end-80x24", &mut app, 80, 24);
}

#[test]
fn folded_by_cache_and_by_node_it_fits() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut app = wide(width, height);
        app.press(Key::Char('z'));
        check(&format!("cpus-caches-{width}x{height}"), &mut app, width, height);
        app.press(Key::Char('z'));
        check(&format!("cpus-nodes-{width}x{height}"), &mut app, width, height);
        app.press(Key::Char('z'));
        assert!(screen(&mut app, width, height).contains("of 256"));
    }
}

#[test]
fn the_selected_thread_stands_out_and_unused_rows_can_be_hidden() {
    let mut app = two_nodes(80, 24);
    // The third row of the table.
    press(&mut app, &[Key::Char('2'), Key::Down, Key::Down, Key::Char('5'), Key::Char('x')]);
    check("cpus-selected-80x24", &mut app, 80, 24);
    assert!(screen(&mut app, 80, 24).contains("CPUs 7 of 8  1 unused hidden"));
}

#[test]
fn the_cursor_tells_of_a_cell_and_opens_its_thread() {
    let mut app = two_nodes(120, 40);
    press(&mut app, &[Key::Down, Key::Left, Key::Left]);
    assert!(screen(&mut app, 120, 40).contains("CPU 1 (node 0, L3 0), 500ms ago: b io_thd_1 (4713) 26.7%"));
    app.press(Key::Enter);
    assert_eq!(app.state().tab(), Tab::Thread);
    assert!(screen(&mut app, 120, 40).contains("io_thd_1  tid 4713"));
}

#[test]
fn where_there_is_no_map_it_says_why() {
    let mut app = app(80, 24);
    app.press(Key::Char('5'));
    check("cpus-nothing-yet-80x24", &mut app, 80, 24);
    show(&mut app, fixture::snapshot_of_threads(5));
    check("cpus-nobody-ran-80x24", &mut app, 80, 24);
    let mut app = two_nodes(80, 24);
    app.press(Key::Char('g'));
    check("cpus-grouped-80x24", &mut app, 80, 24);
}

#[test]
fn lost_records_are_told_beside_it() {
    let mut app = app(80, 24);
    show(&mut app, fixture::snapshot_with_loss());
    app.press(Key::Char('5'));
    assert!(screen(&mut app, 80, 24).contains("! records were lost: cells may be missing"));
}

#[test]
fn without_colours_it_is_the_same_map() {
    let mut plain = with_theme(80, 24, Depth::Mono);
    (0..=2).for_each(|second| show(&mut plain, fixture::snapshot_two_nodes_after(second)));
    plain.press(Key::Char('5'));
    assert_eq!(screen(&mut plain, 80, 24), screen(&mut two_nodes(80, 24), 80, 24));
    check("cpus-mono-80x24", &mut plain, 80, 24);
}

fn preferring(preferences: Preferences) -> App {
    let preferences = without_rules(preferences);
    let options = Options { theme: Theme::new(Depth::Indexed), preferences, ..Options::new("pid 4711 (redis-server)") };
    App::new(&options, 80, 24)
}

#[test]
fn in_ascii_idle_and_little_are_told_apart() {
    let mut app = preferring(Preferences { ascii: true, ..Preferences::default() });
    (0..=2).for_each(|second| show(&mut app, fixture::snapshot_two_nodes_after(second)));
    press(&mut app, &[Key::Char('5'), Key::Char('z')]);
    check("cpus-caches-ascii-80x24", &mut app, 80, 24);
}

#[test]
fn right_after_a_slot_has_ended_its_column_is_the_newest() {
    let mut app = ran_for(2, 80, 24);
    let mut late = fixture::snapshot_two_nodes_after(2);
    late.duration_ns += 1_000_000;
    show(&mut app, late);
    app.press(Key::Char('5'));
    let shown = screen(&mut app, 80, 24);
    // What ran up to then is at the edge, and of the time at the other one nothing is known any more.
    assert!(shown.contains("aaaaaaaa 59.5%") && shown.contains("now: c jemalloc_bg_thd (4720) 16.0%"), "{shown}");
    assert!(shown.contains("[CPUs] 6  Events   last 9.75s") && shown.contains("CPUs 8  last 9.75s"), "{shown}");
}

#[test]
fn sentences_have_the_keys_of_the_user() {
    let mut keymap = Keymap::default();
    assert!(keymap.bind("hide-idle", &[Key::Char('U')]) && keymap.bind("help", &[Key::Function(1)]));
    let mut app = preferring(Preferences { keymap: Arc::new(keymap), ..Preferences::default() });
    let mut idle = fixture::snapshot_two_nodes();
    // What was seen is of long ago, for a map that is narrow.
    idle.threads.iter_mut().for_each(|thread| {
        thread.track = thread.track.iter().filter(|slot| slot.start_ns < 1_000_000_000).collect();
    });
    show(&mut app, idle);
    press(&mut app, &[Key::Char('5'), Key::Char('U')]);
    app.resize(40, 10);
    let shown = screen(&mut app, 40, 10);
    assert!(shown.contains("U shows"), "{shown}");
    app.resize(80, 24);
    show(&mut app, fixture::snapshot_with_events(1));
    app.press(Key::Char('6'));
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("see F1"), "{shown}");
}
