//! Names of code from the symbol tables of a file, with blazesym.
//!
//! blazesym maps files into memory. Who shortens a file that is mapped kills who reads it, and the files here are not
//! ours: so it is given a copy, in memory, of what it needs. The copy holds the symbols of functions and all names,
//! behind headers that are written here, so that nothing of a hostile file but values of symbols reaches it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use blazesym::symbolize::source::{self, Source};
use blazesym::symbolize::{Input, Reason, Symbolized, Symbolizer};

use super::bytes::Bytes;
use super::demangle::demangled;
use super::elf::{Elf, Stretch, Table};

/// Bytes of the tables of a file. The symbols of a file with more are not read.
pub(super) const MAX_TABLES: u64 = 256 << 20;
const CHUNK: usize = 1 << 20;

/// The symbols of a file.
pub(super) struct Names {
    symbolizer: Symbolizer,
    /// The copy, kept open, as blazesym opens it by its path.
    copy: File,
    /// Bytes of memory that the copy takes.
    pub(super) bytes: u64,
    /// There is more than what other files link to.
    complete: bool,
}

impl Names {
    /// Reads the symbols. The error says why there are none.
    pub(super) fn read(file: &File, elf: &Elf) -> Result<Names, String> {
        if elf.symtab.is_none() && elf.dynsym.is_none() {
            return Err("stripped".into());
        }
        let size: u64 =
            [elf.symtab, elf.dynsym].into_iter().flatten().fold(0, |sum: u64, table| sum.saturating_add(table.size()));
        if size > MAX_TABLES {
            return Err(format!("its symbols take {}", crate::text::bytes(size)));
        }
        let (copy, bytes) = copy(file, elf).map_err(|e| format!("its symbols cannot be read: {e}"))?;
        let symbolizer =
            Symbolizer::builder().enable_auto_reload(false).enable_code_info(false).enable_inlined_fns(false).build();
        Ok(Names { symbolizer, copy, bytes, complete: elf.symtab.is_some() })
    }

    /// The name of the function at an address as the file counts them. The error says why there is none.
    pub(super) fn name(&self, address: u64) -> Result<String, &'static str> {
        let mut copy = source::Elf::new(format!("/proc/self/fd/{}", self.copy.as_raw_fd()));
        copy.debug_syms = false;
        match self.symbolizer.symbolize_single(&Source::Elf(copy), Input::VirtOffset(address)) {
            Ok(Symbolized::Sym(symbol)) if !symbol.name.is_empty() => Ok(demangled(&symbol.name)),
            Ok(Symbolized::Sym(_)) => Err("a function without a name"),
            // Most libraries keep names of what others may call.
            Ok(Symbolized::Unknown(Reason::MissingSyms | Reason::UnknownAddr)) if !self.complete => Err("stripped"),
            Ok(Symbolized::Unknown(_)) => Err("no symbol there"),
            Err(_) => Err("its symbols cannot be read"),
        }
    }
}

impl Table {
    fn size(&self) -> u64 {
        self.symbols.size.saturating_add(self.names.size)
    }
}

/// A 64-bit ELF file with the symbol tables of `elf`, and the bytes that it takes.
fn copy(file: &File, elf: &Elf) -> io::Result<(File, u64)> {
    let copy = memory(c"numatrace-symbols")?;
    // Room for the headers, which tell where the rest stands and so are written last.
    let mut at = HEAD;
    let mut sections = Vec::new();
    for (table, kind, [of_symbols, of_names]) in [(elf.symtab, 2, [SYMTAB, STRTAB]), (elf.dynsym, 11, [DYNSYM, DYNSTR])]
    {
        let Some(table) = table else { continue };
        let symbols = copy_symbols(file, elf.wide, table, &copy, at)?;
        let names = copy_names(file, table.names, &copy, symbols.at + symbols.size)?;
        // Section 0 is none; so the names are the one behind the next.
        let link = sections.len() as u32 + 2;
        sections.push(Section { name: of_symbols, kind, stretch: symbols, link, entry: SYMBOL as u64 });
        sections.push(Section { name: of_names, kind: 3, stretch: names, link: 0, entry: 0 });
        at = (names.at + names.size).next_multiple_of(8);
    }
    copy.write_all_at(&headers(&sections), 0)?;
    Ok((copy, at))
}

/// A file that is only in memory.
pub(super) fn memory(name: &CStr) -> io::Result<File> {
    // SAFETY: the name ends with a NUL.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just opened it, and nothing else knows of it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn copy_symbols(file: &File, wide: bool, table: Table, copy: &File, at: u64) -> io::Result<Stretch> {
    let entry = if wide { SYMBOL } else { 16 };
    // The first symbol of a table is none.
    let mut kept = vec![0; SYMBOL];
    let mut size = 0;
    read_chunks(file, table.symbols, CHUNK / entry * entry, |chunk| {
        for symbol in chunk.chunks_exact(entry).filter_map(|bytes| Symbol::parse(bytes, wide)) {
            if u64::from(symbol.name) < table.names.size {
                symbol.write(&mut kept);
            }
        }
        copy.write_all_at(&kept, at + size)?;
        size += kept.len() as u64;
        kept.clear();
        Ok(())
    })?;
    Ok(Stretch { at, size })
}

fn copy_names(file: &File, names: Stretch, copy: &File, at: u64) -> io::Result<Stretch> {
    let mut size = 0;
    read_chunks(file, names, CHUNK, |chunk| {
        copy.write_all_at(chunk, at + size)?;
        size += chunk.len() as u64;
        Ok(())
    })?;
    // The last name ends, whatever the file says.
    copy.write_all_at(&[0], at + size)?;
    Ok(Stretch { at, size: size + 1 })
}

fn read_chunks(
    file: &File,
    stretch: Stretch,
    chunk: usize,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; chunk];
    let (mut at, mut left) = (stretch.at, stretch.size);
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(chunk);
        file.read(at, &mut buffer[..size]).ok_or(io::ErrorKind::UnexpectedEof)?;
        each(&buffer[..size])?;
        // The sum stood the read.
        (at, left) = (at + size as u64, left - size as u64);
    }
    Ok(())
}

/// Bytes of a 64-bit symbol.
const SYMBOL: usize = 24;

struct Symbol {
    name: u32,
    value: u64,
    size: u64,
}

impl Symbol {
    /// A symbol of code that the file defines. One without a type is a label, often in the midst of a function.
    fn parse(bytes: &[u8], wide: bool) -> Option<Symbol> {
        const FUNCTION: u8 = 2;
        const CHOSEN_FUNCTION: u8 = 10;
        let (info, section) = if wide { (4, 6) } else { (12, 14) };
        let (value, size) =
            if wide { (bytes.u64(8)?, bytes.u64(16)?) } else { (bytes.u32(4)?.into(), bytes.u32(8)?.into()) };
        let defined = bytes.get(section..section + 2)? != [0, 0];
        let code = matches!(bytes.get(info)? & 0xf, FUNCTION | CHOSEN_FUNCTION);
        // What ends behind the last address would overflow.
        (defined && code && value > 0).then(|| bytes.u32(0)).flatten().map(|name| Symbol {
            name,
            value,
            size: size.min(u64::MAX - value),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.to_ne_bytes());
        // A global function, in a section that is not none.
        out.extend_from_slice(&[0x12, 0]);
        out.extend_from_slice(&1_u16.to_ne_bytes());
        out.extend_from_slice(&self.value.to_ne_bytes());
        out.extend_from_slice(&self.size.to_ne_bytes());
    }
}

/// Bytes before the tables: the header, at most six headers of sections, and their names.
const HEAD: u64 = 512;
const SECTION_NAMES: &[u8] = b"\0.symtab\0.strtab\0.dynsym\0.dynstr\0.shstrtab\0";
/// Places in [`SECTION_NAMES`].
const SYMTAB: u32 = 1;
const STRTAB: u32 = 9;
const DYNSYM: u32 = 17;
const DYNSTR: u32 = 25;
const SHSTRTAB: u32 = 33;

struct Section {
    name: u32,
    kind: u32,
    stretch: Stretch,
    link: u32,
    /// Bytes of an entry.
    entry: u64,
}

fn headers(sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::new();
    let count = sections.len() as u16 + 2;
    let names = Stretch { at: 64 + 64 * u64::from(count), size: SECTION_NAMES.len() as u64 };
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // A library for any machine, which begins nowhere and has no segments.
    for number in [3, 0] {
        out.extend_from_slice(&u16::to_ne_bytes(number));
    }
    out.extend_from_slice(&1_u32.to_ne_bytes());
    for number in [0, 0, 64] {
        out.extend_from_slice(&u64::to_ne_bytes(number));
    }
    out.extend_from_slice(&0_u32.to_ne_bytes());
    for number in [64, 0, 0, 64, count, count - 1] {
        out.extend_from_slice(&u16::to_ne_bytes(number));
    }
    let none = Section { name: 0, kind: 0, stretch: Stretch::default(), link: 0, entry: 0 };
    let of_names = Section { name: SHSTRTAB, kind: 3, stretch: names, link: 0, entry: 0 };
    for section in [&none].into_iter().chain(sections).chain([&of_names]) {
        section.write(&mut out);
    }
    out.extend_from_slice(SECTION_NAMES);
    out
}

impl Section {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        for number in [0, 0, self.stretch.at, self.stretch.size] {
            out.extend_from_slice(&u64::to_ne_bytes(number));
        }
        for number in [self.link, 0] {
            out.extend_from_slice(&u32::to_ne_bytes(number));
        }
        for number in [8, self.entry] {
            out.extend_from_slice(&u64::to_ne_bytes(number));
        }
    }
}
