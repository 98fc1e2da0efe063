//! Values of options: text to number, each refused with one sentence that says what would do.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use super::PinTo;
use crate::collect::MaxOverhead;
use crate::findings::Change;
use crate::recording::writer::SMALLEST;
use crate::text::{display_bytes, duration as show};

/// Largest thread id of any Linux kernel (`PID_MAX_LIMIT` on 64-bit machines).
pub const MAX_PID: u32 = 1 << 22;

const RING_MIN: u64 = 4 << 10;
const RING_MAX: u64 = 1 << 30;
/// Larger than any file system's files.
const RECORDING_MAX: u64 = 1 << 50;
const DAY: u64 = 86_400;

/// A command name as the kernel keeps it: at most 15 bytes, NUL-padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comm(pub [u8; 16]);

/// Takes any bytes, since a command name need not be UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommParser;

impl TypedValueParser for CommParser {
    type Value = Comm;

    fn parse_ref(
        &self,
        cmd: &clap::Command,
        _arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        comm(value.as_encoded_bytes()).map_err(|why| cmd.clone().error(ErrorKind::ValueValidation, why))
    }
}

fn comm(name: &[u8]) -> Result<Comm, String> {
    let mut out = [0; 16];
    if name.is_empty() {
        return Err("--comm needs a command name, as in /proc/PID/comm; the empty one matches no thread".into());
    }
    if name.len() > 15 {
        let kept = &name[..15];
        return Err(format!(
            "the command name '{}' has {} bytes, but the kernel keeps 15 of a name: use --comm '{}'",
            display_bytes(name),
            name.len(),
            display_bytes(kept)
        ));
    }
    out[..name.len()].copy_from_slice(name);
    Ok(Comm(out))
}

pub(super) fn pid(text: &str) -> Result<u32, String> {
    id(text, "process")
}

pub(super) fn tid(text: &str) -> Result<u32, String> {
    id(text, "thread")
}

fn id(text: &str, what: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(id @ 1..=MAX_PID) => Ok(id),
        _ => Err(format!("a {what} id is a number from 1 to {MAX_PID}")),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    time(text, Duration::from_millis(10), Duration::from_secs(30 * DAY))
}

/// Time between numbers, 50 ms to an hour.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    time(text, Duration::from_millis(50), Duration::from_secs(3_600))
}

pub(super) fn slower_than(text: &str) -> Result<Duration, String> {
    time(text, Duration::from_micros(1), Duration::from_secs(3_600))
}

/// How much a flight recorder keeps.
pub(super) fn last(text: &str) -> Result<Duration, String> {
    time(text, Duration::from_secs(1), Duration::from_secs(3_600))
}

/// For how long no trigger fires.
pub(super) fn cooldown(text: &str) -> Result<Duration, String> {
    time(text, Duration::ZERO, Duration::from_secs(30 * DAY))
}

/// Files of a flight recorder.
pub(super) fn max_files(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(files @ 1..=10_000) => Ok(files),
        _ => Err("must be a number from 1 to 10000".into()),
    }
}

/// `1h 30m`, `250ms`, or a plain number of seconds, within bounds.
fn time(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let text = text.trim();
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let parsed = if plain {
        text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    } else {
        humantime::parse_duration(text).ok()
    };
    match parsed {
        None => Err("a time is a number with a unit, such as 250ms, 30s, 5m or 1h, or plain seconds".into()),
        Some(time) if (min..=max).contains(&time) => Ok(time),
        Some(_) => Err(format!("must be between {} and {}", bound(min), bound(max))),
    }
}

/// A bound in the form in which it can be typed.
fn bound(time: Duration) -> String {
    match time.as_secs() {
        0 => show(time.as_nanos() as u64).replace(".00", "").replace(".0", ""),
        s if s % DAY == 0 => format!("{}d", s / DAY),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s => format!("{s}s"),
    }
}

/// A number from 0 to `most`.
pub(super) fn at_most(text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("must be a number from 0 to {most}"))
}

/// Page touches a second.
pub(super) fn fault_samples(text: &str) -> Result<u32, String> {
    at_most(text, 100_000)
}

/// Groups that `diff` compares.
pub(super) fn groups(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(groups @ 0..=128) => Ok(groups),
        _ => Err("must be a number from 0 (all) to 128".into()),
    }
}

/// A number that random draws begin with.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("must be a number from 0 to {}", u64::MAX))
}

/// The number of a node, or `all`.
pub(super) fn pin_to(text: &str) -> Result<PinTo, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(PinTo::All),
        (_, Ok(node)) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(PinTo::Node(node)),
        _ => Err("a node is its number, as in numactl --hardware, or all".into()),
    }
}

/// `RULE.LIMIT=NUMBER`, `RULE=off` or `RULE=on`.
pub(super) fn limit(text: &str) -> Result<Change, String> {
    text.parse().map_err(|bad: crate::findings::Bad| bad.to_string())
}

pub(super) fn top(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 0..=1_000_000) => Ok(n),
        _ => Err("must be a number from 0 (all) to 1000000".into()),
    }
}

/// As [`size`], rounded up to a power of two.
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    match size(text)? {
        size @ RING_MIN..=RING_MAX => Ok(size.next_power_of_two() as u32),
        _ => Err("must be between 4K and 1G".into()),
    }
}

/// Least and greatest limit of what tracing may cost, in percent: less is not measured.
const OVERHEAD: (f64, f64) = (0.01, 100.0);

/// `2%`, `0.5%` or `off`.
pub(super) fn max_overhead(text: &str) -> Result<MaxOverhead, String> {
    if text == "off" {
        return Ok(MaxOverhead::Off);
    }
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (OVERHEAD.0..=OVERHEAD.1).contains(&percent) => Ok(MaxOverhead::Share(percent / 100.0)),
        Some(_) => Err(format!("must be between {}% and {}%", OVERHEAD.0, OVERHEAD.1)),
        None => Err("must be a share of the machine's CPU time, such as 2% or 0.5%, or off".into()),
    }
}

/// As [`size`], of a recording.
pub(super) fn max_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        size @ SMALLEST..=RECORDING_MAX => Ok(size),
        _ => Err("must be between 256K and 1024T".into()),
    }
}

/// `8M`, `8MiB`, `512k` or plain bytes; more than can be told is as much as can be.
fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("a size is a number of bytes with or without a unit, such as 65536, 512K, 8M or 1G".into()),
    };
    let Ok(number) = text[..digits].parse::<u64>() else {
        return Err("a size starts with a whole number, such as 512K or 8M".into());
    };
    Ok(number.saturating_mul(1 << unit))
}
