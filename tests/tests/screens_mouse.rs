//! Clicks and the wheel, and the screen as files: what they do is what keys do.

use std::fs;

use numatrace::tui::app::App;
use numatrace::tui::layout::{self, Column};
use numatrace::tui::state::{Action, Key, Notice, Tab};
use numatrace::tui::{Options, Place};
use numatrace_tests::fixture;
use numatrace_tests::screens::{press, ran_for, running, screen, show, type_in};

const SIZE: (u16, u16) = (120, 40);
/// The first row of the table.
const FIRST_ROW: u16 = layout::HEADER_LINES + layout::TABLE_HEAD_LINES;

fn click(app: &mut App, column: u16, row: u16) -> Action {
    app.press(Key::Click { column, row })
}

/// Where a word is on the screen.
fn place_of(app: &mut App, word: &str, row: u16) -> u16 {
    let text = screen(app, SIZE.0, SIZE.1);
    let line = text.lines().nth(usize::from(row)).expect("a line");
    line[..line.find(word).expect(word)].chars().count() as u16
}

#[test]
fn a_click_on_a_name_of_a_view_shows_it() {
    let mut app = running(SIZE.0, SIZE.1);
    for tab in [Tab::Nodes, Tab::Overview, Tab::Threads] {
        let column = place_of(&mut app, tab.name(), 2);
        assert_eq!(click(&mut app, column, 2), Action::Draw);
        assert_eq!(app.state().tab(), tab);
    }
}

#[test]
fn a_click_on_a_head_sorts_and_another_one_reverses() {
    let mut app = running(SIZE.0, SIZE.1);
    let column = place_of(&mut app, "rq p99", FIRST_ROW - 1);
    click(&mut app, column, FIRST_ROW - 1);
    assert_eq!((app.state().sort().column, app.state().sort().descending), (Column::P99, true));
    click(&mut app, column, FIRST_ROW - 1);
    assert_eq!((app.state().sort().column, app.state().sort().descending), (Column::P99, false));
    let name = place_of(&mut app, "name", FIRST_ROW - 1);
    click(&mut app, name, FIRST_ROW - 1);
    assert_eq!((app.state().sort().column, app.state().sort().descending), (Column::Name, false));
}

#[test]
fn a_click_selects_a_thread_and_another_one_opens_it() {
    let mut app = running(SIZE.0, SIZE.1);
    let second = app.state().order()[1];
    click(&mut app, 30, FIRST_ROW + 1);
    assert_eq!((app.state().selected(), app.state().tab()), (Some(1), Tab::Threads));
    click(&mut app, 30, FIRST_ROW + 1);
    assert_eq!(app.state().tab(), Tab::Thread);
    assert_eq!(app.state().opened(), app.state().row(second).map(|row| row.key));
    // In a page there is nothing to click at.
    assert_eq!(click(&mut app, 30, FIRST_ROW), Action::None);
}

#[test]
fn a_click_puts_the_cursor_on_a_cell_or_an_event_and_another_one_opens_it() {
    let mut app = ran_for(2, SIZE.0, SIZE.1);
    app.press(Key::Char('5'));
    // The second CPU, a slot before the newest: cells have two columns, names of rows nine.
    let (column, row) = (9 + 2 * 38, layout::HEADER_LINES + 4);
    assert_eq!(click(&mut app, column, row), Action::Draw);
    assert_eq!(app.state().cpus_place(), Some((1, 8, 1)));
    click(&mut app, column, row);
    assert_eq!(app.state().tab(), Tab::Thread);
    assert!(screen(&mut app, SIZE.0, SIZE.1).contains("io_thd_1  tid 4713"));
    (0..=3).for_each(|second| show(&mut app, fixture::snapshot_with_events(second)));
    app.press(Key::Char('6'));
    let third = layout::HEADER_LINES + 4;
    assert_eq!(click(&mut app, 50, third), Action::Draw);
    assert_eq!(app.state().events_place().1, 2);
    assert_eq!(
        (click(&mut app, 50, SIZE.1 - 1), click(&mut app, 50, layout::HEADER_LINES)),
        (Action::None, Action::None)
    );
    click(&mut app, 50, third);
    assert_eq!(app.state().tab(), Tab::Thread);
    assert!(screen(&mut app, SIZE.0, SIZE.1).contains("redis-server  tid 4711"));
}

#[test]
fn clicks_beside_everything_do_nothing() {
    let mut app = running(SIZE.0, SIZE.1);
    let before = (app.state().selected(), app.state().sort(), app.state().tab());
    let threads = app.state().thread_count() as u16;
    for (column, row) in [(0, 0), (5, FIRST_ROW + threads), (5, SIZE.1 - 1), (u16::MAX, u16::MAX), (SIZE.0 - 1, 2)] {
        assert_eq!(click(&mut app, column, row), Action::None, "{column} {row}");
    }
    assert_eq!(before, (app.state().selected(), app.state().sort(), app.state().tab()));
    // What is typed is not lost by a click.
    press(&mut app, &[Key::Char('/')]);
    type_in(&mut app, "io");
    assert_eq!(click(&mut app, 3, FIRST_ROW), Action::None);
    assert_eq!((app.state().filter(), app.state().editing()), ("io", true));
}

#[test]
fn the_wheel_scrolls_the_table_the_help_and_pages() {
    let mut app = running(80, 12);
    app.press(Key::WheelDown);
    assert_eq!(app.state().selected(), Some(3));
    app.press(Key::WheelUp);
    assert_eq!(app.state().selected(), Some(0));
    press(&mut app, &[Key::Char('1'), Key::WheelDown]);
    assert_eq!(app.state().page().0, 3);
    press(&mut app, &[Key::Char('?'), Key::WheelDown]);
    assert_eq!(app.state().help(), Some(3));
}

#[test]
fn the_mouse_is_the_terminals_until_it_is_asked_for() {
    let mut app = running(SIZE.0, SIZE.1);
    assert!(!app.mouse());
    assert_eq!(app.press(Key::Char('M')), Action::Mouse);
    assert!(app.mouse());
    assert!(screen(&mut app, SIZE.0, SIZE.1).contains("with Shift it selects text"));
    app.press(Key::Char('M'));
    assert!(!app.mouse());
}

#[test]
fn the_screen_is_written_to_files_and_the_last_line_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { folder: folder.path().to_owned(), owner: None };
    let mut app = App::new(&Options { place, ..Options::new("pid 4711 (redis-server)") }, 80, 24);
    show(&mut app, fixture::snapshot_two_nodes());
    let shown = screen(&mut app, 80, 24);
    assert_eq!(app.press(Key::Char('p')), Action::Picture);
    app.save(&"2026-11-21T10:21:46[UTC]".parse().expect("a time"));
    let text = fs::read_to_string(folder.path().join("numatrace-20261121-102146.txt")).expect("a text");
    assert_eq!(text, shown);
    let svg = fs::read_to_string(folder.path().join("numatrace-20261121-102146.svg")).expect("a picture");
    assert!(svg.starts_with("<svg") && svg.contains("pid 4711 (redis-server)"));
    let said = app.state().notice().map(Notice::words).unwrap_or_default().to_owned();
    assert!(said.starts_with("Saved numatrace-20261121-102146.txt and .svg in /"), "{said}");
    assert!(screen(&mut app, 80, 24).contains("Saved numatrace-20261121-102146.txt and .svg in /"));
    // A key that is held writes no second pair.
    app.save(&"2026-11-21T10:21:46.9[UTC]".parse().expect("a time"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    app.press(Key::Down);
    assert_eq!(app.state().notice(), None);
    drop(folder);
    app.save(&"2026-11-21T10:21:47[UTC]".parse().expect("a time"));
    assert!(screen(&mut app, 80, 24).contains("! The screen is not saved: cannot create"));
}
