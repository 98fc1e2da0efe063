//! Play, stand still, step and seek. Pure: whoever calls knows what time it is, and calls again when [`Next`] says.
//!
//! The dashboard makes numbers of the last seconds from the snapshots of those seconds. So a seek ends with a new history
//! for it: the snapshots of the last [`REACH_NS`] before the position, tick by tick as if it had been played. Only a seek
//! over so little time that the old history still reaches back far enough goes on with that one. A seek does one tick at
//! each call, so that a command can take its place.

use std::collections::VecDeque;
use std::time::Duration;

use super::clock::Clock;
use super::tape::Tape;
use super::{Command, Speed, up_to};
use crate::recording::Timeline;
use crate::source::SourceError;
use crate::tui::UiMessage;
use crate::tui::history::History;

const SECOND_NS: u64 = 1_000_000_000;
/// The longest stretch of time that numbers are about is a minute; some more, since ticks come a little early or late.
const MINUTE_NS: u64 = 61 * SECOND_NS;
/// The longest time between a tick and the time that was asked for, for which [`REACH_NS`] is enough.
const GAP_NS: u64 = 10 * SECOND_NS;
/// How far before the time that is asked for the history begins.
const REACH_NS: u64 = MINUTE_NS + GAP_NS;
/// Ticks come some ms early or late: without this ten seconds would often be nine or eleven.
const SLACK_NS: u64 = 100_000_000;
/// Least time between checkpoints.
const SPACING_NS: u64 = 5 * SECOND_NS;
/// Ticks whose times are known, so that several steps back are one seek.
const KNOWN_TICKS: usize = 1024;

/// Where a seek goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// The last tick up to this time, or the first one of all.
    UpTo(u64),
    /// The first tick from this time on, or the last one of all.
    From(u64),
    /// So many ticks after this one.
    Ticks(u64),
}

/// A seek on its way.
#[derive(Debug)]
struct Seek {
    goal: Goal,
    /// What the dashboard gets at the end; `None` where it goes on with what it has.
    history: Option<History>,
    /// Where it began.
    from: u64,
}

/// When to call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// After this time, or a command.
    After(Duration),
    /// After a command.
    OnCommand,
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// Time passes.
    Playing,
    /// Time stands still.
    Paused,
    /// On the way to another time, done to this percentage.
    Seeking(u8),
}

/// A moment at which somebody waited long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// 1 for the worst of all.
    pub rank: usize,
    /// How many there are; 0 where nobody waited.
    pub of: usize,
    /// How long that wait was.
    pub wait_ns: u64,
}

/// What a dashboard has to know beside the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub motion: Motion,
    /// Time passes, or will when a seek is over.
    pub plays: bool,
    /// How fast it plays.
    pub speed: Speed,
    /// From the start of the recording to its end, ns.
    pub length_ns: u64,
    /// This is the last tick.
    pub at_end: bool,
    /// The moment that [`Command::Worst`] went to.
    pub worst: Option<Worst>,
    /// What of the recording could not be read, in a sentence.
    pub incomplete: Option<String>,
}

/// How to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Where, ns since the start of the recording.
    pub from_ns: u64,
    /// How fast.
    pub speed: Speed,
    /// Standing still.
    pub paused: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Player<T> {
    tape: Tape<T>,
    start_ts: u64,
    end_ts: u64,
    /// Time of the first tick.
    first_ts: Option<u64>,
    /// Longest wait and its time, of each place where somebody waited; the longest first.
    worst: Vec<(u64, u64)>,
    worst_at: Option<Worst>,
    clock: Clock,
    playing: bool,
    seek: Option<Seek>,
    /// The dashboard shows another position than the tape has.
    detached: bool,
    /// To be stepped when the seek is over.
    steps: i64,
    /// Times of ticks without a hole, the last one at the position or before it.
    ticks: VecDeque<u64>,
    /// Time of the last snapshot that was given out.
    given: u64,
}

impl<T: Timeline> Player<T> {
    /// A player at the start.
    pub fn new(timeline: T, start: Start) -> Player<T> {
        let start_ts = timeline.head().meta.start_ns;
        let end_ts = timeline.places().iter().map(|place| place.last_ts).max().unwrap_or(start_ts);
        let places = timeline.places().iter().filter(|place| place.worst_wait_ns > 0);
        let mut worst: Vec<(u64, u64)> = places.map(|place| (place.worst_wait_ns, place.worst_ts)).collect();
        worst.sort_unstable_by_key(|(wait, ts)| (std::cmp::Reverse(*wait), *ts));
        let goal = Goal::UpTo(up_to(start_ts, start.from_ns).min(end_ts));
        Player {
            tape: Tape::new(timeline),
            start_ts,
            end_ts,
            first_ts: None,
            worst,
            worst_at: None,
            clock: Clock::new(start.speed),
            playing: !start.paused,
            seek: Some(Seek { goal, history: Some(History::default()), from: start_ts }),
            detached: true,
            steps: 0,
            ticks: VecDeque::new(),
            given: 0,
        }
    }

    /// What a dashboard has to know beside the numbers.
    pub fn status(&self) -> Status {
        let motion = match &self.seek {
            Some(seek) => Motion::Seeking(self.done(seek)),
            None if self.playing => Motion::Playing,
            None => Motion::Paused,
        };
        Status {
            motion,
            plays: self.playing,
            speed: self.clock.speed(),
            length_ns: self.end_ts.saturating_sub(self.start_ts),
            at_end: self.tape.is_last() && self.seek.is_none(),
            worst: self.worst_at,
            incomplete: self.tape.timeline().incomplete(),
        }
    }

    fn done(&self, seek: &Seek) -> u8 {
        let at = self.tape.at().unwrap_or(self.start_ts);
        let (way, whole) = (at.saturating_sub(seek.from), self.aim(seek.goal).saturating_sub(seek.from));
        // 100 is over.
        (u128::from(way) * 100 / u128::from(whole.max(1))).min(99) as u8
    }

    /// The time that a goal is about.
    fn aim(&self, goal: Goal) -> u64 {
        match goal {
            Goal::UpTo(ts) | Goal::From(ts) => ts,
            Goal::Ticks(_) => self.at(),
        }
    }

    fn at(&self) -> u64 {
        self.tape.at().unwrap_or(self.start_ts)
    }

    /// Takes a command; it has its effect at the next call of [`Player::work`].
    pub fn obey(&mut self, command: Command, now: Duration) {
        match command {
            Command::Faster => return self.clock.set_speed(self.clock.speed().faster(), now),
            Command::Slower => return self.clock.set_speed(self.clock.speed().slower(), now),
            Command::Step(by) => {
                (self.playing, self.steps) = (false, self.steps.saturating_add(by));
                return;
            }
            Command::Worst => return self.next_worst(),
            Command::Toggle if self.playing => self.playing = false,
            Command::Toggle => {
                self.playing = self.seek.is_some() || !self.tape.is_last();
                self.clock.set(self.at());
            }
            Command::Skip(seconds) => self.skip(seconds),
            Command::Jump(ns) => self.go(Goal::UpTo(up_to(self.start_ts, ns).min(self.end_ts))),
        }
        self.worst_at = None;
    }

    /// From where a seek goes when one is on its way, so that pressing a key twice goes twice as far. One tick at least.
    fn skip(&mut self, seconds: i64) {
        let from = self.seek.as_ref().map_or(self.at(), |seek| self.aim(seek.goal));
        let by = seconds.unsigned_abs().saturating_mul(SECOND_NS);
        let to = if seconds < 0 {
            from.saturating_sub(by).saturating_add(SLACK_NS).min(from.saturating_sub(1)).max(self.start_ts)
        } else {
            from.saturating_add(by).saturating_add(SLACK_NS).min(self.end_ts)
        };
        let none_between = seconds > 0 && self.seek.is_none() && self.tape.known_next().is_some_and(|next| next > to);
        self.go(if none_between { Goal::Ticks(1) } else { Goal::UpTo(to) });
    }

    fn next_worst(&mut self) {
        let of = self.worst.len();
        let rank = self.worst_at.map_or(0, |worst| worst.rank) % of.max(1);
        self.playing = false;
        let found = self.worst.get(rank).copied();
        self.worst_at = Some(Worst { rank: rank + 1, of, wait_ns: found.map_or(0, |(wait, _)| wait) });
        if let Some((_, ts)) = found {
            // The tick after the wait is the first one that knows of it.
            self.go(Goal::From(ts));
        }
    }

    /// A seek to there instead of all others.
    fn go(&mut self, goal: Goal) {
        self.steps = 0;
        self.seek = Some(Seek { goal, history: None, from: self.at() });
        let near = self.tape.at().is_some_and(|at| match goal {
            Goal::Ticks(_) => true,
            Goal::UpTo(ts) | Goal::From(ts) => (at..=at.saturating_add(REACH_NS)).contains(&ts),
        });
        self.detached |= !near;
    }

    /// Does what is due. `tell` gets what the dashboard is to know.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn work(&mut self, now: Duration, tell: &mut dyn FnMut(UiMessage)) -> Result<Next, SourceError> {
        if self.seek.is_none() && self.steps != 0 {
            let steps = std::mem::take(&mut self.steps);
            self.step(steps);
        }
        if let Some(mut seek) = self.seek.take() {
            if self.detached && seek.history.is_none() {
                self.begin(&mut seek)?;
            }
            if !self.seek_on(&mut seek, tell)? {
                self.seek = Some(seek);
            }
            return Ok(Next::Now);
        }
        if self.playing { self.play(now, tell) } else { Ok(Next::OnCommand) }
    }

    fn step(&mut self, by: i64) {
        let count = by.unsigned_abs();
        if by > 0 {
            return self.go(Goal::Ticks(count));
        }
        let back = usize::try_from(count).ok().and_then(|count| self.ticks.len().checked_sub(count + 1));
        let known = back.and_then(|at| self.ticks.get(at)).copied();
        let oldest = self.ticks.front().copied().unwrap_or(self.start_ts);
        self.go(Goal::UpTo(known.unwrap_or(oldest.saturating_sub(1))));
    }

    /// Goes to the best place for a seek to begin at: early enough for a history.
    fn begin(&mut self, seek: &mut Seek) -> Result<(), SourceError> {
        let aim = self.aim(seek.goal);
        let latest = aim.saturating_sub(REACH_NS);
        let (here, nearest) = (self.tape.at().filter(|at| *at <= latest), self.tape.nearest(latest));
        if here.is_none() || nearest > here {
            self.tape.go_to_nearest(latest)?;
            self.ticks.retain(|ts| *ts <= aim);
            match self.tape.at() {
                Some(at) if self.ticks.back().is_none_or(|last| *last < at) => {
                    self.ticks.clear();
                    self.ticks.push_back(at);
                }
                _ => {}
            }
        }
        seek.history = Some(History::default());
        seek.from = self.at();
        Ok(())
    }

    /// One tick of a seek; `true` when it is over.
    fn seek_on(&mut self, seek: &mut Seek, tell: &mut dyn FnMut(UiMessage)) -> Result<bool, SourceError> {
        let Some(at) = self.tape.at() else {
            // The first tick is part of every way.
            let empty = !self.advance(SPACING_NS)?;
            self.first_ts = self.tape.at();
            return Ok(empty && self.arrive(seek, tell));
        };
        let next = self.tape.next_ts()?;
        let aim = self.aim(seek.goal);
        if let Some(history) = &mut seek.history
            && next.is_none_or(|next| next > aim.saturating_sub(REACH_NS))
        {
            if history.newest().is_none() && self.first_ts != Some(at) {
                *history = History::continued();
            }
            history.push(self.tape.snapshot());
        }
        let there = match (seek.goal, next) {
            (_, None) | (Goal::Ticks(0), _) => true,
            (Goal::UpTo(ts), Some(next)) => next > ts,
            (Goal::From(ts), _) => at >= ts,
            (Goal::Ticks(_), _) => false,
        };
        if there {
            // What is before the position is known well enough only where the position is close to what was asked for.
            if seek.history.is_some() && at.saturating_add(GAP_NS) < aim {
                *seek = Seek { goal: Goal::UpTo(at), history: None, from: at };
                return Ok(false);
            }
            return Ok(self.arrive(seek, tell));
        }
        // Denser towards the goal, where the user is going to look around.
        self.advance(SPACING_NS.max(aim.saturating_sub(at) / 8))?;
        if let Goal::Ticks(left) = &mut seek.goal {
            *left -= 1;
        }
        if seek.history.is_none() {
            self.give(tell);
        }
        Ok(false)
    }

    /// Always `true`: the seek is over.
    fn arrive(&mut self, seek: &mut Seek, tell: &mut dyn FnMut(UiMessage)) -> bool {
        if let Some(history) = seek.history.take() {
            tell(UiMessage::Jumped(Box::new(history)));
        }
        (self.detached, self.given) = (false, self.at());
        self.playing &= !self.tape.is_last();
        self.clock.set(self.at());
        true
    }

    /// The next tick, once it is due.
    fn play(&mut self, now: Duration, tell: &mut dyn FnMut(UiMessage)) -> Result<Next, SourceError> {
        let Some(next) = self.tape.next_ts()? else {
            self.playing = false;
            return Ok(Next::OnCommand);
        };
        let due = self.clock.look(now);
        if next > due {
            return Ok(Next::After(self.clock.until(next)));
        }
        self.clock.hold_back(next);
        let before = self.at();
        self.advance(SPACING_NS)?;
        let at = self.at();
        // Of ticks that are due together only the last is seen, and the one before is its interval; the others need not be
        // closer together than a second.
        let soon = self.tape.next_ts()?.is_none_or(|then| then.saturating_add(at - before) > due);
        if soon || at.saturating_sub(self.given) >= SECOND_NS {
            self.give(tell);
        }
        Ok(Next::Now)
    }

    fn give(&mut self, tell: &mut dyn FnMut(UiMessage)) {
        self.given = self.at();
        tell(UiMessage::Snapshot(self.tape.snapshot()));
    }

    fn advance(&mut self, spacing_ns: u64) -> Result<bool, SourceError> {
        let more = self.tape.advance(spacing_ns)?;
        let at = self.at();
        self.end_ts = self.end_ts.max(at);
        if more && self.ticks.back().is_none_or(|last| *last < at) {
            self.ticks.push_back(at);
            if self.ticks.len() > KNOWN_TICKS {
                self.ticks.pop_front();
            }
        }
        Ok(more)
    }
}
