//! Which source of page touches and of hint faults this kernel allows, and what cannot be told apart with it.

use numatrace_common::config::{Config, MISSING, Offsets, hints, resolve};

use super::{kallsyms, numa_balancing};
use crate::{
    collect::btf::KernelBtf,
    snapshot::{Source, SourceState, sources},
    target::{FILE_IDS, Ids, OWN_IDS},
    topology::Topology,
};

/// Which source is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageSource {
    /// The best there is.
    #[default]
    Auto,
    /// At the end of page faults.
    Exit,
    /// At their beginning.
    Entry,
    /// None.
    Off,
}

/// Where hint faults are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HintSource {
    /// The best there is.
    #[default]
    Auto,
    /// By fentry of `task_numa_fault`.
    Fentry,
    /// By a kprobe on it.
    Kprobe,
    /// From what the kernel counts for each thread.
    Counts,
}

impl HintSource {
    /// Why `other` is not tried; `None` where it is.
    pub(super) fn rules_out(self, other: HintSource) -> Option<String> {
        let name = match self {
            HintSource::Auto => return None,
            HintSource::Fentry => "fentry",
            HintSource::Kprobe => "kprobe",
            HintSource::Counts => "counts",
        };
        (self != other).then(|| format!("not tried with --hint-source {name}"))
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PagePlan {
    /// Which source.
    pub source: PageSource,
    /// Which source of hint faults.
    pub hints: HintSource,
    /// Samples with addresses, at most.
    pub samples_per_second: u32,
    /// With callers.
    pub stacks: bool,
    /// Processes are counted, and nothing is looked up about them.
    pub counts_only: bool,
}

impl PagePlan {
    /// Nothing about pages.
    pub const OFF: PagePlan = PagePlan {
        source: PageSource::Off,
        hints: HintSource::Auto,
        samples_per_second: 0,
        stacks: false,
        counts_only: false,
    };
}

/// What was chosen, and why not more.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What was asked for.
    pub(super) plan: PagePlan,
    /// One of [`resolve`].
    pub(super) resolve: u32,
    /// One of [`hints`].
    pub(super) hints: u32,
    /// Why page touches are off, or not exact.
    why: Option<String>,
    /// Why there are no hint faults, or why not exact ones.
    why_hints: Option<String>,
    /// Copies on write are told from other touches.
    pub(super) copies: bool,
    /// Huge pages are.
    pub(super) huge: bool,
    /// The zero page is.
    pub(super) zero: bool,
    pub(super) hints_by_kprobe: bool,
    pub(super) hints_refused: Option<String>,
    pub(super) can_use_deltas: bool,
    by_event: bool,
    /// Why no hook tells when a page fault begins.
    no_begin: Option<String>,
    ids: Ids,
    symbols: kallsyms::Symbols,
    /// Arguments of the tracepoint: its program is named by their number.
    pub(super) migrate_args: u32,
    numa_misplaced: u32,
}

/// Mappings can be looked up in the kernel: a tree of them, since 6.1.
fn knows_mappings(offsets: &Offsets) -> bool {
    let needed = [offsets.mm, offsets.mm_root, offsets.vma_start, offsets.vma_end, offsets.vma_flags, offsets.vma_file];
    needed.iter().all(|offset| *offset != MISSING)
}

impl Choice {
    /// Looks at what there is. `refused` says that the hook for hint faults was, and why: the kernel's own counts stand in.
    pub(in crate::collect) fn make(
        plan: PagePlan,
        kernel: &KernelBtf,
        offsets: &Offsets,
        refused: Option<String>,
    ) -> Choice {
        let mut choice = Choice {
            plan,
            resolve: resolve::OFF,
            hints: hints::OFF,
            why: None,
            why_hints: None,
            copies: true,
            huge: true,
            zero: true,
            hints_by_kprobe: false,
            hints_refused: None,
            can_use_deltas: offsets.numa_faults_locality != MISSING,
            by_event: false,
            no_begin: None,
            ids: Ids::Same,
            symbols: kallsyms::Symbols::default(),
            migrate_args: kernel.tracepoint_args("mm_migrate_pages").unwrap_or(0) as u32,
            numa_misplaced: kernel.enumerator("migrate_reason", "MR_NUMA_MISPLACED").unwrap_or(u32::MAX),
        };
        choice.choose_source(kernel, offsets);
        choice.choose_hints(refused);
        choice
    }

    fn choose_source(&mut self, kernel: &KernelBtf, offsets: &Offsets) {
        if self.plan.source == PageSource::Off {
            self.why = Some("switched off with --page-source off".into());
            return;
        }
        if !knows_mappings(offsets) {
            self.why =
                Some("this kernel's mappings cannot be read (numatrace knows those of Linux 6.1 and newer)".into());
            return;
        }
        self.symbols = kallsyms::Symbols::read();
        if self.plan.source == PageSource::Entry {
            self.at_entry("asked for with --page-source entry");
            return;
        }
        // Since 6.3 the kernel prepares what an event asks for before its program runs; the same series of changes brought
        // this member.
        let prepared = kernel.offset_of("perf_sample_data", "dyn_size").is_some();
        let members = [offsets.event_data, offsets.sample_phys_addr, offsets.sample_page_size];
        if prepared && members.iter().all(|offset| *offset != MISSING) {
            self.resolve = resolve::PHYS_ADDR;
        } else if cfg!(target_arch = "x86_64") && self.symbols.page_offset_base != 0 && offsets.mm_pgd != MISSING {
            self.resolve = resolve::WALK;
        } else if self.plan.source == PageSource::Exit {
            self.why = Some(
                "--page-source exit needs Linux 6.3, or on x86-64 a readable page_offset_base in /proc/kallsyms".into(),
            );
        } else {
            self.at_entry("this kernel does not show programs the page that a fault ended with");
        }
    }

    fn at_entry(&mut self, why: &str) {
        self.resolve = resolve::ENTRY;
        // A huge page or the zero page is not there yet.
        (self.huge, self.zero) = (false, false);
        self.why = Some(format!(
            "{why}: faults are seen when they begin, and each page's node is asked for afterwards; what was unmapped by then \
             is unknown, and huge pages and the zero page are counted as first_touch or file"
        ));
    }

    fn choose_hints(&mut self, refused: Option<String>) {
        self.why_hints = match numa_balancing() {
            _ if self.plan.source == PageSource::Off => Some("switched off with --page-source off".into()),
            None => Some(sources::NOT_BALANCING[0].into()),
            Some(0) => {
                // Somebody may turn it on: its faults are no page touches then either.
                self.hints = hints::HOOK;
                Some(sources::NOT_BALANCING[1].into())
            }
            Some(_) => None,
        };
        if self.why_hints.is_some() {
            return;
        }
        if let Some(refused) = refused {
            self.hints = hints::DELTAS;
            self.why_hints = Some(format!(
                "task_numa_fault cannot be hooked ({refused}): taken from what the kernel counts for each thread at page \
                 faults, in which faults shared by a group of threads on several nodes are local"
            ));
        } else {
            self.hints = hints::HOOK;
        }
    }

    /// What the probes have to know.
    pub(in crate::collect) fn configure(&self, config: &mut Config, topology: &Topology) {
        config.resolve = self.resolve;
        config.hints = self.hints;
        config.nodes = u32::try_from(topology.nodes.len()).unwrap_or(u32::MAX);
        config.stacks = u32::from(self.plan.stacks);
        config.numa_misplaced = self.numa_misplaced;
        config.hint_time = u32::from(self.has_hints());
        config.huge_page_bytes = huge_page_bytes();
        config.page_offset_base = self.symbols.page_offset_base;
        config.huge_zero_pfn = self.symbols.huge_zero_pfn;
        config.encryption_mask = self.symbols.sme_me_mask;
        config.five_levels = u32::from(five_levels());
        config.huge_zero_reads = u32::from(huge_zero_reads());
    }

    /// Something is counted.
    pub(in crate::collect) const fn is_on(&self) -> bool {
        self.resolve != resolve::OFF
    }

    /// Something is counted in cells.
    pub(in crate::collect) const fn needs_cells(&self) -> bool {
        self.is_on() || self.hints != hints::OFF
    }

    /// Nothing comes of it.
    pub(super) fn give_up(&mut self, why: String) {
        self.resolve = resolve::OFF;
        self.why = Some(why);
    }

    /// The kernel refused the hook.
    pub(super) fn refuse(&mut self, why: &str) {
        self.give_up(format!("refused: {why}"));
    }

    /// Hint faults are counted and shown.
    pub(super) fn has_hints(&self) -> bool {
        match self.hints {
            hints::HOOK => self.why_hints.is_none() && self.hints_refused.is_none(),
            hints::DELTAS => true,
            _ => false,
        }
    }

    /// Why the time in hint faults is not measured; `None` where it is: somebody must tell when a fault begins, and when it
    /// ends.
    pub(super) fn why_no_hint_time(&self) -> Option<String> {
        if !self.has_hints() {
            return Some(self.why_no_hints().to_owned());
        }
        if let Some(why) = &self.no_begin {
            return Some(format!("page_fault_user cannot be hooked ({why}), which tells when a fault begins"));
        }
        match self.resolve {
            resolve::OFF => Some("there is no source of page touches, which tells when a fault ends".into()),
            resolve::ENTRY => Some("page faults are seen when they begin, and nothing tells when they end".into()),
            _ => None,
        }
    }

    /// The kernel refused both hooks. While balancing is off that matters to nobody.
    pub(super) fn refuse_hints(&mut self, why: String) {
        if self.why_hints.is_none() {
            self.hints_refused = Some(why);
        }
    }

    /// Takes into account what ids of processes are good for: where they mean others here than to the probes, none can be asked
    /// about.
    pub(super) fn know_ids(&mut self, ids: Ids) {
        self.ids = ids;
        if self.resolve == resolve::ENTRY && ids != Ids::Same {
            self.give_up(if ids == Ids::Own { OWN_IDS } else { FILE_IDS }.into());
        }
    }

    /// Where the page is to be asked for by user space, nothing comes of it: that needs records.
    pub(super) fn leave_out_unresolved(&mut self) {
        if self.resolve == resolve::ENTRY {
            self.give_up("page faults are seen when they begin, and counting in the kernel needs their end".into());
        }
    }

    /// Samples are taken and named.
    pub(super) const fn names_places(&self) -> bool {
        !matches!(self.ids, Ids::Own) && self.plan.samples_per_second > 0
    }

    /// Nobody tells what a fault was for.
    pub(super) fn merge_copies(&mut self, why: &str) {
        self.copies = false;
        self.no_begin = Some(why.to_owned());
        self.why = Some(format!(
            "page_fault_user cannot be hooked ({why}): copies on write are counted as first_touch or file"
        ));
    }

    /// An event stands in for the tracepoints at the beginning of faults.
    pub(super) fn entry_by_event(&mut self, why: &str) {
        self.by_event = true;
        self.no_begin = Some(why.to_owned());
        self.copies = false;
    }

    pub(super) fn why_no_hints(&self) -> &str {
        self.why_hints.as_deref().unwrap_or_default()
    }

    pub(super) fn source(&self) -> Source {
        let [exit, entry, event] = sources::TOUCHES;
        let (name, state) = match self.resolve {
            resolve::OFF if self.plan.source == PageSource::Entry => (entry, SourceState::Off),
            resolve::OFF => (exit, SourceState::Off),
            resolve::ENTRY if self.by_event => (event, SourceState::BestEffort),
            resolve::ENTRY => (entry, SourceState::BestEffort),
            _ if !self.copies => (exit, SourceState::BestEffort),
            _ => (exit, SourceState::On),
        };
        Source { name: name.into(), state, reason: self.why.clone() }
    }

    pub(super) fn hints_source(&self) -> Source {
        let [fentry, kprobe, deltas] = sources::HINT_FAULTS;
        let (name, state, reason) = match (self.hints, &self.hints_refused) {
            (hints::OFF, _) => (fentry, SourceState::Off, self.why_hints.clone()),
            (hints::HOOK, _) if self.why_hints.is_some() => (fentry, SourceState::Off, self.why_hints.clone()),
            (hints::DELTAS, _) => (deltas, SourceState::BestEffort, self.why_hints.clone()),
            (_, Some(refused)) => (fentry, SourceState::Off, Some(format!("refused: {refused}"))),
            (_, None) if self.hints_by_kprobe => (kprobe, SourceState::On, None),
            (_, None) => (fentry, SourceState::On, None),
        };
        Source { name: name.into(), state, reason }
    }

    pub(super) fn samples_source(&self) -> Source {
        let rate = self.plan.samples_per_second;
        let (state, reason) = if !self.is_on() {
            (SourceState::Off, "there is no source of page touches".to_owned())
        } else if rate == 0 {
            (SourceState::Off, "switched off with --fault-samples 0".to_owned())
        } else if self.ids == Ids::Own {
            (SourceState::Off, OWN_IDS.to_owned())
        } else {
            let most = format!("at most {rate} page touches a second, each standing for those since the one before it");
            (SourceState::Sampled, most)
        };
        Source { name: sources::WHERE[0].into(), state, reason: Some(reason) }
    }
}

/// Bytes that a page middle directory maps, which depends on the page size: 2 MiB with pages of 4 KiB.
fn huge_page_bytes() -> u64 {
    let page = super::page_bytes();
    page * (page / 8)
}

/// Reads of fresh memory get the huge zero page, where they get a huge page at all.
fn huge_zero_reads() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/use_zero_page").is_ok_and(|text| text.trim() == "1")
}

/// The kernel uses page tables of five levels: it takes the flag away where it does not.
fn five_levels() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "la57"))
}
