//! How a thread may be scheduled, from files of /proc: for where system calls know it by another id.

use std::fs;

use numatrace_common::abi::{Attributes, CPU_WORDS};

use super::system::monotonic_ns;
use crate::target::Machine;
use crate::topology::list;

/// What `sched_getattr` and `sched_getaffinity` would say of these threads, as records. A thread that is gone gives none.
pub(super) fn read(machine: &Machine, tids: &[u32], sink: &mut dyn FnMut(Attributes)) {
    let online = fs::read_to_string(machine.path("/sys/devices/system/cpu/online")).ok();
    let Some(online) = online.and_then(|text| list::parse(&text)) else { return };
    let mut usable = [0u64; CPU_WORDS];
    for cpu in online {
        if let Some(word) = usable.get_mut(cpu as usize / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    for tid in tids {
        let file = |name: &str| fs::read(machine.path(format!("/proc/{tid}/{name}"))).ok();
        let (Some(stat), Some(status)) = (file("stat"), file("status")) else { continue };
        let (Some((policy, nice, rt_priority)), Some(mut allowed)) = (scheduling(&stat), allowed(&status)) else {
            continue;
        };
        allowed.iter_mut().zip(usable).for_each(|(word, usable)| *word &= usable);
        let header = Attributes::header(monotonic_ns(), 0, 0);
        sink(Attributes { header, tid: *tid, policy, nice, rt_priority, allowed });
    }
}

/// Policy, nice value and real-time priority: the 41st, 19th and 40th field of /proc/TID/stat. The second is the name in
/// parentheses, which can hold anything.
fn scheduling(stat: &[u8]) -> Option<(u32, i32, u32)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().collect();
    // The third field is the first of these.
    let field = |number: usize| fields.get(number - 3).copied();
    let policy = field(41)?.parse().ok()?;
    let is_fair = matches!(i32::try_from(policy), Ok(libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE));
    let nice = if is_fair { field(19)?.parse().ok()? } else { 0 };
    Some((policy, nice, field(40)?.parse().ok()?))
}

/// `Cpus_allowed:` of /proc/TID/status: `ff,ffffffff`, 32 CPUs between commas, the highest first.
fn allowed(status: &[u8]) -> Option<[u64; CPU_WORDS]> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Cpus_allowed:"))?;
    let mut words = [0u64; CPU_WORDS];
    for (at, part) in std::str::from_utf8(line).ok()?.trim().rsplit(',').enumerate() {
        let bits = u64::from(u32::from_str_radix(part, 16).ok()?);
        match words.get_mut(at / 2) {
            Some(word) => *word |= bits << (32 * (at % 2)),
            None if bits == 0 => {}
            // More CPUs than a record has room for.
            None => return None,
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::system;

    #[test]
    fn files_say_what_system_calls_say() {
        // SAFETY: gettid has no argument and cannot fail.
        let tid = unsafe { libc::gettid() }.unsigned_abs();
        let mut read_here = None;
        read(&Machine::this(), &[tid], &mut |record| read_here = Some(record));
        let (here, asked) = (read_here.expect("a record"), system::attributes(tid).expect("an answer"));
        assert_eq!((here.policy, here.nice, here.rt_priority), (asked.policy, asked.nice, asked.rt_priority));
        assert_eq!(here.allowed, asked.allowed);
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = |policy: u32| {
            let rest: Vec<String> = (3..=52)
                .map(|n| match n {
                    19 => "-5".into(),
                    40 => "7".into(),
                    41 => policy.to_string(),
                    n => n.to_string(),
                })
                .collect();
            format!("9 (a) b) {}", rest.join(" "))
        };
        assert_eq!(scheduling(stat(0).as_bytes()), Some((0, -5, 7)));
        assert_eq!(scheduling(stat(1).as_bytes()), Some((1, 0, 7)));
        assert_eq!(scheduling(b"9 (a) S 1"), None);
        assert_eq!(scheduling(b""), None);
    }

    #[test]
    fn a_mask_has_its_lowest_cpus_last() {
        let words = allowed(b"Name:\tx\nCpus_allowed:\t3,00000000,80000001\n").expect("a mask");
        assert_eq!(words[..2], [0x8000_0001, 3]);
        for text in [&b""[..], b"Cpus_allowed:\tx\n", b"Cpus_allowed:\t1ffffffff\n"] {
            assert_eq!(allowed(text), None);
        }
        let many = format!("Cpus_allowed:\t1{}\n", ",0".repeat(CPU_WORDS * 2));
        assert_eq!(allowed(many.as_bytes()), None);
    }
}
