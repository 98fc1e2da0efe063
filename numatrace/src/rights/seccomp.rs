//! Which system calls drain threads and the dashboard's threads may make. All others fail with `EPERM`, as where a right is missing:
//! whoever got hold of such a thread executes nothing, opens no sockets and traces nobody. Nor can memory become executable, or a
//! process be made.
//!
//! What is not called by numatrace's own code stands in the lists as glibc and musl need it, on x86-64 and AArch64; but for `tkill`, by which
//! musl aborts: it can name threads of other processes. Without it an abort ends in a fault.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

type Result<T> = std::result::Result<T, String>;

/// Conditions on arguments, all of which have to hold.
type Conditions<'a> = &'a [(u8, SeccompCmpOp, u64)];

/// Calls for themselves: memory, locks, clocks, signals' returns, the end of a thread.
const COMMON: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    // Standard error, of which Rust asks so when it panics.
    libc::SYS_writev,
];

/// Files, the terminal, and threads.
const RENDER: &[libc::c_long] = &[
    // `clone3` itself is answered with ENOSYS: see `no_clone3`.
    libc::SYS_clone3,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_renameat2,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_set_tid_address,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Older names of some of these, which AArch64 never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_renameat];

const EXEC: SeccompCmpOp = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
/// Of memory: never executable.
const NO_CODE: &[Conditions<'_>] = &[&[(2, EXEC, 0)]];

/// Names of threads and of their memory.
const NAMES: &[Conditions<'_>] =
    &[&[(0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)], &[(0, SeccompCmpOp::Eq, libc::PR_SET_VMA as u64)]];

/// No process, only a thread of this one.
const THREAD: &[Conditions<'_>] =
    &[&[(0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), libc::CLONE_THREAD as u64)]];

/// The kind of a socket, without the flags that stand beside it (`SOCK_TYPE_MASK`).
const KIND: SeccompCmpOp = SeccompCmpOp::MaskedEq(0xf);
/// The two ends of a pipe for signals: a stream, which has one other end for good.
const UNIX: &[Conditions<'_>] = &[&[(0, SeccompCmpOp::Eq, libc::AF_UNIX as u64), (1, KIND, libc::SOCK_STREAM as u64)]];

/// Over a socket that is connected already: no address, all of its bits.
const NO_ADDRESS: &[Conditions<'_>] = &[&[(4, SeccompCmpOp::Eq, 0)]];

/// What is asked of terminals and set there, as C libraries do before and since termios2; nothing is typed into one (`TIOCSTI`).
#[allow(clippy::unnecessary_cast, reason = "requests are of another type with musl")]
const TERMINAL: &[Conditions<'_>] = &[
    &[(1, SeccompCmpOp::Eq, libc::TCGETS as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCSETS as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCSETSW as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCSETSF as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCGETS2 as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCSETS2 as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCSETSW2 as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TCSETSF2 as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TIOCGWINSZ as u64)],
    &[(1, SeccompCmpOp::Eq, libc::TIOCGPGRP as u64)],
    &[(1, SeccompCmpOp::Eq, libc::FIONBIO as u64)],
    &[(1, SeccompCmpOp::Eq, libc::FIONREAD as u64)],
    &[(1, SeccompCmpOp::Eq, libc::FIOCLEX as u64)],
];

/// The calling thread may from now on do no more than a drain thread has to.
pub(super) fn drain() -> Result<()> {
    let mut list = List::default();
    list.all(COMMON);
    list.of_memory()?;
    list.of_own_process()?;
    list.apply()
}

/// The calling thread, and those that it makes, may from now on do no more than the dashboard has to: with `kill`, end the
/// process of this id.
pub(super) fn render(kill: Option<u32>) -> Result<()> {
    no_clone3()?;
    let mut list = List::default();
    list.all(COMMON);
    list.all(RENDER);
    list.all(OLDER);
    list.of_memory()?;
    list.of_own_process()?;
    list.only(libc::SYS_clone, THREAD)?;
    list.only(libc::SYS_ioctl, TERMINAL)?;
    list.only(libc::SYS_prctl, NAMES)?;
    list.only_of(libc::SYS_sendto, &Qword, NO_ADDRESS)?;
    list.only(libc::SYS_socketpair, UNIX)?;
    if let Some(pid) = kill {
        list.only(libc::SYS_kill, &[&[(0, SeccompCmpOp::Eq, u64::from(pid))]])?;
    }
    list.apply()
}

/// C libraries try `clone3`, whose flags no filter can see, and use `clone` where the kernel does not have it.
fn no_clone3() -> Result<()> {
    let rules = [(libc::SYS_clone3, Vec::new())].into_iter().collect();
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    apply(SeccompFilter::new(rules, SeccompAction::Allow, missing, arch()?))
}

/// What may be called.
#[derive(Default)]
struct List(BTreeMap<libc::c_long, Vec<SeccompRule>>);

impl List {
    fn all(&mut self, calls: &[libc::c_long]) {
        // No rules: with any arguments.
        self.0.extend(calls.iter().map(|call| (*call, Vec::new())));
    }

    /// Only with arguments that one of these holds for. They are numbers of 32 bits, as the kernel takes them.
    fn only(&mut self, call: libc::c_long, any_of: &[Conditions<'_>]) -> Result<()> {
        self.only_of(call, &Dword, any_of)
    }

    fn only_of(&mut self, call: libc::c_long, width: &SeccompCmpArgLen, any_of: &[Conditions<'_>]) -> Result<()> {
        let rule = |all_of: &Conditions<'_>| {
            let condition = |(index, how, value): &(u8, SeccompCmpOp, u64)| {
                SeccompCondition::new(*index, width.clone(), how.clone(), *value)
            };
            SeccompRule::new(all_of.iter().map(condition).collect::<std::result::Result<_, _>>()?)
        };
        let rules: std::result::Result<_, seccompiler::BackendError> = any_of.iter().map(rule).collect();
        self.0.insert(call, rules.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn of_memory(&mut self) -> Result<()> {
        self.only(libc::SYS_mmap, NO_CODE)?;
        self.only(libc::SYS_mprotect, NO_CODE)
    }

    /// A signal to a thread of this process: how the process stops itself, and how glibc aborts.
    fn of_own_process(&mut self) -> Result<()> {
        let own = u64::from(std::process::id());
        self.only(libc::SYS_tgkill, &[&[(0, SeccompCmpOp::Eq, own)]])
    }

    fn apply(self) -> Result<()> {
        let refused = SeccompAction::Errno(libc::EPERM as u32);
        apply(SeccompFilter::new(self.0, refused, SeccompAction::Allow, arch()?))
    }
}

fn arch() -> Result<TargetArch> {
    TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())
}

fn apply(filter: std::result::Result<SeccompFilter, seccompiler::BackendError>) -> Result<()> {
    let program: BpfProgram = filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| match error {
        seccompiler::Error::Prctl(why) | seccompiler::Error::Seccomp(why) => why.to_string(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io, net, os::fd::AsRawFd as _, process, thread};

    use super::*;

    /// What `work` gives on a thread that is so confined; `None` where the kernel has no seccomp.
    fn confined<T: Send + 'static>(filter: fn() -> Result<()>, work: fn() -> T) -> Option<T> {
        let thread = thread::spawn(move || match filter() {
            Ok(()) => Some(work()),
            Err(why) => {
                eprintln!("skipped: {why}");
                None
            }
        });
        thread.join().expect("it goes on")
    }

    fn refused<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
    }

    fn executable_memory() -> io::Result<()> {
        // SAFETY: a new mapping wherever the kernel wants it, which is given back below.
        let start = unsafe {
            let (access, how) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), 4_096, access, how, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: what was mapped above, and nothing refers to it.
        unsafe { libc::munmap(start, 4_096) };
        Ok(())
    }

    fn traced() -> io::Result<()> {
        // SAFETY: it would attach to no process.
        let done = unsafe { libc::ptrace(libc::PTRACE_SEIZE, 0, 0, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn datagrams() -> io::Result<()> {
        std::os::unix::net::UnixDatagram::pair().map(drop)
    }

    /// Something for an address whose low half is 0, where nothing is, over one end of a pair.
    fn addressed() -> io::Result<()> {
        let (from, _to) = std::os::unix::net::UnixStream::pair()?;
        let (address, length) = (std::ptr::without_provenance(1 << 32), size_of::<libc::sockaddr_un>());
        // SAFETY: a byte to send; the kernel reads the address, or says that it cannot.
        let sent = unsafe {
            libc::sendto(
                from.as_raw_fd(),
                c"x".as_ptr().cast(),
                1,
                libc::MSG_NOSIGNAL,
                address,
                length as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Each fails with another number, or succeeds, where no filter stands in the way.
    fn forbidden() -> [bool; 7] {
        [
            refused(process::Command::new("/proc/self/exe").arg("--list").output()),
            refused(net::UdpSocket::bind("127.0.0.1:0")),
            refused(net::TcpStream::connect("127.0.0.1:9")),
            refused(executable_memory()),
            refused(traced()),
            refused(addressed()),
            refused(datagrams()),
        ]
    }

    #[test]
    fn what_is_not_listed_is_refused_and_was_not_before() {
        assert!(!refused(executable_memory()) && !refused(net::UdpSocket::bind("127.0.0.1:0")));
        assert!(!refused(addressed()) && !refused(datagrams()));
        let filters: [fn() -> Result<()>; 3] = [drain, || render(None), || render(Some(1))];
        for filter in filters {
            assert!(
                confined(filter, forbidden).is_none_or(|all| all == [true; 7]),
                "{:?}",
                confined(filter, forbidden)
            );
        }
    }

    #[test]
    fn a_drain_thread_opens_no_file_and_starts_no_thread() {
        let tried = || {
            let memory: Vec<u8> = vec![1; 32 << 20];
            thread::park_timeout(std::time::Duration::from_millis(1));
            let sum = memory.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            (sum, refused(fs::read("/proc/self/stat")), refused(thread::Builder::new().spawn(|| {})))
        };
        assert!(confined(drain, tried).is_none_or(|tried| tried == (32 << 20, true, true)));
    }

    #[test]
    fn the_dashboard_opens_files_and_starts_threads_which_are_as_confined() {
        let tried = || {
            let folder = std::env::temp_dir().join(format!("numatrace-seccomp-{}", process::id()));
            let written = fs::write(&folder, "x").and_then(|()| fs::rename(&folder, folder.with_extension("y")));
            let gone = written.and_then(|()| fs::remove_file(folder.with_extension("y")));
            let thread = thread::Builder::new().name("made".into()).spawn(forbidden);
            (
                gone.map_err(|error| error.to_string()),
                thread.map_err(|error| error.to_string()).map(thread::JoinHandle::join),
            )
        };
        let Some((files, thread)) = confined(|| render(None), tried) else { return };
        assert_eq!(files, Ok(()));
        assert_eq!(thread.expect("a thread").expect("it ends"), [true; 7]);
    }
}
