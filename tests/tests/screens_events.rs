//! The last events as a person reads them: see `numatrace_tests::screens`.

use numatrace::tui::app::App;
use numatrace::tui::state::{Action, Key, Tab};
use numatrace::tui::theme::{Depth, Theme};
use numatrace::tui::{Options, Preferences};
use numatrace_tests::fixture;
use numatrace_tests::screens::{app, check, press, screen, show, type_in, without_rules};

/// Sizes of terminals.
const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (200, 60), (40, 10)];

fn events(width: u16, height: u16) -> App {
    let mut app = app(width, height);
    (0..=3).for_each(|second| show(&mut app, fixture::snapshot_with_events(second)));
    app.press(Key::Char('6'));
    app
}

#[test]
fn the_newest_stand_first_with_all_that_is_known() {
    for (width, height) in SIZES {
        check(&format!("events-{width}x{height}"), &mut events(width, height), width, height);
    }
    let mut app = events(80, 24);
    press(&mut app, &[Key::PageDown, Key::PageDown]);
    check("events-page-3-80x24", &mut app, 80, 24);
}

#[test]
fn the_header_does_not_tell_of_another_stretch_of_time() {
    let mut app = events(120, 40);
    for _ in 0..4 {
        let shown = screen(&mut app, 120, 40);
        let line = shown.lines().nth(2).expect("a line of views");
        assert!(line.ends_with("6 [Events]"), "{line}");
        app.press(Key::Char('i'));
    }
}

#[test]
fn a_wide_machine_has_them_too() {
    let mut app = app(120, 40);
    show(&mut app, fixture::snapshot_wide(600, 0));
    app.press(Key::Char('6'));
    check("events-wide-120x40", &mut app, 120, 40);
}

#[test]
fn a_filter_lists_what_matches_all_of_it_and_says_what_it_cannot_read() {
    let mut app = events(80, 24);
    press(&mut app, &[Key::Char('/')]);
    type_in(&mut app, "kind:wait slower:10ms stress");
    check("events-filter-80x24", &mut app, 80, 24);
    app.press(Key::Enter);
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("match 'kind:wait slower:10ms stress'") && !shown.contains("moved CPU"), "{shown}");
    press(&mut app, &[Key::Esc, Key::Char('/')]);
    type_in(&mut app, "kind:wiat");
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("! kind: is one of wait, migration"), "{shown}");
    // It is said where it is typed, and not kept.
    assert!(shown.lines().last().is_some_and(|line| line.contains("kind:wiat█  kind: is one of wait")), "{shown}");
    assert_eq!(app.press(Key::Enter), Action::None);
    assert!(app.state().editing());
    press(&mut app, &[Key::Esc, Key::Char('/')]);
    type_in(&mut app, "nmae:io");
    check("events-wrong-filter-80x24", &mut app, 80, 24);
    press(&mut app, &[Key::Esc, Key::Char('/')]);
    type_in(&mut app, "tid:1");
    check("events-no-match-80x24", &mut app, 80, 24);
}

#[test]
fn an_event_leads_to_its_thread_and_stays_selected_while_others_come() {
    let mut app = events(80, 24);
    press(&mut app, &[Key::Down, Key::Down, Key::Down]);
    let selected = |app: &mut App| {
        let shown = screen(app, 80, 24);
        shown.lines().find(|line| line.starts_with('>')).expect("a selected event").to_owned()
    };
    let before = selected(&mut app);
    show(&mut app, fixture::snapshot_with_events(4));
    assert_eq!(selected(&mut app), before);
    app.press(Key::Enter);
    assert_eq!(app.state().tab(), Tab::Thread);
    let tid = before.split_whitespace().find(|word| word.starts_with("47") || word.starts_with("48")).expect("a tid");
    assert!(screen(&mut app, 80, 24).contains(&format!("tid {tid}")));
}

#[test]
fn paused_the_events_up_to_then_stay() {
    let mut app = events(80, 24);
    press(&mut app, &[Key::Char(','), Key::Home]);
    let before = screen(&mut app, 80, 24);
    (4..=40).for_each(|second| show(&mut app, fixture::snapshot_with_events(second)));
    // The first line has how many records came.
    assert_eq!(screen(&mut app, 80, 24), before);
}

#[test]
fn where_there_are_none_it_says_so() {
    let mut app = app(80, 24);
    app.press(Key::Char('6'));
    check("events-nothing-yet-80x24", &mut app, 80, 24);
    show(&mut app, fixture::snapshot_two_nodes());
    check("events-none-80x24", &mut app, 80, 24);
}

#[test]
fn in_ascii_they_are_the_same() {
    let preferences = without_rules(Preferences { ascii: true, ..Preferences::default() });
    let options = Options { theme: Theme::new(Depth::Indexed), preferences, ..Options::new("pid 4711 (redis-server)") };
    let mut app = App::new(&options, 80, 24);
    (0..=3).for_each(|second| show(&mut app, fixture::snapshot_with_events(second)));
    app.press(Key::Char('6'));
    check("events-ascii-80x24", &mut app, 80, 24);
}

#[test]
fn events_that_are_no_longer_kept_are_not_told_as_none() {
    let mut app = app(80, 24);
    let busy = |second: u64| {
        let mut snapshot = fixture::snapshot_with_events(second as u32);
        let mut interval = (*snapshot.events.pop().expect("events")).clone();
        let event = interval.events[0].clone();
        interval.events = vec![event; 1_000];
        interval.events.iter_mut().for_each(|event| event.time_ns = interval.end_ns - 1);
        snapshot.events = vec![interval.into()];
        snapshot
    };
    (0..40).for_each(|second| show(&mut app, busy(second)));
    app.press(Key::Char('6'));
    press(&mut app, &[Key::Char('<'), Key::Char('<'), Key::Char('<')]);
    check("events-not-kept-80x24", &mut app, 80, 24);
}
