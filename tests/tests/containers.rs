//! Containers and pods by the paths of their cgroups, as four runtimes make them, and as targets on machines made of files.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use numatrace::cli::{self, Command};
use numatrace::container::{Container, identify, names::Names, pod_uid_of};
use numatrace::target::{Filter, Machine, TargetSpec, resolve};
use tempfile::TempDir;

const A: &str = "3f4a9c1be07d52846f0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcd";
const B: &str = "b0d1e2f3a4958677685940312233445566778899aabbccddeeff001122334455";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const STATIC_UID: &str = "8f57e04e3a1b4c5d9e6f708192a3b4c5";

/// Replaces `A`, `B`, `UID` (as in files), `U_I_D` (as in units of systemd) and `STATIC`.
fn path(template: &str) -> String {
    template
        .replace("{A}", A)
        .replace("{B}", B)
        .replace("{UID}", UID)
        .replace("{U_I_D}", &UID.replace('-', "_"))
        .replace("{STATIC}", STATIC_UID)
}

#[test]
fn the_path_of_a_cgroup_tells_runtime_id_and_pod() {
    let known = [
        // Docker: cgroupfs, another parent, systemd, rootless, and v1 alike.
        ("/docker/{A}", "docker", A, None),
        ("/batch/{A}", "unknown", A, None),
        ("/system.slice/docker-{A}.scope", "docker", A, None),
        ("/batch.slice/batch-night.slice/docker-{A}.scope", "docker", A, None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", "docker", A, None),
        ("/system.slice/docker-{A}.scope/init.scope", "docker", A, None),
        ("/system.slice/docker-{A}.scope/system.slice/nginx.service", "docker", A, None),
        // From within a cgroup namespace.
        ("/../docker-{A}.scope", "docker", A, None),
        ("/../../pod{UID}/{A}", "unknown", A, Some(UID)),
        // Removed meanwhile.
        ("/system.slice/docker-{A}.scope (deleted)", "docker", A, None),
        // kubelet with cgroupfs: containerd and cri-dockerd look alike, CRI-O does not.
        ("/kubepods/burstable/pod{UID}/{A}", "unknown", A, Some(UID)),
        ("/kubepods/besteffort/pod{UID}/{A}", "unknown", A, Some(UID)),
        ("/kubepods/pod{UID}/{A}", "unknown", A, Some(UID)),
        ("/kubepods/burstable/pod{STATIC}/{A}", "unknown", A, Some(STATIC_UID)),
        ("/kubepods/burstable/pod{UID}/crio-{A}", "crio", A, Some(UID)),
        // kubelet with systemd: containerd, CRI-O, cri-dockerd; burstable, best effort, guaranteed; static.
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_I_D}.slice/cri-containerd-{A}.scope",
            "containerd",
            A,
            Some(UID),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_I_D}.slice/crio-{A}.scope",
            "crio",
            A,
            Some(UID),
        ),
        ("/kubepods.slice/kubepods-pod{U_I_D}.slice/cri-containerd-{A}.scope", "containerd", A, Some(UID)),
        ("/kubepods.slice/kubepods-pod{U_I_D}.slice/docker-{A}.scope", "docker", A, Some(UID)),
        ("/kubepods.slice/kubepods-pod{U_I_D}.slice/crio-{A}.scope/container", "crio", A, Some(UID)),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{A}.scope",
            "containerd",
            A,
            Some(STATIC_UID),
        ),
        // containerd with cgroupfs below a kubelet with systemd.
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{U_I_D}.slice:cri-containerd:{A}",
            "containerd",
            A,
            Some(UID),
        ),
        ("/kubepods-besteffort-pod{U_I_D}.slice:cri-containerd:{A}", "containerd", A, Some(UID)),
        // nerdctl.
        ("/system.slice/nerdctl-{A}.scope", "containerd", A, None),
        ("/default/{A}", "unknown", A, None),
        // Podman: systemd, cgroupfs, in a pod, rootless, in a unit of its own.
        ("/machine.slice/libpod-{A}.scope", "podman", A, None),
        ("/machine.slice/libpod-{A}.scope/container", "podman", A, None),
        ("/libpod_parent/libpod-{A}", "podman", A, None),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", "podman", A, None),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container", "podman", A, None),
        ("/system.slice/web.service/libpod-payload-{A}", "podman", A, None),
        // Containers in containers: kind in Docker (v1, v2), Docker in a pod.
        ("/docker/{B}/kubelet/kubepods/burstable/pod{UID}/{A}", "unknown", A, Some(UID)),
        (
            "/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-pod{U_I_D}.slice/cri-containerd-{A}.scope",
            "containerd",
            A,
            Some(UID),
        ),
        ("/kubepods/burstable/pod{UID}/{B}/docker/{A}", "docker", A, Some(UID)),
        // What is beside the pods of a node in a container is the node's.
        ("/docker/{B}/kubelet/kubepods/burstable/pod{UID}", "docker", B, None),
        ("/system.slice/docker-{B}.scope/system.slice/containerd.service", "docker", B, None),
        ("/docker/{B}/kubepods/burstable/pod{UID}/crio-conmon-{A}", "docker", B, None),
    ];
    for (template, runtime, id, pod_uid) in known {
        let found = identify(path(template).as_bytes()).unwrap_or_else(|| panic!("{template}: nothing"));
        assert_eq!((found.runtime, &*found.id, found.pod_uid.as_deref()), (runtime, id, pod_uid), "{template}");
        assert_eq!((found.name, found.pod, found.namespace), (None, None, None), "{template}");
    }
}

#[test]
fn what_is_beside_containers_is_none() {
    for template in [
        "/",
        "",
        "/user.slice/user-1000.slice/session-2.scope",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        "/machine.slice/libpod-conmon-{A}.scope",
        "/libpod_parent/conmon",
        "/kubepods.slice/kubepods-pod{U_I_D}.slice/crio-conmon-{A}.scope",
        "/kubepods/burstable/pod{UID}/crio-conmon-{A}",
        "/kubepods.slice/kubepods-pod{U_I_D}.slice",
        "/kubepods/burstable/pod{UID}",
        "/system.slice/web.service/runtime",
        "/system.slice/var-lib-docker-overlay2-{A}-merged.mount",
        "/docker/buildkit",
        "/machine.slice/machine-libpod_pod_{A}.slice",
        "/system.slice/docker-abc.scope",
        "/a:b",
        "::",
    ] {
        assert_eq!(identify(path(template).as_bytes()), None, "{template}");
    }
    for bytes in [&b"/docker/\xff\xfe"[..], b"/docker/\n", b"\0"] {
        assert_eq!(identify(bytes), None, "{bytes:?}");
    }
}

#[test]
fn a_pods_own_cgroup_tells_its_uid() {
    for (template, uid) in [
        ("/kubepods/burstable/pod{UID}", Some(UID)),
        ("/kubepods/pod{UID}", Some(UID)),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{U_I_D}.slice", Some(UID)),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice", Some(STATIC_UID)),
        ("/kubepods.slice/kubepods-burstable.slice", None),
        ("/kubepods/burstable/pod{UID}/{A}", None),
        ("/system.slice/containerd.service/kubepods-pod{U_I_D}.slice:cri-containerd:{A}", None),
        ("/system.slice/pod.service", None),
        ("/podium", None),
        ("/machine.slice/machine-libpod_pod_{A}.slice", None),
    ] {
        assert_eq!(pod_uid_of(path(template).as_bytes()).as_deref(), uid, "{template}");
    }
}

/// A machine made of files.
struct Host {
    dir: TempDir,
}

impl Host {
    /// With cgroup v2 alone, or the v1 hierarchy of the cpu controller alone, or both.
    fn new(mounts: &[&str]) -> Host {
        let host = Host { dir: tempfile::tempdir().expect("a temporary folder") };
        let lines = mounts.iter().map(|mount| match *mount {
            "v1" => "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
            "v2" => "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n",
            _ => "42 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        });
        host.file("/proc/self/mountinfo", &lines.collect::<String>());
        host
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.dir.path().join(absolute.trim_start_matches('/'))
    }

    fn file(&self, at: &str, text: &str) {
        let at = self.path(at);
        fs::create_dir_all(at.parent().expect("a parent")).expect("folders");
        fs::write(at, text).expect("a file");
    }

    /// A cgroup and those above it. Its id.
    fn cgroup(&self, mount: &str, template: &str) -> u64 {
        let mut at = PathBuf::from(mount);
        for part in Path::new(&path(template)).iter().skip(1) {
            at.push(part);
            self.file(&format!("{}/cgroup.procs", at.display()), "");
        }
        fs::metadata(self.path(&at.display().to_string())).expect("it was made").ino()
    }

    fn machine(&self) -> Machine {
        Machine::at(self.dir.path())
    }

    fn resolve(&self, option: &str, wanted: &str) -> Result<TargetSpec, String> {
        let Ok(Command::Live(args)) = cli::parse(["numatrace", option, wanted]) else {
            panic!("{option} {wanted} is no command line")
        };
        resolve(&args.filter, &self.machine()).map_err(|error| error.to_string())
    }

    /// Id of the cgroup, whether it is one of v1, and the label.
    fn found(&self, option: &str, wanted: &str) -> (u64, bool, String) {
        match self.resolve(option, wanted) {
            Ok(TargetSpec { filter: Filter::Cgroup { id, v1, .. }, label, .. }) => (id, v1, label),
            other => panic!("{option} {wanted}: {other:?}"),
        }
    }

    fn refused(&self, option: &str, wanted: &str) -> String {
        let text = self.resolve(option, wanted).expect_err("it is not there");
        assert!(!text.contains('\n') && !text.chars().any(char::is_control), "{text:?}");
        text
    }

    fn called(&self, template: &str) -> Container {
        let at = path(template);
        let mut found = identify(at.as_bytes()).expect("a container");
        Names::new(self.machine().host_root()).look_up(&mut found, at.as_bytes());
        found
    }
}

#[test]
fn a_container_is_found_by_its_id_and_by_its_beginning_in_v1_and_v2() {
    for (mounts, at, is_v1) in [
        (["v2"], "/sys/fs/cgroup", false),
        (["v1"], "/sys/fs/cgroup/cpu", true),
        (["hybrid"], "/sys/fs/cgroup/unified", false),
    ] {
        let host = Host::new(&mounts);
        let a = host.cgroup(at, "/system.slice/docker-{A}.scope");
        host.cgroup(at, "/system.slice/docker-{A}.scope/init.scope");
        let b = host.cgroup(at, "/machine.slice/libpod-{B}.scope/container");
        let found = host.found("--container", A);
        assert_eq!(found, (a, is_v1, "container 3f4a9c1be07d (docker)".into()), "{mounts:?}");
        assert_eq!(host.found("--container", "3f4a"), found);
        assert_eq!(host.found("--container", "3F4A9C"), found);
        let podman = host.found("--container", "b0d1");
        assert!(
            podman.0 != b && podman.2 == "container b0d1e2f3a495 (podman)",
            "the scope, not what is in it: {podman:?}"
        );
    }
}

#[test]
fn of_two_hierarchies_v2_is_taken_and_v1_where_the_container_is_only_there() {
    let host = Host::new(&["v1", "hybrid"]);
    host.cgroup("/sys/fs/cgroup/cpu", "/docker/{A}");
    let v2 = host.cgroup("/sys/fs/cgroup/unified", "/docker/{A}");
    let v1 = host.cgroup("/sys/fs/cgroup/cpu", "/docker/{B}");
    assert_eq!(host.found("--container", A).0, v2);
    let (id, is_v1, _) = host.found("--container", B);
    assert_eq!((id, is_v1), (v1, true));
}

#[test]
fn a_name_will_do_where_a_file_tells_it() {
    let host = Host::new(&["v2"]);
    let a = host.cgroup("/sys/fs/cgroup", "/docker/{A}");
    host.file(&format!("/var/lib/docker/containers/{A}/config.v2.json"), "{\"ID\":\"x\",\"Name\":\"/web\"}");
    let b = host.cgroup("/sys/fs/cgroup", "/machine.slice/libpod-{B}.scope");
    let list = format!("[{{\"id\":\"{B}\",\"names\":[\"db\"],\"image\":\"x\"}}]");
    host.file("/var/lib/containers/storage/overlay-containers/containers.json", &list);
    assert_eq!(host.found("--container", "web"), (a, false, "container 3f4a9c1be07d (docker, web)".into()));
    assert_eq!(host.found("--container", "db"), (b, false, "container b0d1e2f3a495 (podman, db)".into()));
    assert_eq!(host.found("--container", A).2, "container 3f4a9c1be07d (docker, web)");
    // A name comes before a beginning of an id.
    host.file(&format!("/var/lib/docker/containers/{A}/config.v2.json"), "{\"Name\":\"/b0d1\"}");
    assert_eq!(host.found("--container", "b0d1").0, a);
}

#[test]
fn names_of_pods_come_from_the_kubelets_links_whatever_the_runtime() {
    for template in [
        "/kubepods/burstable/pod{UID}/{A}",
        "/kubepods.slice/kubepods-pod{U_I_D}.slice/cri-containerd-{A}.scope",
        "/kubepods.slice/kubepods-pod{U_I_D}.slice/crio-{A}.scope/container",
    ] {
        let host = Host::new(&["v2"]);
        host.file(&format!("/var/log/containers/web-0_shop_nginx-proxy-{A}.log"), "");
        let found = host.called(template);
        assert_eq!(found.name.as_deref(), Some("nginx-proxy"), "{template}");
        assert_eq!((found.pod.as_deref(), found.namespace.as_deref()), (Some("web-0"), Some("shop")));
        assert_eq!(found.title(), "web-0/nginx-proxy");
    }
    // Without a link of its own, as the container that holds the pod's namespaces: the pod is known.
    let host = Host::new(&["v2"]);
    host.file(&format!("/var/log/pods/shop_web-0_{UID}/nginx/0.log"), "");
    let found = host.called("/kubepods/burstable/pod{UID}/{A}");
    assert_eq!((found.name, found.pod.as_deref(), found.namespace.as_deref()), (None, Some("web-0"), Some("shop")));
    // As Docker and CRI-O call the containers of a kubelet.
    let host = Host::new(&["v2"]);
    let name = format!("k8s_nginx_web-0_shop_{UID}_3");
    host.file(&format!("/var/lib/docker/containers/{A}/config.v2.json"), &format!("{{\"Name\":\"/{name}\"}}"));
    let found = host.called("/docker/{A}");
    assert_eq!(
        (found.name.as_deref(), found.pod.as_deref(), found.pod_uid.as_deref()),
        (Some("nginx"), Some("web-0"), Some(UID))
    );
}

#[test]
fn the_first_process_tells_which_root_the_names_are_below() {
    let host = Host::new(&["v2"]);
    fs::create_dir_all(host.path("/host/proc")).expect("a folder");
    fs::create_dir_all(host.path("/proc/1")).expect("a folder");
    symlink(host.path("/host"), host.path("/proc/1/root")).expect("a link");
    host.file(&format!("/host/var/lib/docker/containers/{A}/config.v2.json"), "{\"Name\":\"/web\"}");
    assert_eq!(host.called("/docker/{A}").name.as_deref(), Some("web"));
}

#[test]
fn a_pod_is_found_by_its_uid_and_by_its_name() {
    let host = Host::new(&["v2"]);
    let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U_I_D}.slice";
    let id = host.cgroup("/sys/fs/cgroup", pod);
    host.cgroup("/sys/fs/cgroup", &format!("{pod}/cri-containerd-{{A}}.scope"));
    let fixed = host.cgroup("/sys/fs/cgroup", "/kubepods/burstable/pod{STATIC}");
    for wanted in [UID.to_owned(), UID.replace('-', "_"), UID.to_uppercase()] {
        assert_eq!(host.found("--pod", &wanted), (id, false, format!("pod {UID}")));
    }
    assert_eq!(host.found("--pod", STATIC_UID).0, fixed);
    host.file(&format!("/var/log/pods/shop_web-0_{UID}/nginx/0.log"), "");
    for wanted in ["web-0", "shop/web-0", UID] {
        assert_eq!(host.found("--pod", wanted), (id, false, format!("pod shop/web-0 ({UID})")));
    }
}

#[test]
fn what_is_not_there_or_not_clear_is_told_in_a_sentence() {
    let host = Host::new(&["v2"]);
    let none = host.refused("--container", "web");
    assert!(none.contains("no container 'web' is running here") && none.contains("at least 4 digits"), "{none}");
    host.cgroup("/sys/fs/cgroup", "/docker/{A}");
    let other = format!("{}{}", &A[..8], &B[8..]);
    host.cgroup("/sys/fs/cgroup", &format!("/docker/{other}"));
    let several = host.refused("--container", "3f4a");
    assert!(several.contains("'3f4a' could be 2 containers"), "{several}");
    assert!(several.contains("3f4a9c1be07d (docker)") && several.contains("3f4a9c1ba495 (docker)"), "{several}");
    assert!(host.refused("--container", "3f4").contains("no container '3f4'"));
    assert!(host.refused("--container", "\x1b[2J\n").contains("no container"));
    assert!(host.refused("--pod", "web-0").contains("no pod 'web-0' is running here"));
    // Two pods of one name.
    for (uid, namespace) in [(UID, "shop"), (STATIC_UID, "test")] {
        host.cgroup("/sys/fs/cgroup", &format!("/kubepods/burstable/pod{uid}"));
        host.file(&format!("/var/log/pods/{namespace}_web-0_{uid}/nginx/0.log"), "");
    }
    let several = host.refused("--pod", "web-0");
    assert!(several.contains("shop/web-0") && several.contains("test/web-0"), "{several}");
    assert!(host.found("--pod", "test/web-0").2.contains(STATIC_UID));
    // Containers that no cgroup of a pod holds.
    let host = Host::new(&["v2"]);
    host.cgroup("/sys/fs/cgroup", "/system.slice/containerd.service/kubepods-pod{U_I_D}.slice:cri-containerd:{A}");
    assert!(host.refused("--pod", UID).contains("no cgroup of its own"));
}
