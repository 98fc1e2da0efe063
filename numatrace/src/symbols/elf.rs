//! The headers of a program or library: where its code is loaded, and where names stand.
//!
//! Only headers are read, at most a few megabytes, and every place that they name is checked when it is read.

use std::fs::File;

use object::elf::{ELFCLASS64, FileHeader32, FileHeader64, PF_W, PF_X, PT_LOAD, SHT_DYNSYM, SHT_RELA, SHT_SYMTAB};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{NativeEndian, ReadCache};

use super::bytes::Bytes;

/// Sections and segments of a file; programs have some forty. A file with more is not read.
const MAX_HEADERS: usize = 4_096;
/// Sections with relocations; programs have two.
const MAX_RELOCATION_SECTIONS: usize = 4;
/// Bytes of each that are searched for one.
const MAX_RELOCATIONS: u64 = 64 << 20;

/// A stretch of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) at: u64,
    pub(super) size: u64,
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) stretch: Stretch,
    address: u64,
    pub(super) executable: bool,
    pub(super) writable: bool,
}

/// Symbols and their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) symbols: Stretch,
    pub(super) names: Stretch,
}

/// What is known of a file.
#[derive(Debug, Default)]
pub(super) struct Elf {
    /// 64-bit.
    pub(super) wide: bool,
    /// It has section headers, which a program does not need to run.
    pub(super) has_sections: bool,
    /// Where execution begins.
    pub(super) entry: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) symtab: Option<Table>,
    pub(super) dynsym: Option<Table>,
    /// A program in Go says so.
    pub(super) is_go: bool,
    /// Names of Go functions.
    pub(super) gopclntab: Option<Stretch>,
    /// Address of what Go's runtime knows of its program, in a section of its own since Go 1.26.
    pub(super) go_module: Option<u64>,
    /// Address of the section with the code.
    pub(super) text: Option<u64>,
    pub(super) relocations: Vec<Stretch>,
}

impl Elf {
    /// Reads the headers. The error says what the file is instead.
    pub(super) fn read(file: &File) -> Result<Elf, &'static str> {
        let mut ident = [0; 5];
        if file.read(0, &mut ident).is_none() || ident[..4] != *b"\x7fELF" {
            return Err("not an ELF file");
        }
        let data = ReadCache::new(file);
        let elf = if ident[4] == ELFCLASS64 {
            read::<FileHeader64<NativeEndian>>(&data, true)
        } else {
            read::<FileHeader32<NativeEndian>>(&data, false)
        };
        elf.ok_or("its ELF headers cannot be read")
    }

    /// The address, as the file counts them, of code that is loaded from a place in the file.
    pub(super) fn address_of_code(&self, at: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.executable).find_map(|segment| segment.address_of(at))
    }

    /// The same of anything.
    pub(super) fn address_of_data(&self, at: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| segment.address_of(at))
    }

    /// Where in the file stands what is loaded to an address.
    pub(super) fn place(&self, address: u64) -> Option<u64> {
        let inside = |segment: &Segment| {
            let offset = address.checked_sub(segment.address)?;
            (offset < segment.stretch.size).then(|| segment.stretch.at.checked_add(offset)).flatten()
        };
        self.segments.iter().find_map(inside)
    }

    /// Whether code is loaded to an address.
    pub(super) fn is_code(&self, address: u64) -> bool {
        let holds = |segment: &Segment| {
            address.checked_sub(segment.address).is_some_and(|offset| offset < segment.stretch.size)
        };
        self.segments.iter().any(|segment| segment.executable && holds(segment))
    }

    /// The address that stands at an address once the program runs: where code may be loaded anywhere, a relocation
    /// tells it, and the file holds nothing or anything there.
    pub(super) fn pointer(&self, file: &impl Bytes, address: u64) -> Option<u64> {
        if !self.wide {
            return file.u32(self.place(address)?).map(u64::from);
        }
        match self.relocations.iter().find_map(|stretch| addend(file, *stretch, address)) {
            Some(addend) => Some(addend),
            None => file.u64(self.place(address)?),
        }
    }
}

impl Segment {
    fn address_of(&self, at: u64) -> Option<u64> {
        let offset = at.checked_sub(self.stretch.at).filter(|offset| *offset < self.stretch.size)?;
        self.address.checked_add(offset)
    }
}

fn read<H: FileHeader<Endian = NativeEndian>>(data: &ReadCache<&File>, wide: bool) -> Option<Elf> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if header.phnum(endian, data).ok()? > MAX_HEADERS || header.shnum(endian, data).ok()? > MAX_HEADERS {
        return None;
    }
    let mut elf = Elf { wide, entry: header.e_entry(endian).into(), ..Elf::default() };
    for segment in header.program_headers(endian, data).ok()?.iter().filter(|one| one.p_type(endian) == PT_LOAD) {
        let (at, size) = segment.file_range(endian);
        let (address, flags) = (segment.p_vaddr(endian).into(), segment.p_flags(endian));
        let (executable, writable) = (flags & PF_X != 0, flags & PF_W != 0);
        elf.segments.push(Segment { stretch: Stretch { at, size }, address, executable, writable });
    }
    // Without sections, or with such as cannot be read, segments are still good for something.
    let Ok(sections) = header.sections(endian, data) else { return Some(elf) };
    elf.has_sections = sections.len() > 1;
    for section in sections.iter() {
        let stretch = |section: &H::SectionHeader| section.file_range(endian).map(|(at, size)| Stretch { at, size });
        let Some(here) = stretch(section) else { continue };
        let table = || {
            let names = sections.section(section.link(endian)).ok()?;
            Some(Table { symbols: here, names: stretch(names)? })
        };
        match section.sh_type(endian) {
            SHT_SYMTAB => elf.symtab = table(),
            SHT_DYNSYM => elf.dynsym = table(),
            SHT_RELA if elf.relocations.len() < MAX_RELOCATION_SECTIONS => elf.relocations.push(here),
            _ => {}
        }
        let address = section.sh_addr(endian).into();
        match sections.section_name(endian, section) {
            Ok(b".gopclntab" | b".data.rel.ro.gopclntab") => elf.gopclntab = Some(here),
            Ok(b".go.buildinfo" | b".note.go.buildid") => elf.is_go = true,
            Ok(b".go.module") => elf.go_module = Some(address),
            Ok(b".text") => elf.text = Some(address),
            _ => {}
        }
    }
    Some(elf)
}

/// What a 64-bit relocation puts at an address.
fn addend(file: &impl Bytes, relocations: Stretch, address: u64) -> Option<u64> {
    const ENTRY: usize = 24;
    let mut chunk = vec![0; ENTRY << 10];
    let (mut at, mut left) = (relocations.at, relocations.size.min(MAX_RELOCATIONS));
    while left >= ENTRY as u64 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len()) / ENTRY * ENTRY;
        let chunk = &mut chunk[..size];
        file.read(at, chunk)?;
        if let Some(entry) = chunk.chunks_exact(ENTRY).find(|entry| entry[..8] == address.to_ne_bytes()) {
            return entry.u64(16);
        }
        (at, left) = (at.checked_add(size as u64)?, left - size as u64);
    }
    None
}
