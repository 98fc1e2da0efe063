//! Every view at every size, of a small machine, of one with 256 CPUs, 16 nodes and 10,000 threads, and before anything has
//! come; and every view in every theme. Other files have what single views show in single situations.

use std::sync::Arc;

use numatrace::snapshot::Snapshot;
use numatrace::tui::app::App;
use numatrace::tui::state::{Key, Tab};
use numatrace::tui::theme::{Depth, Scheme, Theme};
use numatrace::tui::{Options, Preferences, UiMessage};
use numatrace_tests::fixture;
use numatrace_tests::screens::{check, draw, same, styles, without_rules};

const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];

fn app(theme: Theme, (width, height): (u16, u16), numbers: &[Arc<Snapshot>]) -> App {
    let preferences = without_rules(Preferences::default());
    let mut app = App::new(&Options { theme, preferences, ..Options::new("pid 4711 (redis-server)") }, width, height);
    numbers.iter().for_each(|numbers| app.tell(UiMessage::Snapshot(Arc::clone(numbers))));
    app
}

/// Shows a view; the detail is that of the thread at the top of the list.
fn go(app: &mut App, tab: Tab) {
    let at = Tab::ALL.iter().position(|other| *other == tab).expect("a view");
    let digit = char::from_digit(at as u32 + 1, 10).expect("a digit");
    app.press(Key::Char(digit));
}

fn every_view_at_every_size(name: &str, numbers: &[Snapshot]) {
    let numbers: Vec<Arc<Snapshot>> = numbers.iter().cloned().map(Arc::new).collect();
    for (width, height) in SIZES {
        let mut app = app(Theme::new(Depth::True), (width, height), &numbers);
        for tab in Tab::ALL {
            go(&mut app, tab);
            let view = tab.name().to_lowercase();
            check(&format!("matrix/{name}-{view}-{width}x{height}"), &mut app, width, height);
        }
    }
}

#[test]
fn a_machine_with_two_nodes() {
    every_view_at_every_size("two-nodes", &[fixture::snapshot_with_memory(), fixture::snapshot_with_memory_after(1)]);
}

#[test]
fn a_machine_with_256_cpus_16_nodes_and_10_000_threads() {
    every_view_at_every_size("wide", &[fixture::snapshot_wide(10_000, 9), fixture::snapshot_wide(10_000, 10)]);
}

#[test]
fn before_anything_has_come() {
    every_view_at_every_size("nothing-yet", &[]);
}

#[test]
fn every_view_in_every_theme() {
    let numbers = [fixture::snapshot_with_events(9), fixture::snapshot_with_events(10)].map(Arc::new);
    for scheme in Scheme::ALL {
        let mut app = app(Theme::of_scheme(scheme, Depth::True), (80, 24), &numbers);
        for tab in Tab::ALL {
            go(&mut app, tab);
            let name = format!("matrix/{}-{}-80x24.styles", scheme.name(), tab.name().to_lowercase());
            same(&name, &styles(&draw(&mut app, 80, 24)));
        }
    }
}
