//! The last line: why no more numbers come, a filter or a time while it is typed, or the keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::Pieces;
use crate::snapshot::Snapshot;
use crate::text;
use crate::tui::replay::Prompt;
use crate::tui::state::{Mode, Notice, Status, Tab, UiState};
use crate::tui::theme::Theme;

const EVERYWHERE: [(&str, &str); 3] = [("q", "quit"), ("?", "help"), ("Tab", "view")];
const OVERVIEW: [(&str, &str); 5] =
    [("Enter", "threads"), ("i", "window"), ("space", "pause"), ("up/down", "scroll"), ("t", "theme")];
/// What differs where something was found.
const FINDINGS: [(&str, &str); 6] = [
    ("Enter", "finding"),
    ("up/down", "select"),
    ("y", "copy command"),
    ("i", "window"),
    ("space", "pause"),
    ("PgUp/PgDn", "scroll"),
];
const FINDING: [(&str, &str); 6] = [
    ("Esc", "back"),
    ("y", "copy command"),
    ("left/right", "finding"),
    ("i", "window"),
    ("space", "pause"),
    ("up/down", "scroll"),
];
const THREADS: [(&str, &str); 10] = [
    ("Enter", "open"),
    ("/", "filter"),
    ("s S", "sort"),
    ("g", "group"),
    ("c", "columns"),
    ("m", "mark"),
    ("y", "copy"),
    ("i", "window"),
    ("space", "pause"),
    ("left/right", "scroll"),
];
/// What differs where threads are in groups.
const GROUPS: [(&str, &str); 11] = [
    ("Enter", "fold, open"),
    ("d", "detail"),
    ("Z", "fold all"),
    ("g", "group"),
    ("/", "filter"),
    ("s S", "sort"),
    ("c", "columns"),
    ("m", "mark"),
    ("y", "copy"),
    ("i", "window"),
    ("space", "pause"),
];
const CHOOSER: [(&str, &str); 6] = [
    ("q", "quit"),
    ("space", "on, off"),
    ("J/K", "down, up"),
    ("0", "what fits"),
    ("Enter", "done"),
    ("up/down", "go"),
];
const THREAD: [(&str, &str); 5] =
    [("Esc", "back"), ("left/right", "thread"), ("up/down", "scroll"), ("i", "window"), ("space", "pause")];
const NODES: [(&str, &str); 4] = [("i", "window"), ("space", "pause"), ("up/down", "scroll"), ("t", "theme")];
const CPUS: [(&str, &str); 6] =
    [("Enter", "open"), ("arrows", "cell"), ("z", "fold"), ("x", "hide unused"), ("space", "pause"), ("t", "theme")];
const EVENTS: [(&str, &str); 4] = [("Enter", "thread"), ("/", "filter"), ("space", "pause"), ("up/down", "select")];
const PAUSED: [(&str, &str); 3] = [("space", "go on"), (", .", "back, forward"), ("< >", "ten at once")];
const PLAYING: [(&str, &str); 6] =
    [("space", "pause"), ("< >", "10 s"), ("[ ]", "speed"), (":", "go to"), ("w", "worst wait"), (", .", "step")];
const STANDING: [(&str, &str); 6] =
    [("space", "play"), (", .", "step"), ("< >", "10 s"), ("[ ]", "speed"), (":", "go to"), ("w", "worst wait")];

/// The keys that matter most now.
fn keys(state: &UiState) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let choosing = state.help().is_none() && state.table().chooser().is_some();
    let always: &[(&str, &str)] = if choosing { &[] } else { &EVERYWHERE };
    let of_view: &[(&str, &str)] = match state.tab() {
        _ if choosing => &CHOOSER,
        Tab::Overview if state.found().opened().is_some() => &FINDING,
        Tab::Overview if state.found().selected().is_some() => &FINDINGS,
        Tab::Overview => &OVERVIEW,
        Tab::Threads if state.choice().grouping.is_some() => &GROUPS,
        Tab::Threads => &THREADS,
        Tab::Thread => &THREAD,
        Tab::Nodes => &NODES,
        Tab::Cpus => &CPUS,
        Tab::Events => &EVENTS,
    };
    let about_time: &[(&str, &str)] = match state.replay() {
        _ if choosing => &[],
        Some(replay) if replay.plays() => &PLAYING,
        Some(_) => &STANDING,
        None if state.paused() => &PAUSED,
        None => &[],
    };
    // Not every finding has a command.
    let nothing_to_copy =
        state.tab() == Tab::Overview && state.found().current().is_some_and(|finding| finding.command.is_none());
    let of_view = of_view
        .iter()
        .filter(move |(key, _)| (about_time.is_empty() || *key != "space") && (*key != "y" || !nothing_to_copy));
    always.iter().chain(about_time).chain(of_view)
}

/// Draws the footer.
pub fn render(frame: &mut Frame<'_>, area: Rect, _snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    let mut line = Pieces::new(area.width);
    if let Some((typed, wrong)) = state.typed() {
        draw_filter(&mut line, area.width, typed, wrong, theme);
        frame.render_widget(Paragraph::new(Line::from(line.spans)), area);
        return;
    }
    if let Some(prompt) = state.replay().and_then(|replay| replay.prompt()) {
        draw_prompt(&mut line, prompt, theme);
        frame.render_widget(Paragraph::new(Line::from(line.spans)), area);
        return;
    }
    match state.notice() {
        Some(Notice::Done(what)) => line.push(&format!("{what}  "), theme.strong),
        Some(Notice::Failed(what)) => line.push(&format!("! {what}  "), theme.bad),
        None => {}
    }
    let stay = if state.thread_count() > 0 { " Numbers stay." } else { "" };
    match state.status() {
        Status::Failed(why) if state.mode() == Mode::Replay => {
            line.push(&format!("Replay failed: {why}.{stay}  "), theme.bad);
        }
        Status::Failed(why) => line.push(&format!("Tracing failed: {why}.{stay}  "), theme.bad),
        Status::Ended(why) => line.push(&format!("Ended: {why}.{stay}  "), theme.warn),
        Status::Live => {}
    }
    for (key, what) in keys(state) {
        let key = state.keymap().shown_briefly(key);
        if key.is_empty() {
            continue;
        }
        if text::width(&key) + text::width(what) + 3 > line.left {
            break;
        }
        line.push(&key, theme.key);
        line.push(&format!(" {what}  "), theme.dim);
    }
    frame.render_widget(Paragraph::new(Line::from(line.spans)), area);
}

/// The end of a long filter is what is being typed; what is wrong with it matters more.
fn draw_filter(line: &mut Pieces, width: u16, typed: &str, wrong: Option<&str>, theme: &Theme) {
    const LEAST: usize = 10;
    let room = line.left.saturating_sub(10);
    line.push("filter: ", theme.key);
    // A narrow terminal has it above the table.
    let beside = wrong.filter(|_| width >= super::threads::NARROW);
    let needed = beside.map_or(0, |wrong| text::width(wrong) + 2);
    let typed = tail(typed, room.saturating_sub(needed).max(room.min(LEAST)));
    line.push(&format!("{typed}█"), theme.strong);
    match (wrong, beside) {
        (Some(_), None) => {}
        (_, Some(wrong)) => line.push(&format!("  {wrong}"), theme.bad),
        (None, None) => _ = line.push_whole("  Enter keeps it, Esc clears it", theme.dim),
    }
}

/// What is wrong matters more than the whole of what was typed.
fn draw_prompt(line: &mut Pieces, prompt: &Prompt, theme: &Theme) {
    let room = line.left.saturating_sub(8);
    line.push("go to: ", theme.key);
    match &prompt.wrong {
        Some(why) => {
            line.push(&format!("{}█", tail(&prompt.typed, room.min(12))), theme.strong);
            line.push(&format!("  {why}"), theme.bad);
        }
        None => {
            line.push(&format!("{}█", tail(&prompt.typed, room)), theme.strong);
            line.push_whole("  12s, 1m 30s, 10:21:46 or RFC 3339; Enter goes, Esc leaves", theme.dim);
        }
    }
}

/// The last characters of `typed` that fit into `room` columns.
fn tail(typed: &str, room: usize) -> &str {
    let mut tail = typed;
    while text::width(tail) > room {
        let mut chars = tail.chars();
        chars.next();
        tail = chars.as_str();
    }
    tail
}
