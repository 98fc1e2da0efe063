//! Opening files with the rights of another user, for a while.

/// The rights of this thread on files are a user's, until this is dropped.
pub struct FileRights {
    uid: u32,
    gid: u32,
    /// Other groups that were taken away.
    groups: Vec<libc::gid_t>,
}

impl FileRights {
    /// Where that is not granted, the rights stay as they are.
    pub fn of(uid: u32, gid: u32, others: &[libc::gid_t]) -> FileRights {
        let groups = groups();
        set_groups(others);
        // The group first: without root's rights it could not be changed. Both calls return what was before.
        // SAFETY: no preconditions; they concern the calling thread alone.
        let (gid, uid) = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
        FileRights { uid: uid.cast_unsigned(), gid: gid.cast_unsigned(), groups }
    }
}

/// The other groups of this thread.
fn groups() -> Vec<libc::gid_t> {
    // SAFETY: with no room it says how many there are and writes nothing.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for `count` of them.
    let count = unsafe { libc::getgroups(groups.len() as libc::c_int, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups
}

/// Gives this thread other groups, as far as it may. The C library's own call would change those of all threads.
pub(super) fn set_groups(groups: &[libc::gid_t]) -> bool {
    // SAFETY: the list lives across the call, which reads as many as there are.
    unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0 }
}

impl Drop for FileRights {
    fn drop(&mut self) {
        // SAFETY: no preconditions; they concern the calling thread alone.
        unsafe {
            libc::setfsuid(self.uid);
            libc::setfsgid(self.gid);
        }
        set_groups(&self.groups);
    }
}
