//! Gives a player its clock, its commands and its dashboard.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use super::Command;
use super::player::{Next, Player};
use crate::recording::Timeline;
use crate::tui::UiMessage;

/// Longest sleep while playing: the player tells by it that the program was stopped meanwhile.
const NAP: Duration = Duration::from_secs(1);

/// Plays until the other end of one of the channels is gone, which is looked at between two ticks.
pub fn run<T: Timeline>(mut player: Player<T>, commands: &Receiver<Command>, dashboard: &Sender<UiMessage>) {
    let start = Instant::now();
    let mut told = None;
    loop {
        let mut gone = false;
        let mut tell = |message| gone |= dashboard.send(message).is_err();
        let next = match player.work(start.elapsed(), &mut tell) {
            Ok(next) => next,
            Err(error) => {
                tell(UiMessage::Failed(format!("{:#}", anyhow::Error::from(error))));
                return;
            }
        };
        let status = player.status();
        if told.as_ref() != Some(&status) {
            told = Some(status.clone());
            tell(UiMessage::Replay(status));
        }
        if gone {
            return;
        }
        let command = match next {
            Next::Now => commands.try_recv().map_err(|none| match none {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            }),
            Next::After(time) => commands.recv_timeout(time.min(NAP)),
            Next::OnCommand => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(command) => player.obey(command, start.elapsed()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
