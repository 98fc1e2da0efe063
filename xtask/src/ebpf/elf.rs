//! A short look at an object: is it what a BPF loader takes? Catches an empty link, a wrong target and a strip that took too much.

use anyhow::{Context as _, Result, bail};

const MACHINE_BPF: u16 = 247;
const RELOCATABLE: u16 = 1;
const SECTION_PROGBITS: u32 = 1;
const FLAG_EXECUTABLE: u64 = 4;

/// Checks a 64-bit little-endian BPF object; returns the number of sections with programs in them.
pub fn check(bytes: &[u8]) -> Result<usize> {
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF file");
    }
    if u16_at(bytes, 16)? != RELOCATABLE || u16_at(bytes, 18)? != MACHINE_BPF {
        bail!("not a relocatable object for BPF");
    }
    let table = usize::try_from(u64_at(bytes, 40)?)?;
    let entry_size = usize::from(u16_at(bytes, 58)?);
    let entries = usize::from(u16_at(bytes, 60)?);
    let names_at = section(bytes, table, entry_size, usize::from(u16_at(bytes, 62)?))?.offset;

    let mut programs = 0;
    let mut names = Vec::new();
    for index in 0..entries {
        let section = section(bytes, table, entry_size, index)?;
        let executable = section.kind == SECTION_PROGBITS && section.flags & FLAG_EXECUTABLE != 0;
        programs += usize::from(executable && section.size > 0);
        let name = bytes.get(names_at + section.name..).context("a section's name lies outside of the file")?;
        names.push(name.split(|byte| *byte == 0).next().unwrap_or_default());
    }
    if programs == 0 {
        bail!("no section has a program in it");
    }
    for wanted in [".BTF", ".symtab"] {
        if !names.contains(&wanted.as_bytes()) {
            bail!("section {wanted} is missing");
        }
    }
    Ok(programs)
}

struct Section {
    name: usize,
    kind: u32,
    flags: u64,
    offset: usize,
    size: u64,
}

fn section(bytes: &[u8], table: usize, entry_size: usize, index: usize) -> Result<Section> {
    let at = table + index * entry_size;
    Ok(Section {
        name: usize::try_from(u32_at(bytes, at)?)?,
        kind: u32_at(bytes, at + 4)?,
        flags: u64_at(bytes, at + 8)?,
        offset: usize::try_from(u64_at(bytes, at + 24)?)?,
        size: u64_at(bytes, at + 32)?,
    })
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let slice = at.checked_add(N).and_then(|end| bytes.get(at..end)).context("the file ends early")?;
    Ok(slice.try_into()?)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_refused_by_name() {
        assert!(check(b"#!/bin/sh").unwrap_err().to_string().contains("ELF"));
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(check(&own).unwrap_err().to_string().contains("BPF"));
        assert!(check(&own[..20]).is_err());
    }
}
