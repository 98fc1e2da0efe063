//! Resident pages by node, of processes that do what is hard to count, held against the kernel's own count.
//!
//! The kernel's own count is numa_maps. Where the kernel has no nodes it is Rss of smaps and what is hugetlb, of all
//! mappings but the kernel's own: smaps counts [vdso].
//!
//! The processes are forked from the test and then do nothing: their pages stay as they are, but for those that the
//! kernel takes away, so what it counts is asked before and after.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use numatrace::collect::placement::{INTERVAL, MAX_PROCESSES, Scan, Scanner, Work};
use numatrace::collect::system::monotonic_ns;
use numatrace::topology::Topology;
use numatrace::topology::memory::NodeMap;
use numatrace_tests::workload::os;

const STEP: Duration = Duration::from_millis(1);
const GIB: usize = 1 << 30;
/// Steps after which a test gives up.
const MANY: usize = 20_000;

fn topology() -> Topology {
    Topology::read(Path::new("/sys")).expect("sysfs of this machine")
}

/// `None`, with a sentence, for those who may not know page frame numbers.
fn scanner() -> Option<Scanner> {
    let topology = topology();
    let map = NodeMap::read(Path::new("/"), &topology).expect("the memory of this machine");
    let scanner = Scanner::new(Path::new("/proc"), map, topology.nodes.len());
    let may_not = |reason: &str| reason.contains("CAP_SYS_ADMIN") || reason.contains("cannot be read");
    scanner.inspect_err(|reason| if may_not(reason) { eprintln!("skipped: {reason}") } else { panic!("{reason}") }).ok()
}

fn page() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page size")
}

/// A forked process that did something and now waits for its end.
struct Child(libc::pid_t);

impl Child {
    /// `work` runs between fork and exit, so it must not allocate or lock; what it returns says that it went well.
    fn start(work: impl FnOnce() -> bool) -> Child {
        Child::that_stays(work, || {
            loop {
                // SAFETY: pause has no preconditions.
                unsafe { libc::pause() };
            }
        })
    }

    fn that_stays(work: impl FnOnce() -> bool, stay: fn()) -> Child {
        use std::os::fd::AsRawFd as _;
        let (mut from, to) = os::pipe().expect("a pipe");
        // SAFETY: the child calls nothing that needs a lock which another thread may hold.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: system calls with integers, and a byte that is there.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if work() {
                    libc::write(to.as_raw_fd(), b"!".as_ptr().cast(), 1);
                    stay();
                }
                libc::_exit(1)
            }
        }
        drop(to);
        let child = Child(os::check(pid).expect("a process"));
        from.read_exact(&mut [0]).expect("the process did what it should");
        child
    }

    fn tgid(&self) -> u32 {
        self.0.unsigned_abs()
    }

    fn end(&self) {
        // SAFETY: a child of ours that was not waited for, or none.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// A new mapping; null when there is none. Allocates nothing.
fn map(bytes: usize, access: libc::c_int, how: libc::c_int, fd: libc::c_int) -> *mut u8 {
    // SAFETY: a new mapping where the kernel wants it.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, how, fd, 0) };
    if start == libc::MAP_FAILED { ptr::null_mut() } else { start.cast() }
}

fn anonymous(bytes: usize) -> *mut u8 {
    map(bytes, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1)
}

/// One, aligned for huge pages, that asks for them or for none.
fn advised(bytes: usize, advice: libc::c_int) -> *mut u8 {
    const HUGE: usize = 2 << 20;
    let start = anonymous(bytes + HUGE);
    let start = start.wrapping_add(start.align_offset(HUGE));
    // SAFETY: our mapping; a kernel without huge pages refuses.
    unsafe { libc::madvise(start.cast(), bytes, advice) };
    start
}

/// Writes to, or reads, a byte at every `step`.
fn touch(start: *mut u8, bytes: usize, step: usize, write: bool) {
    for at in (0..bytes).step_by(step) {
        // SAFETY: the mapping has that many bytes and allows it.
        unsafe {
            if write {
                start.add(at).write_volatile(1);
            } else {
                start.add(at).read_volatile();
            }
        }
    }
}

const RW: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;

/// Everything that is counted in a way of its own.
fn everything() -> bool {
    let page = page();
    // Every second page; pages that were only read; huge pages, written and read.
    touch(advised(1_000 * page, libc::MADV_NOHUGEPAGE), 1_000 * page, 2 * page, true);
    touch(advised(300 * page, libc::MADV_NOHUGEPAGE), 300 * page, page, false);
    let huge = advised(16 << 20, libc::MADV_HUGEPAGE);
    touch(huge, 6 << 20, 4_096, true);
    touch(huge.wrapping_add(8 << 20), 6 << 20, 4_096, false);
    // Memory of files, shared and not; read and written.
    let shared = map(100 * page, RW, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1);
    touch(shared, 100 * page, page, true);
    // SAFETY: names that end in 0, and descriptors of ours.
    let (memory, zero) = unsafe {
        let memory = libc::memfd_create(c"placement".as_ptr(), 0);
        libc::ftruncate(memory, (64 * page) as libc::off_t);
        (memory, libc::open(c"/dev/zero".as_ptr(), libc::O_RDWR))
    };
    for (fd, how) in [(memory, libc::MAP_SHARED), (memory, libc::MAP_PRIVATE), (zero, libc::MAP_PRIVATE)] {
        let start = map(64 * page, RW, how, fd);
        if start.is_null() {
            return false;
        }
        touch(start, 64 * page, page, false);
        touch(start, 32 * page, page, true);
    }
    // What a driver maps: the ring of a perf event, where that is allowed.
    let mut event = [0u32; 32];
    // PERF_TYPE_SOFTWARE, its size, PERF_COUNT_SW_DUMMY.
    (event[0], event[1], event[2]) = (1, 128, 9);
    // SAFETY: a description of that size, and integers.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, event.as_ptr(), 0, -1, -1, 0) };
    let ring = map(9 * page, RW, libc::MAP_SHARED, fd as libc::c_int);
    if !ring.is_null() {
        touch(ring, 9 * page, page, false);
    }
    // Huge pages of the other kind, where some are set aside.
    let set_aside = map(4 << 20, RW, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB, -1);
    if !set_aside.is_null() {
        touch(set_aside, 4 << 20, 4_096, true);
    }
    // Reservations.
    !map(64 * GIB, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1).is_null()
}

/// Maps 64 GiB, and touches ten pages of it.
fn sparse() -> bool {
    let start = advised(64 * GIB, libc::MADV_NOHUGEPAGE);
    touch(start.wrapping_add(5 * page()), 63 * GIB, 7 * GIB - 3 * page(), true);
    !start.is_null()
}

/// Pages by position of the node, as the kernel counts them now.
fn truth(tgid: u32) -> Vec<u64> {
    let topology = topology();
    let mut pages = vec![0; topology.nodes.len()];
    let base = page() as u64 / 1_024;
    if let Ok(text) = fs::read_to_string(format!("/proc/{tgid}/numa_maps")) {
        for line in text.lines() {
            let words = || line.split(' ').filter_map(|word| word.split_once('='));
            let size = words().find(|(key, _)| *key == "kernelpagesize_kB").map_or(base, |(_, kb)| number(kb));
            for (node, count) in words().filter_map(|(key, count)| Some((key.strip_prefix('N')?, count))) {
                let at = topology.nodes.iter().position(|of| node == of.id.0.to_string()).expect("a node");
                pages[at] += number(count) * size / base;
            }
        }
        return pages;
    }
    let text = fs::read_to_string(format!("/proc/{tgid}/smaps")).expect("smaps");
    let mut own = false;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Rss:" | "Shared_Hugetlb:" | "Private_Hugetlb:") if !own => {
                pages[0] += number(words.next().expect("a number")) / base;
            }
            Some(key) if !key.ends_with(':') => own = line.contains("[v"),
            _ => {}
        }
    }
    pages
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// The next scan of this process alone, and the work for it.
fn scan(scanner: &mut Scanner, tgid: u32) -> (Scan, Work) {
    scanner.set_processes(&[]);
    scanner.set_processes(&[tgid]);
    let before = scanner.work();
    let mut found = None;
    for _ in 0..MANY {
        scanner.step(monotonic_ns(), STEP, &mut |scan| found = Some(scan));
        if let Some(scan) = found.take() {
            assert_eq!(scan.tgid, tgid);
            assert!(scan.began_ns <= scan.ended_ns && scan.ended_ns <= monotonic_ns());
            let after = scanner.work();
            let pages = after.pages - before.pages;
            return (
                scan,
                Work { calls: after.calls - before.calls, looks: after.looks - before.looks, pages, failed: 0 },
            );
        }
    }
    panic!("no scan after {MANY} steps: {:?}", scanner.work());
}

/// The process is counted as the kernel counts it.
fn compare(scanner: &mut Scanner, tgid: u32) -> Scan {
    for _ in 0..20 {
        let before = truth(tgid);
        let (scan, _) = scan(scanner, tgid);
        if before == truth(tgid) {
            assert_eq!((&scan.pages, scan.unknown), (&before, 0), "{}", text_of(tgid));
            return scan;
        }
    }
    panic!("the pages of a process that does nothing change all the time");
}

fn text_of(tgid: u32) -> String {
    fs::read_to_string(format!("/proc/{tgid}/numa_maps")).unwrap_or_default()
}

#[test]
fn pages_are_counted_as_the_kernel_counts_them() {
    let Some(mut scanner) = scanner() else { return };
    let plain = Child::start(|| true);
    let child = Child::start(everything);
    let [plain, all] = [&plain, &child].map(|child| compare(&mut scanner, child.tgid()).pages.iter().sum::<u64>());
    // 500 every second, 100 shared, 64 of the memory file twice, 32 of /dev/zero.
    assert!(all >= plain + 500 + 100 + 128 + 32 - 50, "{plain} and {all}");
    scanner.set_old_kernel();
    compare(&mut scanner, child.tgid());
}

#[test]
fn pages_that_may_not_be_touched_any_more_are_resident() {
    let Some(mut scanner) = scanner() else { return };
    let child = Child::start(|| {
        let start = anonymous(100 * page());
        touch(start, 100 * page(), page(), true);
        // SAFETY: our mapping.
        unsafe { libc::mprotect(start.cast(), 100 * page(), libc::PROT_NONE) == 0 }
    });
    let pages = |scan: &Scan| scan.pages.iter().sum::<u64>();
    let all = pages(&scan(&mut scanner, child.tgid()).0);
    scanner.set_old_kernel();
    let without = pages(&scan(&mut scanner, child.tgid()).0);
    // Without PAGEMAP_SCAN they are not looked for.
    assert!(all == without || (all - 130..all - 90).contains(&without), "{all} and {without}");
}

#[test]
fn what_is_mapped_and_not_there_costs_little() {
    let Some(mut scanner) = scanner() else { return };
    let (plain, child) = (Child::start(|| true), Child::start(sparse));
    compare(&mut scanner, child.tgid());
    let [(_, plain), (_, work)] = [&plain, &child].map(|child| scan(&mut scanner, child.tgid()));
    if work.looks == plain.looks {
        return eprintln!("skipped: this kernel does not find pages");
    }
    // 128 looks of 512 MiB, and two for each page that is there.
    assert!(work.looks <= plain.looks + 128 + 30, "{work:?} and {plain:?}");
    assert!(work.pages <= plain.pages + 10 * 2_048, "{work:?} and {plain:?}");
}

#[test]
fn a_process_whose_first_thread_ended_is_scanned() {
    let Some(mut scanner) = scanner() else { return };
    extern "C" fn wait(_: *mut libc::c_void) -> *mut libc::c_void {
        loop {
            // SAFETY: pause has no preconditions.
            unsafe { libc::pause() };
        }
    }
    let with_a_thread = || {
        let mut thread = 0;
        // SAFETY: a function that never returns, and no argument.
        unsafe { libc::pthread_create(&raw mut thread, ptr::null(), wait, ptr::null_mut()) == 0 }
    };
    let child = Child::that_stays(with_a_thread, || {
        // SAFETY: ends this thread alone, which holds nothing.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    while os::state(&child.tgid().to_string(), child.tgid()).expect("a state").0 != 'Z' {
        std::thread::sleep(STEP);
    }
    assert!(scan(&mut scanner, child.tgid()).0.pages.iter().sum::<u64>() > 50);
}

#[test]
fn a_process_that_exits_meanwhile_gives_no_scan() {
    let Some(mut scanner) = scanner() else { return };
    let child = Child::start(many_pages);
    scanner.set_processes(&[child.tgid(), u32::MAX]);
    // So short that a step does no more than what is done between two looks at the clock.
    let short = Duration::from_micros(20);
    let mut none = |scan: Scan| panic!("{scan:?}");
    while scanner.work().pages < 5_000 {
        scanner.step(monotonic_ns(), short, &mut none);
    }
    child.end();
    for _ in 0..MANY {
        scanner.step(monotonic_ns(), short, &mut none);
        if scanner.work().failed == 2 {
            return;
        }
    }
    panic!("{:?}", scanner.work());
}

/// 40,000, small ones.
fn many_pages() -> bool {
    touch(advised(40_000 * page(), libc::MADV_NOHUGEPAGE), 40_000 * page(), page(), true);
    true
}

#[test]
fn a_step_does_little_more_than_it_may_and_the_next_one_less() {
    let Some(mut scanner) = scanner() else { return };
    let child = Child::start(many_pages);
    scanner.set_processes(&[child.tgid()]);
    let nothing = Duration::from_nanos(1);
    let mut none = |scan: Scan| panic!("{scan:?}");
    scanner.step(monotonic_ns(), Duration::ZERO, &mut none);
    assert_eq!(scanner.work(), Work::default());
    scanner.step(monotonic_ns(), nothing, &mut none);
    let work = scanner.work();
    assert!(work.calls + work.looks > 0 && work.calls + work.looks < 100 && work.pages < 1_024 + 2_048, "{work:?}");
    for _ in 0..1_000 {
        scanner.step(monotonic_ns(), nothing, &mut none);
    }
    assert_eq!(scanner.work(), work, "what was used beyond is taken off");
    // It goes on where it was: in all nothing is read twice.
    let (mut done, mut most) = (None, 0);
    for _ in 0..MANY {
        let before = scanner.work().pages;
        scanner.step(monotonic_ns(), Duration::from_micros(100), &mut |scan| done = Some(scan));
        most = most.max(scanner.work().pages - before);
        if done.is_some() {
            break;
        }
    }
    let done = done.expect("a scan").pages.iter().sum::<u64>();
    assert!(done >= 40_000 && most < 40_000, "{done} pages, {most} in one step");
    let work = scanner.work();
    assert!(work.pages < 2 * done + 100_000, "{work:?}");
}

#[test]
fn processes_have_their_turns_and_no_more_than_one_a_second() {
    let Some(mut scanner) = scanner() else { return };
    let children = [0; 3].map(|_| Child::start(|| true));
    let tgids = children.each_ref().map(Child::tgid);
    let second = u64::try_from(INTERVAL.as_nanos()).expect("a second");
    let mut counts: HashMap<u32, usize> = HashMap::new();
    let mut rounds = |scanner: &mut Scanner, now: u64, expected: [usize; 3]| {
        for _ in 0..200 {
            scanner.step(now, STEP, &mut |scan| *counts.entry(scan.tgid).or_default() += 1);
        }
        assert_eq!(tgids.map(|tgid| counts.get(&tgid).copied().unwrap_or(0)), expected);
    };
    let now = monotonic_ns();
    scanner.set_processes(&tgids[..2]);
    rounds(&mut scanner, now, [1, 1, 0]);
    // One that is new does not wait for the others.
    scanner.set_processes(&tgids);
    rounds(&mut scanner, now + second / 2, [1, 1, 1]);
    rounds(&mut scanner, now + second * 5 / 4, [2, 2, 1]);
    scanner.set_processes(&tgids[2..]);
    rounds(&mut scanner, now + second * 5, [2, 2, 2]);
    scanner.set_processes(&[]);
    rounds(&mut scanner, now + second * 9, [2, 2, 2]);
    scanner.set_processes(&(1..=5_000).chain([1]).collect::<Vec<u32>>());
    assert_eq!(scanner.left_out(), 5_000 - MAX_PROCESSES);
}

#[test]
fn pages_of_which_the_node_is_not_known_are_told_and_a_new_map_begins_anew() {
    let Some(mut scanner) = scanner() else { return };
    let child = Child::start(|| true);
    let known = compare(&mut scanner, child.tgid());
    scanner.set_processes(&[]);
    scanner.set_processes(&[child.tgid()]);
    scanner.step(monotonic_ns(), Duration::from_nanos(1), &mut |scan| panic!("{scan:?}"));
    scanner.set_map(NodeMap::default());
    let mut found = None;
    for _ in 0..MANY {
        scanner.step(monotonic_ns(), STEP, &mut |scan| found = Some(scan));
        if found.is_some() {
            break;
        }
    }
    let found = found.expect("a scan");
    let (known, unknown) = (known.pages.iter().sum::<u64>(), found.unknown);
    assert_eq!(found.pages.iter().sum::<u64>(), 0);
    assert!(known.abs_diff(unknown) < 50, "{known} and {unknown}");
}

#[test]
fn this_process_is_scanned_while_it_runs() {
    let Some(mut scanner) = scanner() else { return };
    let start = advised(4_000 * page(), libc::MADV_NOHUGEPAGE);
    let own = std::process::id();
    let before = scan(&mut scanner, own).0.pages.iter().sum::<u64>();
    touch(start, 4_000 * page(), page(), true);
    let after = scan(&mut scanner, own).0.pages.iter().sum::<u64>();
    assert!(after >= 4_000 && after + 20_000 >= before + 4_000, "{before} and {after}");
}

#[test]
fn without_the_files_it_says_why_it_is_off() {
    let proc = tempfile::tempdir().expect("a directory");
    let reason = Scanner::new(proc.path(), NodeMap::default(), 1).expect_err("nothing is there");
    assert!(reason.contains("self/pagemap cannot be read"), "{reason}");
}

/// Says what it costs here: `cargo test --release --test placement -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn what_a_scan_costs() {
    let Some(mut scanner) = scanner() else { return };
    let fill = |advice| touch(advised(GIB, advice), GIB, 4_096, true);
    let plain = Child::start(|| true);
    for (name, advice) in [("small", libc::MADV_NOHUGEPAGE), ("huge", libc::MADV_HUGEPAGE)] {
        let child = Child::start(|| {
            fill(advice);
            true
        });
        let cost = |scanner: &mut Scanner, tgid| {
            let before = cpu();
            let (_, work) = scan(scanner, tgid);
            (cpu() - before, work)
        };
        let (base, _) = cost(&mut scanner, plain.tgid());
        let (whole, work) = cost(&mut scanner, child.tgid());
        let before = cpu();
        truth(child.tgid());
        eprintln!("1 GiB of {name} pages: {:?}, {work:?}; numa_maps {:?}", whole.saturating_sub(base), cpu() - before);
    }
    let child = Child::start(sparse);
    let before = cpu();
    let (_, work) = scan(&mut scanner, child.tgid());
    eprintln!("64 GiB with ten pages: {:?}, {work:?}", cpu() - before);
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
