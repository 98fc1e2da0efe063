//! Screens in every theme, with the user's keys, and in ASCII.

use std::sync::Arc;
use std::sync::mpsc::channel;

use numatrace::snapshot::Snapshot;
use numatrace::tui::app::App;
use numatrace::tui::keymap::Keymap;
use numatrace::tui::rows::Sort;
use numatrace::tui::state::{Action, Key, Tab};
use numatrace::tui::theme::{Depth, Scheme, Theme};
use numatrace::tui::{Options, Preferences, UiMessage, history::Window, layout::Column};
use numatrace_tests::fixture;
use numatrace_tests::screens::{
    SIZES, check, draw, press, replay_with, same, screen, show, standing, styles, text, type_in, without_rules,
};
use proptest::prelude::*;
use ratatui::style::{Color, Modifier};

/// A dashboard as the user wants it, with everything of memory measured.
fn with(theme: Theme, preferences: Preferences, width: u16, height: u16) -> App {
    let preferences = without_rules(preferences);
    let options = Options { theme, preferences, ..Options::new("pid 4711 (redis-server)") };
    let mut app = App::new(&options, width, height);
    (0..=3).for_each(|second| show(&mut app, fixture::snapshot_with_memory_after(second)));
    app
}

fn ascii() -> Preferences {
    Preferences { ascii: true, ..Preferences::default() }
}

fn with_keys(all: &[(&str, &[Key])]) -> Preferences {
    let mut map = Keymap::default();
    all.iter().for_each(|(name, keys)| assert!(map.bind(name, keys), "{name}"));
    Preferences { keymap: Arc::new(map), ..Preferences::default() }
}

/// The views of which there are screens in every theme.
const VIEWS: [(&str, char); 3] = [("overview", '1'), ("threads", '2'), ("nodes", '4')];

#[test]
fn views_in_every_theme() {
    for scheme in Scheme::ALL {
        for (view, digit) in VIEWS {
            let mut app = with(Theme::of_scheme(scheme, Depth::True), Preferences::default(), 120, 40);
            app.press(Key::Char(digit));
            let buffer = draw(&mut app, 120, 40);
            // The text is the same in all of them: one file a view.
            same(&format!("theme/{view}-120x40.txt"), &text(&buffer));
            same(&format!("theme/{view}-{}-120x40.styles", scheme.name()), &styles(&buffer));
        }
    }
}

#[test]
fn themes_with_fewer_colours() {
    for scheme in Scheme::ALL {
        for depth in [Depth::Ansi, Depth::Indexed] {
            let mut app = with(Theme::of_scheme(scheme, depth), Preferences::default(), 120, 40);
            app.press(Key::Char('2'));
            let name = format!("theme/threads-{}-{depth:?}-120x40.styles", scheme.name()).to_lowercase();
            same(&name, &styles(&draw(&mut app, 120, 40)));
        }
    }
}

#[test]
fn a_theme_with_a_background_has_it_everywhere_and_the_others_nowhere() {
    for scheme in Scheme::ALL {
        for (width, height) in SIZES.into_iter().chain([(20, 5)]) {
            let theme = Theme::of_scheme(scheme, Depth::True);
            let ground = theme.screen.bg.unwrap_or(Color::Reset);
            let mut app = with(theme, Preferences::default(), width, height);
            for key in ['1', '2', '3', '4', '?'] {
                app.press(Key::Char(key));
                let buffer = draw(&mut app, width, height);
                assert!(buffer.content.iter().all(|cell| cell.bg == ground), "{scheme:?} {width}x{height} {key}");
            }
        }
    }
}

/// What is bad, worth a look, or selected is more than a colour.
#[test]
fn t_goes_through_all_themes_and_words_stay_the_same() {
    let mut app = with(Theme::new(Depth::Indexed), Preferences::default(), 120, 40);
    app.press(Key::Char('2'));
    let first = draw(&mut app, 120, 40);
    let mut seen = vec![styles(&first)];
    for _ in 1..Scheme::ALL.len() {
        assert_eq!(app.press(Key::Char('t')), Action::Theme);
        let buffer = draw(&mut app, 120, 40);
        assert_eq!(text(&buffer), text(&first));
        let selected = buffer.content.iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED));
        assert!(selected.count() > 20);
        seen.push(styles(&buffer));
        assert!(!seen[..seen.len() - 1].contains(&seen[seen.len() - 1]));
    }
    app.press(Key::Char('t'));
    assert_eq!(styles(&draw(&mut app, 120, 40)), seen[0]);
}

#[test]
fn every_view_in_ascii() {
    let views = [("overview", '1'), ("threads", '2'), ("thread", '3'), ("nodes", '4'), ("help", '?')];
    for (view, key) in views {
        let mut app = with(Theme::new(Depth::Indexed), ascii(), 80, 24);
        app.press(Key::Char(key));
        check(&format!("theme/ascii-{view}-80x24"), &mut app, 80, 24);
    }
    let mut app = with(Theme::new(Depth::Indexed), ascii(), 80, 24);
    press(&mut app, &['3'].map(Key::Char));
    app.press(Key::PageDown);
    check("theme/ascii-thread-page-2-80x24", &mut app, 80, 24);
    press(&mut app, &['2', '/'].map(Key::Char));
    type_in(&mut app, "io_thd");
    check("theme/ascii-filter-80x24", &mut app, 80, 24);
    let mut app = with(Theme::new(Depth::Indexed), ascii(), 120, 40);
    show(&mut app, fixture::snapshot_many_nodes(16));
    app.press(Key::Char('4'));
    check("theme/ascii-nodes-of-16-120x40", &mut app, 120, 40);
}

/// Names of any alphabet, wide and combining characters: each takes as many columns as before.
fn named(names: &[&str]) -> Snapshot {
    let mut snapshot = fixture::snapshot_two_nodes();
    snapshot.threads.iter_mut().zip(names).for_each(|(thread, name)| thread.comm = (*name).into());
    snapshot
}

#[test]
fn names_in_ascii_keep_their_width() {
    let names = ["漢字漢字漢字漢", "köln", "e\u{301}e\u{301}", "плотник", "😀x", "plain"];
    let shown = [false, true].map(|ascii| {
        let preferences = Preferences { ascii, tab: Tab::Threads, ..Preferences::default() };
        let mut app = with(Theme::new(Depth::Indexed), preferences, 80, 24);
        show(&mut app, named(&names));
        draw(&mut app, 80, 24)
    });
    let [utf8, plain] = shown;
    check_ascii(&plain);
    same("theme/ascii-names-80x24.txt", &text(&plain));
    // What was ASCII stands where it stood, but for what wide characters hid.
    for (before, after) in utf8.content.iter().zip(&plain.content) {
        assert!(!before.symbol().is_ascii() || before.symbol() == after.symbol() || after.symbol() == "?");
    }
}

fn check_ascii(buffer: &ratatui::buffer::Buffer) {
    let wrong = buffer.content.iter().find(|cell| !cell.symbol().is_ascii() || cell.symbol().len() != 1);
    assert!(wrong.is_none(), "{wrong:?} in\n{}", text(buffer));
}

#[test]
fn the_dashboard_begins_as_the_user_wants_it() {
    let preferences = Preferences {
        tab: Tab::Threads,
        window: Window::TenSeconds,
        sort: Sort::by(Column::Tid),
        ..Preferences::default()
    };
    let mut app = with(Theme::new(Depth::Indexed), preferences, 120, 40);
    assert_eq!((app.state().tab(), app.state().choice().window), (Tab::Threads, Window::TenSeconds));
    let shown = screen(&mut app, 120, 40);
    assert!(shown.contains("sorted by tid ▲") && shown.contains("last 3.00s"), "{shown}");
    let tids: Vec<u32> = app.state().order().iter().map(|at| app.numbers().threads[*at].tid.0).collect();
    assert!(tids[..tids.len() - 1].is_sorted(), "{tids:?}: the last one has ended");
}

#[test]
fn the_keys_of_the_user_do_what_the_usual_ones_did_and_are_shown() {
    let keys = with_keys(&[
        ("quit", &[Key::Char('x')]),
        ("help", &[Key::Function(1)]),
        ("threads", &[Key::Function(3)]),
        ("up", &[Key::Char('e')]),
        ("sort", &[Key::Ctrl('s')]),
        ("filter", &[Key::Char('f')]),
        ("record", &[]),
        ("back", &[Key::Backspace]),
    ]);
    let mut app = with(Theme::new(Depth::Indexed), keys, 120, 60);
    assert_eq!(app.press(Key::Char('2')), Action::None, "it was given up");
    app.press(Key::Function(3));
    assert_eq!(app.state().tab(), Tab::Threads);
    check("theme/keys-threads-120x60", &mut app, 120, 60);
    let before = app.state().sort();
    app.press(Key::Char('s'));
    assert_eq!(app.state().sort(), before);
    app.press(Key::Ctrl('s'));
    assert_ne!(app.state().sort(), before);
    press(&mut app, &[Key::Down, Key::Down, Key::Char('e')]);
    assert_eq!(app.state().selected(), Some(1));
    // While a text is typed a key is what it says.
    app.press(Key::Char('f'));
    type_in(&mut app, "xfe?2");
    assert_eq!((app.state().filter(), app.state().editing()), ("xfe?2", true));
    app.press(Key::Backspace);
    assert_eq!(app.state().filter(), "xfe?");
    app.press(Key::Enter);
    let shown = screen(&mut app, 120, 60);
    assert!(shown.contains("No thread matches 'xfe?': Backspace clears the filter."), "{shown}");
    app.press(Key::Backspace);
    assert_eq!(app.state().filter(), "");
    app.press(Key::Function(1));
    let help = screen(&mut app, 120, 60);
    for line in [
        "Help, lines 1-55 of ",
        " x, Ctrl-C         quit",
        " F1                this help",
        " Tab, 1 F3 3 4 ",
        " Backspace         back to where the detail or the finding was opened",
        " e/down, j ",
        " Ctrl-S            sort by",
        " (no key)          record",
    ] {
        assert!(help.lines().any(|shown| shown.starts_with(line)), "{line} is not in\n{help}");
    }
    assert!(help.contains("F1 closes"), "{help}");
    assert_eq!(app.press(Key::Char('q')), Action::None);
    assert_eq!(app.press(Key::Char('x')), Action::Quit);
    assert_eq!(app.press(Key::Interrupt), Action::Quit);
}

#[test]
fn a_time_is_typed_with_keys_as_they_are() {
    let keys = with_keys(&[("go-to", &[Key::Char('1')]), ("overview", &[Key::Char('0')]), ("skip-back", &[])]);
    let (mut app, _asked) = replay_with(keys, 80, 24, standing());
    app.press(Key::Char('1'));
    type_in(&mut app, "10s");
    let typed = app.state().replay().and_then(|replay| replay.prompt()).map(|prompt| prompt.typed.clone());
    assert_eq!(typed.as_deref(), Some("10s"));
    app.press(Key::Esc);
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains(">  10 s") || shown.contains("> 10 s"), "{shown}");
    app.press(Key::Char('0'));
    assert_eq!(app.state().tab(), Tab::Overview);
}

fn key() -> impl Strategy<Value = Key> {
    let named = [
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
        Key::Repaint,
        Key::Function(1),
        Key::Ctrl('x'),
    ];
    let chars: Vec<Key> = "?/sSqhjkl 1234wor,.<>igt+-[]:cmyp漢é".chars().map(Key::Char).collect();
    prop_oneof![prop::sample::select(named.to_vec()), prop::sample::select(chars)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is shown, in ASCII mode each cell is one character of ASCII.
    #[test]
    fn in_ascii_every_cell_is_ascii(
        keys in prop::collection::vec(key(), 1..40),
        names in prop::collection::vec("\\PC{0,12}", 6),
        nodes in 1u32..20,
        width in 1u16..220,
        height in 1u16..64,
        is_replay in any::<bool>(),
        scheme in prop::sample::select(Scheme::ALL.to_vec()),
    ) {
        let (mut app, _asked) = if is_replay {
            replay_with(ascii(), width, height, standing())
        } else {
            (with(Theme::of_scheme(scheme, Depth::True), ascii(), width, height), channel().1)
        };
        show(&mut app, fixture::snapshot_many_nodes(nodes));
        check_ascii(&draw(&mut app, width, height));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        show(&mut app, named(&names));
        for key in keys {
            app.press(key);
            check_ascii(&draw(&mut app, width, height));
        }
        app.tell(UiMessage::Failed("漢字 is not there…".into()));
        check_ascii(&draw(&mut app, width, height));
    }
}
