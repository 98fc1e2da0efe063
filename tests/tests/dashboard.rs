//! The real program in tmux, tracing a real process on this kernel: every key, every size, every end. Needs root;
//! `cargo xtask test --leg live`.
//!
//! Only a panic is not the real program's, since nothing makes it panic: this program then runs itself as a dashboard
//! whose feed panics.

use std::{
    collections::BTreeMap,
    env, fs,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use numatrace::{
    recording::{Timeline as _, reader::Reader},
    source::{Source as _, SourceStatus},
    tui::{self, UiMessage, state::Mode},
};
use numatrace_tests::{
    dashboard::{Dashboard, cell, is_editing, is_help, rows, seconds, selected, sorted_by, views},
    fixture,
    keys::{self, Kind},
    live::{Case, Workload, bpf, cannot_trace, memory::Tmpfs, program, run_cases},
    tmux::{self, Screen, Tmux},
};

/// Set in the process that is a dashboard whose feed panics: the file whose coming makes it.
const PANICS: &str = "NUMATRACE_TEST_PANICS_AT";
const SIZE: (u16, u16) = (120, 40);
/// Longest wait for anything: only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Threads of the process that is traced.
const THREADS: [&str; 3] = ["beat-0", "beat-1", "beat-2"];

const CASES: &[Case] = &[
    ("threads_of_a_process_are_shown_by_name", shows_threads),
    ("every_key_of_the_help_in_every_view", every_key),
    ("keys_do_what_the_help_says", keys_have_effects),
    ("views_are_reached_by_their_keys", views_by_keys),
    ("other_stretches_of_time_are_shown", other_times),
    ("recordings_begin_and_end_with_a_key", records),
    ("a_recording_on_a_full_disk_is_said_and_the_dashboard_goes_on", records_nowhere),
    ("keys_that_quit_restore_the_terminal", quits),
    ("sigterm_and_sigint_restore_the_terminal", signals),
    ("ctrl_z_gives_the_shell_back_and_fg_goes_on", suspends),
    ("a_panic_is_readable_on_the_restored_screen", panics),
    ("other_sizes_are_drawn", sizes),
    ("ctrl_l_removes_what_others_wrote", repaints),
    ("a_target_that_exits_leaves_its_numbers", target_exits),
    ("nothing_of_a_screen_is_left_on_the_next", leaves_nothing_on_screen),
    ("a_pipe_that_closes_ends_it", closed_pipe),
];

fn main() -> ExitCode {
    if let Some(trigger) = env::var_os(PANICS) {
        return panicking_dashboard(trigger.into());
    }
    run_cases("tests of the dashboard in tmux", CASES, tmux::cannot_run().or_else(cannot_trace).as_deref())
}

/// A process with something to see, and a pane with a shell.
struct Scene {
    workload: Workload,
    pane: Tmux,
    programs: BTreeMap<u32, String>,
}

impl Scene {
    /// Three threads that wait for each other until they are killed.
    fn new() -> Result<Scene> {
        let cpus = numatrace_tests::workload::os::allowed_cpus()?;
        let cpu = cpus.last().copied().unwrap_or(0).to_string();
        let count = THREADS.len().to_string();
        let mut workload = Workload::start(&["beats", &count, "--cpu", &cpu, "--millis", "3600000"])?;
        workload.go()?;
        let numatrace = program("numatrace")?;
        let folder = numatrace.parent().context("numatrace lies in a folder")?;
        let programs = bpf::programs()?;
        Ok(Scene { workload, pane: Tmux::shell(SIZE, folder, &[], PATIENCE)?, programs })
    }

    /// The dashboard of that process. `then` is the rest of the shell's line.
    fn dashboard(&self, then: &str) -> Result<Dashboard<'_>> {
        let line = format!("numatrace --pid {}{then}", self.workload.pid);
        Dashboard::start(&self.pane, &line, &format!("pid {} (workload)", self.workload.pid))
    }

    /// A dashboard that shows every thread.
    fn table(&self, then: &str) -> Result<Dashboard<'_>> {
        let dashboard = self.dashboard(then)?;
        dashboard.to_threads()?;
        self.pane.wait_for("every thread", |screen| THREADS.iter().all(|name| row(screen, name).is_some()))?;
        Ok(dashboard)
    }

    /// Kills the process, and waits until the dashboard has noticed.
    fn end_target(&self) -> Result<Screen> {
        let pid = i32::try_from(self.workload.pid)?;
        // SAFETY: kill has no memory effect here; the child has not been waited for, so the id is its own.
        numatrace_tests::workload::os::check(unsafe { libc::kill(pid, libc::SIGKILL) })?;
        self.pane.wait_for("ENDED", |screen| screen.first().starts_with("ENDED") && screen.last().contains("Ended"))
    }

    /// Ends the dashboard, and waits for a terminal as it was, exit code 0, and a kernel without our programs.
    fn ends(&self, dashboard: &Dashboard<'_>, end: impl FnOnce(u32) -> Result<()>) -> Result<()> {
        let tracer = self.pane.child("numatrace")?;
        ensure!(!bpf::held_by(tracer)?.is_empty(), "it holds no programs: how would one see that they are gone?");
        end(tracer)?;
        self.ends_with_0(dashboard)
    }

    fn ends_with_0(&self, dashboard: &Dashboard<'_>) -> Result<()> {
        let screen = dashboard.restored()?;
        ensure!(screen.0.iter().any(|line| line == "exit code 0"), "it did not end with 0:\n{screen}");
        bpf::nothing_left(&self.programs)
    }
}

/// Printed by the shell when the dashboard has ended.
const EXIT_CODE: &str = "; echo \"exit code $?\"";

/// A thread's row of the table.
fn row<'a>(screen: &'a Screen, thread: &str) -> Option<&'a str> {
    rows(screen).into_iter().find(|row| row.split_whitespace().any(|word| word == thread))
}

fn shows_threads() -> Result<()> {
    let scene = Scene::new()?;
    scene.table("")?;
    let known = |screen: &Screen, head: &&str| {
        cell(screen, "beat-1", head).is_some_and(|cell| cell.starts_with(|c: char| c.is_ascii_digit()) && cell != "0%")
    };
    let heads = ["CPU%", "wait%", "rq p99"];
    let screen = scene.pane.wait_for("numbers", |screen| heads.iter().all(|head| known(screen, head)))?;
    for (name, tid) in &scene.workload.tids {
        let row = row(&screen, name).with_context(|| format!("no {name} in\n{screen}"))?;
        ensure!(row.contains(&tid.to_string()), "{name} is {tid}, not {row}");
    }
    Ok(())
}

fn every_key() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table(EXIT_CODE)?;
    let pressed = dashboard.press_every_key()?;
    println!("{pressed} keys pressed");
    // It has not only survived: it still traces.
    dashboard.resume()?;
    dashboard.goes_on()?;
    scene.ends(&dashboard, |_| dashboard.press("q"))
}

fn keys_have_effects() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table("")?;
    // Numbers that stand still: an order that nothing but a key changes.
    scene.end_target()?;
    dashboard.press_for("?", "the help", is_help)?;
    dashboard.press_for("?", "the end of the help", |screen| !is_help(screen))?;
    sorts(&dashboard)?;
    selects(&dashboard)?;
    filters(&dashboard)?;
    groups(&dashboard)?;
    changes_colours(&dashboard)?;
    scrolls_columns(&dashboard)
}

/// `s` takes the next column, `S` turns the mark around.
fn sorts(dashboard: &Dashboard<'_>) -> Result<()> {
    let first = sorted_by(&dashboard.to_threads()?).context("no sorted column")?;
    let another = |screen: &Screen| sorted_by(screen).is_some_and(|head| head != first);
    let next = sorted_by(&dashboard.press_for("s", "another sorted column", another)?).context("no sorted column")?;
    ensure!(next.trim_end_matches(['▼', '▲']) != first.trim_end_matches(['▼', '▲']), "{first}, then {next}");
    let before = order(&dashboard.to_threads()?);
    let turned = |screen: &Screen| {
        let head = sorted_by(screen).unwrap_or_default();
        head != next && head.trim_end_matches(['▼', '▲']) == next.trim_end_matches(['▼', '▲'])
    };
    let after = order(&dashboard.press_for("S", "the other direction", turned)?);
    // Rows that are equal in that column keep their order.
    ensure!(before.len() == after.len() && before.iter().all(|id| after.contains(id)), "{before:?}, then {after:?}");
    Ok(())
}

/// Ids of the threads in their order: the mark of the selected one is no part of them.
fn order(screen: &Screen) -> Vec<String> {
    let id = |row: &&str| row.trim_start_matches('>').split_whitespace().next().map(ToOwned::to_owned);
    rows(screen).iter().filter_map(id).collect()
}

/// Up and down move the mark; it stops at both ends.
fn selects(dashboard: &Dashboard<'_>) -> Result<()> {
    let last = rows(&dashboard.to_threads()?).len() - 1;
    ensure!(last >= THREADS.len() - 1, "there are {} threads", last + 1);
    let at = |key: &str, row: usize| {
        let what = format!("the mark at row {row}");
        dashboard.press_for(key, &what, |screen| selected(screen) == Some(row)).map(drop)
    };
    [("Home", 0), ("Down", 1), ("j", 2), ("k", 1), ("Up", 0), ("Up", 0), ("End", last), ("Down", last)]
        .into_iter()
        .chain([("PPage", 0), ("NPage", last), ("Home", 0)])
        .try_for_each(|(key, row)| at(key, row))
}

/// What is typed behind `/` is what is listed, until Esc.
fn filters(dashboard: &Dashboard<'_>) -> Result<()> {
    let only = |screen: &Screen| row(screen, "beat-1").is_some() && row(screen, "beat-0").is_none();
    dashboard.press_for("/", "a filter to type", is_editing)?;
    dashboard.pane.type_text("at-1")?;
    dashboard.pane.wait_for("one thread alone", |screen| is_editing(screen) && only(screen))?;
    dashboard.press_for("Enter", "the filter kept", |screen| !is_editing(screen) && only(screen))?;
    dashboard.press_for("Escape", "every thread", |screen| row(screen, "beat-0").is_some())?;
    Ok(())
}

/// `g` groups threads by their names and by their cgroups, and takes them apart again; groups unfold.
fn groups(dashboard: &Dashboard<'_>) -> Result<()> {
    dashboard.press_for("g", "groups", |screen| screen.has("Threads by name") && screen.has("▸ beat-"))?;
    dashboard.press_for("Z", "what is in them", |screen| screen.has("▾ beat-"))?;
    dashboard.press_for("Z", "groups alone", |screen| !screen.has("▾ beat-"))?;
    dashboard.press_for("g", "cgroups", |screen| screen.has("Threads by cgroup"))?;
    dashboard.press_for("g", "threads", |screen| !screen.has("Threads by"))?;
    Ok(())
}

/// `t` changes nothing but how the same text looks.
fn changes_colours(dashboard: &Dashboard<'_>) -> Result<()> {
    let (text, styled) = (dashboard.settled()?, dashboard.pane.styled_screen()?);
    dashboard.press("t")?;
    ensure!(dashboard.settled()? == text, "the text is another after 't'");
    ensure!(dashboard.pane.styled_screen()? != styled, "'t' has changed nothing:\n{text}");
    Ok(())
}

/// What does not fit at the right comes with the right key, and the left one brings the rest back.
fn scrolls_columns(dashboard: &Dashboard<'_>) -> Result<()> {
    let narrow = dashboard.resize(60, 24)?;
    let heads = |screen: &Screen| screen.line_with("tid").map(ToOwned::to_owned);
    for (there, back) in [("Right", "Left"), ("l", "h")] {
        dashboard.press_for(there, "other columns", |screen| heads(screen) != heads(&narrow))?;
        dashboard.press_for(back, "the first columns", |screen| heads(screen) == heads(&narrow))?;
    }
    Ok(())
}

fn views_by_keys() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table("")?;
    // Pausing is the same everywhere.
    for view in views()? {
        dashboard.to_view(view)?;
        pauses(&dashboard)?;
    }
    // A thread is opened and left again, and Tab goes around.
    dashboard.to_view("1")?;
    let is_finding = |screen: &Screen| screen.has("What to do");
    let opened = |screen: &Screen| screen.has("[Threads]") || is_finding(screen);
    if is_finding(&dashboard.press_for("Enter", "what was found, or the threads", opened)?) {
        dashboard.press_for("Escape", "the Overview again", |screen| !is_finding(screen))?;
        dashboard.press_for("2", "the threads", |screen| screen.has("[Threads]"))?;
    }
    // From the top: a view before may have left the mark on another thread, and then End would not be waited for.
    dashboard.press_for("Home", "the first thread", |screen| selected(screen) == Some(0))?;
    let screen = dashboard.press_for("End", "another thread", |screen| selected(screen) > Some(0))?;
    let opened = selected(&screen).and_then(|at| order(&screen).into_iter().nth(at)).context("no thread")?;
    dashboard.press_for("Enter", "the thread's detail", |screen| screen.has("[Thread]") && screen.has(&opened))?;
    dashboard.press_for("Escape", "the threads again", |screen| screen.has("[Threads]"))?;
    for name in ["[Thread]", "[Nodes]", "[CPUs]", "[Events]", "[Overview]", "[Threads]"] {
        dashboard.press_for("Tab", name, |screen| screen.has(name))?;
    }
    Ok(())
}

/// Paused numbers stand still over two intervals and more; tracing goes on meanwhile.
fn pauses(dashboard: &Dashboard<'_>) -> Result<()> {
    let header = |screen: &Screen| screen.first().replace(' ', "");
    dashboard.press_for("Space", "PAUSED", |screen| screen.has("PAUSED"))?;
    let paused = dashboard.settled()?;
    thread::sleep(Duration::from_millis(2500));
    let later = dashboard.settled()?;
    let still = |screen: &Screen| screen.0[1..].to_vec();
    ensure!(still(&paused) == still(&later), "paused:\n{paused}\nand later:\n{later}");
    let live = |screen: &Screen| !screen.has("PAUSED") && header(screen) != header(&paused);
    dashboard.press_for("Space", "newer numbers", live)?;
    dashboard.goes_on()
}

/// Windows, intervals, and what was shown before.
fn other_times() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table("")?;
    for _ in 0..3 {
        dashboard.press_for("i", "numbers of a stretch of time", |screen| screen.has("  last "))?;
        dashboard.settled()?;
    }
    dashboard.press_for("i", "the first window again", |screen| screen.has("since start, rates"))?;
    let interval =
        |screen: &Screen| screen.0.iter().find_map(|line| line.split_once(" every ").map(|(_, time)| time.to_owned()));
    let first = interval(&scene.pane.screen()?).context("no interval is named")?;
    dashboard.press_for("+", "another interval", |screen| interval(screen).is_some_and(|time| time != first))?;
    dashboard.press_for("-", "the first interval", |screen| interval(screen).as_ref() == Some(&first))?;
    looks_back(&dashboard)
}

/// Back to numbers that were shown before, step by step, and forward again.
fn looks_back(dashboard: &Dashboard<'_>) -> Result<()> {
    dashboard.pane.wait_for("some numbers to go back to", |screen| seconds(screen) > Some(6.0))?;
    dashboard.press_for("Space", "a pause", |screen| screen.has("PAUSED"))?;
    let mut at = seconds(&dashboard.settled()?).context("no time")?;
    for key in [",", ",", ".", ",", "<", ">"] {
        let back = matches!(key, "," | "<");
        let moved = |screen: &Screen| seconds(screen).is_some_and(|now| if back { now < at } else { now > at });
        let screen =
            dashboard.press_for(key, "numbers of another time", |screen| screen.has("PAUSED") && moved(screen))?;
        at = seconds(&screen).context("no time")?;
    }
    dashboard.press_for("Space", "the newest numbers", |screen| !screen.has("PAUSED") && seconds(screen) > Some(at))?;
    dashboard.press_for(",", "another pause", |screen| screen.has("PAUSED")).map(drop)
}

/// `r` begins a recording of what comes, and ends it; one that runs ends with the dashboard.
fn records() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table(EXIT_CODE)?;
    let on = |screen: &Screen| screen.has("RECORDING ") && screen.has(" into numatrace-");
    let ended = |screen: &Screen| screen.has("recorded ") && screen.has(" into numatrace-");
    for _ in 0..2 {
        let screen = dashboard.press_for("r", "a recording that runs", on)?;
        let first = seconds(&screen).context("no time")?;
        scene.pane.wait_for("numbers of later", |screen| seconds(screen).is_some_and(|now| now >= first + 1.0))?;
        dashboard.press_for("r", "a recording that has ended", ended)?;
        // Files are named by the second.
        scene.pane.wait_for("another second", |screen| seconds(screen).is_some_and(|now| now >= first + 2.5))?;
    }
    dashboard.press_for("r", "a third recording", on)?;
    scene.ends(&dashboard, |_| dashboard.press("q"))?;
    let screen = scene.pane.screen()?;
    ensure!(screen.has("numatrace: recorded ") && screen.has("numatrace report numatrace-"), "{screen}");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(scene.pane.folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "numatrace") {
            let mut reader = Reader::open(&path)?;
            let mut records = 0;
            while reader.next_batch(&mut |_| records += 1)? == SourceStatus::More {}
            ensure!(reader.incomplete().is_none() && reader.undecodable() == 0, "{:?}", reader.incomplete());
            files.push((path, records));
        }
    }
    ensure!(files.len() == 3 && files.iter().all(|(_, records)| *records > 10), "{files:?}");
    Ok(())
}

fn records_nowhere() -> Result<()> {
    let scene = Scene::new()?;
    let disk = Tmpfs::mount(scene.pane.folder().join("full"), "4k")?;
    fs::write(disk.0.join("filler"), [1; 4096])?;
    scene.pane.type_line("cd full")?;
    scene.pane.wait_for_prompt()?;
    let dashboard = scene.table(EXIT_CODE)?;
    let failed = |screen: &Screen| screen.has("not recorded:") && screen.has("No space left on device");
    dashboard.press_for("r", "that nothing can be recorded", failed)?;
    dashboard.goes_on()?;
    let left: Vec<_> = fs::read_dir(&disk.0)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left == ["filler"], "left on the disk: {left:?}");
    scene.ends(&dashboard, |_| dashboard.press("q"))?;
    scene.pane.type_line("cd ..")?;
    scene.pane.wait_for_prompt().map(drop)
}

fn quits() -> Result<()> {
    for key in keys::of_kind(Mode::Live, Kind::Quits)? {
        let scene = Scene::new()?;
        let dashboard = scene.table(EXIT_CODE)?;
        scene.ends(&dashboard, |_| dashboard.press(&key.tmux)).with_context(|| format!("the key {}", key.tmux))?;
    }
    Ok(())
}

fn signals() -> Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let scene = Scene::new()?;
        let dashboard = scene.table(EXIT_CODE)?;
        let send = |tracer: u32| {
            // SAFETY: kill has no memory effect; the process was just found, and nobody else ends it.
            numatrace_tests::workload::os::check(unsafe { libc::kill(tracer.cast_signed(), signal) })?;
            Ok(())
        };
        scene.ends(&dashboard, send).with_context(|| format!("signal {signal}"))?;
    }
    Ok(())
}

fn suspends() -> Result<()> {
    let scene = Scene::new()?;
    for key in keys::of_kind(Mode::Live, Kind::Suspends)? {
        let dashboard = scene.table("")?;
        let tracer = scene.pane.child("numatrace")?;
        dashboard.press(&key.tmux)?;
        dashboard.restored()?;
        let state = numatrace_tests::workload::os::state(&tracer.to_string(), tracer)?.0;
        ensure!(state == 'T', "it is in state {state} instead of stopped");
        scene.pane.type_line(&format!("fg{EXIT_CODE}"))?;
        dashboard.up()?;
        dashboard.goes_on()?;
        scene.ends(&dashboard, |_| dashboard.press("q"))?;
    }
    Ok(())
}

/// A dashboard of fixed numbers whose feed panics once the file `trigger` is there.
fn panicking_dashboard(trigger: std::path::PathBuf) -> ExitCode {
    let (sender, feed) = mpsc::channel();
    let engine = thread::spawn(move || {
        let _ = sender.send(UiMessage::Snapshot(Arc::new(fixture::snapshot_two_nodes())));
        while !trigger.exists() {
            thread::sleep(Duration::from_millis(10));
        }
        panic!("this panic is wanted");
    });
    let _ = tui::run(&feed, &tui::Options::new("pid 4711"));
    // As the real program does with its engine.
    let Err(panic) = engine.join();
    std::panic::resume_unwind(panic)
}

fn panics() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let trigger = folder.path().join("panic");
    let me = env::current_exe()?;
    let variables = [(PANICS, trigger.to_str().context("a path of letters")?), ("RUST_BACKTRACE", "0")];
    let pane = Tmux::shell(SIZE, folder.path(), &variables, PATIENCE)?;
    let dashboard = Dashboard::start(&pane, &format!("'{}'{EXIT_CODE}", me.display()), "pid 4711")?;
    fs::write(trigger, "")?;
    let screen = dashboard.restored()?;
    // At the left of a line of its own: on a terminal still raw it would hang below the end of the line before.
    ensure!(screen.0.iter().any(|line| line == "this panic is wanted"), "no message on\n{screen}");
    ensure!(screen.0.iter().any(|line| line == "exit code 101"), "it did not end with 101:\n{screen}");
    Ok(())
}

fn sizes() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table(EXIT_CODE)?;
    for (width, height) in [(200, 60), (80, 24)] {
        let screen = dashboard.resize(width, height)?;
        ensure!(THREADS.iter().all(|name| row(&screen, name).is_some()), "threads are missing:\n{screen}");
    }
    scene.pane.resize(20, 5)?;
    scene.pane.wait_for("a sentence", |screen| screen.has("Terminal too small") && !screen.has("lost"))?;
    dashboard.resize(SIZE.0, SIZE.1)?;
    scene.ends(&dashboard, |_| dashboard.press("q"))
}

fn repaints() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table("")?;
    // Where nothing is ever drawn, so that nothing but a new screen removes it.
    scene.pane.scribble(SIZE.1 - 5, 30, "SCRIBBLE")?;
    scene.pane.wait_for("the scribble", |screen| screen.has("SCRIBBLE"))?;
    dashboard.goes_on()?;
    ensure!(scene.pane.screen()?.has("SCRIBBLE"), "it went by itself: nothing can be said about Ctrl-L");
    dashboard.press_for("C-l", "a screen without the scribble", |screen| !screen.has("SCRIBBLE"))?;
    Ok(())
}

fn target_exits() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table(EXIT_CODE)?;
    let known =
        |screen: &Screen| THREADS.iter().all(|name| cell(screen, name, "rq p99").is_some_and(|cell| cell != "-"));
    scene.pane.wait_for("numbers of every thread", known)?;
    scene.end_target()?;
    let ended = dashboard.settled()?;
    ensure!(known(&ended), "numbers are gone:\n{ended}");
    let exited = |name: &&str| row(&ended, name).is_some_and(|row| row.contains("exited"));
    ensure!(THREADS.iter().all(exited), "not all have exited:\n{ended}");
    // The last numbers stay, whatever is drawn.
    dashboard.press_for("?", "the help", is_help)?;
    dashboard.press_for("?", "the same screen as before", |screen| *screen == ended)?;
    scene.pane.press(&["q"])?;
    scene.ends_with_0(&dashboard)
}

/// Only what differs from the screen before is written. Here each screen is drawn whole first, and then again as the
/// difference to the one before: both must look the same.
fn leaves_nothing_on_screen() -> Result<()> {
    let scene = Scene::new()?;
    let dashboard = scene.table("")?;
    scene.end_target()?;
    // A round that ends where it began. (Esc is not in it: with the key after it a terminal takes it for one.)
    let mut round: Vec<Vec<&str>> = Vec::new();
    for view in views()? {
        round.extend([vec![view], vec!["?"], vec!["End"], vec!["?"]]);
    }
    round.push(vec!["2"]);
    round.extend([vec!["/", "-", "1"], vec!["Enter"], vec!["/", "BSpace", "BSpace", "x", "y", "z"], vec!["Enter"]]);
    round.extend([
        vec!["/", "BSpace", "BSpace", "BSpace"],
        vec!["Enter"],
        vec!["S"],
        vec!["S"],
        vec!["End"],
        vec!["Home"],
    ]);
    let press = |keys: &[&str]| keys.iter().filter(|key| !key.is_empty()).try_for_each(|key| dashboard.press(key));
    let mut whole = Vec::new();
    for keys in &round {
        press(keys)?;
        whole.push(dashboard.settled()?);
    }
    let different: std::collections::HashSet<_> = whole.iter().map(|screen| &screen.0).collect();
    ensure!(different.len() > 5, "only {} different screens: nothing can be said", different.len());
    for (keys, wanted) in round.iter().zip(&whole) {
        press(keys)?;
        let what = format!("the same after {keys:?} as drawn whole:\n{wanted}\nas");
        scene.pane.wait_for(&what, |screen| screen == wanted)?;
    }
    Ok(())
}

fn closed_pipe() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.pane.terminal_state()?;
    // The exit code is that of the reader, so numatrace's own goes around it.
    scene.pane.type_line(&format!("(numatrace --pid {}{EXIT_CODE} >&2) | head -3", scene.workload.pid))?;
    scene.pane.wait_for("the end of both", |screen| screen.0.iter().any(|line| line == "exit code 0"))?;
    let screen = scene.pane.wait_for_prompt()?;
    ensure!(screen.has(&format!("pid {}", scene.workload.pid)), "no report:\n{screen}");
    ensure!(!screen.has("panicked") && !screen.has("roken pipe"), "it did not end quietly:\n{screen}");
    ensure!(scene.pane.terminal_state()? == before, "the terminal is not as it was:\n{screen}");
    bpf::nothing_left(&scene.programs)
}
