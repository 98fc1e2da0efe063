//! A recording in the dashboard: what its player is doing, its keys, and the line in which a time is typed. Pure.

use super::state::{Action, Key};
use crate::replay::{Command, Moment, Motion, Span, Status};
use crate::text;

/// Longest time that can be typed.
const MAX_TIME: usize = 64;
/// How many seconds `<` and `>` go at once.
const STRIDE_S: i64 = 10;

/// A time that is being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What was typed.
    pub typed: String,
    /// Why it could not be gone to, once Enter was pressed.
    pub wrong: Option<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Replay {
    span: Span,
    /// `None` until the player says something.
    status: Option<Status>,
    prompt: Option<Prompt>,
}

impl Replay {
    /// Before anything was played.
    pub fn new(span: Span) -> Replay {
        Replay { span, status: None, prompt: None }
    }

    /// The player does this. Whether more of the recording is missing than was known.
    pub(super) fn set_status(&mut self, status: Status) -> bool {
        let more = self.incomplete() != status.incomplete.as_deref();
        self.span.length_ns = status.length_ns;
        self.status = Some(status);
        more
    }

    /// What the player does, once it is known.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// The time that is being typed.
    pub fn prompt(&self) -> Option<&Prompt> {
        self.prompt.as_ref()
    }

    /// What of the recording could not be read, in a sentence.
    pub fn incomplete(&self) -> Option<&str> {
        self.status.as_ref()?.incomplete.as_deref()
    }

    /// From its start to its end, ns.
    pub fn length_ns(&self) -> u64 {
        self.span.length_ns
    }

    /// Time passes, or will when the player has come to where it goes.
    pub fn plays(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.plays)
    }

    /// What the player does, in words.
    pub fn motion(&self) -> String {
        let Some(status) = &self.status else { return "OPENING".into() };
        let speed = status.speed;
        match status.motion {
            Motion::Seeking(percent) => format!("SEEKING {percent}%"),
            Motion::Playing => format!("PLAYING {speed}"),
            Motion::Paused if status.at_end => format!("AT THE END {speed}"),
            Motion::Paused => format!("PAUSED {speed}"),
        }
    }

    /// Which of the worst moments this is, in words.
    pub fn worst(&self) -> Option<String> {
        let worst = self.status.as_ref()?.worst?;
        Some(match worst.of {
            0 => "nobody waited".into(),
            of => format!("worst moment {} of {of}: {}", worst.rank, text::duration(worst.wait_ns)),
        })
    }

    /// A key while a time is typed.
    pub(super) fn edit(&mut self, key: Key) -> Action {
        let Some(prompt) = &mut self.prompt else { return Action::None };
        match key {
            Key::Char(c) if !c.is_control() && prompt.typed.chars().count() < MAX_TIME => {
                prompt.typed.push(c);
                prompt.wrong = None;
            }
            Key::Backspace if prompt.typed.is_empty() => self.prompt = None,
            Key::Backspace => {
                prompt.typed.pop();
                prompt.wrong = None;
            }
            Key::Enter if prompt.typed.trim().is_empty() => self.prompt = None,
            Key::Enter => match prompt.typed.parse().and_then(|moment: Moment| moment.in_recording(&self.span)) {
                Ok(ns) => {
                    self.prompt = None;
                    return Action::Player(Command::Jump(ns));
                }
                Err(why) => prompt.wrong = Some(why),
            },
            Key::Esc => self.prompt = None,
            _ => return Action::None,
        }
        Action::Draw
    }
}

/// Keys about time.
pub(super) fn key(replay: &mut Replay, key: Key) -> Option<Action> {
    Some(Action::Player(match key {
        Key::Char(' ') => Command::Toggle,
        Key::Char(',') => Command::Step(-1),
        Key::Char('.') => Command::Step(1),
        Key::Char('<') => Command::Skip(-STRIDE_S),
        Key::Char('>') => Command::Skip(STRIDE_S),
        Key::Char('[') => Command::Slower,
        Key::Char(']') => Command::Faster,
        Key::Char('w') => Command::Worst,
        Key::Char(':') => {
            replay.prompt = Some(Prompt::default());
            return Some(Action::Draw);
        }
        _ => return None,
    }))
}
