//! User, capabilities and `no_new_privs` of the calling thread.

use std::io;

use caps::{CapSet, Capability, CapsHashSet, securebits};

use super::{RightsError, files::set_groups, user::User};

/// Becomes `user` and keeps these capabilities, as far as they are there. Once more does no harm.
pub(super) fn settle(user: Option<&User>, keep: &[Capability]) -> Result<(), RightsError> {
    let has = read(CapSet::Permitted)?;
    let keep: CapsHashSet = keep.iter().copied().filter(|cap| has.contains(cap)).collect();
    if has.contains(&Capability::CAP_SETPCAP) {
        // Nothing is executed from here on that could get them; without the right to it they stay.
        for cap in read(CapSet::Bounding)? {
            let _ = caps::drop(None, CapSet::Bounding, cap);
        }
    }
    if let Some(user) = user.filter(|user| !is(user)) {
        become_user(user)?;
    }
    let set = |which, to: &CapsHashSet| caps::set(None, which, to).map_err(refused);
    set(CapSet::Effective, &keep)?;
    set(CapSet::Permitted, &keep)?;
    // With it goes the ambient set.
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    no_new_privileges()?;
    hide()
}

fn read(which: CapSet) -> Result<CapsHashSet, RightsError> {
    caps::read(None, which).map_err(refused)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn refused(error: caps::errors::CapsError) -> RightsError {
    RightsError::Capabilities(error.to_string())
}

fn is(user: &User) -> bool {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: three places for the answer.
    unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) };
    [real, effective, saved] == [user.uid; 3]
}

/// Real, effective and saved; capabilities stay permitted, and are not in effect.
fn become_user(user: &User) -> Result<(), RightsError> {
    securebits::set_keepcaps(true).map_err(refused)?;
    // Numbers of system calls, not the C library's functions, which would make all threads do the same.
    let changed = set_groups(&user.groups);
    // SAFETY: system calls with integers, about the calling thread.
    let changed = changed
        && unsafe {
            libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) == 0
                && libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) == 0
        };
    if !changed {
        return Err(RightsError::User { uid: user.uid, source: io::Error::last_os_error() });
    }
    securebits::set_keepcaps(false).map_err(refused)
}

/// Nothing that this thread executes can get rights that it does not have.
pub(super) fn no_new_privileges() -> Result<(), RightsError> {
    // SAFETY: prctl with numbers only.
    prctl(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// The user whom it has become may neither trace this process, which has more rights than they, nor see its memory in a core file.
fn hide() -> Result<(), RightsError> {
    // SAFETY: prctl with numbers only.
    prctl(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

fn prctl(result: libc::c_int) -> Result<(), RightsError> {
    if result == 0 { Ok(()) } else { Err(RightsError::NoNewPrivileges(io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs as a whole where tests are root, and else without the change of user.
    #[test]
    fn a_thread_becomes_another_and_the_others_stay_who_they_are() {
        // SAFETY: no preconditions.
        let root =
            unsafe { libc::geteuid() } == 0 && caps::has_cap(None, CapSet::Effective, Capability::CAP_SETUID).unwrap();
        let user = root.then(|| User { uid: 65_534, gid: 65_533, name: None, groups: vec![65_533, 65_532] });
        let before = caps::read(None, CapSet::Permitted).unwrap();
        let keep = [Capability::CAP_SYS_PTRACE, Capability::CAP_PERFMON];
        let status = std::thread::spawn(move || {
            settle(user.as_ref(), &keep).unwrap();
            settle(user.as_ref(), &keep).unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = status.join().unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let kept: u64 = keep.iter().filter(|cap| before.contains(cap)).map(Capability::bitmask).sum();
        for set in ["CapEff:", "CapPrm:"] {
            assert_eq!(u64::from_str_radix(&field(set)[0], 16).unwrap(), kept, "{set}");
        }
        assert_eq!([field("CapInh:"), field("CapAmb:")], [["0000000000000000"]; 2]);
        assert_eq!(field("NoNewPrivs:"), ["1"]);
        if root {
            assert_eq!([field("Uid:"), field("Gid:")], [["65534"; 4], ["65533"; 4]]);
            assert_eq!(field("Groups:"), ["65532", "65533"]);
            assert_eq!(field("CapBnd:"), ["0000000000000000"]);
        }
        assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), before);
    }
}
