//! What containers are called, from files that their runtimes and the kubelet keep: no runtime is asked, no socket is needed.
//!
//! | who | file | what |
//! | --- | --- | --- |
//! | kubelet (`kuberuntime/legacy.go`) | `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` | container, pod, namespace, of every runtime |
//! | kubelet (`kuberuntime/helpers.go`) | `/var/log/pods/NAMESPACE_POD_UID/` | pod and namespace by UID |
//! | Docker (moby `container/container.go`) | `/var/lib/docker/containers/ID/config.v2.json` | `Name` |
//! | Podman, CRI-O (containers/storage `containers.go`) | `/var/lib/containers/storage/{overlay,vfs}-containers/containers.json`; rootless below `~/.local/share` | `names` |
//!
//! Containers of a kubelet are called `k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT` by Docker and CRI-O. Everything here was written
//! by others: sizes are limited, and what is not as expected is no name.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Container;

/// What is not known is looked for again after this time, and lists are read again after it at the earliest.
const AGAIN: Duration = Duration::from_secs(60);
/// Containers whose names are kept; beyond, all are forgotten.
const MAX_KNOWN: usize = 4_096;
/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 16_384;
/// Bytes of a container's own file.
const MAX_CONFIG: u64 = 1 << 20;
/// Bytes of a list of containers.
const MAX_LIST: u64 = 8 << 20;
/// Bytes of a name.
const MAX_NAME: usize = 256;

/// What was found about a container or pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    name: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
    pod_uid: Option<String>,
}

/// Names by id. See the module.
#[derive(Debug)]
pub struct Names {
    root: PathBuf,
    known: HashMap<String, (Found, Instant)>,
    kubelet: Listing,
    pods: Listing,
    storage: HashMap<PathBuf, Listing>,
}

/// A list that was read as a whole.
#[derive(Debug, Default)]
struct Listing {
    read: Option<Instant>,
    by_id: HashMap<String, Found>,
}

impl Listing {
    /// What it says about an id; read again where it is old and does not know it.
    fn get(&mut self, id: &str, now: Instant, read: impl FnOnce() -> HashMap<String, Found>) -> Option<Found> {
        if !self.by_id.contains_key(id) && self.read.is_none_or(|at| now.duration_since(at) >= AGAIN) {
            self.by_id = read();
            self.read = Some(now);
        }
        self.by_id.get(id).cloned()
    }
}

impl Names {
    /// Names as the machine with this root has them.
    pub fn new(root: impl Into<PathBuf>) -> Names {
        Names {
            root: root.into(),
            known: HashMap::new(),
            kubelet: Listing::default(),
            pods: Listing::default(),
            storage: HashMap::new(),
        }
    }

    /// Adds the names of a container that was identified by this path of a cgroup. Reads files only where it was not asked
    /// before, or what it is called is not known since a minute.
    pub fn look_up(&mut self, container: &mut Container, cgroup_path: &[u8]) {
        self.look_up_at(container, cgroup_path, Instant::now());
    }

    fn look_up_at(&mut self, container: &mut Container, cgroup_path: &[u8], now: Instant) {
        let known = self.known.get(&container.id);
        let found = match known {
            Some((found, at)) if found.name.is_some() || now.duration_since(*at) < AGAIN => found.clone(),
            _ => {
                let found = self.find(container, cgroup_path, now);
                if self.known.len() >= MAX_KNOWN {
                    self.known.clear();
                }
                self.known.insert(container.id.clone(), (found.clone(), now));
                found
            }
        };
        let pod_uid = container.pod_uid.take().or(found.pod_uid);
        *container = std::mem::take(container).called(found.name, found.pod, found.namespace);
        container.pod_uid = pod_uid;
    }

    /// Namespace and name of the pod with this UID.
    pub fn pod(&mut self, uid: &str) -> Option<(String, String)> {
        let found = self.pod_at(uid, Instant::now())?;
        Some((found.namespace?, found.pod?))
    }

    fn pod_at(&mut self, uid: &str, now: Instant) -> Option<Found> {
        let folder = self.root.join("var/log/pods");
        self.pods.get(uid, now, || pods_in(&folder))
    }

    fn find(&mut self, container: &Container, cgroup_path: &[u8], now: Instant) -> Found {
        let folder = self.root.join("var/log/containers");
        let by_kubelet = self.kubelet.get(&container.id, now, || links_in(&folder));
        let mut found = match by_kubelet {
            Some(found) => found,
            None => match container.runtime {
                "docker" | "unknown" => self.of_docker(&container.id),
                _ => None,
            }
            .or_else(|| match container.runtime {
                "podman" | "crio" | "unknown" => self.of_storage(&container.id, cgroup_path, now),
                _ => None,
            })
            .unwrap_or_default(),
        };
        if found.pod.is_none()
            && let Some(uid) = &container.pod_uid
            && let Some(pod) = self.pod_at(uid, now)
        {
            found.pod = pod.pod;
            found.namespace = pod.namespace;
        }
        found
    }

    fn of_docker(&self, id: &str) -> Option<Found> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "Name")]
            name: String,
        }
        let path = self.root.join("var/lib/docker/containers").join(id).join("config.v2.json");
        let config: Config = serde_json::from_slice(&read(&path, MAX_CONFIG)?).ok()?;
        called(config.name.strip_prefix('/').unwrap_or(&config.name))
    }

    fn of_storage(&mut self, id: &str, cgroup_path: &[u8], now: Instant) -> Option<Found> {
        let storage = match user_of(cgroup_path) {
            Some(uid) => home_of(&self.root, uid)?.join(".local/share/containers/storage"),
            None => self.root.join("var/lib/containers/storage"),
        };
        ["overlay-containers", "vfs-containers"].iter().find_map(|kind| {
            let path = storage.join(kind).join("containers.json");
            // A few users at most run containers; a machine on which many do is not followed without bound.
            if self.storage.len() >= 64 && !self.storage.contains_key(&path) {
                self.storage.clear();
            }
            let listing = self.storage.entry(path.clone()).or_default();
            listing.get(id, now, || stored_in(&path))
        })
    }
}

/// The bytes of a plain file, at most so many; `None` where there is none, or a larger one.
fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    // Not a pipe or a device, on which opening or reading would wait.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let all = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES);
    all.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// A name that is neither empty nor too long, in one line.
fn name(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= MAX_NAME && !text.contains('\n')).then(|| text.to_owned())
}

/// `POD_NAMESPACE_CONTAINER-ID.log`: neither pods nor namespaces have underscores.
fn links_in(folder: &Path) -> HashMap<String, Found> {
    entries(folder)
        .filter_map(|entry| {
            let (names, id) = entry.strip_suffix(".log")?.rsplit_once('-')?;
            let mut names = names.splitn(3, '_');
            let (pod, namespace, container) = (names.next()?, names.next()?, names.next()?);
            let found = Found { name: name(container), pod: name(pod), namespace: name(namespace), pod_uid: None };
            Some((id.to_ascii_lowercase(), found))
        })
        .collect()
}

/// `NAMESPACE_POD_UID`, a folder.
fn pods_in(folder: &Path) -> HashMap<String, Found> {
    entries(folder)
        .filter_map(|entry| {
            let mut parts = entry.splitn(3, '_');
            let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
            Some((uid.to_owned(), Found { pod: name(pod), namespace: name(namespace), ..Found::default() }))
        })
        .collect()
}

/// A list of containers/storage.
fn stored_in(path: &Path) -> HashMap<String, Found> {
    #[derive(Deserialize)]
    struct Stored {
        id: String,
        #[serde(default)]
        names: Option<Vec<String>>,
    }
    let Some(bytes) = read(path, MAX_LIST) else { return HashMap::new() };
    let list: Vec<Stored> = serde_json::from_slice(&bytes).unwrap_or_default();
    list.into_iter().take(MAX_ENTRIES).filter_map(|stored| Some((stored.id, called(stored.names?.first()?)?))).collect()
}

/// A name as a runtime has it, in which a kubelet may have hidden others.
fn called(text: &str) -> Option<Found> {
    let parts: Vec<&str> = text.split('_').collect();
    if let ["k8s", container, pod, namespace, uid, _attempt] = parts[..] {
        return Some(Found { name: name(container), pod: name(pod), namespace: name(namespace), pod_uid: name(uid) });
    }
    Some(Found { name: Some(name(text)?), ..Found::default() })
}

/// Whose a cgroup is, where systemd runs it for a user: `/user.slice/user-1000.slice/...`.
fn user_of(cgroup_path: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(cgroup_path).ok()?;
    text.split('/').find_map(|part| part.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())
}

fn home_of(root: &Path, uid: u32) -> Option<PathBuf> {
    let passwd = read(&root.join("etc/passwd"), MAX_CONFIG)?;
    let passwd = String::from_utf8_lossy(&passwd);
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields.get(5).copied()).flatten()
    })?;
    let inside = Path::new(home).strip_prefix("/").ok()?;
    let plain = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    plain.then(|| root.join(inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::identify;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn what_is_not_known_is_looked_for_again_after_a_minute_and_what_is_known_never() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = format!("/docker/{ID}");
        let mut names = Names::new(dir.path());
        let start = Instant::now();
        let ask = |names: &mut Names, after: u64| {
            let mut container = identify(path.as_bytes()).expect("a container");
            names.look_up_at(&mut container, path.as_bytes(), start + Duration::from_secs(after));
            container.name
        };
        let config = format!("var/lib/docker/containers/{ID}/config.v2.json");
        assert_eq!(ask(&mut names, 0), None);
        put(dir.path(), &config, "{\"Name\":\"/web\",\"Config\":{}}");
        assert_eq!(ask(&mut names, 59), None);
        assert_eq!(ask(&mut names, 60).as_deref(), Some("web"));
        put(dir.path(), &config, "{\"Name\":\"/other\"}");
        assert_eq!(ask(&mut names, 600).as_deref(), Some("web"));
    }

    #[test]
    fn files_that_are_not_as_expected_give_no_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let list = "var/lib/containers/storage/overlay-containers/containers.json";
        let long = format!("[{{\"id\":\"{ID}\",\"names\":[\"{}\"]}}]", "a".repeat(MAX_NAME + 1));
        let huge = format!("[{{\"id\":\"{ID}\",\"names\":[\"a\"]}}]{}", " ".repeat(MAX_LIST as usize));
        let deep = "[".repeat(100_000);
        for text in ["", "{}", "[1]", "[{\"id\":1}]", &deep, &long, &huge] {
            put(dir.path(), list, text);
            let mut container = identify(format!("/machine.slice/libpod-{ID}.scope").as_bytes()).expect("one");
            Names::new(dir.path()).look_up(&mut container, b"");
            assert_eq!(container.name, None, "{text:.40}");
        }
        fs::remove_file(dir.path().join(list)).expect("it was there");
        fs::create_dir(dir.path().join(list)).expect("a folder in its place");
        assert!(stored_in(&dir.path().join(list)).is_empty());
    }

    #[test]
    fn the_name_of_a_rootless_container_is_in_its_users_home() {
        let dir = tempfile::tempdir().expect("a folder");
        put(dir.path(), "etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n");
        let list = "home/ann/.local/share/containers/storage/overlay-containers/containers.json";
        put(dir.path(), list, &format!("[{{\"id\":\"{ID}\",\"names\":[\"db\"]}}]"));
        let path = format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container");
        let mut container = identify(path.as_bytes()).expect("one");
        Names::new(dir.path()).look_up(&mut container, path.as_bytes());
        assert_eq!(container.name.as_deref(), Some("db"));
    }
}
