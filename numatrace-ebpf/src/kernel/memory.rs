//! What the kernel knows of a process's memory: its mappings, its page tables, and the fault that a perf event tells of.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{bpf_perf_event_data, task_struct},
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel as read_raw, bpf_task_pt_regs},
};
use numatrace_common::config::MISSING;

use super::{Access, Btf, Task, config, probe, read};

/// The thread that is current on this CPU.
#[inline(always)]
pub fn current<A: Access>() -> Task<A> {
    // SAFETY: a helper without arguments.
    Task::new(unsafe { bpf_get_current_task_btf() }.cast())
}

/// The user instruction pointer of the current thread, also while it is in the kernel.
#[inline(always)]
pub fn user_ip() -> u64 {
    let task: Task<Btf> = current();
    // SAFETY: the current task, as the helper wants it.
    let regs = unsafe { bpf_task_pt_regs(task.ptr().cast_mut().cast::<task_struct>()) };
    probe::<u64>(regs as *const u8, config!(offsets.regs_ip)).unwrap_or(0)
}

impl<A: Access> Task<A> {
    /// `struct mm_struct *` of its address space; null for a kernel thread.
    #[inline(always)]
    pub fn mm(self) -> Option<*const u8> {
        read::<A, *const u8>(self.ptr, config!(offsets.mm)).filter(|mm| !mm.is_null())
    }

    /// Pages of hint faults since the kernel last looked, remote and local.
    #[inline(always)]
    pub fn numa_faults_locality(self) -> Option<[u32; 2]> {
        let at = config!(offsets.numa_faults_locality);
        if at == MISSING {
            return None;
        }
        let remote = probe::<u64>(self.ptr, at)?;
        let local = probe::<u64>(self.ptr, at + 8)?;
        Some([remote as u32, local as u32])
    }
}

/// The page fault that a perf software event tells of.
#[derive(Clone, Copy)]
pub struct Fault {
    pub address: u64,
    /// Physical address of the page; 0 where the kernel found none, or was not asked.
    pub physical: u64,
    /// Bytes of the page as the page tables map it; 0 likewise.
    pub page_bytes: u64,
}

/// Address of the fault.
#[inline(always)]
pub fn fault_address(ctx: *const c_void) -> u64 {
    // SAFETY: a member of the context of programs of this kind, which the verifier knows.
    unsafe { (*ctx.cast::<bpf_perf_event_data>()).addr }
}

/// `struct bpf_perf_event_data_kern`, which the context really is, has a pointer to `struct perf_sample_data`. The kernel
/// has filled that in by what the event's `sample_type` asks for (`perf_prepare_sample` before the program, since 6.3).
#[inline(always)]
pub fn fault(ctx: *const c_void) -> Fault {
    let address = fault_address(ctx);
    let data = probe::<*const u8>(ctx.cast(), config!(offsets.event_data)).unwrap_or(core::ptr::null());
    Fault {
        address,
        physical: probe::<u64>(data, config!(offsets.sample_phys_addr)).unwrap_or(0),
        page_bytes: probe::<u64>(data, config!(offsets.sample_page_size)).unwrap_or(0),
    }
}

/// A `struct vm_area_struct *`.
#[derive(Clone, Copy)]
pub struct Mapping(*const u8);

impl Mapping {
    /// Its first address, and the one behind it.
    #[inline(always)]
    pub fn range(self) -> (u64, u64) {
        let start = probe::<u64>(self.0, config!(offsets.vma_start)).unwrap_or(0);
        (start, probe::<u64>(self.0, config!(offsets.vma_end)).unwrap_or(0))
    }

    /// `vm_flags`.
    #[inline(always)]
    pub fn flags(self) -> u64 {
        probe::<u64>(self.0, config!(offsets.vma_flags)).unwrap_or(0)
    }

    /// It is of a file; shared memory without a name is of one, too.
    #[inline(always)]
    pub fn has_file(self) -> bool {
        probe::<u64>(self.0, config!(offsets.vma_file)).unwrap_or(0) != 0
    }

    /// Mode and nodes of the memory policy that holds here: its own, else the thread's, else the default.
    #[inline(always)]
    pub fn policy<A: Access>(self, task: Task<A>) -> (u16, u64) {
        let own = probe::<*const u8>(self.0, config!(offsets.vma_policy)).filter(|policy| !policy.is_null());
        let of_task = || probe::<*const u8>(task.ptr(), config!(offsets.mempolicy)).filter(|policy| !policy.is_null());
        let Some(policy) = own.or_else(of_task) else { return (0, 0) };
        let mode = probe::<u16>(policy, config!(offsets.policy_mode)).unwrap_or(0);
        (mode, probe::<u64>(policy, config!(offsets.policy_nodes)).unwrap_or(0))
    }
}

/// Writes go to the file (`VM_SHARED`).
pub const VM_SHARED: u64 = 0x8;

/// Where the heap and the first thread's stack lie: `start_brk`, `brk`, `start_stack`.
#[inline(always)]
pub fn heap_and_stack(mm: *const u8) -> (u64, u64, u64) {
    let at = |offset| probe::<u64>(mm, offset).unwrap_or(0);
    (at(config!(offsets.mm_start_brk)), at(config!(offsets.mm_brk)), at(config!(offsets.mm_start_stack)))
}

/// Deepest tree of mappings: 16^8 are more than there can be.
const TREE_DEPTH: u32 = 8;
/// Types of a node of the tree (`enum maple_type`).
const LEAF: u64 = 1;
const RANGE: u64 = 2;
const ARANGE: u64 = 3;
/// Pivots of `struct maple_range_64` and `struct maple_arange_64`, and where their slots begin.
const RANGE_PIVOTS: usize = 15;
const RANGE_SLOTS: u64 = 128;
const ARANGE_PIVOTS: usize = 9;
const ARANGE_SLOTS: u64 = 80;
/// Where pivots begin.
const PIVOTS: u64 = 8;

/// The mapping that an address lies in, as `mtree_range_walk` finds it in the maple tree of mappings (since 6.1). Readers of
/// the tree need no lock: a node that is replaced keeps what it held until they are done (RCU, in which programs run).
/// `bpf_find_vma` would take the lock of all mappings for each fault, which per-VMA locks spare the kernel.
#[inline(always)]
pub fn find_mapping(mm: *const u8, address: u64) -> Option<Mapping> {
    let mut entry = probe::<u64>(mm, config!(offsets.mm_root))?;
    // `mte_mk_root` marks a node with bit 1.
    if entry & 3 != 2 {
        return None;
    }
    let mut depth = 0;
    while depth < TREE_DEPTH {
        let node = entry & !0xff;
        let kind = (entry >> 3) & 0xf;
        let (count, slots) = match kind {
            ARANGE => (ARANGE_PIVOTS, ARANGE_SLOTS),
            LEAF | RANGE => (RANGE_PIVOTS, RANGE_SLOTS),
            _ => return None,
        };
        let mut pivots = MaybeUninit::<[u64; RANGE_PIVOTS]>::uninit();
        let bytes = (RANGE_PIVOTS * 8) as u32;
        // SAFETY: the helper checks the address, and fills all of it or zeroes it.
        let failed = unsafe { read_raw(pivots.as_mut_ptr().cast(), bytes, (node + PIVOTS) as *const c_void) };
        if failed != 0 {
            return None;
        }
        // SAFETY: filled above.
        let pivots = unsafe { pivots.assume_init_ref() };
        // Pivots are the last addresses of their slots; one that is 0 is not used, and the slot before it the last one.
        let mut at = 0;
        while at < RANGE_PIVOTS {
            if at >= count || pivots[at] >= address || (pivots[at] == 0 && at > 0) {
                break;
            }
            at += 1;
        }
        entry = probe::<u64>((node + slots + 8 * at as u64) as *const u8, 0)?;
        if kind == LEAF {
            break;
        }
        depth += 1;
    }
    // Neither empty nor one of the tree's own marks.
    if entry < 4096 || entry & 3 != 0 {
        return None;
    }
    let mapping = Mapping(entry as *const u8);
    let (start, end) = mapping.range();
    (start <= address && address < end).then_some(mapping)
}

/// What the page tables of x86-64 map at an address.
#[derive(Clone, Copy)]
pub struct Mapped {
    /// Physical address of the page; 0 where nothing is mapped, or the zero page.
    pub physical: u64,
    pub page_bytes: u64,
}

/// Nothing is mapped.
const NOT_MAPPED: Mapped = Mapped { physical: 0, page_bytes: 0 };

/// Bits of a page-table entry: present, large, protected from everybody (by NUMA balancing), without a page behind it.
const PRESENT: u64 = 1;
const LARGE: u64 = 0x80;
const PROT_NONE: u64 = 0x100;
const SPECIAL: u64 = 0x200;
/// Address bits of an entry, those that say that memory is encrypted among them.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Walks the page tables of x86-64 (`perf_get_page_size` and `gup_fast` do the same on kernels since 6.3).
#[inline(always)]
pub fn walk(mm: *const u8, address: u64) -> Mapped {
    walk_to(mm, address).unwrap_or(NOT_MAPPED)
}

#[inline(always)]
fn walk_to(mm: *const u8, address: u64) -> Option<Mapped> {
    let base = probe::<u64>(config!(page_offset_base) as *const u8, 0)?;
    let encrypted = match config!(encryption_mask) {
        0 => 0,
        at => probe::<u64>(at as *const u8, 0)?,
    };
    let address_mask = ADDRESS & !encrypted;
    let mut table = probe::<u64>(mm, config!(offsets.mm_pgd))?;
    let mut shift = if config!(five_levels) != 0 { 48 } else { 39 };
    let mut level = 0;
    while level < 5 {
        let index = (address >> shift) & 511;
        let entry = probe::<u64>((table + 8 * index) as *const u8, 0)?;
        let bytes = 1u64 << shift;
        let leaf = shift == 12 || shift < 39 && entry & LARGE != 0;
        if leaf && entry & (PRESENT | PROT_NONE) != 0 {
            // Entries without PRESENT have their address inverted (against L1TF).
            let address_bits = if entry & PRESENT == 0 { !entry } else { entry } & address_mask & !(bytes - 1);
            let physical = if shift == 12 && entry & SPECIAL != 0 { 0 } else { address_bits | address & (bytes - 1) };
            return Some(Mapped { physical, page_bytes: bytes });
        }
        if entry & PRESENT == 0 || leaf {
            return None;
        }
        table = base + (entry & address_mask);
        shift -= 9;
        level += 1;
    }
    None
}

/// The frame of the huge zero page, where it can be told.
#[inline(always)]
pub fn huge_zero_frame() -> Option<u64> {
    let at = config!(huge_zero_pfn);
    if at == 0 { None } else { probe::<u64>(at as *const u8, 0) }
}
