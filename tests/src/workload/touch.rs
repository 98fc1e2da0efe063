//! A thread on one node that touches a known number of pages of another, of one kind.
//!
//! What makes it exact: before it says that it is ready, everything that the process has mapped is locked, so that
//! nothing but the pages that it is about faults; what it needs to report is there already. The kernel's own count of the
//! thread's faults (getrusage) around the touches must be what the kind promises, or the workload fails. The counts in
//! /proc from one gate to the other, which the crew takes, must then be the same.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::{AsRawFd as _, RawFd},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    args::Args,
    crew::Crew,
    memory::{self, Faults, Query, Region, page_size},
    os, usage,
};

/// What is touched, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes to fresh anonymous pages.
    Anon,
    /// Reads of such.
    AnonReadZero,
    /// Reads of a file's pages, one a window.
    File,
    /// Reads of all of a file's pages.
    FileAround,
    /// Writes to fresh shared memory.
    Shared,
    /// Writes to a shared mapping of a file.
    SharedFile,
    /// Writes to pages that a child shares.
    Cow,
    /// Writes to a private mapping of a file.
    CowFile,
    /// Writes to shared pages, by a child.
    CowChild,
    /// Writes to fresh anonymous pages, by a child.
    Exiting,
    /// Writes to huge pages.
    Huge,
    /// One page at a time, mapped and unmapped.
    Short,
    /// The kernel writes.
    Kernel,
    /// Reads of pages that are mapped.
    Retouch,
    /// Pages that the kernel maps at once.
    Populate,
    /// Reads of mapped pages, again and again.
    Hint,
    /// Rounds of map, touch, unmap.
    Rounds,
}

/// Access to pages.
const WRITABLE: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
const ANONYMOUS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
/// Rounds whose time is kept.
const SAMPLES: usize = 1 << 16;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 17] = [
        Kind::Anon,
        Kind::AnonReadZero,
        Kind::File,
        Kind::FileAround,
        Kind::Shared,
        Kind::SharedFile,
        Kind::Cow,
        Kind::CowFile,
        Kind::CowChild,
        Kind::Exiting,
        Kind::Huge,
        Kind::Short,
        Kind::Kernel,
        Kind::Retouch,
        Kind::Populate,
        Kind::Hint,
        Kind::Rounds,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Anon => "anon",
            Kind::AnonReadZero => "anon_read_zero",
            Kind::File => "file",
            Kind::FileAround => "file_around",
            Kind::Shared => "shared",
            Kind::SharedFile => "shared_file",
            Kind::Cow => "cow",
            Kind::CowFile => "cow_file",
            Kind::CowChild => "cow_child",
            Kind::Exiting => "exiting",
            Kind::Huge => "huge",
            Kind::Short => "short",
            Kind::Kernel => "kernel",
            Kind::Retouch => "retouch",
            Kind::Populate => "populate",
            Kind::Hint => "hint",
            Kind::Rounds => "rounds",
        }
    }

    /// The kind of page touch in a report that these are.
    pub const fn counted_as(self) -> &'static str {
        match self {
            Kind::Anon | Kind::Exiting | Kind::Short | Kind::Kernel | Kind::Rounds => "first_touch",
            Kind::File | Kind::FileAround | Kind::Shared | Kind::SharedFile => "file",
            Kind::Cow | Kind::CowFile | Kind::CowChild => "cow",
            Kind::AnonReadZero => "zero",
            Kind::Huge => "huge",
            Kind::Retouch | Kind::Populate | Kind::Hint => "none",
        }
    }

    /// A child makes the touches, and is gone before the report.
    pub const fn by_child(self) -> bool {
        matches!(self, Kind::CowChild | Kind::Exiting)
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Plan {
    kind: Kind,
    count: usize,
    cpu: usize,
    cpu_node: usize,
    page_node: usize,
    time: Duration,
}

impl Plan {
    fn parse(args: &Args) -> io::Result<Plan> {
        let name = args.text("kind")?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| usage(format!("there is no kind '{name}'")))?;
        let (cpu_node, page_node) = args.pair("nodes")?;
        let cpu = args.optional("cpu")?.map_or_else(|| os::cpu_of_node(cpu_node), |cpu| Ok(cpu as usize))?;
        let timed = matches!(kind, Kind::Hint | Kind::Rounds);
        let time = Duration::from_millis(if timed { args.number("millis")? } else { 0 });
        Ok(Plan { kind, count: args.count().map_err(usage)?, cpu, cpu_node, page_node, time })
    }
}

/// `toucher` touches.
pub fn touch(args: &Args, crew: &mut Crew) -> io::Result<()> {
    let plan = Plan::parse(args)?;
    crew.add_prepared("toucher", move || Toucher::prepare(plan), Toucher::work)?;
    Ok(())
}

/// All that the counted part needs.
struct Toucher {
    plan: Plan,
    /// What is touched, where it is mapped beforehand.
    region: Option<Region>,
    /// Pages from one touch to the next.
    step: usize,
    /// Page faults and page touches that are to come.
    expected: (u64, u64),
    query: Query,
    zeros: File,
    holder: Option<Child>,
    samples: Vec<u32>,
}

impl Toucher {
    fn prepare(plan: Plan) -> io::Result<Toucher> {
        os::pin(plan.cpu)?;
        if plan.kind != Kind::Huge {
            memory::no_huge_pages()?;
        }
        let window = memory::fault_around_pages();
        let count = plan.count as u64;
        let (step, expected) = match plan.kind {
            Kind::File => (window, (count, count)),
            Kind::FileAround => (1, (count.div_ceil(window as u64), count.div_ceil(window as u64))),
            Kind::Retouch | Kind::Hint | Kind::CowChild | Kind::Exiting => (1, (0, 0)),
            // The thread's count holds what it populates, but that is no page touch.
            Kind::Populate => (1, (count, 0)),
            _ => (1, (count, count)),
        };
        let file = plan.file(step)?;
        let mut toucher = Toucher {
            region: None,
            step,
            expected,
            query: Query::new(plan.count),
            zeros: File::open("/dev/zero")?,
            holder: None,
            samples: vec![1; if plan.kind == Kind::Rounds { SAMPLES } else { 0 }],
            plan,
        };
        // The clock's page of the kernel is not among those that are locked: one look maps it.
        let _ = (Instant::now(), os::cpu_time(), Faults::now());
        memory::lock_everything()?;
        toucher.region = toucher.plan.region(step, file.as_ref().map(File::as_raw_fd))?;
        if let (Kind::Cow, Some(region)) = (toucher.plan.kind, toucher.region) {
            toucher.holder = Some(shared_with_child(&region)?);
        }
        Ok(toucher)
    }

    fn work(mut self) -> io::Result<Value> {
        // Again: a CPU that was taken off since took the binding with it.
        let _ = os::pin(self.plan.cpu);
        let before = Faults::now();
        let mut more = self.touches()?;
        let faults = Faults::now().since(&before);
        if let Some(touches) = more["touches"].as_u64() {
            self.expected = (touches, touches);
        }
        let (expected, mut touches) = self.expected;
        let more_at_most = match self.plan.kind {
            // Balancing plants faults in any page, which the kernel counts with the others.
            _ if memory::balancing() => u64::MAX,
            // A child's pages are the thread's too for a while, and so have to be copied.
            kind if kind.by_child() => u64::MAX,
            // A page that somebody holds locked just then is left out of what a fault maps around itself, and has one
            // of its own: the kernel's count is what is true.
            Kind::FileAround => {
                touches = faults.all();
                8
            }
            _ => 0,
        };
        if !(expected..=expected.saturating_add(more_at_most)).contains(&faults.all()) {
            return Err(io::Error::other(format!("{} faults instead of {expected}: {faults:?}", faults.all())));
        }
        if let Some(region) = &self.region {
            more["pages_on"] = json!(self.query.nodes(region, self.step)?);
            if self.plan.kind == Kind::Huge {
                more["huge_pages"] = self.query.huge_pages(region)?.into();
            }
        }
        more["kind"] = self.plan.kind.name().into();
        more["counted_as"] = self.plan.kind.counted_as().into();
        more["pages"] = self.plan.count.into();
        more["touches"] = touches.into();
        more["faults"] = faults.all().into();
        more["faults_by_kind"] = faults.facts();
        more["cpu"] = self.plan.cpu.into();
        more["cpu_node"] = self.plan.cpu_node.into();
        more["page_node"] = self.plan.page_node.into();
        Ok(more)
    }

    /// The touches themselves, and what there is to say of them besides.
    fn touches(&mut self) -> io::Result<Value> {
        let plan = &self.plan;
        match (plan.kind, self.region) {
            (Kind::AnonReadZero | Kind::File | Kind::FileAround | Kind::Retouch, Some(region)) => {
                region.read(self.step);
            }
            (Kind::Kernel, Some(region)) => region.fill_from(self.zeros.as_raw_fd())?,
            (Kind::Hint, Some(region)) => return self.read_for_a_while(region),
            (Kind::CowChild, Some(region)) => return children(plan, || Ok(region)),
            (_, Some(region)) => region.write(self.step),
            (Kind::Exiting, None) => return children(plan, || plan.fresh()),
            (Kind::Populate, None) => {
                let flags = ANONYMOUS | libc::MAP_POPULATE;
                let map = || Region::map(plan.count, page_size(), WRITABLE, flags, -1);
                self.region = Some(memory::on_node(plan.page_node, map)?);
            }
            (Kind::Short, None) => {
                let one = Plan { count: 1, ..plan.clone() };
                for _ in 0..plan.count {
                    let page = one.fresh()?;
                    page.write(1);
                    page.unmap()?;
                }
            }
            (Kind::Rounds, None) => return self.rounds(),
            (kind, None) => return Err(io::Error::other(format!("{} has no memory", kind.name()))),
        }
        Ok(json!({}))
    }

    fn read_for_a_while(&mut self, region: Region) -> io::Result<Value> {
        let before = self.query.nodes(&region, 1)?;
        let end = Instant::now() + self.plan.time;
        let mut passes = 0u64;
        while Instant::now() < end {
            region.read(1);
            passes += 1;
        }
        Ok(json!({ "pages_before": before, "passes": passes }))
    }

    fn rounds(&mut self) -> io::Result<Value> {
        let end = Instant::now() + self.plan.time;
        let (mut rounds, mut elsewhere) = (0u64, 0u64);
        while Instant::now() < end {
            // The CPU may be off for now; then the kernel lets the thread run anywhere.
            if os::pin(self.plan.cpu).is_err() {
                elsewhere += 1;
            }
            let region = self.plan.fresh()?;
            let started = os::cpu_time();
            region.write(1);
            let spent = os::cpu_time() - started;
            if let Some(sample) = self.samples.get_mut(rounds as usize) {
                *sample = u32::try_from(spent.as_nanos() / self.plan.count as u128).unwrap_or(u32::MAX);
            }
            region.unmap()?;
            rounds += 1;
        }
        let samples = &mut self.samples[..SAMPLES.min(rounds as usize)];
        samples.sort_unstable();
        let best = samples.first().copied().unwrap_or_default();
        let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
        Ok(json!({
            "rounds": rounds,
            "rounds_elsewhere": elsewhere,
            "touches": rounds * self.plan.count as u64,
            "best_ns": best,
            "median_ns": median,
        }))
    }
}

impl Plan {
    /// Fresh anonymous memory of the wanted node.
    fn fresh(&self) -> io::Result<Region> {
        let region = Region::anonymous(self.count)?;
        region.bind(self.page_node)?;
        Ok(region)
    }

    /// The region that is touched later, in the state that it must be in before.
    fn region(&self, step: usize, file: Option<RawFd>) -> io::Result<Option<Region>> {
        let mapped = |flags, fd| Region::map(self.count, page_size(), WRITABLE, flags, fd);
        let of_file = || {
            let (len, window) = (self.count * step, memory::fault_around_pages() * page_size());
            let fd = file.ok_or_else(|| io::Error::other("there is no file"))?;
            Region::map_aligned(len, page_size(), window, libc::PROT_READ, libc::MAP_PRIVATE, fd)
        };
        let region = match self.kind {
            Kind::Anon | Kind::AnonReadZero | Kind::Kernel => self.fresh()?,
            Kind::File => {
                let region = of_file()?;
                // No reading ahead; what is in the cache is still mapped around a fault.
                region.advise(libc::MADV_RANDOM)?;
                region
            }
            Kind::FileAround => of_file()?,
            Kind::Shared => {
                let region = mapped(libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)?;
                region.bind(self.page_node)?;
                region
            }
            Kind::SharedFile => mapped(libc::MAP_SHARED, file.unwrap_or(-1))?,
            Kind::CowFile => {
                let region = mapped(libc::MAP_PRIVATE, file.unwrap_or(-1))?;
                region.bind(self.page_node)?;
                region
            }
            Kind::Cow | Kind::CowChild => {
                let region = Region::anonymous(self.count)?;
                region.bind(self.cpu_node)?;
                region.write(1);
                region.bind(self.page_node)?;
                region
            }
            Kind::Huge => {
                let region = Region::map_aligned(
                    self.count,
                    memory::huge_page_size(),
                    memory::huge_page_size(),
                    WRITABLE,
                    ANONYMOUS,
                    -1,
                )?;
                region.advise(libc::MADV_HUGEPAGE)?;
                region.bind(self.page_node)?;
                region
            }
            Kind::Retouch => {
                let region = self.fresh()?;
                region.write(1);
                region
            }
            Kind::Hint => {
                // Without a policy of its own: balancing leaves bound memory alone.
                let region = Region::anonymous(self.count)?;
                memory::on_node(self.page_node, || {
                    region.write(1);
                    Ok(())
                })?;
                region
            }
            Kind::Short | Kind::Populate | Kind::Exiting | Kind::Rounds => return Ok(None),
        };
        Ok(Some(region))
    }

    /// A file whose pages are in the page cache of the right node, and that has no name any more.
    fn file(&self, step: usize) -> io::Result<Option<File>> {
        let node = match self.kind {
            Kind::File | Kind::FileAround | Kind::SharedFile => self.page_node,
            // Where the copies are not, so that one can tell which of the two was counted.
            Kind::CowFile => self.cpu_node,
            _ => return Ok(None),
        };
        let path = std::env::temp_dir().join(format!("workload-touch-{}", std::process::id()));
        let file = memory::on_node(node, || written(&path, self.count * step))?;
        Ok(Some(file))
    }
}

/// Makes a file of so many pages.
fn written(path: &Path, pages: usize) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    fs::remove_file(path)?;
    let page = vec![1; page_size()];
    for _ in 0..pages {
        file.write_all(&page)?;
    }
    // A page that is just being written out is locked, and left out of what a fault maps around itself.
    file.sync_all()?;
    Ok(file)
}

/// A child process, which ends with its owner.
struct Child(libc::pid_t);

impl Child {
    /// Forks; the child runs `body` and exits with what it returns. `body` may call only what is safe after a fork in a
    /// process with several threads.
    fn fork(body: impl FnOnce() -> libc::c_int) -> io::Result<Child> {
        // SAFETY: the child makes system calls and touches memory of its own, up to _exit.
        let pid = os::check(unsafe { libc::fork() })?;
        if pid == 0 {
            let code = body();
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(code) };
        }
        Ok(Child(pid))
    }

    /// Waits for its end, which must be a good one: the faults that it has taken in all its life.
    fn faults(self) -> io::Result<u64> {
        let mut status = 0;
        // SAFETY: both outlive the call; the child has not been waited for. Zeros are a value of a struct of integers.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            os::check(libc::wait4(self.0, &mut status, 0, &mut usage))?;
            usage
        };
        std::mem::forget(self);
        let touches_right = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        let faults = usage.ru_minflt.unsigned_abs() + usage.ru_majflt.unsigned_abs();
        if touches_right {
            Ok(faults)
        } else {
            Err(io::Error::other(format!(
                "a child ended with status {status:#x}: it counted other faults than it should"
            )))
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the child has not been waited for, so the id is its own.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// Forks a child that does nothing, so that a region's pages have two owners, and makes all other memory this process's
/// own again.
fn shared_with_child(region: &Region) -> io::Result<Child> {
    let child = Child::fork(|| {
        // SAFETY: system calls with numbers only. The parent that counts is the thread that forked.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::pause()
        }
    })?;
    // Locking makes copies of writable pages; while they are not writable these stay shared.
    region.protect(libc::PROT_READ)?;
    memory::lock_everything()?;
    region.unlock()?;
    region.protect(WRITABLE)?;
    Ok(child)
}

/// A child makes the touches, counts its faults meanwhile, and exits at once. `map` runs in the child.
fn children(plan: &Plan, map: impl Fn() -> io::Result<Region>) -> io::Result<Value> {
    let count = plan.count as u64;
    let child = Child::fork(|| {
        let Ok(region) = map() else { return 2 };
        // A child has no page yet of the file that holds the code, so that running it faults: once.
        let warm = Faults::now();
        Region::rehearsal(&mut [0; 2]).write(1);
        let _ = Faults::now().since(&warm).all();
        let before = Faults::now();
        region.write(1);
        let faults = Faults::now().since(&before).all();
        // Automatic balancing needs longer than this to plant faults of its own.
        i32::from(faults != count)
    })?;
    let pid = child.0;
    let faults = child.faults()?;
    Ok(json!({ "child": pid, "child_touches": count, "child_faults": faults }))
}
