//! The map of CPUs as a person reads it: see `numatrace_tests::screens`.

use numatrace::tui::app::App;
use numatrace::tui::state::Key;
use numatrace_tests::fixture;
use numatrace_tests::screens::{app, check, press, ran_for, screen, show};

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
