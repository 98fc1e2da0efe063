//! Finds the table of functions in a Go program, and the start of the code that it counts from.

use super::bytes::Bytes;
use super::elf::{Elf, Segment, Stretch};
use super::gopclntab::Table;

/// Bytes that are searched for the table where it has no section of its own.
const MAX_SEARCH: u64 = 256 << 20;
/// Places that look like the beginning of a table. A closer look at each may take a second.
const MAX_CANDIDATES: u32 = 8;
/// Tables are aligned to at least this.
const ALIGNMENT: usize = 8;
/// In `moduledata` of Go's `runtime/symtab.go`, the place of `text`, in words.
const TEXT_IN_MODULE: u64 = 22;

/// The table, if this is a Go program.
pub(super) fn table(file: &impl Bytes, elf: &Elf) -> Option<Table> {
    match elf.gopclntab {
        Some(stretch) => complete(file, elf, stretch),
        // Until Go 1.25, linkers other than Go's put the table into a section with other things.
        None if elf.is_go || !elf.has_sections => scan(file, elf),
        None => None,
    }
}

/// Searches what is loaded and never written.
fn scan(file: &impl Bytes, elf: &Elf) -> Option<Table> {
    let (mut left, mut candidates) = (MAX_SEARCH, MAX_CANDIDATES);
    // Where code may be loaded anywhere, the table is in a part that is written to before the program begins.
    let (read_only, other): (Vec<&Segment>, Vec<&Segment>) = elf.segments.iter().partition(|segment| !segment.writable);
    for segment in read_only.into_iter().chain(other) {
        let size = segment.stretch.size.min(left);
        left -= size;
        if let Some(table) = scan_stretch(file, elf, Stretch { at: segment.stretch.at, size }, &mut candidates) {
            return Some(table);
        }
    }
    None
}

fn scan_stretch(file: &impl Bytes, elf: &Elf, stretch: Stretch, candidates: &mut u32) -> Option<Table> {
    let mut buffer = vec![0; 1 << 18];
    let (mut at, mut left) = (stretch.at, stretch.size);
    while left >= ALIGNMENT as u64 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len()) / ALIGNMENT * ALIGNMENT;
        let chunk = &mut buffer[..size];
        file.read(at, chunk)?;
        for (nth, _) in chunk.as_chunks().0.iter().enumerate().filter(|(_, head)| Table::begins_with(head)) {
            *candidates = candidates.checked_sub(1)?;
            let offset = (nth * ALIGNMENT) as u64;
            let table = complete(file, elf, Stretch { at: at.checked_add(offset)?, size: left - offset });
            if table.is_some() {
                return table;
            }
        }
        (at, left) = (at.checked_add(size as u64)?, left - size as u64);
    }
    None
}

fn complete(file: &impl Bytes, elf: &Elf, stretch: Stretch) -> Option<Table> {
    let table = Table::parse(file, stretch)?;
    if !table.needs_text() {
        return Some(table);
    }
    let header = elf.address_of_data(stretch.at)?;
    let text = text_of_header(file, elf, &table, header)
        .or_else(|| text_of_module(file, elf, &table, header))
        .or_else(|| text_of_entry(file, elf, &table))?;
    Some(table.with_text(text))
}

/// Until Go 1.25 the table's header tells it.
fn text_of_header(file: &impl Bytes, elf: &Elf, table: &Table, header: u64) -> Option<u64> {
    let text = elf.pointer(file, header.checked_add(table.place_of_text())?)?;
    elf.is_code(text).then_some(text)
}

/// Since Go 1.26 what the runtime knows of its program has a section of its own, and begins with where the table is.
fn text_of_module(file: &impl Bytes, elf: &Elf, table: &Table, header: u64) -> Option<u64> {
    let module = elf.go_module?;
    if elf.pointer(file, module)? != header {
        return None;
    }
    let text = elf.pointer(file, module.checked_add(TEXT_IN_MODULE * table.pointer())?)?;
    elf.is_code(text).then_some(text)
}

/// A program that Go's own linker made begins with a function that the table holds, and its code begins with Go's. Where
/// another linker made it, neither is so, and what this tells would be wrong.
fn text_of_entry(file: &impl Bytes, elf: &Elf, table: &Table) -> Option<u64> {
    let begins = table.find(file, |name| name.starts_with(b"_rt0_") && name.ends_with(b"_linux"))?;
    let text = elf.entry.checked_sub(begins)?;
    let plausible = elf.text.map_or(text.is_multiple_of(0x1000), |section| section == text);
    (plausible && elf.is_code(text)).then_some(text)
}
