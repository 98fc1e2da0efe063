//! Rights that are given up once the probes are attached. Place in the flow: beside it; a command that traces says what its later work
//! needs ([`begin`]), and each thread then keeps what its own work needs and no more ([`settle`]).
//!
//! Users and capabilities belong to threads, and here every thread sees to its own by plain system calls: the C library's would reach
//! into all threads at once, before some of them are done with what needs root.

mod credentials;
mod files;
mod seccomp;
pub mod user;

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    thread::{self, JoinHandle},
};

use caps::{CapSet, Capability};

pub use self::files::FileRights;
use self::user::User;

/// What the work after attaching needs beyond the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Page frames of traced processes are looked up again and again: /proc/PID/pagemap shows them to CAP_SYS_ADMIN alone.
    pub frames: bool,
    /// The kernel's statistics of programs are switched on and off, which asks for CAP_SYS_ADMIN.
    pub statistics: bool,
    /// A process that was started here is ended here, whoever it has become.
    pub command: Option<u32>,
    /// TLS keys and passwords, which may be for root alone, are read again when they change.
    pub web_config: bool,
}

impl Needs {
    /// CAP_SYS_ADMIN stays with the engine, where it is there.
    pub const fn administers(&self) -> bool {
        self.frames || self.statistics
    }
}

/// What a thread does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Copies records out of rings that are mapped.
    Drain,
    /// Names places in other users' code, and asks for nodes of their pages.
    Where,
    /// Packs and writes into a file that is open, or belongs to the user.
    Write,
    /// Visits tasks, reads maps and /proc, opens events of CPUs that come back.
    Engine,
    /// Draws and reads keys; ends what was started.
    Render,
    /// Answers clients.
    Http,
}

/// All of them, to be told.
pub const ROLES: [Role; 6] = [Role::Engine, Role::Where, Role::Drain, Role::Render, Role::Write, Role::Http];

impl Role {
    /// What it keeps, as far as it is there.
    pub fn keeps(self, needs: Needs) -> Vec<Capability> {
        let mut keeps = match self {
            Role::Drain | Role::Write | Role::Render | Role::Http => Vec::new(),
            Role::Where => {
                vec![
                    Capability::CAP_SYS_PTRACE,
                    Capability::CAP_DAC_READ_SEARCH,
                    // /proc/PID/map_files leads to files that were deleted, or lie in containers.
                    Capability::CAP_CHECKPOINT_RESTORE,
                ]
            }
            Role::Engine => vec![
                Capability::CAP_BPF,
                Capability::CAP_PERFMON,
                Capability::CAP_SYS_PTRACE,
                Capability::CAP_DAC_READ_SEARCH,
            ],
        };
        if self == Role::Engine && needs.administers() {
            keeps.push(Capability::CAP_SYS_ADMIN);
        }
        if matches!(self, Role::Engine | Role::Render) && needs.command.is_some() {
            keeps.push(Capability::CAP_KILL);
        }
        if self == Role::Http && needs.web_config {
            keeps.push(Capability::CAP_DAC_READ_SEARCH);
        }
        keeps
    }

    /// Its threads, as ARCHITECTURE.md calls them.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Drain => "drain",
            Role::Where => "where",
            Role::Write => "write",
            Role::Engine => "engine",
            Role::Render => "dashboard",
            Role::Http => "http",
        }
    }
}

/// Why rights could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    /// Another user cannot be become.
    #[error("cannot become user id {uid}, who called sudo: {source}")]
    User {
        /// Who.
        uid: u32,
        /// Why.
        source: io::Error,
    },
    /// Capabilities cannot be given up.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(String),
    /// `no_new_privs` or the like is not granted.
    #[error("cannot rule out new privileges: {0}")]
    NoNewPrivileges(io::Error),
}

impl From<RightsError> for io::Error {
    fn from(error: RightsError) -> io::Error {
        io::Error::other(error)
    }
}

struct Plan {
    user: Option<User>,
    needs: Needs,
}

static PLAN: OnceLock<Plan> = OnceLock::new();

/// The kernel refused a filter of system calls.
static UNFILTERED: AtomicBool = AtomicBool::new(false);

/// From here on every thread that settles gives up what it does not need. To be called once, by a command that traces, before
/// it starts threads that outlive attaching; what is said later changes nothing.
pub fn begin(needs: Needs) {
    let _ = PLAN.set(Plan { user: who(), needs });
}

/// The calling thread becomes the invoking user, where there is one, and keeps what this role needs of the capabilities that it
/// has; it can have no new privileges from then on, and a drain or dashboard thread can make no system calls but its own few.
/// Threads that it starts later begin as it is. Does nothing unless [`begin`] was called.
///
/// # Errors
/// When the kernel does not let go of something. A filter that it refuses is no error: see [`is_filtered`].
pub fn settle(role: Role) -> Result<(), RightsError> {
    let Some(plan) = PLAN.get() else { return Ok(()) };
    credentials::settle(plan.user.as_ref(), &role.keeps(plan.needs))?;
    filter(role, plan.needs.command);
    Ok(())
}

/// As [`settle`], for a run that needs no rights at all and gives up none: new privileges are ruled out, and calls are filtered.
///
/// # Errors
/// When new privileges cannot be ruled out.
pub fn confine(role: Role) -> Result<(), RightsError> {
    credentials::no_new_privileges()?;
    filter(role, None);
    Ok(())
}

fn filter(role: Role, kill: Option<u32>) {
    let done = match role {
        Role::Drain => seccomp::drain(),
        Role::Render => seccomp::render(kill),
        Role::Where | Role::Write | Role::Engine | Role::Http => Ok(()),
    };
    if done.is_err() {
        UNFILTERED.store(true, Ordering::Relaxed);
    }
}

/// Whether every filter that was asked for so far is in force.
pub fn is_filtered() -> bool {
    !UNFILTERED.load(Ordering::Relaxed)
}

/// Starts a thread that settles before it does anything.
///
/// # Errors
/// When there can be no thread, or it cannot give up its rights.
pub fn spawn<T: Send + 'static>(
    name: &str,
    role: Role,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<Option<T>>> {
    let (tell, told) = sync_channel(1);
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        let settled = settle(role);
        let go = settled.is_ok();
        // The receiver waits for exactly one message.
        let _ = tell.send(settled);
        go.then(work)
    })?;
    told.recv().map_err(io::Error::other)??;
    Ok(thread)
}

/// What `work` comes to with the rights that this role will have, on a thread that ends with it.
///
/// # Errors
/// When there can be no thread, or it cannot give up its rights.
pub fn with_those_of<T: Send + 'static>(role: Role, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let ended = spawn("numatrace-try", role, work)?.join();
    ended.ok().flatten().ok_or_else(|| io::Error::other("the thread that tried it ended unexpectedly"))
}

/// Whom a command that traces would become: the invoking user, where this process is root and may become another.
pub fn who() -> Option<User> {
    let may = |cap| caps::has_cap(None, CapSet::Permitted, cap).unwrap_or(false);
    user::invoking_user().filter(|user| user.uid != 0 && may(Capability::CAP_SETUID) && may(Capability::CAP_SETGID))
}

/// Of what a role keeps, what this process has: names such as `CAP_BPF`.
pub fn kept(role: Role, needs: Needs) -> Vec<String> {
    let has = |cap: &Capability| caps::has_cap(None, CapSet::Permitted, *cap).unwrap_or(false);
    role.keeps(needs).into_iter().filter(has).map(|cap| cap.to_string()).collect()
}

/// Whether the kernel takes the filters of drain and dashboard threads, found out on threads that end at once; else why not.
///
/// # Errors
/// The kernel's reason.
pub fn filters_allowed() -> Result<(), String> {
    let try_it = |filter: fn() -> Result<(), String>| {
        let thread = thread::Builder::new().name("numatrace-seccomp?".into()).spawn(filter);
        let ended = thread.map_err(|error| error.to_string())?.join();
        ended.unwrap_or_else(|_| Err("the thread that tried it ended unexpectedly".into()))
    };
    try_it(seccomp::drain).and_then(|()| try_it(|| seccomp::render(None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_engine_can_use_bpf_and_only_where_frames_are_read_administer() {
        let all = Needs { frames: true, statistics: true, command: Some(1), web_config: true };
        for role in ROLES {
            let (few, many) = (role.keeps(Needs::default()), role.keeps(all));
            let engine = role == Role::Engine;
            assert_eq!(many.contains(&Capability::CAP_BPF), engine, "{role:?}");
            assert_eq!(many.contains(&Capability::CAP_SYS_ADMIN), engine, "{role:?}");
            assert!(!few.contains(&Capability::CAP_SYS_ADMIN), "{role:?}");
            for never in [Capability::CAP_SETUID, Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_MODULE] {
                assert!(!many.contains(&never), "{role:?} keeps {never}");
            }
        }
        assert!([Role::Drain, Role::Write].iter().all(|role| role.keeps(all).is_empty()));
    }

    #[test]
    fn without_a_plan_nothing_is_given_up() {
        let before = caps::read(None, CapSet::Permitted).expect("a set");
        let thread = spawn("settles", Role::Drain, || caps::read(None, CapSet::Permitted)).expect("a thread");
        assert_eq!(thread.join().expect("it ends").expect("it ran").expect("a set"), before);
    }
}
