//! What one frame of the dashboard costs, beside an empty frame of the same size.

use std::{
    cell::Cell,
    hint::black_box,
    io::{self, Write},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use numatrace::{
    snapshot::Snapshot,
    tui::{
        Options, UiMessage,
        app::App,
        state::Key,
        theme::{Depth, Theme},
    },
};
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

use super::table::median;
use crate::{fixture, workload::os::cpu_time};

/// What can be looked at, and the keys that lead there.
const VIEWS: [(&str, &[Key]); 7] = [
    ("overview", &[]),
    ("threads", &[Key::Char('2')]),
    ("thread", &[Key::Char('2'), Key::Enter]),
    ("nodes", &[Key::Char('4')]),
    ("cpus", &[Key::Char('5')]),
    ("events", &[Key::Char('6')]),
    ("help", &[Key::Char('?')]),
];
const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];
/// Threads of a wide machine, which has 256 CPUs on 16 nodes.
const MANY: u32 = 10_000;
/// What a frame may cost there, in microseconds of one core.
const GOAL_US: f64 = 5_000.0;
/// Frames of each kind in a round.
const FRAMES: u32 = 20;

const SECOND_NS: u64 = 1_000_000_000;

type Frames = Terminal<CrosstermBackend<Counter>>;

/// Prints a row for each view, size and number of threads.
pub fn run(rounds: usize) -> Result<()> {
    println!("## One frame of the dashboard, numbers new in each\n");
    println!("Bytes go to the terminal for a frame: while every thread works, and while none does.\n");
    println!(
        "| view | terminal | threads | CPUs | numbers us | frame us | empty frame us | ratio | bytes busy | steady |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut worst: f64 = 0.0;
    for (view, keys) in VIEWS {
        for size in SIZES {
            for numbers in [fixture::snapshot_two_nodes(), fixture::snapshot_wide(MANY, 1)] {
                let (threads, cpus) = (numbers.threads.len(), numbers.host.cpus);
                let Cost { taken, frame, empty, busy, steady } = measure(size, keys, numbers, rounds)?;
                let (ratio, (width, height)) = (frame / empty, size);
                worst = worst.max(frame);
                println!(
                    "| {view} | {width}x{height} | {threads} | {cpus} | {taken:.0} | {frame:.0} | {empty:.1} | {ratio:.1} | {busy:.0} | {steady:.0} |"
                );
            }
        }
    }
    let met = if worst <= GOAL_US { "met" } else { "missed" };
    println!(
        "\nThe dearest frame costs {:.2} ms of one core, at most {:.0} is the goal: {met}.\n",
        worst / 1e3,
        GOAL_US / 1e3
    );
    Ok(())
}

/// Medians of rounds, microseconds a frame.
struct Cost {
    taken: f64,
    frame: f64,
    empty: f64,
    /// Bytes of one frame while threads work.
    busy: f64,
    /// The same while they do not.
    steady: f64,
}

fn measure(size: (u16, u16), keys: &[Key], mut numbers: Snapshot, rounds: usize) -> Result<Cost> {
    let options = Options { theme: Theme::new(Depth::True), ..Options::new("pid 4711 (redis-server)") };
    let mut app = App::new(&options, size.0, size.1);
    app.tell(UiMessage::Snapshot(Arc::new(numbers.clone())));
    keys.iter().for_each(|key| _ = app.press(*key));
    let written = Counter::default();
    let (mut full, mut blank) = (terminal(size, &written)?, terminal(size, &Counter::default())?);
    // The first frame of a terminal draws every cell.
    app.draw(&mut full, Instant::now())?;
    let (mut takes, mut frames, mut empties) = (Vec::new(), Vec::new(), Vec::new());
    let (mut busy, mut steady) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mut taking, mut drawing) = (Duration::ZERO, Duration::ZERO);
        written.0.set(0);
        for _ in 0..FRAMES {
            go_on(&mut numbers);
            let next = UiMessage::Snapshot(Arc::new(numbers.clone()));
            taking += timed(|| {
                app.tell(next);
                Ok(())
            })?;
            drawing += timed(|| app.draw(&mut full, Instant::now()))?;
        }
        takes.push(micros(taking));
        frames.push(micros(drawing));
        busy.push(written.0.replace(0) as f64 / f64::from(FRAMES));
        for _ in 0..FRAMES {
            numbers.duration_ns += SECOND_NS;
            app.tell(UiMessage::Snapshot(Arc::new(numbers.clone())));
            app.draw(&mut full, Instant::now())?;
        }
        // Rates that fall to nothing are in its first frames.
        steady.push(written.0.get() as f64 / f64::from(FRAMES));
        let nothing = timed(|| (0..FRAMES).try_for_each(|_| blank.draw(|frame| _ = black_box(frame)).map(drop)))?;
        empties.push(micros(nothing));
    }
    Ok(Cost {
        taken: median(takes),
        frame: median(frames),
        empty: median(empties),
        busy: median(busy),
        steady: median(steady),
    })
}

/// A second passes in which every thread does something, so that most cells with numbers change.
fn go_on(numbers: &mut Snapshot) {
    numbers.duration_ns += SECOND_NS;
    numbers.loss.records_wanted += 61_500;
    numbers.loss.records_received += 61_500;
    for (at, thread) in numbers.threads.iter_mut().enumerate() {
        let busy = (numbers.duration_ns / 1_000_000_000 * 7_919 + at as u64 * 104_729) % 1_000 * 1_000_000;
        thread.stats.cpu_ns += busy;
        thread.stats.wait_ns += (1_000_000_000 - busy) / 3;
        thread.stats.switches.voluntary += busy >> 20;
        thread.stats.runq.all.p99_ns = busy / 7;
    }
}

/// A terminal of a fixed size that nobody looks at.
fn terminal((width, height): (u16, u16), written: &Counter) -> io::Result<Frames> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, width, height));
    Terminal::with_options(CrosstermBackend::new(written.clone()), TerminalOptions { viewport })
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let start = cpu_time();
    work()?;
    Ok(cpu_time() - start)
}

fn micros(frames: Duration) -> f64 {
    frames.as_secs_f64() * 1e6 / f64::from(FRAMES)
}

/// Counts what is written to it.
#[derive(Clone, Debug, Default)]
struct Counter(Rc<Cell<u64>>);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + black_box(bytes).len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_passes_changes_what_is_drawn() -> Result<()> {
        let cost = measure((80, 24), &[], fixture::snapshot_two_nodes(), 1)?;
        let written = Counter::default();
        terminal((80, 24), &written)?.draw(|_| {})?;
        assert!(cost.busy > 2.0 * written.0.get() as f64, "{} bytes a frame", cost.busy);
        Ok(())
    }
}
