//! Containers and pods, from the paths of their cgroups. Place in the flow: beside `target` and whatever shows a cgroup.

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

/// The container whose cgroup has this path, if it is one.
pub fn identify(_path: &[u8]) -> Option<Container> {
    None
}
