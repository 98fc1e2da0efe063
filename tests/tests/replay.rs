//! The dashboard over a recording, in tmux: what its keys do to what is on the screen. Needs no rights, and no kernel.
//!
//! This program runs itself as the dashboard, with the real player over a recording in memory.

use std::{
    env,
    fs::File,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use numatrace::{
    commands::replay,
    recording::writer::Options,
    replay::Start,
    snapshot::Snapshot,
    tui::{self, state::Mode},
};
use numatrace_tests::{
    dashboard::{Dashboard, cell},
    keys::{self, Kind},
    live::{Case, program, run_cases},
    timeline::{Interval, Memory, scripted},
    tmux::{self, Screen, Tmux},
};

use serde_json::Value;

/// Set in the process that is the dashboard: how it begins.
const ROLE: &str = "NUMATRACE_TEST_REPLAY";
const SIZE: (u16, u16) = (120, 40);
/// Longest wait for anything: only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
const LABEL: &str = "pid 4711 (scripted)";
const SECONDS: usize = 100;

const CASES: &[Case] = &[
    ("steps_seeks_and_jumps_show_their_time", goes_to_times),
    ("speeds_are_gone_through_and_the_end_is_told", plays),
    ("numbers_are_those_of_the_time", numbers),
    ("a_file_shows_at_each_time_what_its_report_tells", file),
    ("a_wrong_time_is_told_where_it_was_typed", wrong_time),
    ("every_key_of_the_help_in_every_view", every_key),
    ("other_sizes_are_drawn", sizes),
    ("while_it_is_stopped_no_time_passes", suspends),
];

fn main() -> ExitCode {
    if let Ok(role) = env::var(ROLE) {
        return dashboard(&role);
    }
    run_cases("tests of replays in tmux", CASES, tmux::cannot_run().as_deref())
}

/// A tick a second; more waits, and longer ones, the later it is.
fn recording() -> Memory {
    let interval = |second| Interval { ms: 1_000, waits: 1 + second / 10, share: 10 + second / 2 };
    Memory::new(scripted(&(0..SECONDS as u64).map(interval).collect::<Vec<_>>()), 50)
}

/// The dashboard itself, in a process of its own.
fn dashboard(role: &str) -> ExitCode {
    let memory = recording();
    let (span, start) = (replay::span(&memory), Start { paused: role == "paused", ..Start::default() });
    match replay::play(memory, span, start, tui::Options::new("pid 4711 (scripted)")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A pane with a shell.
fn pane(role: &str) -> Result<Tmux> {
    let here = env::current_exe()?;
    let folder = here.parent().context("a program lies in a folder")?;
    Tmux::shell(SIZE, folder, &[(ROLE, role), ("TZ", "UTC")], PATIENCE)
}

/// The dashboard in it. It has another process's name than the program's, so it is not looked for by name.
fn start(pane: &Tmux) -> Result<Dashboard<'_>> {
    let here = env::current_exe()?;
    Dashboard::start_replay(pane, &format!("'{}'; echo \"exit code $?\"", here.display()), LABEL)
}

/// The time that is shown, in seconds, as the header says it.
fn at(screen: &Screen) -> Option<&str> {
    let (time, _) = screen.first().split_once(" of 100s")?;
    time.split_whitespace().next_back()
}

fn shows(screen: &Screen, time: &str, motion: &str) -> bool {
    at(screen) == Some(time) && screen.0.get(1).is_some_and(|line| line.starts_with(motion))
}

fn press_to(dashboard: &Dashboard<'_>, key: &str, time: &str, motion: &str) -> Result<Screen> {
    dashboard.press_for(key, &format!("{motion} at {time}"), |screen| shows(screen, time, motion))
}

fn go_to(dashboard: &Dashboard<'_>, typed: &str, time: &str) -> Result<Screen> {
    dashboard.press_for(":", "a time to type", |screen| screen.last().starts_with("go to:"))?;
    dashboard.pane.type_text(typed)?;
    press_to(dashboard, "Enter", time, "PAUSED")
}

fn goes_to_times() -> Result<()> {
    let pane = pane("paused")?;
    let dashboard = start(&pane)?;
    pane.wait_for("the first tick", |screen| shows(screen, "1.00s", "PAUSED 1x"))?;
    for (key, time) in [
        (".", "2.00s"),
        (".", "3.00s"),
        (",", "2.00s"),
        (">", "12.0s"),
        (">", "22.0s"),
        ("<", "12.0s"),
        ("<", "2.00s"),
        ("<", "1.00s"),
    ] {
        press_to(&dashboard, key, time, "PAUSED")?;
    }
    for (typed, time) in [("90s", "90.0s"), ("1m 5s", "65.0s"), ("12", "12.0s"), ("08:22:16", "30.0s")] {
        go_to(&dashboard, typed, time)?;
    }
    // Where there is one wait in each interval they are longest, up to 70 ms.
    press_to(&dashboard, "w", "9.00s", "PAUSED 1x  worst moment 1 of 25: 70.0ms")?;
    press_to(&dashboard, ",", "8.00s", "PAUSED 1x  worst moment 1 of ")?;
    dashboard.press_for("w", "the next one", |screen| screen.has("worst moment 2 of 25"))?;
    dashboard.press("q")?;
    ended(&dashboard)
}

fn ended(dashboard: &Dashboard<'_>) -> Result<()> {
    let screen = dashboard.restored()?;
    ensure!(screen.0.iter().any(|line| line == "exit code 0"), "it did not end with 0:\n{screen}");
    Ok(())
}

fn plays() -> Result<()> {
    let pane = pane("playing")?;
    let dashboard = start(&pane)?;
    let motion = |screen: &Screen, motion: &str| screen.0.get(1).is_some_and(|line| line.starts_with(motion));
    dashboard.press_for("[", "half the speed", |screen| motion(screen, "PLAYING 0.5x"))?;
    for speed in ["1x", "2x", "5x", "10x", "20x"] {
        let wanted = format!("PLAYING {speed} ");
        dashboard.press_for("]", &wanted, |screen| motion(screen, &wanted))?;
    }
    pane.wait_for("the end", |screen| shows(screen, "100s", "AT THE END 20x"))?;
    dashboard.press("Space")?;
    ensure!(shows(&dashboard.settled()?, "100s", "AT THE END 20x"), "it plays on behind the end");
    press_to(&dashboard, "<", "90.0s", "PAUSED 20x")?;
    dashboard.press_for("Space", "the end again", |screen| shows(screen, "100s", "AT THE END 20x"))?;
    dashboard.press("C-c")?;
    ended(&dashboard)
}

fn numbers() -> Result<()> {
    let pane = pane("paused")?;
    let dashboard = start(&pane)?;
    let ticks = recording().by_tick();
    dashboard.to_threads()?;
    for seconds in [7, 80, 33] {
        let screen = go_to(
            &dashboard,
            &format!("{seconds}s"),
            &format!("{:.*}s", if seconds < 10 { 2 } else { 1 }, f64::from(seconds)),
        )?;
        same_numbers(&screen, &ticks[seconds as usize - 1].1)?;
    }
    Ok(())
}

/// The program itself, over a file: its screen at a time, and its report up to that time.
fn file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("run.numatrace");
    let options = Options { frame_bytes: 4_000, ..Options::default() };
    recording().save(File::create(&path)?, options)?;
    let numatrace = program("numatrace")?;
    let pane = Tmux::shell(SIZE, folder.path(), &[("TZ", "UTC")], PATIENCE)?;
    let shown = path.display();
    let command = format!("'{}' replay '{shown}' --paused; echo \"exit code $?\"", numatrace.display());
    let dashboard = Dashboard::start_replay(&pane, &command, LABEL)?;
    dashboard.to_threads()?;
    for (typed, time) in [("7s", "7.00s"), ("80.5s", "80.0s"), ("32.99", "33.0s"), ("08:22:36", "50.0s")] {
        let screen = go_to(&dashboard, typed, time)?;
        let output = Command::new(&numatrace)
            .args(["report", "run.numatrace", "-f", "json", "--to", typed])
            .current_dir(folder.path())
            .env("TZ", "UTC")
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        same_as_report(&screen, &serde_json::from_slice(&output.stdout)?).with_context(|| format!("at {typed}"))?;
    }
    dashboard.press("q")?;
    ended(&dashboard)
}

/// The table's numbers since the start are those of the report.
fn same_as_report(screen: &Screen, report: &Value) -> Result<()> {
    let threads = report["threads"].as_array().context("threads")?;
    ensure!(threads.len() == 4, "{} threads", threads.len());
    for thread in threads {
        let comm = thread["comm"].as_str().context("a name")?;
        let all = &thread["runq"]["all"];
        for (head, field) in [("rq p50", "p50_ns"), ("rq p99", "p99_ns"), ("rq max", "max_ns")] {
            let ns = all[field].as_u64().context("a number")?;
            let wanted = if all["count"] == 0 { "-".into() } else { numatrace::text::duration(ns) };
            let shown = cell(screen, comm, head);
            ensure!(shown == Some(&wanted), "{head} of {comm} is {shown:?}, not {wanted}:\n{screen}");
        }
    }
    Ok(())
}

/// The table's numbers since the start are those of the snapshot.
fn same_numbers(screen: &Screen, snapshot: &Snapshot) -> Result<()> {
    for thread in &snapshot.threads {
        let known = |ns| if thread.stats.runq.all.count == 0 { "-".into() } else { numatrace::text::duration(ns) };
        let wanted = [
            ("rq p50", known(thread.stats.runq.all.p50_ns)),
            ("rq p99", known(thread.stats.runq.all.p99_ns)),
            ("rq max", known(thread.stats.runq.all.max_ns)),
        ];
        for (head, wanted) in wanted {
            let shown = cell(screen, &thread.comm, head);
            ensure!(shown == Some(&wanted), "{head} of {} is {shown:?}, not {wanted}:\n{screen}", thread.comm);
        }
    }
    ensure!(screen.has(&format!("Threads {}", snapshot.threads.len())), "not all threads:\n{screen}");
    Ok(())
}

fn wrong_time() -> Result<()> {
    let pane = pane("paused")?;
    let dashboard = start(&pane)?;
    dashboard.press_for(":", "a time to type", |screen| screen.last().starts_with("go to:"))?;
    pane.type_text("5m")?;
    dashboard.press_for("Enter", "why not", |screen| screen.last().contains("the recording is 100s long"))?;
    for _ in 0..2 {
        dashboard.press("BSpace")?;
    }
    pane.type_text("soon")?;
    dashboard.press_for("Enter", "why not", |screen| screen.last().contains("a time is 12s, 1m 30s"))?;
    dashboard.press_for("Escape", "the keys again", |screen| screen.last().starts_with("q quit"))?;
    ensure!(shows(&dashboard.settled()?, "1.00s", "PAUSED"), "it went somewhere");
    Ok(())
}

fn every_key() -> Result<()> {
    let pane = pane("paused")?;
    let dashboard = start(&pane)?;
    let pressed = dashboard.press_every_key()?;
    println!("{pressed} keys pressed");
    // It still plays.
    go_to_paused(&dashboard, "20s")?;
    dashboard.press_for("Space", "a later time", |screen| at(screen).is_some_and(|time| time != "20.0s"))?;
    dashboard.press("q")?;
    ended(&dashboard)
}

/// From whatever it does.
fn go_to_paused(dashboard: &Dashboard<'_>, typed: &str) -> Result<()> {
    dashboard.to_view("1")?;
    // A step stands still.
    dashboard.press(",")?;
    dashboard.settled()?;
    go_to(dashboard, typed, "20.0s").map(drop)
}

fn sizes() -> Result<()> {
    let pane = pane("paused")?;
    let dashboard = start(&pane)?;
    for (width, height) in [(200, 60), (80, 24)] {
        let screen = dashboard.resize(width, height)?;
        ensure!(screen.has("REPLAY") && shows(&screen, "1.00s", "PAUSED 1x"), "{screen}");
    }
    // The target gives way.
    pane.resize(40, 9)?;
    pane.wait_for("a small dashboard", |screen| {
        screen.first().starts_with("REPLAY") && shows(screen, "1.00s", "PAUSED 1x")
    })
    .map(drop)
}

fn suspends() -> Result<()> {
    let pane = pane("playing")?;
    let dashboard = start(&pane)?;
    for key in keys::of_kind(Mode::Replay, Kind::Suspends)? {
        let seconds = |screen: &Screen| at(screen).and_then(|time| time.strip_suffix('s')?.parse::<f64>().ok());
        let ran = Instant::now();
        let before = seconds(&dashboard.settled()?).context("no time")?;
        dashboard.press(&key.tmux)?;
        dashboard.restored()?;
        let ran = ran.elapsed();
        thread::sleep(Duration::from_secs(8));
        let runs = Instant::now();
        pane.type_line("fg")?;
        dashboard.up()?;
        let after = seconds(&dashboard.settled()?).context("no time")?;
        // What the player takes a longer pause for, and the tick before it.
        let most = (ran + runs.elapsed()).as_secs_f64() + 3.0;
        ensure!(after - before <= most, "{before} s before, {after} s after, {most} s at most");
    }
    Ok(())
}
