//! Turns addresses of a traced process into words: what they are mapped to, and which function an instruction is in.
//!
//! Place in the flow: beside `collect`, off the hot path. It reads /proc and files of processes that may be hostile, or
//! gone: what cannot be told is said with its reason, and nothing here fails.
//!
//! A name is looked up in Go's own table first, then in the symbol tables of the file. Code that a program writes at
//! run time has none.
//!
//! Memory is bounded by [`processes`] (maps), [`names`] (symbols) and here (names that were told). Of files, only headers
//! and symbols of functions are ever read. Reads of files on a network or in user space wait for whoever serves them.

mod bytes;
mod cache;
mod demangle;
mod elf;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod golang;
mod gopclntab;
mod maps;
mod names;
mod processes;

use std::path::Path;
use std::time::Instant;

use self::cache::Cache;
use self::files::Files;
use self::maps::Mapping;
use self::processes::Processes;

/// Names that are remembered.
const MAX_NAMES: usize = 65_536;
/// Files that are opened when a process is met: its program and the libraries that are mapped first. The others are
/// opened when they are asked for.
const MAX_OPENED: usize = 16;

/// Why code has no name that is in no file with names.
const WRITTEN_CODE: &str = "JIT or anonymous code";

/// Knows processes that were met or asked for, and tells what their addresses are.
///
/// It stays in the thread that made it.
pub struct Resolver {
    processes: Processes,
    files: Files,
    /// By opening of a file and place in it.
    names: Cache<(u64, u64), String>,
}

impl Resolver {
    /// Reads processes under `proc`, which is `/proc` but in tests.
    pub fn new(proc: &Path) -> Resolver {
        Resolver { processes: Processes::new(proc), files: Files::new(proc), names: Cache::new(MAX_NAMES) }
    }

    /// What an address is mapped to, in words that are safe to show: `heap`, `stack`, the path of a file,
    /// `shared anonymous memory`, `anon 0x7f0000000000-0x7f0000200000`. `None` where that is not known: the process has
    /// exited, or the address is not mapped.
    pub fn mapping(&mut self, tgid: u32, addr: u64) -> Option<String> {
        self.processes.find(tgid, addr, Instant::now()).ok().map(Mapping::words)
    }

    /// The function that an instruction of a process is in, safe to show: `main`, or where no name is known the place and
    /// the reason, as `server+0x1a2b (stripped)` or `0x7f0000000000 (JIT or anonymous code)`. The place in a file is
    /// counted as `nm` and `addr2line` count.
    pub fn symbol(&mut self, tgid: u32, ip: u64) -> String {
        let mapping = match self.processes.find(tgid, ip, Instant::now()) {
            Ok(mapping) => mapping,
            Err(why) => return format!("{ip:#x} ({why})"),
        };
        let inside = ip - mapping.start;
        if mapping.is_vdso() {
            return format!("vdso+{inside:#x} (not looked up)");
        }
        if !mapping.is_file() {
            return format!("{ip:#x} ({WRITTEN_CODE})");
        }
        let at = mapping.offset.wrapping_add(inside);
        // What was told of a file that was written to since is still true of the process that ran it.
        if let Some(name) = self.files.opening(mapping).and_then(|opening| self.names.get((opening, at))) {
            return name;
        }
        let binary = match self.files.get(tgid, mapping) {
            Ok(binary) => binary,
            Err(_) if mapping.is_memory_file() => return format!("{ip:#x} ({WRITTEN_CODE})"),
            Err(why) => return format!("{}+{at:#x} ({why})", mapping.binary()),
        };
        let opening = binary.opening;
        let name = match binary.name(at) {
            Ok(name) => name,
            // Not remembered: another process has it at another address.
            Err(_) if mapping.is_memory_file() => return format!("{ip:#x} ({WRITTEN_CODE})"),
            Err((place, why)) => format!("{}+{place:#x} ({why})", mapping.binary()),
        };
        self.names.put((opening, at), name.clone());
        self.files.drop_symbols();
        name
    }

    /// Reads what a process has mapped, and opens its code, so that both can be told after it exits. Nothing is done if
    /// that was within the last second.
    pub fn meet(&mut self, tgid: u32) {
        self.processes.meet(tgid, Instant::now());
        let mut left = MAX_OPENED;
        for mapping in self.processes.news(tgid) {
            if self.files.has(mapping) {
                continue;
            }
            // What cannot be opened now is told when it is asked for.
            let _ = self.files.get(tgid, mapping);
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }

    /// Drops what is known of a process, as of one that ended long ago, or that runs another program now.
    pub fn forget(&mut self, tgid: u32) {
        self.processes.forget(tgid);
    }
}

#[cfg(test)]
mod tests;
