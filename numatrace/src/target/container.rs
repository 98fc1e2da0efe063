//! A container or a pod by its id or name: the cgroup that holds it.
//!
//! Found by going through the mounted hierarchies once, v2 first; the v1 hierarchy of the cpu controller where it is not there.

use std::path::{Path, PathBuf};

use super::{Filter, Machine, TargetError, TargetSpec, cgroup};
use crate::container::{Container, identify, is_prefix_of_id, names::Names, pod_uid_of, same_pod_uid};
use crate::text::display_str;

/// Containers that are kept, at most, and pods.
const MAX_FOUND: usize = 16_384;
/// Containers that a sentence lists.
const LISTED: usize = 4;

/// A container or a pod, and its own cgroup.
struct Place<T> {
    what: T,
    path: PathBuf,
    v1: bool,
}

/// A pod.
struct Pod {
    uid: String,
    /// Namespace and name.
    called: Option<(String, String)>,
}

/// Finds the container with this id, beginning of an id, or name.
pub(super) fn resolve(wanted: &str, machine: &Machine) -> Result<TargetSpec, TargetError> {
    let is_id = |found: &Place<Container>| found.what.id.eq_ignore_ascii_case(wanted);
    let mut all = containers(machine, &is_id)?;
    if let Some(exact) = all.iter().position(is_id) {
        let mut exact = all.swap_remove(exact);
        Names::new(machine.host_root()).look_up(&mut exact.what, exact.path.as_os_str().as_encoded_bytes());
        return target(&exact.path, exact.v1, label(&exact.what), machine);
    }
    let mut names = Names::new(machine.host_root());
    for found in &mut all {
        names.look_up(&mut found.what, found.path.as_os_str().as_encoded_bytes());
    }
    let count = all.len();
    let (named, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|found| is_called(&found.what, wanted));
    let fits = if named.is_empty() && is_prefix_of_id(wanted) {
        let digits = wanted.to_ascii_lowercase();
        others.into_iter().filter(|found| found.what.id.starts_with(&digits)).collect()
    } else {
        named
    };
    match fits.as_slice() {
        [one] => target(&one.path, one.v1, label(&one.what), machine),
        [] => Err(TargetError::Container(none("container", wanted, count))),
        several => {
            let words: Vec<String> = several.iter().map(|found| words(&found.what)).collect();
            Err(TargetError::Container(ambiguous("containers", wanted, &words, "more digits of its id")))
        }
    }
}

/// Finds the pod with this UID, name, or namespace and name.
pub(super) fn resolve_pod(wanted: &str, machine: &Machine) -> Result<TargetSpec, TargetError> {
    let mut all: Vec<Place<Pod>> = Vec::new();
    let mut alone = Vec::new();
    let mut names = Names::new(machine.host_root());
    let fits = |pod: &Pod| {
        let called = |(namespace, name): &(String, String)| name == wanted || format!("{namespace}/{name}") == wanted;
        same_pod_uid(&pod.uid, wanted) || pod.called.as_ref().is_some_and(called)
    };
    // Two closures look at them.
    let enough = std::cell::Cell::new(false);
    cgroup::walk(
        machine,
        &mut |path, v1| {
            let bytes = path.as_os_str().as_encoded_bytes();
            if let Some(uid) = pod_uid_of(bytes) {
                if all.len() < MAX_FOUND && !all.iter().any(|known| known.what.uid == uid) {
                    let called = names.pod(&uid);
                    let what = Pod { uid, called };
                    enough.set(enough.get() || fits(&what));
                    all.push(Place { what, path: path.to_owned(), v1 });
                }
            } else if alone.len() < MAX_FOUND
                && let Some(uid) = identify(bytes).and_then(|container| container.pod_uid)
            {
                let called = names.pod(&uid);
                alone.push(Pod { uid, called });
            }
        },
        &mut || enough.get(),
    )?;
    let count = all.len();
    let fitting: Vec<Place<Pod>> = all.into_iter().filter(|found| fits(&found.what)).collect();
    match fitting.as_slice() {
        [one] => target(&one.path, one.v1, format!("pod {}", pod_words(&one.what)), machine),
        [] if alone.iter().any(fits) => Err(TargetError::Container(format!(
            "pod '{}' has no cgroup of its own on this node: its containers are beside each other; name one with --container",
            display_str(wanted)
        ))),
        [] => Err(TargetError::Container(none("pod", wanted, count))),
        several => {
            let words: Vec<String> = several.iter().map(|found| pod_words(&found.what)).collect();
            Err(TargetError::Container(ambiguous("pods", wanted, &words, "its UID, or NAMESPACE/NAME")))
        }
    }
}

/// The cgroups of containers, each one's topmost.
fn containers(
    machine: &Machine,
    wanted: &dyn Fn(&Place<Container>) -> bool,
) -> Result<Vec<Place<Container>>, TargetError> {
    let mut all: Vec<Place<Container>> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    let enough = std::cell::Cell::new(false);
    cgroup::walk(
        machine,
        &mut |path, v1| {
            let Some(what) = identify(path.as_os_str().as_encoded_bytes()) else { return };
            // Those above come first, so the first with an id is the topmost.
            if all.len() < MAX_FOUND && ids.insert(what.id.clone()) {
                let found = Place { what, path: path.to_owned(), v1 };
                enough.set(enough.get() || wanted(&found));
                all.push(found);
            }
        },
        &mut || enough.get(),
    )?;
    Ok(all)
}

/// By its name, or that of its pod before it, with or without the namespace before that.
fn is_called(container: &Container, wanted: &str) -> bool {
    let Some(name) = &container.name else { return false };
    let Some(rest) = wanted.strip_suffix(name.as_str()) else { return false };
    let Some(pod) = &container.pod else { return rest.is_empty() };
    let namespace = container.namespace.as_deref().unwrap_or_default();
    rest.is_empty() || rest == format!("{pod}/") || rest == format!("{namespace}/{pod}/")
}

fn target(path: &Path, v1: bool, label: String, machine: &Machine) -> Result<TargetSpec, TargetError> {
    let found = cgroup::at(path, v1, machine)?;
    Ok(TargetSpec { filter: Filter::Cgroup { id: found.id, v1, path: found.path }, label, ids: Vec::new() })
}

fn label(container: &Container) -> String {
    format!("container {}", words(container))
}

/// `3f4a56b7c8d9 (docker, web)`.
fn words(container: &Container) -> String {
    let mut inside = vec![container.runtime.to_owned()];
    if container.name.is_some() || container.pod.is_some() {
        inside.push(display_str(container.title()));
    }
    format!("{} ({})", container.short_id(), inside.join(", "))
}

/// `default/web-0 (uid 1234...)`.
fn pod_words(pod: &Pod) -> String {
    match &pod.called {
        Some((namespace, name)) => format!("{} ({})", display_str(&format!("{namespace}/{name}")), pod.uid),
        None => pod.uid.clone(),
    }
}

fn none(what: &str, wanted: &str, count: usize) -> String {
    let seen = match count {
        0 => format!("no cgroup of a {what} is shown here"),
        1 => format!("one {what} is, and it is another"),
        n => format!("{n} {what}s are, all of them others"),
    };
    let short =
        if what == "container" && wanted.len() < 4 { "; a beginning of an id needs at least 4 digits" } else { "" };
    format!(
        "no {what} '{}' is running here: {seen}{short}; a cgroup of any kind can be named with --cgroup",
        display_str(wanted)
    )
}

fn ambiguous(what: &str, wanted: &str, all: &[String], give: &str) -> String {
    let listed = all[..all.len().min(LISTED)].join(", ");
    let more = if all.len() > LISTED { format!(" and {} more", all.len() - LISTED) } else { String::new() };
    format!("'{}' could be {} {what}: {listed}{more}; give {give}", display_str(wanted), all.len())
}
