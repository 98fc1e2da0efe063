//! A dashboard that a test presses keys of and reads the screen of, and the stored screens that it is compared with.
//!
//! Whole screens are `fixtures/screens/NAME.txt`, their styles `NAME.styles`. After a wanted change `NUMATRACE_BLESS=1` writes them anew.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use jiff::tz::TimeZone;
use numatrace::findings::{RULES, Settings};
use numatrace::replay::{Command, Motion, Span, Speed, Status};
use numatrace::snapshot::Snapshot;
use numatrace::tui::app::App;
use numatrace::tui::state::Key;
use numatrace::tui::theme::{Depth, Theme};
use numatrace::tui::{Options, Preferences, Remote, UiMessage};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Style;

use crate::fixture;

/// A dashboard of this size with the table of threads, before any numbers.
pub fn app(width: u16, height: u16) -> App {
    with_theme(width, height, Depth::Indexed)
}

/// The same with so many colours.
pub fn with_theme(width: u16, height: u16, depth: Depth) -> App {
    let (theme, preferences) = (Theme::new(depth), without_rules(Preferences::default()));
    let options = Options { theme, preferences, ..Options::new("pid 4711 (redis-server)") };
    let mut app = App::new(&options, width, height);
    // Most of these are about the table.
    app.press(Key::Char('2'));
    app
}

/// No rule is on: what these screens show are numbers, whatever rules there are. Findings have screens of their own.
///
/// # Panics
/// Never: every rule has its name.
pub fn without_rules(preferences: Preferences) -> Preferences {
    let mut findings = Settings::default();
    RULES.iter().for_each(|rule| findings.switch_off(rule.id).expect("a rule of the list"));
    Preferences { findings, ..preferences }
}

/// Gives it numbers.
pub fn show(app: &mut App, snapshot: Snapshot) {
    app.tell(UiMessage::Snapshot(Arc::new(snapshot)));
}

/// Two snapshots, so that there are rates.
pub fn running(width: u16, height: u16) -> App {
    let mut app = app(width, height);
    show(&mut app, fixture::snapshot_two_nodes());
    show(&mut app, fixture::snapshot_two_nodes_later());
    app
}

/// Presses keys one after another.
pub fn press(app: &mut App, keys: &[Key]) {
    for key in keys {
        app.press(*key);
    }
}

/// Types a text.
pub fn type_in(app: &mut App, text: &str) {
    text.chars().for_each(|c| _ = app.press(Key::Char(c)));
}

/// The screen.
///
/// # Panics
/// Never: a test terminal does not fail.
pub fn draw(app: &mut App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
    app.draw(&mut terminal, Instant::now()).expect("a test terminal never fails");
    terminal.backend().buffer().clone()
}

/// The screen as text, without blanks at the end of lines.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let lines = buffer.content.chunks(width).map(|line| line.iter().map(Cell::symbol).collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The screen of a dashboard as text.
pub fn screen(app: &mut App, width: u16, height: u16) -> String {
    text(&draw(app, width, height))
}

/// Where each style is: a letter for each, explained at the end; a dot where there is none.
pub fn styles(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let mut known: Vec<Style> = vec![Style::reset()];
    let mut map = String::new();
    for line in buffer.content.chunks(width) {
        let letters = line.iter().map(|cell| {
            let at = known.iter().position(|style| *style == cell.style()).unwrap_or_else(|| {
                known.push(cell.style());
                known.len() - 1
            });
            if at == 0 { '.' } else { (b'a' + (at - 1) as u8) as char }
        });
        map.push_str(letters.collect::<String>().trim_end_matches('.'));
        map.push('\n');
    }
    for (letter, style) in (b'a'..).zip(&known[1..]) {
        map.push_str(&format!("{} {:?} {:?}\n", letter as char, style.fg, style.add_modifier));
    }
    map
}

/// Compares text and styles with the stored screen, or stores them.
///
/// # Panics
/// When they differ.
pub fn check(name: &str, app: &mut App, width: u16, height: u16) {
    let buffer = draw(app, width, height);
    same(&format!("{name}.txt"), &text(&buffer));
    same(&format!("{name}.styles"), &styles(&buffer));
}

/// Compares `shown` with a stored file, or stores it.
///
/// # Panics
/// When they differ, or the file cannot be read.
pub fn same(name: &str, shown: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/screens/{name}"));
    if std::env::var_os("NUMATRACE_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        fs::write(&path, shown).expect("a writable tree");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(shown == wanted, "{name} has changed. It was:\n{wanted}\nIt is:\n{shown}");
}

/// Sizes of terminals.
pub const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (200, 60), (40, 9)];

/// Two snapshots in which everything of memory is measured.
pub fn with_memory(width: u16, height: u16) -> App {
    let mut app = app(width, height);
    show(&mut app, fixture::snapshot_with_memory());
    show(&mut app, fixture::snapshot_with_memory_after(1));
    app
}

/// A snapshot a second, for so many seconds.
pub fn ran_for(seconds: u32, width: u16, height: u16) -> App {
    let mut app = app(width, height);
    (0..=seconds).for_each(|second| show(&mut app, fixture::snapshot_two_nodes_after(second)));
    app
}

/// What a player says that stands still.
pub fn standing() -> Status {
    Status {
        motion: Motion::Paused,
        plays: false,
        speed: Speed::default(),
        length_ns: 60_000_000_000,
        at_end: false,
        worst: None,
        incomplete: None,
    }
}

/// A dashboard over a recording of a minute, and what it asks the player for.
pub fn replay(width: u16, height: u16, status: Status) -> (App, Receiver<Command>) {
    replay_with(Preferences::default(), width, height, status)
}

/// The same as the user wants it.
pub fn replay_with(preferences: Preferences, width: u16, height: u16, status: Status) -> (App, Receiver<Command>) {
    let (commands, asked) = channel();
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let span = Span { start_wall_ns: 1_795_249_306_000_000_000, length_ns: status.length_ns, zone };
    let theme = Theme::new(Depth::Indexed);
    let (player, preferences) = (Some(Remote { commands, span }), without_rules(preferences));
    let options = Options { theme, player, preferences, ..Options::new("pid 4711 (redis-server)") };
    let mut app = App::new(&options, width, height);
    app.press(Key::Char('2'));
    show(&mut app, fixture::snapshot_two_nodes());
    show(&mut app, fixture::snapshot_two_nodes_later());
    app.tell(UiMessage::Replay(status));
    (app, asked)
}
