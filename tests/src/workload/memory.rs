//! Memory whose node is chosen: fresh regions, policies, what a thread needs locked, and where pages are.
//!
//! Nothing here unmaps a region by itself: it stays to be looked at until the process ends.

use std::{collections::BTreeMap, fs, io, os::fd::RawFd, ptr};

use serde_json::{Value, json};

use super::os::check;

/// Kernel numbers of memory policies (include/uapi/linux/mempolicy.h).
const MPOL_DEFAULT: libc::c_int = 0;
const MPOL_BIND: libc::c_int = 2;
/// A mask has one word: nodes above 63 are none of ours.
const MASK_BITS: libc::c_ulong = 64;

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: sysconf has no memory effect.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Bytes of a huge page that a page table entry of the second level maps.
pub fn huge_page_size() -> usize {
    let told = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    told.ok().and_then(|size| size.trim().parse().ok()).unwrap_or(2 << 20)
}

/// Pages that a read fault of a file maps around itself (`fault_around_bytes`, mm/memory.c): those of an aligned window
/// of addresses, as far as they are in the mapping and in the page cache. debugfs tells how many; 64 KiB unless changed.
pub fn fault_around_pages() -> usize {
    let told = fs::read_to_string("/sys/kernel/debug/fault_around_bytes");
    let bytes = told.ok().and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(64 << 10);
    (bytes / page_size()).max(1)
}

/// Locks all that is mapped now: every page is there, and writable ones are this process's own, so that nothing of it
/// faults any more. What is mapped later is not locked.
pub fn lock_everything() -> io::Result<()> {
    // SAFETY: mlockall changes no content.
    let locked = check(unsafe { libc::mlockall(libc::MCL_CURRENT) }).map(drop);
    locked.map_err(|error| io::Error::new(error.kind(), format!("cannot lock memory (root can): {error}")))
}

/// Switches transparent huge pages off for this process and its children.
pub fn no_huge_pages() -> io::Result<()> {
    // SAFETY: prctl with numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }).map(drop)
}

/// Runs `body` while pages that the calling thread makes come from one node, where no region's own policy says otherwise.
pub fn on_node<T>(node: usize, body: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    set_policy(MPOL_BIND, mask_of(node)?)?;
    let result = body();
    set_policy(MPOL_DEFAULT, 0)?;
    result
}

/// Binds the calling thread, and what it starts, to any of these nodes. Automatic NUMA balancing leaves those alone whose
/// policy is to be bound.
pub fn bind_thread(nodes: &[usize]) -> io::Result<()> {
    let masks: Vec<_> = nodes.iter().map(|node| mask_of(*node)).collect::<io::Result<_>>()?;
    set_policy(MPOL_BIND, masks.into_iter().fold(0, |all, mask| all | mask))
}

/// Gives the calling thread no policy.
pub fn unbind_thread() -> io::Result<()> {
    set_policy(MPOL_DEFAULT, 0)
}

fn set_policy(mode: libc::c_int, mask: u64) -> io::Result<()> {
    let at = if mask == 0 { ptr::null() } else { &raw const mask };
    // SAFETY: the mask outlives the call and has as many bits as are said.
    check_long(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, at, MASK_BITS) })
}

fn mask_of(node: usize) -> io::Result<u64> {
    1u64.checked_shl(node as u32).ok_or_else(|| io::Error::other(format!("node {node} is beyond 63")))
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Pages in a row.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    start: *mut u8,
    pages: usize,
    page: usize,
}

impl Region {
    /// Fresh private memory, touched by nobody.
    pub fn anonymous(pages: usize) -> io::Result<Region> {
        Self::map(pages, page_size(), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    /// Maps so many pages of this size (`MAP_...` in `flags`), at an address that is a multiple of it.
    pub fn map(
        pages: usize,
        page: usize,
        protection: libc::c_int,
        flags: libc::c_int,
        fd: RawFd,
    ) -> io::Result<Region> {
        let start = map_at(ptr::null_mut(), pages * page, protection, flags, fd)?;
        if start.addr() % page == 0 {
            return Ok(Region { start, pages, page });
        }
        // SAFETY: just mapped, and nobody has its address.
        check(unsafe { libc::munmap(start.cast(), pages * page) })?;
        Self::map_aligned(pages, page, page, protection, flags, fd)
    }

    /// The same at a multiple of `alignment`.
    pub fn map_aligned(
        pages: usize,
        page: usize,
        alignment: usize,
        protection: libc::c_int,
        flags: libc::c_int,
        fd: RawFd,
    ) -> io::Result<Region> {
        let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let room = map_at(ptr::null_mut(), pages * page + alignment, libc::PROT_NONE, reserve, -1)?;
        let start = room.wrapping_add(room.addr().next_multiple_of(alignment) - room.addr());
        let start = map_at(start, pages * page, protection, flags | libc::MAP_FIXED, fd)?;
        Ok(Region { start, pages, page })
    }

    /// Bytes of somebody's, each taken for a page: to do once what is done to a region later.
    pub fn rehearsal(bytes: &mut [u8]) -> Region {
        Region { start: bytes.as_mut_ptr(), pages: bytes.len(), page: 1 }
    }

    /// Binds its pages that are not there yet to a node.
    pub fn bind(&self, node: usize) -> io::Result<()> {
        let mask = mask_of(node)?;
        // SAFETY: the mask outlives the call and has as many bits as are said; the policy changes no content.
        let bound =
            unsafe { libc::syscall(libc::SYS_mbind, self.start, self.len(), MPOL_BIND, &raw const mask, MASK_BITS, 0) };
        check_long(bound)
    }

    /// madvise.
    pub fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the region is mapped, and the advice given here does not change content.
        check(unsafe { libc::madvise(self.start.cast(), self.len(), advice) }).map(drop)
    }

    /// mprotect.
    pub fn protect(&self, protection: libc::c_int) -> io::Result<()> {
        // SAFETY: the region is mapped, and no reference to its content is ever made.
        check(unsafe { libc::mprotect(self.start.cast(), self.len(), protection) }).map(drop)
    }

    /// Takes a lock away that [`lock_everything`] put on it.
    pub fn unlock(&self) -> io::Result<()> {
        // SAFETY: munlock changes no content.
        check(unsafe { libc::munlock(self.start.cast(), self.len()) }).map(drop)
    }

    /// Unmaps it. It is not to be used any more.
    pub fn unmap(self) -> io::Result<()> {
        // SAFETY: the region is mapped, and no reference to its content is ever made.
        check(unsafe { libc::munmap(self.start.cast(), self.len()) }).map(drop)
    }

    /// Writes to every `step`-th page, in order.
    pub fn write(&self, step: usize) {
        for page in (0..self.pages).step_by(step) {
            // SAFETY: within the region, which its user has mapped writable.
            unsafe { self.start.add(page * self.page).write_volatile(1) };
        }
    }

    /// Reads from every `step`-th page, in order.
    pub fn read(&self, step: usize) {
        for page in (0..self.pages).step_by(step) {
            // SAFETY: within the region, which its user has mapped readable.
            unsafe { self.start.add(page * self.page).read_volatile() };
        }
    }

    /// Lets the kernel write to all of it: read(2).
    pub fn fill_from(&self, fd: RawFd) -> io::Result<()> {
        // SAFETY: the kernel writes within the region, which its user has mapped writable.
        let read = unsafe { libc::read(fd, self.start.cast(), self.len()) };
        match usize::try_from(read) {
            Ok(read) if read == self.len() => Ok(()),
            Ok(read) => Err(io::Error::other(format!("read {read} bytes of {}", self.len()))),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// The address of a page.
    fn address(&self, page: usize) -> *mut libc::c_void {
        self.start.wrapping_add(page * self.page).cast()
    }

    fn len(&self) -> usize {
        self.pages * self.page
    }
}

fn map_at(at: *mut u8, len: usize, protection: libc::c_int, flags: libc::c_int, fd: RawFd) -> io::Result<*mut u8> {
    // SAFETY: without MAP_FIXED nothing that exists is replaced; with it, a reservation that nobody else knows.
    let start = unsafe { libc::mmap(at.cast(), len, protection, flags, fd, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}

/// Asks where pages are, without a page fault of its own: all its memory is there from the beginning.
#[derive(Debug)]
pub struct Query {
    addresses: Vec<*mut libc::c_void>,
    nodes: Vec<libc::c_int>,
    text: Vec<u8>,
}

impl Query {
    /// For so many pages at most.
    pub fn new(pages: usize) -> Query {
        Query { addresses: vec![ptr::null_mut(); pages], nodes: vec![-1; pages], text: vec![1; 1 << 20] }
    }

    /// How many of every `step`-th page of a region are on each node, by the node's number, and as `none` those that are
    /// nowhere, as is a page of zeros that has only been read.
    pub fn nodes(&mut self, region: &Region, step: usize) -> io::Result<BTreeMap<String, u64>> {
        let mut count = 0;
        for (page, slot) in (0..region.pages).step_by(step).zip(&mut self.addresses) {
            *slot = region.address(page);
            count += 1;
        }
        let no_move: *const libc::c_int = ptr::null();
        // SAFETY: both arrays have `count` places and outlive the call; without target nodes nothing is moved.
        let asked = unsafe {
            let (addresses, nodes) = (self.addresses.as_ptr(), self.nodes.as_mut_ptr());
            libc::syscall(libc::SYS_move_pages, 0, count, addresses, no_move, nodes, 0)
        };
        check_long(asked)?;
        let mut by_node = BTreeMap::new();
        for node in &self.nodes[..count] {
            let name = if *node < 0 { "none".to_owned() } else { node.to_string() };
            *by_node.entry(name).or_default() += 1;
        }
        Ok(by_node)
    }

    /// How many huge pages the kernel says a region has.
    pub fn huge_pages(&mut self, region: &Region) -> io::Result<u64> {
        let mut file = fs::File::open("/proc/self/smaps")?;
        let mut len = 0;
        while len < self.text.len() {
            match io::Read::read(&mut file, &mut self.text[len..])? {
                0 => break,
                read => len += read,
            }
        }
        let text = String::from_utf8_lossy(&self.text[..len]);
        let first = format!("{:x}-", region.start.addr());
        let of_region = text.lines().skip_while(|line| !line.starts_with(&first));
        let kib = of_region.filter_map(|line| line.strip_prefix("AnonHugePages:")).next();
        let kib = kib.and_then(|value| value.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        let kib = kib.ok_or_else(|| io::Error::other("smaps has no such region"))?;
        Ok(kib * 1024 / region.page as u64)
    }
}

/// Page faults of the calling thread so far, as the kernel counts them: minor and major. Those that it takes on the
/// thread's behalf are among them, also where it populates a mapping, which is no page touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    minor: u64,
    major: u64,
}

impl Faults {
    /// Asks.
    pub fn now() -> Faults {
        // SAFETY: a struct of integers, for which zeros are a value; it outlives the call, which cannot fail for it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
            usage
        };
        Faults { minor: usage.ru_minflt.unsigned_abs(), major: usage.ru_majflt.unsigned_abs() }
    }

    /// Those since `before`.
    pub fn since(&self, before: &Faults) -> Faults {
        Faults { minor: self.minor - before.minor, major: self.major - before.major }
    }

    /// Both.
    pub fn all(&self) -> u64 {
        self.minor + self.major
    }

    /// As facts.
    pub fn facts(&self) -> Value {
        json!({ "minor": self.minor, "major": self.major })
    }
}

/// Whether automatic NUMA balancing plants faults of its own.
pub fn balancing() -> bool {
    fs::read_to_string("/proc/sys/kernel/numa_balancing").is_ok_and(|value| value.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_pages_are_nowhere_and_those_written_are_on_a_node() {
        let (access, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // Between reserved addresses, so that it is one mapping alone.
        let region = Region::map_aligned(8, 4096, 8192, access, anonymous, -1).unwrap();
        region.advise(libc::MADV_NOHUGEPAGE).unwrap();
        let mut query = Query::new(8);
        assert_eq!(query.nodes(&region, 1).unwrap(), BTreeMap::from([("none".to_owned(), 8)]));
        region.write(2);
        let nodes = query.nodes(&region, 1).unwrap();
        assert_eq!((nodes["none"], nodes.values().sum::<u64>()), (4, 8));
        assert!(!query.nodes(&region, 2).unwrap().contains_key("none"));
        assert_eq!(query.huge_pages(&region).unwrap(), 0);
        region.unmap().unwrap();
    }

    #[test]
    fn regions_are_aligned_as_asked() {
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let region = Region::map_aligned(4, 4096, 1 << 21, libc::PROT_READ, anonymous, -1).unwrap();
        assert_eq!(region.start.addr() % (1 << 21), 0);
        region.read(1);
    }
}
