//! Who called sudo, doas or pkexec, as these tell it, and what the machine's database of users knows of them.
//!
//! A program with glibc inside reads `/etc/passwd` and `/etc/group` itself, as musl does: there glibc would load the machine's own
//! modules (`nsswitch.conf`), which work with the glibc of that machine alone.

use std::{
    ffi::{CStr, CString, OsStr, c_char},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use crate::text::display_str;

/// The C library is inside, and is glibc.
const GLIBC_INSIDE: bool = cfg!(all(target_env = "gnu", target_feature = "crt-static"));
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Room for an entry of the database.
const ROOM: usize = 16 << 10;
/// Groups of one user at most (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

/// Who a command runs as, who owns what we write, and who we become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their number.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// Their name, where it is known.
    pub name: Option<String>,
    /// All their groups.
    pub groups: Vec<libc::gid_t>,
}

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The user who called sudo, doas or pkexec, where there is one and we are root.
pub fn invoking_user() -> Option<User> {
    if !is_root() {
        return None;
    }
    told_by(&|name| std::env::var(name).ok())
}

/// Who called doas or pkexec, as these name them, where we are root and the machine's database of users does not have them.
pub fn unknown_invoking_user() -> Option<String> {
    if !is_root() {
        return None;
    }
    unknown_of(&|name| std::env::var(name).ok())
}

fn unknown_of(var: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let named = var("DOAS_USER").map(|name| format!("doas, {name},"));
    let named = named.or_else(|| var("PKEXEC_UID").map(|uid| format!("pkexec, uid {uid},")))?;
    told_by(var).is_none().then(|| display_str(&named))
}

/// From the environment: sudo tells numbers and the name, doas the name, pkexec the number.
fn told_by(var: &dyn Fn(&str) -> Option<String>) -> Option<User> {
    let number = |name: &str| var(name)?.parse::<u32>().ok();
    let (uid, gid, name) = match (number("SUDO_UID"), number("SUDO_GID")) {
        (Some(uid), Some(gid)) => (uid, gid, var("SUDO_USER")),
        _ => {
            let entry = match var("DOAS_USER") {
                Some(name) => entry(&Key::Name(name))?,
                None => entry(&Key::Uid(number("PKEXEC_UID")?))?,
            };
            (entry.uid, entry.gid, Some(entry.name))
        }
    };
    let groups = groups(name.as_deref(), gid);
    Some(User { uid, gid, name, groups })
}

/// The home of a user, as the machine's database of users has it.
pub fn home_of(uid: u32) -> Option<PathBuf> {
    entry(&Key::Uid(uid)).map(|entry| entry.home).filter(|home| home.is_absolute())
}

enum Key {
    Uid(u32),
    Name(String),
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    uid: u32,
    gid: u32,
    name: String,
    home: PathBuf,
}

impl Entry {
    /// The first of a `passwd(5)` that `key` names.
    fn among(passwd: &[u8], key: &Key) -> Option<Entry> {
        passwd.split(|byte| *byte == b'\n').filter_map(Entry::of_line).find(|entry| match key {
            Key::Uid(uid) => entry.uid == *uid,
            Key::Name(name) => entry.name == *name,
        })
    }

    /// `name:password:uid:gid:comment:home:shell`
    fn of_line(line: &[u8]) -> Option<Entry> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [name, _, uid, gid, _, home, _] = fields.as_slice() else { return None };
        Some(Entry {
            uid: number(uid)?,
            gid: number(gid)?,
            name: String::from_utf8_lossy(name).into_owned(),
            home: PathBuf::from(OsStr::from_bytes(home)),
        })
    }
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// `gid`, and the groups of a `group(5)` that list `name` (`name:password:gid:member,member`).
fn groups_among(group: &[u8], name: &str, gid: u32) -> Vec<libc::gid_t> {
    let member_of = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [_, _, gid, members] = fields.as_slice() else { return None };
        members.split(|byte| *byte == b',').any(|member| member == name.as_bytes()).then(|| number(gid)).flatten()
    };
    let mut groups = vec![gid];
    for more in group.split(|byte| *byte == b'\n').filter_map(member_of).take(MOST_GROUPS) {
        if !groups.contains(&more) {
            groups.push(more);
        }
    }
    groups
}

fn entry(key: &Key) -> Option<Entry> {
    if GLIBC_INSIDE {
        return Entry::among(&fs::read(PASSWD).ok()?, key);
    }
    let mut room: Vec<c_char> = vec![0; ROOM];
    // SAFETY: all of its members are numbers and pointers, of which null is one.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    let (place, start, len) = (&raw mut entry, room.as_mut_ptr(), room.len());
    let failed = match key {
        // SAFETY: `entry`, `room`, of its true length, and `found` outlive the call, which writes to them alone.
        Key::Uid(uid) => unsafe { libc::getpwuid_r(*uid, place, start, len, &raw mut found) },
        Key::Name(name) => {
            let name = CString::new(name.as_str()).ok()?;
            // SAFETY: the same, and a text with its NUL.
            unsafe { libc::getpwnam_r(name.as_ptr(), place, start, len, &raw mut found) }
        }
    };
    if failed != 0 || found.is_null() || entry.pw_dir.is_null() || entry.pw_name.is_null() {
        return None;
    }
    // SAFETY: texts with their NUL within `room`, which is not changed while they are borrowed.
    let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
    Some(Entry {
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        name: name.to_string_lossy().into_owned(),
        home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
    })
}

/// All groups of a user with this name and group. Where the machine does not know them: that group.
fn groups(name: Option<&str>, gid: u32) -> Vec<libc::gid_t> {
    if GLIBC_INSIDE {
        return match (name, fs::read(GROUP)) {
            (Some(name), Ok(group)) => groups_among(&group, name, gid),
            _ => vec![gid],
        };
    }
    let Some(name) = name.and_then(|name| CString::new(name).ok()) else { return vec![gid] };
    let mut room = 64;
    while room <= MOST_GROUPS {
        let mut groups = vec![0; room];
        let mut count = libc::c_int::try_from(room).unwrap_or(libc::c_int::MAX);
        // SAFETY: a text with its NUL, and room for as many groups as `count` says.
        if unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) } >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return groups;
        }
        room *= 4;
    }
    vec![gid]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(vars: &[(&str, &str)]) -> Option<(u32, u32, Option<String>)> {
        let var = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        told_by(&var).map(|user| (user.uid, user.gid, user.name))
    }

    #[test]
    fn each_of_the_three_tells_its_user() {
        let sudo = [("SUDO_UID", "4321"), ("SUDO_GID", "1234"), ("SUDO_USER", "nobody-has-this-name")];
        assert_eq!(told(&sudo), Some((4321, 1234, Some("nobody-has-this-name".into()))));
        assert_eq!(told(&[("SUDO_UID", "4321")]), None, "half of it is nothing");
        let root = Some((0, 0, Some("root".into())));
        assert_eq!(told(&[("DOAS_USER", "root")]), root);
        assert_eq!(told(&[("PKEXEC_UID", "0")]), root);
        assert_eq!(told(&[("DOAS_USER", "nobody-has-this-name")]), None);
        assert_eq!(told(&[("PKEXEC_UID", "-1")]), None);
        assert_eq!(told(&[]), None);
        let unknown = |vars: &[(&str, &str)]| {
            unknown_of(&|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(unknown(&[("DOAS_USER", "nobody-has-this-name")]).as_deref(), Some("doas, nobody-has-this-name,"));
        assert_eq!(unknown(&[("PKEXEC_UID", "-1")]).as_deref(), Some("pkexec, uid -1,"));
        assert_eq!((unknown(&[("DOAS_USER", "root")]), unknown(&sudo), unknown(&[])), (None, None, None));
    }

    #[test]
    fn an_unknown_user_has_the_group_that_was_told() {
        assert_eq!(groups(Some("nobody-has-this-name"), 1234), [1234]);
        assert_eq!(groups(None, 7), [7]);
        assert!(groups(Some("root"), 0).contains(&0));
    }

    #[test]
    fn files_are_read_as_the_c_library_reads_them() {
        let passwd = b"# no entry\nroot:x:0:0:root:/root:/bin/sh\nbroken:x:one:1::/:/bin/sh\n\nann:x:1000:100:A, B:/home/ann:\nann:x:7:7::/:/x";
        let ann = Entry { uid: 1000, gid: 100, name: "ann".into(), home: "/home/ann".into() };
        assert_eq!(Entry::among(passwd, &Key::Uid(1000)).as_ref(), Some(&ann));
        assert_eq!(Entry::among(passwd, &Key::Name("ann".into())), Some(ann));
        assert_eq!(Entry::among(passwd, &Key::Name("broken".into())), None);
        let group = b"users:x:100:\nadm:x:4:bob,ann\nwheel:x:10:anna\nagain:x:4:ann\nbroken:x:five:ann\nshort:x:6\nlast:x:9:ann";
        assert_eq!(groups_among(group, "ann", 100), [100, 4, 9]);
        // Of this machine, both ways say the same.
        let root = entry(&Key::Uid(0));
        assert!(root.is_some() && root == fs::read(PASSWD).ok().and_then(|all| Entry::among(&all, &Key::Uid(0))));
    }

    #[test]
    fn the_home_of_root_is_known_and_that_of_nobody_else() {
        assert_eq!(home_of(0), Some("/root".into()));
        assert_eq!(home_of(u32::MAX - 7), None);
    }
}
