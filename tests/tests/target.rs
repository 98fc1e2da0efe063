//! Targets and the checks before tracing, on machines made of files.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use numatrace::cli::{self, Command, FilterArgs};
use numatrace::target::preflight::{check_access, check_kernel, check_privileges, kernel_can};
use numatrace::target::{Filter, Ids, Machine, TargetSpec, resolve};
use tempfile::TempDir;

/// A machine made of files.
struct Files {
    dir: TempDir,
}

const ROOT_CAPS: &str = "000001fffeffffff";

impl Files {
    fn new() -> Files {
        let files = Files { dir: tempfile::tempdir().expect("a temporary directory") };
        files.own(0, ROOT_CAPS);
        files.file("/proc/self/uid_map", "         0          0 4294967295\n");
        files.link("/proc/self/ns/pid", "pid:[4026531836]");
        files
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.dir.path().join(absolute.trim_start_matches('/'))
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        let _ = fs::remove_file(&path);
        symlink(to, path).expect("a link");
    }

    /// What numatrace is on this machine.
    fn own(&self, uid: u32, caps: &str) {
        let status = format!("Name:\tnumatrace\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{caps}\n");
        self.file("/proc/self/status", status);
    }

    /// A thread as /proc shows it, at its own id and below its process.
    fn task(&self, tid: u32, tgid: u32, parent: u32, comm: &str, state: &str, uid: u32) {
        let status = format!(
            "Name:\t{comm}\nState:\t{state}\nTgid:\t{tgid}\nPid:\t{tid}\nPPid:\t{parent}\nUid:\t{uid}\t0\t0\t0\n"
        );
        for place in [format!("/proc/{tid}"), format!("/proc/{tgid}/task/{tid}")] {
            self.file(&format!("{place}/status"), &status);
            self.file(&format!("{place}/comm"), format!("{comm}\n"));
        }
        let state = &state[..1];
        self.file(&format!("/proc/{tid}/stat"), format!("{tid} ({comm}) {state} {parent} {tgid} 0 0 -1 0\n"));
    }

    fn process(&self, pid: u32, parent: u32, comm: &str) {
        self.task(pid, pid, parent, comm, "S (sleeping)", 1000);
    }

    fn cgroup(&self, path: &str) -> u64 {
        self.file(&format!("{path}/cgroup.procs"), "");
        fs::metadata(self.path(path)).expect("it was made").ino()
    }

    fn machine(&self) -> Machine {
        Machine::at(self.dir.path())
    }

    fn resolve(&self, args: &[&str]) -> TargetSpec {
        resolve(&filter(args), &self.machine()).unwrap_or_else(|e| panic!("{args:?}: {e}"))
    }

    fn refused(&self, args: &[&str]) -> String {
        match resolve(&filter(args), &self.machine()) {
            Ok(target) => panic!("{args:?} gave {target:?}"),
            Err(error) => sentence(&error),
        }
    }
}

/// The message, which is one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() > 20, "not a sentence: {text}");
    assert!(!text.chars().any(char::is_control), "raw: {text:?}");
    text
}

fn filter(args: &[&str]) -> FilterArgs {
    match cli::parse(std::iter::once("numatrace").chain(args.iter().copied())) {
        Ok(Command::Live(args)) => args.filter,
        other => panic!("{args:?} gave {other:?}"),
    }
}

#[test]
fn a_process_is_found_and_named() {
    let files = Files::new();
    files.process(4711, 1, "redis-server");
    let target = files.resolve(&["--pid", "4711"]);
    assert_eq!(target.filter, Filter::Processes(vec![4711]));
    assert_eq!((target.label.as_str(), target.ids.as_slice()), ("pid 4711 (redis-server)", &[4711][..]));
    assert_eq!(target.describe().kind, "pid");
}

#[test]
fn several_processes_are_counted_once_and_the_label_stays_short() {
    let files = Files::new();
    for pid in 1..=5 {
        files.process(pid, 0, &format!("p{pid}"));
    }
    assert_eq!(files.resolve(&["-p", "2,1,2"]).label, "pids 1 (p1), 2 (p2)");
    let target = files.resolve(&["-p", "5,4,3,2,1"]);
    assert_eq!(target.label, "5 processes: pids 1 (p1), 2 (p2), 3 (p3), ...");
    assert_eq!(target.filter, Filter::Processes(vec![1, 2, 3, 4, 5]));
}

#[test]
fn what_is_no_process_is_told_apart() {
    let files = Files::new();
    files.process(10, 1, "server");
    files.task(11, 10, 1, "worker", "S (sleeping)", 0);
    files.task(20, 20, 1, "zed", "Z (zombie)", 0);
    assert!(files.refused(&["-p", "99"]).starts_with("no process with pid 99"));
    assert!(files.refused(&["-t", "99"]).starts_with("no thread with tid 99"));
    let thread = files.refused(&["-p", "11"]);
    assert!(thread.contains("11 is a thread of process 10 (server)") && thread.contains("--tid 11"), "{thread}");
    assert!(files.refused(&["-p", "20"]).contains("process 20 (zed) has ended already"));
    assert!(files.refused(&["-t", "20"]).contains("no thread with tid 20"));
}

#[test]
fn a_process_whose_first_thread_ended_before_the_others_is_alive() {
    let files = Files::new();
    files.task(30, 30, 1, "leader", "Z (zombie)", 0);
    files.task(31, 30, 1, "worker", "S (sleeping)", 0);
    assert_eq!(files.resolve(&["-p", "30"]).filter, Filter::Processes(vec![30]));
}

#[test]
fn a_thread_is_named_with_its_process() {
    let files = Files::new();
    files.task(10, 10, 1, "server", "S", 0);
    files.task(11, 10, 1, "worker", "R", 0);
    let target = files.resolve(&["-t", "11"]);
    assert_eq!((target.filter, target.label.as_str()), (Filter::Threads(vec![11]), "tid 11 (worker) of pid 10"));
}

#[test]
fn a_tree_holds_all_descendants_whatever_their_names() {
    let files = Files::new();
    files.process(10, 1, "shell");
    files.process(20, 10, "a) R 1 (b");
    files.process(30, 20, "grandchild");
    files.process(40, 1, ") S 10 10");
    let target = files.resolve(&["-p", "10", "--tree"]);
    assert_eq!(target.filter, Filter::Processes(vec![10, 20, 30]));
    assert_eq!((target.label.as_str(), target.ids.as_slice()), ("pid 10 (shell) and 2 descendants", &[10][..]));
    assert_eq!(files.resolve(&["-p", "30", "--tree"]).label, "pid 30 (grandchild) and 0 descendants");
    assert_eq!(files.resolve(&["-p", "10"]).filter, Filter::Processes(vec![10]));
}

#[test]
fn hostile_names_are_escaped_in_labels_and_errors() {
    let files = Files::new();
    files.process(10, 1, "\x1b[2J\u{202e}x");
    files.task(11, 10, 1, "w", "S", 0);
    assert_eq!(files.resolve(&["-p", "10"]).label, "pid 10 (\\x1b[2J\\u{202e}x)");
    assert!(files.refused(&["-p", "11"]).contains("(\\x1b[2J\\u{202e}x)"));
    assert_eq!(files.resolve(&["-c", "\x1b[2J"]).label, "threads named \\x1b[2J");
    assert_eq!(files.resolve(&["--", "a\nb", "c"]).label, "command a\\x0ab c");
}

#[test]
fn the_other_kinds_need_no_lookup() {
    let files = Files::new();
    assert_eq!(files.resolve(&["--all"]).filter, Filter::All);
    assert_eq!(files.resolve(&["-c", "nginx"]).filter, Filter::Comm(*b"nginx\0\0\0\0\0\0\0\0\0\0\0"));
    let target = files.resolve(&["--", "sleep", "1"]);
    assert_eq!(
        (target.filter, target.label.as_str()),
        (Filter::Command(vec!["sleep".into(), "1".into()]), "command sleep 1")
    );
    let nothing = resolve(&FilterArgs::default(), &files.machine()).expect_err("no target");
    assert!(sentence(&nothing).contains("no target"));
}

/// v1 for the controllers, v2 for membership alone.
const HYBRID: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 31 0:39 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
";

const UNIFIED: &str =
    "30 22 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

fn cgroup_of(target: &TargetSpec) -> (u64, bool, &Path) {
    match &target.filter {
        Filter::Cgroup { id, v1, path } => (*id, *v1, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_v2_cgroup_is_found_by_directory_and_by_its_path_inside() {
    let files = Files::new();
    files.file("/proc/self/mountinfo", UNIFIED);
    let id = files.cgroup("/sys/fs/cgroup/system.slice/nginx.service");
    files.cgroup("/sys/fs/cgroup");
    for path in [
        "/system.slice/nginx.service",
        "system.slice/nginx.service",
        "system.slice/./nginx.service/",
        "/sys/fs/cgroup/system.slice/nginx.service",
    ] {
        // An absolute path of this machine would lie outside the fixture: it is given as the fixture sees it.
        let target = files.resolve(&["--cgroup", path]);
        let expected = Path::new("/sys/fs/cgroup/system.slice/nginx.service");
        assert_eq!(cgroup_of(&target), (id, false, expected), "{path}");
        assert_eq!(target.label, "cgroup /system.slice/nginx.service (v2)", "{path}");
    }
    assert_eq!(files.resolve(&["--cgroup", "/"]).label, "cgroup / (v2)");
    assert_eq!(files.resolve(&["--cgroup", "/sys/fs/cgroup"]).label, "cgroup / (v2)");
}

#[test]
fn a_hybrid_machine_has_both_and_says_which() {
    let files = Files::new();
    files.file("/proc/self/mountinfo", HYBRID);
    let old = files.cgroup("/sys/fs/cgroup/cpu,cpuacct/batch");
    let both = files.cgroup("/sys/fs/cgroup/unified/both");
    let both_old = files.cgroup("/sys/fs/cgroup/cpu,cpuacct/both");
    files.cgroup("/sys/fs/cgroup/memory/batch");
    files.link("/sys/fs/cgroup/cpu", "cpu,cpuacct");
    let target = files.resolve(&["--cgroup", "/batch"]);
    assert_eq!(cgroup_of(&target), (old, true, Path::new("/sys/fs/cgroup/cpu,cpuacct/batch")));
    assert_eq!(target.label, "cgroup /batch (v1)");
    assert_eq!(cgroup_of(&files.resolve(&["--cgroup", "both"])).0, both);
    assert_eq!(cgroup_of(&files.resolve(&["--cgroup", "/sys/fs/cgroup/cpu/both"])).0, both_old);
    let memory = files.refused(&["--cgroup", "/sys/fs/cgroup/memory/batch"]);
    assert!(memory.contains("the v1 hierarchy of memory"), "{memory}");
    let none = files.refused(&["--cgroup", "nobody"]);
    assert!(none.contains("/sys/fs/cgroup/unified") && none.contains("/sys/fs/cgroup/cpu,cpuacct"), "{none}");
}

#[test]
fn a_mount_that_shows_a_part_of_a_hierarchy_takes_the_paths_of_the_whole() {
    let files = Files::new();
    files.file("/proc/self/mountinfo", "30 22 0:27 /docker/abc /sys/fs/cgroup\\040x rw - cgroup2 cgroup2 rw\n");
    let id = files.cgroup("/sys/fs/cgroup x/app");
    for path in ["/docker/abc/app", "/app"] {
        let target = files.resolve(&["--cgroup", path]);
        assert_eq!(cgroup_of(&target).0, id, "{path}");
        assert_eq!(target.label, "cgroup /docker/abc/app (v2)");
    }
}

#[test]
fn a_path_that_is_no_cgroup_is_refused_with_a_reason() {
    let files = Files::new();
    files.file("/proc/self/mountinfo", UNIFIED);
    files.cgroup("/sys/fs/cgroup/real");
    files.file("/etc/passwd", "");
    files.file("/home/user/x", "");
    for (path, why) in [
        ("/sys/fs/cgroup/none", "no such directory"),
        ("/sys/fs/cgroup/real/cgroup.procs", "give the directory"),
        ("/etc/passwd", "no such cgroup under /sys/fs/cgroup"),
        ("/home/user", "no such cgroup under /sys/fs/cgroup"),
        ("none", "no such cgroup under /sys/fs/cgroup"),
        ("../../home/user", "without '..'"),
        ("/sys/fs/cgroup/real/..", "without '..'"),
        ("\x1b[2J", "\\x1b[2J is no cgroup"),
    ] {
        let message = files.refused(&["--cgroup", path]);
        assert!(message.contains(why), "{path:?}: {message}");
    }
    files.file("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n - cgroup2\n");
    assert!(files.refused(&["--cgroup", "/"]).contains("neither cgroup v2 nor"));
}

#[test]
fn without_rights_the_missing_capabilities_are_named() {
    let files = Files::new();
    let told = |caps: &str| {
        files.own(1000, caps);
        check_privileges(&files.machine()).map_err(|e| sentence(&e))
    };
    let nothing = told("0000000000000000").expect_err("nothing is granted");
    assert!(nothing.contains("lacks CAP_BPF and CAP_PERFMON;"), "{nothing}");
    assert!(nothing.contains("sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_sys_nice+ep /"), "{nothing}");
    let perfmon = told("0000008000000000").expect_err("CAP_BPF alone");
    assert!(perfmon.contains("lacks CAP_PERFMON;"), "{perfmon}");
    let bpf = told("0000004000000000").expect_err("CAP_PERFMON alone");
    assert!(bpf.contains("lacks CAP_BPF;"), "{bpf}");
    assert_eq!(told("000000c000000000"), Ok(()));
    assert_eq!(told("0000000000200000"), Ok(()), "CAP_SYS_ADMIN includes both");
    assert_eq!(told(ROOT_CAPS), Ok(()));
}

#[test]
fn root_of_a_user_namespace_is_not_root() {
    let files = Files::new();
    files.file("/proc/self/uid_map", "         0     100000      65536\n");
    let error = check_privileges(&files.machine()).expect_err("BPF is for the first user namespace");
    assert!(sentence(&error).contains("user namespace"));
}

#[test]
fn a_process_of_somebody_else_needs_ptrace_rights() {
    let files = Files::new();
    files.task(10, 10, 1, "theirs", "S", 33);
    files.task(20, 20, 1, "mine", "S", 1000);
    let check = |args: &[&str]| check_access(&files.resolve(args), &files.machine()).map_err(|e| sentence(&e));
    files.own(1000, "000000c000000000");
    let refused = check(&["-p", "10,20"]).expect_err("not ours");
    assert!(refused.contains("process 10 (theirs) belongs to user id 33"), "{refused}");
    assert!(refused.contains("CAP_SYS_PTRACE"), "{refused}");
    assert!(check(&["-t", "10"]).is_err());
    assert_eq!(check(&["-p", "20"]), Ok(()));
    assert_eq!(check(&["--all"]), Ok(()));
    files.own(1000, "000000c000080000");
    assert_eq!(check(&["-p", "10,20"]), Ok(()));
}

#[test]
fn what_ids_are_good_for_depends_on_the_pid_namespace_and_on_proc() {
    let files = Files::new();
    assert_eq!(files.machine().ids(), Ids::Same);
    files.link("/proc/self/ns/pid", "pid:[4026532201]");
    assert_eq!(files.machine().ids(), Ids::Own);
    files.process(10, 1, "app");
    let own = files.resolve(&["-p", "10"]);
    assert!(check_access(&own, &files.machine()).is_ok());
    for file in ["stat", "1/stat", "sys/kernel/osrelease"] {
        files.file(&format!("/host/proc/{file}"), "");
    }
    files.file("/host/proc/77/status", "Name:\tother\nTgid:\t77\nPid:\t77\n");
    let proc = files.path("/host/proc");
    let rooted = || files.machine().with_roots(Some(&proc), None);
    assert!(sentence(&rooted().expect_err("it has no first process")).contains("the /proc of the host"));
    files.link("/host/proc/1/ns/pid", "pid:[4026532201]");
    assert!(sentence(&rooted().expect_err("it is a namespace's")).contains("a pid namespace"));
    files.link("/host/proc/1/ns/pid", "pid:[4026531836]");
    let machine = rooted().expect("it is the host's");
    assert_eq!(machine.ids(), Ids::Files);
    assert_eq!(resolve(&filter(&["-p", "77"]), &machine).expect("it is there").label, "pid 77 (other)");
    assert!(resolve(&filter(&["-p", "10"]), &machine).is_err(), "it is in the other /proc");
}

#[test]
fn wrong_roots_are_told_in_a_sentence() {
    let files = Files::new();
    let nowhere = files.path("/nowhere");
    let refused = |proc, sys| sentence(&files.machine().with_roots(proc, sys).expect_err("it is wrong"));
    assert!(refused(Some(&*nowhere), None).contains("there is no such folder; mount the host's /proc there"));
    assert!(refused(None, Some(&*nowhere)).contains("--sys-root"));
    files.file("/etc/passwd", "");
    let other = files.path("/etc");
    assert!(refused(Some(&*other), None).contains("there is no /proc there"));
    assert!(refused(None, Some(&*other)).contains("there is no /sys there"));
}

#[test]
fn cgroups_are_those_of_the_sys_that_was_named() {
    let files = Files::new();
    files.file(
        "/proc/self/mountinfo",
        "41 31 0:38 /../.. /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n51 31 0:38 / /host/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
    );
    files.cgroup("/sys/fs/cgroup/a");
    let id = files.cgroup("/host/sys/fs/cgroup/a");
    files.file("/host/sys/devices/system/cpu/online", "0\n");
    let sys = files.path("/host/sys");
    // In a container the root folder is `/`, so that the mount's path is that of the option.
    let machine = files.machine().with_roots(None, Some(&sys)).expect("it is there");
    assert_eq!(machine.path("/sys/devices/system/cpu/online"), files.path("/host/sys/devices/system/cpu/online"));
    let target = resolve(&filter(&["--cgroup", "/host/sys/fs/cgroup/a"]), &machine).expect("it is there");
    assert!(matches!(target.filter, Filter::Cgroup { id: found, .. } if found == id), "{target:?}");
}

#[test]
fn a_kernel_that_cannot_be_traced_is_told_in_a_sentence() {
    let told = |release, btf, lockdown| kernel_can(release, btf, lockdown).map_err(|e| sentence(&e));
    for (release, too_old) in [
        ("5.17.15", true),
        ("4.19.0-27-amd64", true),
        ("5.4", true),
        ("5.18.0", false),
        ("6.1.0-32-cloud-amd64", false),
        ("6.18.44-fc-v669", false),
        ("10.0", false),
        ("unknown", false),
        ("", false),
    ] {
        assert_eq!(told(release, true, "").is_err(), too_old, "{release}");
    }
    let old = told("5.4.0", true, "").expect_err("too old");
    assert!(old.contains("this kernel is 5.4.0") && old.contains("5.18 or later"), "{old}");
    assert!(told("6.1", false, "").expect_err("no BTF").contains("/sys/kernel/btf/vmlinux"));
    assert!(
        told("6.1", true, "none integrity [confidentiality]\n")
            .expect_err("locked")
            .contains("lockdown=confidentiality")
    );
    assert_eq!(told("6.1", true, "none [integrity] confidentiality\n"), Ok(()));
    assert_eq!(told("6.1", true, "[none] integrity confidentiality\n"), Ok(()));
}

#[test]
fn the_kernel_is_read_from_its_files() {
    let files = Files::new();
    files.file("/proc/sys/kernel/osrelease", "6.1.0\n");
    let no_btf = check_kernel(&files.machine()).expect_err("there is no BTF file");
    assert!(sentence(&no_btf).contains("btf"));
    files.file("/sys/kernel/btf/vmlinux", "");
    assert_eq!(check_kernel(&files.machine()), Ok(()));
    files.file("/sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
    assert!(check_kernel(&files.machine()).is_err());
}

#[test]
fn this_machine_shows_this_process() {
    let pid = std::process::id();
    let target = resolve(&filter(&["--pid", &pid.to_string()]), &Machine::this()).expect("we are running");
    assert_eq!(target.filter, Filter::Processes(vec![pid]));
    assert!(target.label.starts_with(&format!("pid {pid} (")), "{}", target.label);
}
