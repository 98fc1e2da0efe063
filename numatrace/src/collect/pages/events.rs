//! Perf software events of page faults, on each CPU, with a program set to them.
//!
//! The kernel ends a CPU's events when the CPU goes offline, and says nothing. A CPU that comes back gets new ones, and the
//! time between is told.

use std::{
    collections::BTreeMap,
    fs, io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use aya_obj::generated::perf_event_attr;

use crate::{collect::system::monotonic_ns, topology::list};

/// `PERF_COUNT_SW_PAGE_FAULTS`, `_MIN` and `_MAJ`.
pub(super) const ALL: u64 = 2;
pub(super) const MIN: u64 = 5;
pub(super) const MAJ: u64 = 6;

const SOFTWARE: u32 = 1;
const SAMPLE_ADDR: u64 = 1 << 3;
const SAMPLE_PHYS_ADDR: u64 = 1 << 19;
const SAMPLE_DATA_PAGE_SIZE: u64 = 1 << 22;
const IOC_ENABLE: libc::Ioctl = 0x2400;
const IOC_SET_BPF: libc::Ioctl = 0x4004_2408;
/// Where the kernel tells which CPUs are online.
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// A time in which nothing was seen of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lapse {
    pub(super) cpu: u32,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// Events of all CPUs.
pub(super) struct Events {
    /// What to count, and the program for it, which is open as long as the object is.
    wanted: Vec<(u64, RawFd)>,
    with_page: bool,
    on: BTreeMap<u32, Vec<OwnedFd>>,
    /// CPUs that went, and since when nothing was seen of them, at the earliest.
    gone: BTreeMap<u32, u64>,
    /// What [`ONLINE`] said last.
    online: Vec<u8>,
    /// When all was well last.
    well_ns: u64,
    hotplug: Option<Hotplug>,
    memory_changed: bool,
    /// None is open on purpose.
    paused: bool,
}

impl Events {
    /// Whether memory came or went since this was asked last, as far as the kernel has said so.
    pub(super) fn memory_changed(&mut self) -> bool {
        std::mem::take(&mut self.memory_changed)
    }

    /// Opens them on every CPU that is online.
    ///
    /// # Errors
    /// Why the first one that is refused was refused.
    pub(super) fn open(wanted: &[(u64, RawFd)], with_page: bool) -> Result<Events, String> {
        // Before the list is read: what changes from then on is heard of.
        let hotplug = Hotplug::listen();
        let online = fs::read(ONLINE).map_err(|error| format!("cannot read {ONLINE}: {error}"))?;
        raise_file_limit();
        let mut events = Events {
            wanted: wanted.to_vec(),
            with_page,
            on: BTreeMap::new(),
            gone: BTreeMap::new(),
            online,
            well_ns: monotonic_ns(),
            hotplug,
            memory_changed: false,
            paused: false,
        };
        for cpu in cpus(&events.online) {
            let on = events.open_on(cpu).map_err(|error| match error.raw_os_error() {
                Some(libc::EMFILE) => {
                    format!("perf_event_open: too many open files at CPU {cpu}: raise the limit (ulimit -n)")
                }
                _ => format!("perf_event_open on CPU {cpu}: {error}"),
            })?;
            events.on.insert(cpu, on);
        }
        Ok(events)
    }

    /// Closes all of them, or has the next look open them again and tell the lapses.
    pub(super) fn pause(&mut self, pause: bool) {
        self.paused = pause;
        if pause {
            let now = monotonic_ns();
            for cpu in std::mem::take(&mut self.on).into_keys() {
                self.gone.insert(cpu, now);
            }
        }
    }

    /// Those that were closed on purpose and not opened again: their lapses end now.
    pub(super) fn end_gaps(&mut self, over: &mut dyn FnMut(Lapse)) {
        if !self.paused {
            return;
        }
        let end_ns = monotonic_ns();
        for (cpu, start_ns) in std::mem::take(&mut self.gone) {
            over(Lapse { cpu, start_ns, end_ns });
        }
    }

    fn open_on(&self, cpu: u32) -> io::Result<Vec<OwnedFd>> {
        self.wanted.iter().map(|(config, program)| open(*config, cpu, self.with_page, *program)).collect()
    }

    /// Looks which CPUs came and went since the last look, and opens events anew on those that are there again. Gives the
    /// lapses that are over.
    pub(super) fn look(&mut self, over: &mut dyn FnMut(Lapse)) {
        let now = monotonic_ns();
        let Ok(online) = fs::read(ONLINE) else { return };
        let heard = self.hotplug.as_ref().map(Hotplug::hear).unwrap_or_default();
        self.memory_changed |= heard.memory || heard.missed;
        if self.paused {
            return;
        }
        // Where something was said that was not heard, any CPU may have gone and come.
        let mut went = if heard.missed { self.on.keys().copied().collect() } else { heard.went };
        if online == self.online && went.is_empty() && self.gone.is_empty() {
            self.well_ns = now;
            return;
        }
        let there = cpus(&online);
        went.extend(self.on.keys().copied().filter(|cpu| !there.contains(cpu)));
        for cpu in went {
            if self.on.remove(&cpu).is_some() {
                self.gone.insert(cpu, self.well_ns);
            }
        }
        for cpu in there {
            if self.on.contains_key(&cpu) {
                continue;
            }
            // One that cannot be opened is tried again. One that was never there has lost nothing before now.
            if let Ok(on) = self.open_on(cpu) {
                self.on.insert(cpu, on);
                let start_ns = self.gone.remove(&cpu).unwrap_or(now);
                over(Lapse { cpu, start_ns, end_ns: monotonic_ns() });
            }
        }
        self.online = online;
        self.well_ns = now;
    }
}

/// The kernel's word of CPUs that come and go: without it, one that went and came between two looks would go unnoticed.
struct Hotplug(OwnedFd);

impl Hotplug {
    fn listen() -> Option<Hotplug> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a system call with three integers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_KOBJECT_UEVENT) };
        if fd < 0 {
            return None;
        }
        // SAFETY: a descriptor that the kernel has just given to us.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeroes is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        // The kernel's own messages, not those of a device manager.
        address.nl_groups = 1;
        let len = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: a valid address of this length.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) } == 0;
        bound.then_some(Hotplug(socket))
    }

    /// What it said since the last time.
    fn hear(&self) -> Heard {
        let mut heard = Heard::default();
        let mut message = [0u8; 4096];
        loop {
            // SAFETY: room for as many bytes as are asked for.
            let read = unsafe { libc::recv(self.0.as_raw_fd(), message.as_mut_ptr().cast(), message.len(), 0) };
            match usize::try_from(read) {
                Ok(read) => heard.take(&message[..read.min(message.len())]),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    // More was said than there was room for: then there is more to read.
                    if error.raw_os_error() != Some(libc::ENOBUFS) {
                        return heard;
                    }
                    heard.missed = true;
                }
            }
        }
    }
}

/// What the kernel said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// CPUs that went offline: one that came back since is not told from one that did not.
    went: Vec<u32>,
    /// Memory came or went.
    memory: bool,
    /// Something was not heard.
    missed: bool,
}

impl Heard {
    /// A message like `offline@/devices/system/cpu/cpu3`.
    fn take(&mut self, message: &[u8]) {
        let head = message.split(|byte| *byte == 0).next().and_then(|head| std::str::from_utf8(head).ok());
        let Some((action, path)) = head.and_then(|head| head.split_once('@')) else { return };
        self.memory |= path.starts_with("/devices/system/memory/") && action != "change";
        let cpu = path.strip_prefix("/devices/system/cpu/cpu").and_then(|cpu| cpu.parse::<u32>().ok());
        self.went.extend(cpu.filter(|_| action == "offline"));
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    let mut heard = Heard::default();
    heard.take(bytes);
    assert!(heard.went.len() <= 1 && !heard.missed);
    let _ = cpus(bytes);
}

fn cpus(online: &[u8]) -> Vec<u32> {
    std::str::from_utf8(online).ok().and_then(|text| list::parse(text.trim())).unwrap_or_default()
}

fn open(config: u64, cpu: u32, with_page: bool, program: RawFd) -> io::Result<OwnedFd> {
    const CLOSE_ON_EXEC: libc::c_ulong = 8;
    // SAFETY: all zeroes is a valid perf_event_attr.
    let mut attr: perf_event_attr = unsafe { mem::zeroed() };
    attr.type_ = SOFTWARE;
    attr.size = mem::size_of::<perf_event_attr>() as u32;
    attr.config = config;
    attr.__bindgen_anon_1.sample_period = 1;
    attr.sample_type = SAMPLE_ADDR | if with_page { SAMPLE_PHYS_ADDR | SAMPLE_DATA_PAGE_SIZE } else { 0 };
    attr.set_disabled(1);
    let (everybody, no_group) = (-1i32, -1i32);
    // SAFETY: a valid attribute; libc has no function for this call.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attr, everybody, cpu as i32, no_group, CLOSE_ON_EXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just given to us.
    let event = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    for (request, argument) in [(IOC_SET_BPF, program), (IOC_ENABLE, 0)] {
        // SAFETY: both take an integer.
        if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}

/// Two events for each CPU can be more files than a process may have by default: as many as it may have at most.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 && limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: a valid limit. Where it is refused, opening says so.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_cpu_went_and_that_memory_changed() {
        let heard = |messages: &[&str]| {
            let mut heard = Heard::default();
            messages.iter().for_each(|message| heard.take(message.as_bytes()));
            (heard.went, heard.memory)
        };
        let both = ["offline@/devices/system/cpu/cpu12\0ACTION=offline\0", "online@/devices/system/cpu/cpu12"];
        assert_eq!(heard(&both), (vec![12], false));
        assert_eq!(heard(&["online@/devices/system/memory/memory3"]), (vec![], true));
        let others = ["change@/devices/system/cpu/cpu3", "change@/devices/system/memory/memory3", "libudev", "", "\0"];
        assert_eq!(heard(&others), (vec![], false));
    }
}
