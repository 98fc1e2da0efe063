//! One scan of one process, in pieces of at most about half a millisecond.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::Work;
use super::maps::{Kind, Maps, Next, Range};
use super::pages::{Entry, Kinds, Look, Pagemap, Zero};
use crate::topology::memory::{NodeMap, Segment};

/// Words of a pagemap that are read at once, 16 KiB. The kernel takes 50-80 ns for each small page that is present (6 for
/// one of a huge page, 5 for none): 0.1-0.2 ms, and longer reads are not cheaper. It holds the lock of the mappings for
/// 512 of them at a time.
const AT_ONCE: usize = 2_048;
/// Words that are read where little is known to be present.
const FEW: u64 = 512;
/// Pages of which is asked what they are before others have their turn, half a microsecond each.
const MOST_ASKED: u32 = 256;
/// Threads of a process that are tried when its first one has ended.
const MOST_THREADS: usize = 8;

/// What scans share.
#[derive(Debug)]
pub(super) struct Tools {
    pub map: NodeMap,
    pub nodes: usize,
    pub kinds: Kinds,
    pub zero: Zero,
    pub page_bytes: u64,
    /// The kernel finds present pages (`PAGEMAP_SCAN`, 6.7 and later).
    pub finds: bool,
    pub buffer: Box<[u64]>,
}

impl Tools {
    pub(super) fn buffer() -> Box<[u64]> {
        vec![0; AT_ONCE].into()
    }
}

/// A process that is being scanned.
#[derive(Debug)]
pub(super) struct Running {
    pub tgid: u32,
    pub began_ns: u64,
    pub pages: Vec<u64>,
    pub unknown: u64,
    maps: Maps,
    pagemap: Pagemap,
    /// What is left of the mapping that it is at.
    left: Option<Range>,
    /// How to go on there.
    go: Go,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    /// Look for the next present page.
    Look,
    /// Read this many pages.
    Read(u64),
}

impl Running {
    /// Begins a scan of the process with this directory in /proc.
    ///
    /// # Errors
    /// When the process is gone, has no memory (a thread of the kernel), or may not be looked at.
    pub(super) fn begin(proc: &Path, tgid: u32, began_ns: u64, tools: &Tools) -> Result<Running> {
        let process = proc.join(tgid.to_string());
        let (maps, pagemap) = match open(&process, tools.page_bytes) {
            // Its first thread may have ended while others go on: then these have the memory.
            Err(e) if has_no_memory(&e) => {
                let others = threads(&process.join("task"))?;
                others.iter().find_map(|thread| open(thread, tools.page_bytes).ok()).ok_or(e)?
            }
            opened => opened?,
        };
        let pages = vec![0; tools.nodes];
        Ok(Running { tgid, began_ns, pages, unknown: 0, maps, pagemap, left: None, go: Go::Look })
    }

    /// Does a piece of work; says whether that was the last.
    ///
    /// # Errors
    /// When the process is gone, or may no longer be looked at.
    pub(super) fn advance(&mut self, tools: &mut Tools, work: &mut Work) -> Result<bool> {
        let Some(range) = self.left else {
            match self.maps.next()? {
                Next::Mapping(range) => self.enter(range, tools),
                Next::Read => work.calls += 1,
                Next::End if self.pagemap.is_there() => return Ok(true),
                Next::End => return Err(ErrorKind::NotFound.into()),
            }
            return Ok(false);
        };
        let next = match self.go {
            Go::Look => {
                work.looks += 1;
                self.look(range)
            }
            Go::Read(pages) => {
                work.calls += 1;
                self.read(range, pages, tools, work)?
            }
        };
        self.left = (next < range.end).then_some(Range { start: next, ..range });
        Ok(false)
    }

    fn enter(&mut self, range: Range, tools: &Tools) {
        if range.kind.reserved && !tools.finds {
            // It can be larger than anything that could be gone through, and most likely nothing is there.
            return;
        }
        let read = !tools.finds || range.end - range.start <= FEW && !range.kind.reserved;
        self.go = if read { Go::Read(AT_ONCE as u64) } else { Go::Look };
        self.left = Some(range);
    }

    /// Gives the page from which on there is something to do.
    fn look(&mut self, range: Range) -> u64 {
        match self.pagemap.look(range.start, range.end) {
            Look::At(page) => {
                // To the end of what one page table maps: behind it there may be nothing.
                self.go = Go::Read(FEW - page % FEW);
                page
            }
            Look::NotBefore(page) => page,
            Look::Refused => {
                self.go = Go::Read(AT_ONCE as u64);
                range.start
            }
        }
    }

    /// Counts pages; gives the page from which on there is something to do.
    fn read(&mut self, range: Range, pages: u64, tools: &mut Tools, work: &mut Work) -> Result<u64> {
        let most = pages.min(range.end - range.start).min(AT_ONCE as u64);
        // The buffer is the tools', and counting needs them.
        let mut buffer = std::mem::take(&mut tools.buffer);
        let counted = self.pagemap.read(range.start, &mut buffer[..most as usize]).map(|entries| {
            work.pages += entries.len() as u64;
            (self.count(range, entries, tools, work), entries.last().is_some_and(|last| Entry(*last).present()))
        });
        tools.buffer = buffer;
        let (counted, present) = counted?;
        if counted == 0 {
            return Err(ErrorKind::NotFound.into());
        }
        self.go = if present || !tools.finds { Go::Read(AT_ONCE as u64) } else { Go::Look };
        Ok(range.start + counted)
    }

    /// Counts as numa_maps does; gives how many entries it came to.
    fn count(&mut self, range: Range, entries: &[u64], tools: &mut Tools, work: &mut Work) -> u64 {
        let mut asked = 0;
        let mut near: Option<Segment> = None;
        for (nth, entry) in entries.iter().enumerate() {
            let (page, entry) = (range.start + nth as u64, Entry(*entry));
            if !entry.present() || tools.zero.is(page, entry, &tools.kinds) {
                continue;
            }
            let pfn = entry.pfn();
            if near.is_none_or(|near| !(near.start_pfn..near.end_pfn).contains(&pfn)) {
                near = tools.map.segment_of(pfn).filter(|segment| usize::from(segment.node) < self.pages.len());
            }
            if range.kind.driver || near.is_none() {
                if asked == MOST_ASKED {
                    return nth as u64;
                }
                asked += 1;
                work.calls += 1;
            }
            if !is_counted(entry, range.kind, near.is_some(), || tools.kinds.of(pfn)) {
                continue;
            }
            match near {
                Some(segment) => self.pages[usize::from(segment.node)] += 1,
                None => self.unknown += 1,
            }
        }
        entries.len() as u64
    }
}

/// Whether numa_maps counts a page that is present and not the zero page: it does not where there is no page to the
/// kernel (`vm_normal_page`), nor the kernel's own pages, nor the memory of devices. `bits` are [`Kinds`] of it.
fn is_counted(entry: Entry, kind: Kind, on_a_node: bool, bits: impl FnOnce() -> u64) -> bool {
    // A shared mapping has no anonymous pages: what is no file's there is no page.
    if kind.shared && !entry.file() {
        return false;
    }
    if on_a_node && !kind.driver {
        return true;
    }
    let bits = bits();
    let normal = entry.file() || bits & Kinds::ANONYMOUS != 0 || !kind.driver;
    normal && bits & (Kinds::NO_PAGE | Kinds::RESERVED) == 0
}

fn open(dir: &Path, page_bytes: u64) -> Result<(Maps, Pagemap)> {
    let pagemap = Pagemap::open(dir, page_bytes)?;
    if !pagemap.is_there() {
        return Err(ErrorKind::NotFound.into());
    }
    Ok((Maps::open(dir, page_bytes)?, pagemap))
}

/// A thread that has ended, or one of the kernel: later kernels do not open its files.
fn has_no_memory(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn threads(tasks: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(tasks)?.take(MOST_THREADS).map(|entry| Ok(entry?.path())).collect()
}
