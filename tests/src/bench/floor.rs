//! The floor: programs of numatrace's own eBPF object that do nothing, on the hooks that it uses.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya::{Btf, Ebpf, EbpfLoader, programs::BtfTracePoint};

use super::ftrace::EVENTS;

/// Attaches them, for as long as the result lives.
pub fn attach() -> Result<Ebpf> {
    let path = object();
    let bytes = fs::read(&path).with_context(|| format!("cannot read the eBPF object {}", path.display()))?;
    let mut ebpf = EbpfLoader::new().allow_unsupported_maps().load(&bytes)?;
    let btf = Btf::from_sys_fs()?;
    for event in EVENTS {
        let name = format!("empty_{event}");
        let program = ebpf.program_mut(&name).with_context(|| format!("the eBPF object has no program {name}"))?;
        let program: &mut BtfTracePoint = program.try_into()?;
        program.load(event, &btf)?;
        program.attach()?;
    }
    Ok(ebpf)
}

/// The object that numatrace was built with.
fn object() -> PathBuf {
    if let Some(path) = env::var_os("NUMATRACE_EBPF_OBJECT").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let name = format!("numatrace-{}.bpf.o", env::consts::ARCH);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../numatrace/ebpf").join(name)
}
