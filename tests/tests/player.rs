//! A player over a recording in memory, with a dashboard at its end and no clock: wherever it was sent in whatever way, it
//! shows what playing from the start would show.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::tz::TimeZone;
use numatrace::replay::player::Next;
use numatrace::replay::{Command, LATE_NS, Motion, Player, Span, Speed, Start, engine};
use numatrace::snapshot::Snapshot;
use numatrace::tui::app::App;
use numatrace::tui::history::Window;
use numatrace::tui::state::Key;
use numatrace::tui::{Options, Remote, UiMessage};
use numatrace_tests::timeline::{Interval, Memory, START_NS, START_WALL_NS, scripted};
use proptest::collection::vec;
use proptest::prelude::*;

const SECOND_NS: u64 = 1_000_000_000;

/// A player, the dashboard that it feeds, and the time.
struct Scene {
    player: Player<Memory>,
    app: App,
    now: Duration,
    /// Snapshots that came one by one.
    given: usize,
}

impl Scene {
    fn new(memory: Memory, start: Start) -> Scene {
        let app = App::new(&Options::new("nobody"), 120, 40);
        Scene { player: Player::new(memory, start), app, now: Duration::ZERO, given: 0 }
    }

    fn paused(memory: Memory) -> Scene {
        let mut scene = Scene::new(memory, Start { paused: true, ..Start::default() });
        scene.settle();
        scene
    }

    fn work(&mut self) -> Next {
        let Scene { player, app, given, .. } = self;
        let mut tell = |message| {
            *given += usize::from(matches!(message, UiMessage::Snapshot(_)));
            app.tell(message);
        };
        player.work(self.now, &mut tell).expect("memory can be read")
    }

    /// Works until nothing is left to do at this time.
    fn settle(&mut self) {
        while self.work() == Next::Now {}
    }

    fn obey(&mut self, command: Command) {
        self.player.obey(command, self.now);
    }

    /// A command, and all that it leads to at once.
    fn after(&mut self, command: Command) -> u64 {
        self.obey(command);
        self.settle();
        self.seconds()
    }

    /// Time passes, in steps as long as the player asks for.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let nap = match self.work() {
                Next::Now => continue,
                Next::After(nap) => nap.min(Duration::from_secs(1)),
                // It has nothing to do for however long.
                Next::OnCommand => {
                    self.now = end;
                    return;
                }
            };
            if self.now + nap > end {
                self.now = end;
                return;
            }
            self.now += nap;
        }
    }

    /// What is shown, in seconds since the start.
    fn seconds(&self) -> u64 {
        self.app.state().shown().now_ns / SECOND_NS
    }
}

/// A tick a second, one wait in each interval.
fn by_seconds(seconds: usize) -> Memory {
    Memory::new(scripted(&vec![Interval { ms: 1_000, waits: 1, share: 10 }; seconds]), 7)
}

/// What a dashboard shows that was there from the start until this tick.
fn watched(ticks: &[(u64, Snapshot)]) -> App {
    let mut app = App::new(&Options::new("nobody"), 120, 40);
    for (_, snapshot) in ticks {
        app.tell(UiMessage::Snapshot(Arc::new(snapshot.clone())));
    }
    app
}

/// The player's dashboard shows one of these ticks, and all that it would show if it had been there from the start.
fn same_as_watched(app: &mut App, ticks: &[(u64, Snapshot)]) -> usize {
    assert_eq!(app.state().choice().window, Window::Start);
    let at = ticks.iter().position(|(_, snapshot)| snapshot.duration_ns == app.state().shown().now_ns);
    let at = at.unwrap_or_else(|| panic!("{} ns is no tick", app.state().shown().now_ns));
    let mut wanted = watched(&ticks[..=at]);
    for window in ["since the start", "last interval", "ten seconds", "minute"] {
        assert_eq!(app.numbers(), wanted.numbers(), "{window} at tick {at}");
        assert_eq!(
            app.state().shown().rates.whole(),
            wanted.state().shown().rates.whole(),
            "rates, {window} at tick {at}"
        );
        assert_eq!(app.state().record_rate(), wanted.state().record_rate(), "record rate, {window} at tick {at}");
        [&mut *app, &mut wanted].into_iter().for_each(|app| _ = app.press(Key::Char('i')));
    }
    // The line of bars reaches back for a minute at least.
    let (bars, all) = (&app.state().shown().p99s, &wanted.state().shown().p99s);
    let minute_ago = ticks[at].1.duration_ns.saturating_sub(60 * SECOND_NS);
    let least = ticks[..=at].iter().filter(|(_, snapshot)| snapshot.duration_ns > minute_ago).count();
    assert!(all.ends_with(bars) && bars.len() >= least, "{} bars of {}, {least} wanted", bars.len(), all.len());
    at
}

#[test]
fn it_plays_at_its_speed_from_the_first_tick_to_the_last() {
    let mut scene = Scene::new(by_seconds(30), Start::default());
    scene.pass(Duration::from_millis(500));
    assert_eq!((scene.seconds(), scene.player.status().motion), (1, Motion::Playing));
    scene.pass(Duration::from_millis(2_000));
    assert_eq!(scene.seconds(), 3);
    scene.obey(Command::Faster);
    scene.obey(Command::Faster);
    assert_eq!(scene.player.status().speed.to_string(), "5x");
    scene.pass(Duration::from_millis(1_000));
    assert_eq!(scene.seconds(), 8);
    // Half a second later at a twentieth of it.
    (0..20).for_each(|_| scene.obey(Command::Slower));
    scene.pass(Duration::from_millis(4_900));
    assert_eq!(scene.seconds(), 8);
    scene.pass(Duration::from_millis(200));
    assert_eq!(scene.seconds(), 9);
    (0..20).for_each(|_| scene.obey(Command::Faster));
    scene.pass(Duration::from_secs(1));
    let status = scene.player.status();
    assert_eq!((scene.seconds(), status.motion, status.at_end), (30, Motion::Paused, true));
    // There is nothing to play on.
    assert_eq!((scene.after(Command::Toggle), scene.player.status().motion), (30, Motion::Paused));
    assert_eq!(status.length_ns, 30 * SECOND_NS);
}

#[test]
fn standing_still_nothing_passes_and_playing_on_begins_there() {
    let mut scene = Scene::new(by_seconds(30), Start::default());
    scene.pass(Duration::from_millis(2_900));
    assert_eq!(scene.after(Command::Toggle), 3);
    scene.pass(Duration::from_secs(100));
    assert_eq!(scene.seconds(), 3);
    scene.obey(Command::Toggle);
    scene.pass(Duration::from_millis(900));
    assert_eq!(scene.seconds(), 3);
    scene.pass(Duration::from_millis(200));
    assert_eq!(scene.seconds(), 4);
    // Stopped by Ctrl-Z for an hour: as if it had been two seconds.
    scene.now += Duration::from_secs(3_600);
    scene.settle();
    assert_eq!(scene.seconds(), 6);
}

#[test]
fn it_begins_where_it_is_told_to() {
    let start = Start { from_ns: 100 * SECOND_NS + 1, speed: "10".parse().expect("a speed"), paused: true };
    let memory = by_seconds(200);
    let ticks = memory.by_tick();
    let mut scene = Scene::new(memory, start);
    scene.settle();
    assert_eq!((scene.seconds(), scene.player.status().motion), (100, Motion::Paused));
    same_as_watched(&mut scene.app, &ticks);
    scene.obey(Command::Toggle);
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.seconds(), 110);
}

#[test]
fn steps_go_tick_by_tick_and_seeks_ten_seconds() {
    let memory = by_seconds(300);
    let ticks = memory.by_tick();
    let mut scene = Scene::paused(memory);
    assert_eq!([scene.after(Command::Step(1)), scene.after(Command::Step(-1))], [2, 1]);
    assert_eq!([scene.after(Command::Step(-1)), scene.after(Command::Skip(-10))], [1, 1], "there is nothing before");
    assert_eq!([10, 10, -10].map(|seconds| scene.after(Command::Skip(seconds))), [11, 21, 11]);
    assert_eq!(scene.after(Command::Jump(250 * SECOND_NS)), 250);
    same_as_watched(&mut scene.app, &ticks);
    assert_eq!([scene.after(Command::Step(-1)), scene.after(Command::Step(-1))], [249, 248]);
    same_as_watched(&mut scene.app, &ticks);
    // Many presses, one way.
    (0..30).for_each(|_| scene.obey(Command::Step(-1)));
    assert_eq!(scene.after(Command::Step(-1)), 217);
    same_as_watched(&mut scene.app, &ticks);
    assert_eq!(scene.after(Command::Step(200)), 300);
    assert!(scene.player.status().at_end);
    assert_eq!(scene.after(Command::Jump(u64::MAX)), 300);
    assert_eq!(scene.after(Command::Jump(0)), 1, "before the first tick there is nothing to show");
    same_as_watched(&mut scene.app, &ticks);
}

#[test]
fn a_seek_goes_on_playing_and_a_step_does_not() {
    let mut scene = Scene::new(by_seconds(100), Start::default());
    scene.settle();
    scene.obey(Command::Jump(50 * SECOND_NS));
    scene.pass(Duration::from_millis(2_500));
    assert_eq!((scene.seconds(), scene.player.status().motion), (52, Motion::Playing));
    assert_eq!((scene.after(Command::Step(1)), scene.player.status().motion), (53, Motion::Paused));
}

#[test]
fn another_command_takes_the_place_of_a_seek_that_is_on_its_way() {
    let memory = by_seconds(1_000);
    let ticks = memory.by_tick();
    let mut scene = Scene::paused(memory);
    scene.obey(Command::Jump(900 * SECOND_NS));
    (0..400).for_each(|_| assert_eq!(scene.work(), Next::Now));
    let Motion::Seeking(percent) = scene.player.status().motion else { panic!("it seeks") };
    assert!((40..50).contains(&percent), "{percent}%");
    assert_eq!(scene.seconds(), 1, "until it is there the old numbers stand");
    assert_eq!(scene.after(Command::Jump(20 * SECOND_NS)), 20);
    same_as_watched(&mut scene.app, &ticks);
    // From where a seek goes, not from where it is.
    scene.obey(Command::Jump(500 * SECOND_NS));
    scene.work();
    scene.obey(Command::Skip(10));
    assert_eq!(scene.after(Command::Skip(10)), 520);
    same_as_watched(&mut scene.app, &ticks);
    // Steps wait for it.
    scene.obey(Command::Jump(600 * SECOND_NS));
    scene.work();
    assert_eq!(scene.after(Command::Step(-2)), 598);
    same_as_watched(&mut scene.app, &ticks);
}

#[test]
fn going_back_does_not_begin_at_the_start() {
    let mut scene = Scene::paused(by_seconds(2_000));
    scene.after(Command::Jump(1_900 * SECOND_NS));
    let before = scene.now;
    let mut works = 0;
    scene.obey(Command::Step(-1));
    while scene.work() == Next::Now {
        works += 1;
    }
    assert_eq!((scene.seconds(), scene.now), (1_899, before));
    assert!(works < 250, "{works} ticks for one step back");
}

#[test]
fn the_worst_moments_come_one_after_the_other() {
    let wait = |share| Interval { ms: 1_000, waits: 1, share };
    let intervals: Vec<Interval> = [1, 1, 40, 1, 1, 90, 1, 20].map(wait).into_iter().collect();
    let mut scene = Scene::paused(Memory::new(scripted(&intervals), 1_000));
    // One place: one moment.
    assert_eq!((scene.after(Command::Worst), scene.after(Command::Worst)), (6, 6));
    let mut scene = Scene::new(Memory::new(scripted(&intervals), 8), Start::default());
    scene.settle();
    assert_eq!(scene.after(Command::Worst), 6);
    let worst = scene.player.status().worst.expect("a worst moment");
    assert_eq!((worst.rank, worst.wait_ns / 1_000_000), (1, 449));
    assert_eq!(scene.player.status().motion, Motion::Paused);
    assert_eq!(scene.app.numbers().totals.runq.all.max_ns, worst.wait_ns);
    assert_eq!(scene.after(Command::Worst), 3);
    assert_eq!(scene.player.status().worst.map(|worst| worst.rank), Some(2));
    // Going somewhere else begins anew.
    scene.after(Command::Skip(-10));
    assert_eq!((scene.player.status().worst, scene.after(Command::Worst)), (None, 6));
    let nobody = Memory::new(scripted(&[Interval { ms: 1_000, waits: 0, share: 0 }; 3]), 10);
    let mut scene = Scene::paused(nobody);
    assert_eq!(scene.after(Command::Worst), 1);
    assert_eq!(scene.player.status().worst.map(|worst| worst.of), Some(0));
}

#[test]
fn a_fast_replay_gives_out_what_can_be_seen_and_a_second_apart() {
    let intervals = vec![Interval { ms: 100, waits: 1, share: 10 }; 6_000];
    let mut scene = Scene::new(Memory::new(scripted(&intervals), 1_000), Start::default());
    scene.settle();
    (0..10).for_each(|_| scene.obey(Command::Faster));
    // A frame each tenth of a second, for three seconds.
    for _ in 0..30 {
        scene.now += Duration::from_millis(100);
        scene.settle();
    }
    assert_eq!(scene.seconds(), 300);
    assert!((300..=400).contains(&scene.given), "{}", scene.given);
    scene.app.press(Key::Char('i'));
    assert_eq!(scene.app.numbers().duration_ns, 100_000_000, "the last interval is that of the recording");
}

#[test]
fn more_records_between_two_ticks_than_are_read_ahead() {
    let mut intervals = vec![Interval { ms: 1_000, waits: 2, share: 10 }; 5];
    intervals[2].waits = 200_000;
    let memory = Memory::new(scripted(&intervals), 50_000);
    let ticks = memory.by_tick();
    let mut scene = Scene::paused(memory);
    for (seconds, command) in
        [(2, Command::Step(1)), (3, Command::Step(1)), (2, Command::Step(-1)), (5, Command::Step(3))]
    {
        assert_eq!(scene.after(command), seconds);
        same_as_watched(&mut scene.app, &ticks);
    }
}

#[test]
fn what_comes_after_the_last_tick_is_not_shown() {
    let mut events = scripted(&[Interval { ms: 1_000, waits: 3, share: 50 }; 3]);
    events.truncate(events.len() - 1);
    let memory = Memory::new(events, 5);
    let ticks = memory.by_tick();
    let mut scene = Scene::paused(memory);
    assert_eq!(scene.after(Command::Jump(u64::MAX)), 2);
    assert_eq!(same_as_watched(&mut scene.app, &ticks), 1);
    assert!(scene.player.status().at_end);
    // A recording without any tick.
    let mut scene = Scene::paused(Memory::new(scripted(&[]), 5));
    assert_eq!(scene.after(Command::Step(1)), 0);
    assert_eq!(scene.after(Command::Toggle), 0);
    assert!(scene.player.status().at_end);
}

/// The player on a thread of its own, with a real clock.
fn engine(memory: Memory, start: Start) -> (JoinHandle<()>, Sender<Command>, Receiver<UiMessage>) {
    let ((to_player, commands), (to_dashboard, feed)) = (channel(), channel());
    let worker = thread::spawn(move || engine::run(Player::new(memory, start), &commands, &to_dashboard));
    (worker, to_player, feed)
}

#[test]
fn an_engine_ends_in_the_middle_of_a_seek_when_nobody_is_there_any_more() {
    let (worker, commands, feed) = engine(by_seconds(20_000), Start::default());
    commands.send(Command::Jump(u64::MAX)).expect("an engine");
    let seeks = |message| matches!(message, UiMessage::Replay(status) if matches!(status.motion, Motion::Seeking(1..)));
    assert!(feed.iter().any(seeks));
    drop(commands);
    worker.join().expect("no panic");
    let last = feed.iter().last();
    assert!(matches!(last, None | Some(UiMessage::Replay(_))), "it was not there yet: {last:?}");
    // The same when it stands still.
    let (worker, commands, feed) = engine(by_seconds(2), Start { paused: true, ..Start::default() });
    assert!(feed.iter().any(|message| matches!(message, UiMessage::Jumped(_))));
    drop((commands, feed));
    worker.join().expect("no panic");
}

#[test]
fn an_engine_plays_and_says_so_once() {
    let start = Start { speed: "100".parse().expect("a speed"), ..Start::default() };
    let (worker, commands, feed) = engine(by_seconds(50), start);
    let mut motions = Vec::new();
    let mut snapshots = 0;
    for message in &feed {
        match message {
            UiMessage::Replay(status) => motions.push(status.motion),
            UiMessage::Snapshot(_) => snapshots += 1,
            _ => {}
        }
        if motions.last() == Some(&Motion::Paused) {
            break;
        }
    }
    motions.dedup();
    let seeks = motions.iter().filter(|motion| matches!(motion, Motion::Seeking(_))).count();
    assert_eq!((&motions[seeks..], snapshots), (&[Motion::Playing, Motion::Paused][..], 49));
    drop(commands);
    worker.join().expect("no panic");
}

#[test]
fn a_recording_that_cannot_be_read_any_further_is_told() {
    let mut memory = by_seconds(5);
    memory.fails_at = Some(memory.clone().by_tick().len());
    let (worker, _commands, feed) = engine(memory, Start { from_ns: u64::MAX, ..Start::default() });
    let failed = feed.iter().find_map(|message| if let UiMessage::Failed(why) = message { Some(why) } else { None });
    assert_eq!(failed.as_deref(), Some("cannot read frame 7: it is damaged"));
    worker.join().expect("no panic");
}

/// One thing that somebody does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Command(Command),
    /// Watches for so many ms.
    Watch(u64),
    /// Lets the player do so many ticks of what it is about.
    Work(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => Just(Deed::Command(Command::Toggle)),
        4 => (-5..5i64).prop_map(|by| Deed::Command(Command::Step(by))),
        2 => (-2..=2i64).prop_map(|by| Deed::Command(Command::Skip(by * 10))),
        4 => (0..400u64).prop_map(|seconds| Deed::Command(Command::Jump(seconds * SECOND_NS))),
        1 => Just(Deed::Command(Command::Worst)),
        2 => Just(Deed::Command(Command::Faster)),
        1 => Just(Deed::Command(Command::Slower)),
        3 => (0..3_000u64).prop_map(Deed::Watch),
        3 => (0..100usize).prop_map(Deed::Work),
    ]
}

fn interval() -> impl Strategy<Value = Interval> {
    let ms = prop_oneof![8 => 1_000..1_100u64, 2 => 1_000..9_000u64, 1 => 10_000..130_000u64];
    (ms, 0..4u64, 0..90u64).prop_map(|(ms, waits, share)| Interval { ms, waits, share })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_it_was_sent_it_shows_what_playing_would_show(
        intervals in vec(interval(), 1..120),
        deeds in vec(deed(), 1..20),
        per_place in 1..200usize,
        noisy in any::<bool>(),
    ) {
        let mut memory = Memory::new(scripted(&intervals), per_place);
        memory.noisy = noisy;
        let ticks = memory.by_tick();
        let mut scene = Scene::new(memory, Start::default());
        for deed in deeds {
            match deed {
                Deed::Command(command) => scene.obey(command),
                Deed::Watch(ms) => scene.pass(Duration::from_millis(ms)),
                Deed::Work(ticks) => (0..ticks).for_each(|_| _ = scene.work()),
            }
            if !matches!(deed, Deed::Work(_)) {
                scene.settle();
                let at = same_as_watched(&mut scene.app, &ticks);
                if let Deed::Command(Command::Jump(ns)) = deed {
                    let wanted = ticks.partition_point(|(ts, _)| *ts <= ns + LATE_NS).max(1) - 1;
                    prop_assert_eq!(at, wanted, "a jump to {} ns", ns);
                }
                prop_assert_eq!(scene.player.status().at_end, at + 1 == ticks.len());
            }
        }
    }
}

/// A key that a person might press, and what is typed as a time.
fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        8 => prop::sample::select(" ,.<>[]w:123igq?0s".chars().collect::<Vec<_>>()).prop_map(Key::Char),
        2 => Just(Key::Enter),
        1 => Just(Key::Esc),
        1 => Just(Key::Backspace),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_keys_are_pressed_dashboard_and_player_stay_together(keys in vec((key(), 0..30usize), 1..80)) {
        let memory = by_seconds(150);
        let ticks = memory.by_tick();
        let mut scene = Scene::new(memory, Start::default());
        let (commands, asked) = channel();
        let span = Span { start_wall_ns: START_WALL_NS, length_ns: 150 * SECOND_NS, zone: TimeZone::UTC };
        let player = Some(Remote { commands, span });
        scene.app = App::new(&Options { player, ..Options::new("nobody") }, 80, 24);
        for (key, works) in keys {
            scene.app.press(key);
            asked.try_iter().for_each(|command| scene.obey(command));
            (0..works).for_each(|_| _ = scene.work());
            scene.app.tell(UiMessage::Replay(scene.player.status()));
            let shown = scene.app.state().shown().now_ns;
            prop_assert!(shown == 0 || ticks.iter().any(|(_, snapshot)| snapshot.duration_ns == shown), "{}", shown);
        }
        scene.settle();
        // Back to the window that is compared, without groups.
        scene.app.press(Key::Esc);
        while scene.app.state().choice().window != Window::Start || scene.app.state().choice().grouping.is_some() {
            let key = if scene.app.state().choice().grouping.is_some() { 'g' } else { 'i' };
            scene.app.press(Key::Esc);
            scene.app.press(Key::Char(key));
        }
        same_as_watched(&mut scene.app, &ticks);
    }
}

#[test]
fn a_speed_is_kept_over_a_seek() {
    let speed: Speed = "20".parse().expect("a speed");
    let mut scene = Scene::new(by_seconds(100), Start { speed, ..Start::default() });
    scene.settle();
    scene.obey(Command::Jump(50 * SECOND_NS));
    scene.pass(Duration::from_millis(1_000));
    assert_eq!(scene.seconds(), 70);
    assert_eq!(scene.player.status().length_ns + START_NS, 105 * SECOND_NS);
}
