//! Containers and pods, from the paths of their cgroups. Place in the flow: beside `target` and whatever shows a cgroup.
//!
//! `path.rs` tells a container from a path alone, `names.rs` reads what it is called from files that its runtime keeps.

pub mod names;
mod path;

pub use path::{identify, is_prefix_of_id, pod_uid_of, same_pod_uid};

/// A container, as far as it is known. Texts are as they were found: any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// `docker`, `containerd`, `crio` or `podman`; where the path does not tell, `unknown`.
    pub runtime: &'static str,
    /// Its id: 64 hexadecimal digits mostly.
    pub id: String,
    /// Its name, as the runtime or the orchestrator has it.
    pub name: Option<String>,
    /// The Kubernetes pod's UID, with dashes.
    pub pod_uid: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
}

impl Container {
    /// As many digits of the id as people use.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// What people call it: `pod/name`, the name, or the short id.
    pub fn title(&self) -> String {
        match (&self.pod, &self.name) {
            (Some(pod), Some(name)) => format!("{pod}/{name}"),
            (None, Some(name)) => name.clone(),
            (Some(pod), None) => format!("{pod}/{}", self.short_id()),
            (None, None) => self.short_id().to_owned(),
        }
    }
}
