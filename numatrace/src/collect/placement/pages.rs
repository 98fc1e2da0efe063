//! What the kernel tells of pages: /proc/PID/pagemap, which page frame is mapped where; /proc/kpageflags, what kind of page
//! a frame holds.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::{fs, mem, ptr};

use zerocopy::IntoBytes as _;

/// Pages that one look for the next present page goes over at most, so that it takes at most about a millisecond where
/// they are all mapped to the zero page: 7 ns a page there, next to nothing where nothing is mapped.
const LOOK: u64 = 131_072;

/// A word of a pagemap (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(pub u64);

impl Entry {
    /// It is in memory, and mapped.
    pub(super) fn present(self) -> bool {
        self.0 >> 63 & 1 == 1
    }

    /// Page frame number of one that is present; 0 for those who must not know.
    pub(super) fn pfn(self) -> u64 {
        self.0 & ((1 << 55) - 1)
    }

    /// It is a page of a file or of shared memory; neither anonymous, nor (but for huge ones) something that is no page.
    pub(super) fn file(self) -> bool {
        self.0 >> 61 & 1 == 1
    }

    /// Nobody else has it mapped.
    pub(super) fn exclusive(self) -> bool {
        self.0 >> 56 & 1 == 1
    }
}

/// Where the next present page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Here.
    At(u64),
    /// Not before here: look again.
    NotBefore(u64),
    /// The kernel does not say.
    Refused,
}

/// The pagemap of a process.
#[derive(Debug)]
pub(super) struct Pagemap {
    file: File,
    page_bytes: u64,
}

impl Pagemap {
    /// Of the process or thread whose directory in /proc this is.
    pub(super) fn open(dir: &Path, page_bytes: u64) -> Result<Pagemap> {
        Ok(Pagemap { file: File::open(dir.join("pagemap"))?, page_bytes })
    }

    /// Entries from page number `page` on. None when the process is gone: else there is one even for what is not mapped.
    pub(super) fn read<'a>(&self, page: u64, into: &'a mut [u64]) -> Result<&'a [u64]> {
        let read = self.file.read_at(into.as_mut_bytes(), page.saturating_mul(8))?;
        Ok(&into[..read / 8])
    }

    /// Whether the process still has its memory: not after it exited or called execve.
    pub(super) fn is_there(&self) -> bool {
        self.read(0, &mut [0]).is_ok_and(|entries| !entries.is_empty())
    }

    /// Looks for a page that is present and not the zero page, from page number `page` to before `end` or less.
    pub(super) fn look(&self, page: u64, end: u64) -> Look {
        let mut found = [0u64; 3];
        let end = end.min(page + LOOK);
        let mut request = Request {
            size: size_of::<Request>() as u64,
            flags: 0,
            start: page * self.page_bytes,
            end: end * self.page_bytes,
            walk_end: 0,
            regions: found.as_mut_ptr() as u64,
            room: 1,
            max_pages: 1,
            inverted: Request::ZERO,
            all_of: Request::PRESENT | Request::ZERO,
            any_of: 0,
            told: Request::PRESENT,
        };
        // SAFETY: `request` is what this call reads and writes, and `found` has room for the one region of three words
        // that it may write. On kernels before 6.7 there is no such call.
        let regions = unsafe { libc::ioctl(self.file.as_raw_fd(), Request::NUMBER, &raw mut request) };
        let reached = match regions {
            0 => request.walk_end,
            1 => found[0],
            _ => return Look::Refused,
        } / self.page_bytes;
        match regions {
            1 if (page..end).contains(&reached) => Look::At(reached),
            0 if (page + 1..=end).contains(&reached) => Look::NotBefore(reached),
            _ => Look::Refused,
        }
    }
}

/// `struct pm_scan_arg` (include/uapi/linux/fs.h).
#[repr(C)]
struct Request {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    room: u64,
    max_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    told: u64,
}

impl Request {
    /// `PAGEMAP_SCAN`.
    const NUMBER: libc::Ioctl = libc::_IOWR::<Request>(b'f' as u32, 16);
    /// `PAGE_IS_PRESENT`.
    const PRESENT: u64 = 1 << 3;
    /// `PAGE_IS_PFNZERO`. Before 6.17 the kernel does not say it of the huge zero page.
    const ZERO: u64 = 1 << 5;
}

/// What kind of page a frame holds (include/uapi/linux/kernel-page-flags.h).
#[derive(Debug)]
pub(super) struct Kinds(File);

impl Kinds {
    /// Not a file's, not shared memory (`KPF_ANON`).
    pub(super) const ANONYMOUS: u64 = 1 << 12;
    /// No page of memory: of a device, or a hole (`KPF_NOPAGE`).
    pub(super) const NO_PAGE: u64 = 1 << 20;
    /// The zero page, or a piece of the huge one (`KPF_ZERO_PAGE`).
    pub(super) const ZERO: u64 = 1 << 24;
    /// The kernel's own (`KPF_RESERVED`).
    pub(super) const RESERVED: u64 = 1 << 32;

    pub(super) fn open(proc: &Path) -> Result<Kinds> {
        Ok(Kinds(File::open(proc.join("kpageflags"))?))
    }

    /// Bits as above. A system call of about half a microsecond; asking for many at once saves little, as the kernel
    /// takes 0.2 microseconds for each.
    pub(super) fn of(&self, pfn: u64) -> u64 {
        let mut flags = 0u64;
        match self.0.read_at(flags.as_mut_bytes(), pfn.saturating_mul(8)) {
            Ok(8) => flags,
            // Behind the end of memory.
            _ => Self::NO_PAGE,
        }
    }
}

/// Tells the zero page and the huge zero page from pages that hold something.
#[derive(Debug)]
pub(super) struct Zero {
    /// Page frame number of the one zero page.
    small: u64,
    /// Pages of a huge page, 0 where there are none.
    huge_pages: u64,
    /// First page frame of the huge zero page, once it was met. It may be another one later: it is freed while no
    /// process has it mapped.
    huge: Option<u64>,
}

impl Zero {
    /// `small` is the frame of a page that was read and never written.
    pub(super) fn new(small: u64, page_bytes: u64) -> Zero {
        let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").unwrap_or_default();
        let pages = text.trim().parse::<u64>().unwrap_or(0) / page_bytes;
        Zero { small, huge_pages: if pages.is_power_of_two() { pages } else { 0 }, huge: None }
    }

    /// Whether what is mapped at page number `page` is one of them. Asks once for each huge page that is not exclusive.
    pub(super) fn is(&mut self, page: u64, entry: Entry, kinds: &Kinds) -> bool {
        let pfn = entry.pfn();
        if pfn == self.small {
            return true;
        }
        // In a huge page both numbers are equally far from its start.
        if entry.exclusive() || self.huge_pages == 0 || (page ^ pfn) & (self.huge_pages - 1) != 0 {
            return false;
        }
        if pfn & (self.huge_pages - 1) == 0 {
            if kinds.of(pfn) & Kinds::ZERO != 0 {
                self.huge = Some(pfn);
            } else if self.huge == Some(pfn) {
                self.huge = None;
            }
        }
        self.huge.is_some_and(|first| (first..first + self.huge_pages).contains(&pfn))
    }
}

/// Two pages of our own.
#[derive(Debug)]
pub(super) struct OwnPages {
    /// Page frame of one that was written.
    pub written: u64,
    /// And of one that was only read.
    pub read: u64,
}

impl OwnPages {
    /// Maps them, asks, and unmaps them.
    pub(super) fn ask(pagemap: &Pagemap) -> Result<OwnPages> {
        let bytes = 2 * pagemap.page_bytes as usize;
        let (access, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, wherever the kernel wants it.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, how, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let first = start.cast::<u8>();
        // SAFETY: both are in the mapping, and nothing else has it. Small pages, whatever the settings: a huge page that
        // is read first would be the huge zero page.
        unsafe {
            libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
            first.read_volatile();
            first.add(bytes / 2).write_volatile(1);
        }
        let mut entries = [0; 2];
        let read = pagemap.read(start as u64 / pagemap.page_bytes, &mut entries).map(<[u64]>::len);
        // SAFETY: what was mapped above, and nothing refers to it.
        unsafe { libc::munmap(start, bytes) };
        read?;
        let [read, written] = entries.map(|entry| Entry(entry).pfn());
        Ok(OwnPages { written, read })
    }
}

/// CPU time of the calling thread in nanoseconds.
pub(super) fn cpu_ns() -> u64 {
    // SAFETY: all zeroes is a valid timespec.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: a valid pointer; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
