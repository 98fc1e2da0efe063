//! The lines that are always there: target, time, record rate, loss; which sources are on, or what a replay is doing; the
//! tabs.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::Pieces;
use crate::snapshot::{Loss, SelfCost, Snapshot, Source, SourceState};
use crate::text;
use crate::tui::cells;
use crate::tui::help::state_name;
use crate::tui::recording::Recording;
use crate::tui::state::{Key, Mode, Status, UiState};
use crate::tui::tabs;
use crate::tui::theme::Theme;

/// Draws the header.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    let lines = vec![
        first_line(area.width, snapshot, state, theme),
        second_line(area.width, snapshot, state, theme),
        tabs(area.width, snapshot, state, theme),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

/// The target gives way to the numbers on a narrow terminal: loss is never cut off.
fn first_line(width: u16, snapshot: &Snapshot, state: &UiState, theme: &Theme) -> Line<'static> {
    let rate = format!("{} records/s", cells::rate(state.record_rate()));
    let (lost, lost_style) = lost(&snapshot.loss, theme);
    let mut numbers: Vec<(String, Style)> = vec![(time(state), theme.plain), (rate, theme.plain), (lost, lost_style)];
    let needed = |numbers: &[(String, Style)]| numbers.iter().map(|(n, _)| text::width(n) + 2).sum::<usize>();
    let tag_width = tag(state).map_or(0, |tag| text::width(&tag) + 1);
    if needed(&numbers) + 10 > usize::from(width) {
        // Shorter words before anything is left out.
        numbers[1].0 = format!("{}/s", cells::rate(state.record_rate()));
    }
    if state.mode() == Mode::Replay && needed(&numbers) + tag_width + 10 > usize::from(width) {
        numbers.remove(1);
    }
    let reserve = needed(&numbers);
    let mut line = Pieces::new(width);
    if let Some(tag) = tag(state) {
        line.push(&tag, theme.selected);
        line.push(" ", theme.plain);
    }
    line.push(&text::fit(&snapshot.target.label, line.left.saturating_sub(reserve)), theme.strong);
    line.fill_to(reserve);
    for (number, style) in numbers {
        line.push("  ", theme.plain);
        line.push(&number, style);
    }
    Line::from(line.spans)
}

/// Since tracing began; in a replay, of which length.
fn time(state: &UiState) -> String {
    let elapsed = state.shown().now_ns;
    let time = if elapsed == 0 { "0s".into() } else { text::duration(elapsed) };
    match state.replay() {
        Some(replay) => format!("{time} of {}", text::duration(replay.length_ns())),
        None => time,
    }
}

fn tag(state: &UiState) -> Option<String> {
    match state.status() {
        Status::Failed(_) if state.mode() == Mode::Replay => Some("REPLAY FAILED".into()),
        Status::Failed(_) => Some("FAILED".into()),
        _ if state.mode() == Mode::Replay => Some("REPLAY".into()),
        _ if state.paused() => Some(format!("PAUSED at {}", text::duration(state.shown().now_ns))),
        Status::Ended(_) => Some("ENDED".into()),
        Status::Live => None,
    }
}

/// The tabs, the one that is shown marked, and which stretch of time the numbers are about.
fn tabs(width: u16, snapshot: &Snapshot, state: &UiState, theme: &Theme) -> Line<'static> {
    let mut line = Pieces::new(width);
    let beside = tabs::beside(state, snapshot);
    for label in tabs::labels(state, &beside) {
        line.push(&label.digit, theme.key);
        if !label.name.is_empty() {
            line.push(&label.name, if label.tab == state.tab() { theme.strong } else { theme.dim });
            line.push(" ", theme.plain);
        }
    }
    if let Some(scrolled) = beside.scrolled {
        line.push_whole(&scrolled, theme.warn);
    }
    // Which stretch the numbers are about matters more than that of the rates.
    if line.push_whole(&beside.window, theme.dim) {
        line.push_whole(&beside.rates, theme.dim);
    }
    if let Some(interval) = state.interval_ns() {
        let comma = if beside.window.is_empty() { "" } else { "," };
        line.push_whole(&format!("{comma} every {}", text::duration(interval)), theme.dim);
    }
    Line::from(line.spans)
}

fn lost(loss: &Loss, theme: &Theme) -> (String, Style) {
    if loss.records_lost == 0 {
        return ("lost 0".into(), theme.plain);
    }
    let share = text::share(loss.records_lost, loss.records_wanted);
    (format!("! LOST {} ({share})", text::count(loss.records_lost)), theme.bad)
}

/// What a replay is doing comes first, then what of it could not be read; or a recording that is made. What is left is for
/// the sources.
fn second_line(width: u16, snapshot: &Snapshot, state: &UiState, theme: &Theme) -> Line<'static> {
    let mut line = Pieces::new(width);
    if let Some(replay) = state.replay() {
        let failed = matches!(state.status(), Status::Failed(_));
        let motion = if failed { "STOPPED".into() } else { replay.motion() };
        line.push(&motion, if replay.plays() { theme.strong } else { theme.warn });
        line.push("  ", theme.plain);
        if let Some(worst) = replay.worst() {
            line.push(&format!("{worst}  "), theme.strong);
        }
        if let Some(sentence) = replay.incomplete() {
            line.push(&format!("! {sentence}"), theme.bad);
            return Line::from(line.spans);
        }
    }
    if let Some(recording) = state.recording() {
        let style = match recording {
            Recording::Asked | Recording::On { .. } => theme.strong,
            Recording::Ended { .. } => theme.dim,
            Recording::Failed(_) => theme.bad,
        };
        line.push(&format!("{}  ", recording.words()), style);
    }
    gaps(&mut line, snapshot, theme);
    if let Some(cost) = &snapshot.self_cost {
        self_cost(&mut line, cost, theme);
    }
    findings(&mut line, state, theme);
    sources(&mut line, snapshot, state, theme);
    Line::from(line.spans)
}

/// How often a source saw nothing for a while: what it counts is too low.
fn gaps(line: &mut Pieces, snapshot: &Snapshot, theme: &Theme) {
    let gaps = snapshot.gaps.len() as u64;
    if gaps > 0 {
        line.push(&format!("! {} gap{}  ", text::count(gaps), if gaps == 1 { "" } else { "s" }), theme.bad);
    }
}

/// What numatrace itself takes of the machine; what it leaves out for that comes first.
fn self_cost(line: &mut Pieces, cost: &SelfCost, theme: &Theme) {
    let takes = format!("self {}", text::percent(cost.overhead));
    if !cost.shed.is_on() {
        line.push(&format!("{takes}  "), theme.dim);
        return;
    }
    let mut said = match cost.shed.every {
        1 => String::from("! less told"),
        every => format!("! 1 in {every} turns"),
    };
    if cost.shed.not_held {
        said.push_str(", not enough");
    }
    line.push(&format!("{said}  "), theme.bad);
    line.push(&format!("{takes}  "), if cost.shed.not_held { theme.bad } else { theme.dim });
}

/// How many findings are bad: the Overview has them, and the other views are not without a hint of it.
fn findings(line: &mut Pieces, state: &UiState, theme: &Theme) {
    /// What the sources need in few words: warnings give way to them.
    const SOURCES: usize = 40;
    let (critical, warn) = state.found().counts();
    if critical > 0 {
        line.push(&format!("! {critical} critical  "), theme.bad);
    }
    let said = format!("! {warn} warn  ");
    if warn > 0 && text::width(&said) + SOURCES <= line.left {
        line.push(&said, theme.warn);
    }
}

/// How many sources are in which state; those that are not simply on by name, where there is room.
fn sources(line: &mut Pieces, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if snapshot.sources.is_empty() {
        line.push("sources: not known yet", theme.dim);
        return;
    }
    let of = |state| snapshot.sources.iter().filter(move |source: &&Source| source.state == state);
    line.push(&format!("sources: {} on", of(SourceState::On).count()), theme.dim);
    let groups =
        [(SourceState::BestEffort, theme.warn), (SourceState::Sampled, theme.warn), (SourceState::Off, theme.dim)];
    let counts: Vec<_> = groups.into_iter().filter(|(state, _)| of(*state).next().is_some()).collect();
    let short = |state| format!(", {} {}", of(state).count(), state_name(state));
    for (at, (found, style)) in counts.iter().enumerate() {
        let later: usize = counts[at + 1..].iter().map(|(state, _)| short(*state).len()).sum();
        let names: Vec<&str> = of(*found).map(|source| source.name.as_str()).collect();
        let long = format!("{} ({})", short(*found), names.join(", "));
        if text::width(&long) + later > line.left || !line.push_whole(&long, *style) {
            line.push(&short(*found), *style);
        }
    }
    if !counts.is_empty() {
        line.push_whole(&format!("  (why: {})", state.keymap().name_of(Key::Char('?'))), theme.dim);
    }
}
