//! See [`crate::fuzz`].

use std::fs::File;

use super::bytes::Bytes as _;
use super::demangle::plain;
use super::elf::{Elf, Stretch};
use super::golang;
use super::gopclntab::{LONGEST_NAME, Table};
use super::maps::Maps;
use super::names::{self, Names};
use crate::fuzz::file;
use crate::text::visible;

/// An empty file in memory.
pub(crate) fn memory() -> File {
    names::memory(c"numatrace-fuzz").expect("a file in memory")
}

/// Any bytes as a program, asked for the names of some of its code.
pub(crate) fn elf(bytes: &[u8]) {
    let (file, _) = file(bytes);
    let Ok(elf) = Elf::read(&file) else { return };
    let go = golang::table(&file, &elf);
    let names = Names::read(&file, &elf);
    let places = elf.segments.iter().take(4).flat_map(|segment| {
        let Stretch { at, size } = segment.stretch;
        [at, at.saturating_add(size / 2), at.saturating_add(size).saturating_sub(1)]
    });
    for at in places.chain([0, 0x1000, u64::MAX]) {
        assert!(elf.address_of_code(at).is_none_or(|address| elf.is_code(address)));
        // Of the segments that hold a place the first one counts, so the address may lead to another place, not to none.
        assert!(elf.address_of_data(at).is_none_or(|address| elf.place(address).is_some()));
        for address in elf.address_of_code(at).into_iter().chain([elf.entry, at]) {
            if let Some(name) = go.and_then(|table| table.name(&file, address)) {
                is_safe(&plain(&name));
            }
            if let Ok(name) = names.as_ref().map_err(|_| "").and_then(|names| names.name(address)) {
                is_safe(&name);
            }
            let _ = elf.pointer(&file, address);
        }
    }
}

/// Any bytes as Go's table of functions, behind the address that it is asked for and the one where the code begins.
pub(crate) fn gopclntab(bytes: &[u8]) {
    let (Some(pc), Some(text)) = (bytes.u64(0), bytes.u64(8)) else { return };
    let stretch = Stretch { at: 16, size: bytes.len() as u64 - 16 };
    let Some(table) = Table::parse(bytes, stretch) else { return };
    let table = if table.needs_text() { table.with_text(text) } else { table };
    if let Some(name) = table.name(bytes, pc) {
        assert!(!name.is_empty() && name.len() < LONGEST_NAME + 128 && !name.contains(&0));
        assert!(table.find(bytes, |found| found == name).is_some(), "a name is of a function of the table");
        is_safe(&plain(&name));
    }
}

/// Any bytes as /proc/PID/maps.
pub(crate) fn maps(bytes: &[u8]) {
    let maps = Maps::read(bytes).expect("memory can be read");
    let mut behind = 0;
    for code in maps.code() {
        assert!(behind <= code.start && code.start < code.end, "not in order");
        behind = code.end;
        assert_eq!(maps.at(code.end - 1).map(|found| found.start), Some(code.start));
        is_safe(&code.words());
        is_safe(&code.binary());
        assert!(code.path().len() <= code.name().len());
        let _ = (code.is_vdso(), code.is_memory_file());
    }
    if let Some(first) = maps.at(0x1000) {
        is_safe(&first.words());
    }
}

fn is_safe(text: &str) {
    assert_eq!(visible(text), text, "not safe to show");
}
