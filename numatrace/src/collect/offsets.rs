//! Which kernel struct members the probes need, and what is lost without each.

use numatrace_common::config::{MISSING, Offsets, throttle};

use super::btf::KernelBtf;

/// What a missing member takes away; only these features depend on members that some kernels lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `rq->curr` can be read: who held the CPU while a thread waited.
    pub culprits: bool,
    /// `sched_info` and `rq->clock` can be read: the waits of threads that were queued before attach, and how long
    /// a thread that is no target had run.
    pub sched_info: bool,
    /// Cgroup membership can be read.
    pub cgroups: bool,
    /// How the throttled part of a wait can be told: one of [`throttle`].
    pub throttle: u32,
}

/// The offsets, and what they allow; or the first member without which nothing works.
///
/// # Errors
/// The name of a member that every supported kernel has, when this one does not.
pub fn find(btf: &KernelBtf, cgroup_v1: bool) -> Result<(Offsets, Features), &'static str> {
    let optional = |ty: &str, path: &str| btf.offset_of(ty, path).unwrap_or(MISSING);
    let needed = |path: &'static str| btf.offset_of("task_struct", path).ok_or(path);
    let css = if cgroup_v1 {
        match (btf.offset_of("css_set", "subsys"), btf.enumerator("cgroup_subsys_id", "cpu_cgrp_id")) {
            (Some(array), Some(index)) => {
                index.checked_mul(8).and_then(|inside| array.checked_add(inside)).unwrap_or(MISSING)
            }
            _ => MISSING,
        }
    } else {
        optional("css_set", "dfl_cgrp")
    };
    let offsets = Offsets {
        pid: needed("pid")?,
        tgid: needed("tgid")?,
        comm: needed("comm")?,
        state: needed("__state")?,
        on_cpu: needed("on_cpu")?,
        on_rq: needed("on_rq")?,
        cpu: btf.offset_of("task_struct", "thread_info.cpu").or(btf.offset_of("task_struct", "cpu")).ok_or("cpu")?,
        policy: needed("policy")?,
        static_prio: needed("static_prio")?,
        start_time: needed("start_time")?,
        real_parent: needed("real_parent")?,
        exit_state: needed("exit_state")?,
        bpf_storage: optional("task_struct", "bpf_storage"),
        last_queued: optional("task_struct", "sched_info.last_queued"),
        last_arrival: optional("task_struct", "sched_info.last_arrival"),
        cfs_rq: optional("task_struct", "se.cfs_rq"),
        cfs_rq_rq: optional("cfs_rq", "rq"),
        rq_clock: optional("rq", "clock"),
        rq_curr: optional("rq", "curr"),
        rq_online: optional("rq", "online"),
        cgroups: optional("task_struct", "cgroups"),
        css,
        css_cgroup: optional("cgroup_subsys_state", "cgroup"),
        cgroup_kn: optional("cgroup", "kn"),
        kn_id: optional("kernfs_node", "id"),
        cgroup_parent: optional("cgroup", "self.parent"),
        group_leader: needed("group_leader")?,
        nvcsw: optional("task_struct", "nvcsw"),
        mm: optional("task_struct", "mm"),
        mempolicy: optional("task_struct", "mempolicy"),
        numa_faults_locality: optional("task_struct", "numa_faults_locality"),
        mm_root: optional("mm_struct", "mm_mt.ma_root"),
        mm_lock_seq: optional("mm_struct", "mm_lock_seq"),
        mm_pgd: optional("mm_struct", "pgd"),
        mm_start_brk: optional("mm_struct", "start_brk"),
        mm_brk: optional("mm_struct", "brk"),
        mm_start_stack: optional("mm_struct", "start_stack"),
        vma_start: optional("vm_area_struct", "vm_start"),
        vma_end: optional("vm_area_struct", "vm_end"),
        vma_flags: optional("vm_area_struct", "vm_flags"),
        vma_file: optional("vm_area_struct", "vm_file"),
        vma_policy: optional("vm_area_struct", "vm_policy"),
        policy_mode: optional("mempolicy", "mode"),
        policy_nodes: optional("mempolicy", "nodes"),
        event_data: optional("bpf_perf_event_data_kern", "data"),
        sample_addr: optional("perf_sample_data", "addr"),
        sample_phys_addr: optional("perf_sample_data", "phys_addr"),
        sample_page_size: optional("perf_sample_data", "data_page_size"),
        regs_ip: btf.offset_of("pt_regs", "ip").or(btf.offset_of("pt_regs", "pc")).unwrap_or(MISSING),
        cfs_rq_tg: optional("cfs_rq", "tg"),
        tg_cfs_rq: optional("task_group", "cfs_rq"),
        task_throttled: optional("task_struct", "throttled"),
        throttled_self: optional("cfs_rq", "throttled_clock_self"),
        throttled_self_time: optional("cfs_rq", "throttled_clock_self_time"),
        throttled_pelt: optional("cfs_rq", "throttled_clock_pelt"),
        throttled_pelt_time: optional("cfs_rq", "throttled_clock_pelt_time"),
        throttle_count: optional("cfs_rq", "throttle_count"),
        rq_clock_pelt: optional("rq", "clock_pelt"),
        rq_lost_idle: optional("rq", "lost_idle_time"),
        reserved: 0,
    };
    let has = |members: &[u32]| members.iter().all(|m| *m != MISSING);
    let features = Features {
        culprits: has(&[offsets.cfs_rq, offsets.cfs_rq_rq, offsets.rq_curr]),
        sched_info: has(&[
            offsets.cfs_rq,
            offsets.cfs_rq_rq,
            offsets.rq_clock,
            offsets.last_queued,
            offsets.last_arrival,
        ]),
        cgroups: has(&[
            offsets.cgroups,
            offsets.css,
            offsets.css_cgroup,
            offsets.cgroup_kn,
            offsets.kn_id,
            offsets.cgroup_parent,
        ]),
        throttle: throttling(&offsets),
    };
    Ok((offsets, features))
}

fn throttling(offsets: &Offsets) -> u32 {
    let has = |members: &[u32]| members.iter().all(|member| *member != MISSING);
    if !has(&[offsets.cfs_rq, offsets.cfs_rq_rq, offsets.rq_clock, offsets.cfs_rq_tg, offsets.tg_cfs_rq]) {
        return throttle::OFF;
    }
    let by_queue = has(&[offsets.throttled_self, offsets.throttled_self_time]);
    let by_load = [offsets.throttled_pelt, offsets.throttled_pelt_time, offsets.throttle_count];
    match () {
        () if by_queue && offsets.task_throttled != MISSING => throttle::THREAD,
        () if by_queue => throttle::QUEUE,
        () if has(&by_load) && has(&[offsets.rq_clock_pelt, offsets.rq_lost_idle]) => throttle::LOAD,
        () => throttle::OFF,
    }
}

#[cfg(test)]
mod tests {
    use super::super::btf::tests::built;
    use super::*;

    #[test]
    fn an_index_beyond_all_places_is_survived() {
        const STRUCT: u32 = 4 << 24 | 1;
        const ENUM: u32 = 6 << 24 | 1;
        // 1: an int; 2: `struct css_set { int subsys; }`; 3: `enum cgroup_subsys_id { cpu_cgrp_id = 0x20000000 }`.
        let strings = b"\0int\0css_set\0subsys\0cgroup_subsys_id\0cpu_cgrp_id\0";
        let at = |name: &[u8]| strings.windows(name.len()).position(|here| here == name).expect("a name") as u32;
        let css = [at(b"css_set"), STRUCT, 16, at(b"subsys"), 1, 64];
        let ids = [at(b"cgroup_subsys_id"), ENUM, 4, at(b"cpu_cgrp_id"), 0x2000_0000];
        let btf = KernelBtf::parse(built(&[&[1, 1 << 24, 4, 32][..], &css, &ids].concat(), strings)).expect("valid");
        assert_eq!(
            (btf.offset_of("css_set", "subsys"), btf.enumerator("cgroup_subsys_id", "cpu_cgrp_id")),
            (Some(8), Some(0x2000_0000))
        );
        assert_eq!(find(&btf, true), Err("pid"));
    }
}
