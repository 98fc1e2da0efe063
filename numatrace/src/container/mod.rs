//! Containers and pods, from the paths of their cgroups. Place in the flow: beside `target` and whatever shows a cgroup.
//!
//! `path.rs` tells a container from a path alone, `names.rs` reads what it is called from files that its runtime keeps.

pub mod names;
mod path;

use serde::Serialize;

pub use path::{identify, is_prefix_of_id, pod_uid_of, same_pod_uid};

/// A container, as far as it is known. Texts are as they were found: any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Container {
    /// `docker`, `containerd`, `crio` or `podman`; where the path does not tell, `unknown`.
    pub runtime: &'static str,
    /// Its id: 64 hexadecimal digits mostly.
    pub id: String,
    /// Its name, as the runtime or the orchestrator has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Kubernetes pod's UID, with dashes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// See [`Container::title`].
    #[serde(skip)]
    titled: String,
}

impl Container {
    /// One of which the path of a cgroup tells this much.
    pub fn new(runtime: &'static str, id: impl Into<String>, pod_uid: Option<String>) -> Container {
        Container { runtime, id: id.into(), pod_uid, ..Container::default() }
    }

    /// As many digits of the id as people use.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// What people call it: `pod/name`, the name, or the short id.
    pub fn title(&self) -> &str {
        if self.titled.is_empty() { self.short_id() } else { &self.titled }
    }

    /// What to call a cgroup with this path, where it is the container's own and a name is known.
    pub fn title_of(&self, cgroup_path: &str) -> Option<&str> {
        let last = cgroup_path.rsplit('/').next()?;
        // crun puts all of a container into this one below it.
        let is_whole = last == "container" || last.to_ascii_lowercase().contains(&self.id);
        (is_whole && !self.titled.is_empty()).then_some(&*self.titled)
    }

    /// The same with these names; what is `None` is not known.
    #[must_use]
    pub fn called(mut self, name: Option<String>, pod: Option<String>, namespace: Option<String>) -> Container {
        self.titled = match (&pod, &name) {
            (Some(pod), Some(name)) => format!("{pod}/{name}"),
            (None, Some(name)) => name.clone(),
            (Some(pod), None) => format!("{pod}/{}", self.short_id()),
            (None, None) => String::new(),
        };
        (self.name, self.pod, self.namespace) = (name, pod, namespace);
        self
    }
}
