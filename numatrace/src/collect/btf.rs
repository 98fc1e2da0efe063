//! A small reader of the kernel's own type information: where in a struct a member lies.
//!
//! The format is Documentation/bpf/btf.rst. Every read is bounds-checked: broken input is an error or an absent
//! member, never a panic. Only little-endian BTF is read, as only little-endian machines are supported.

use std::path::Path;

use thiserror::Error;

/// Where the kernel shows its type information.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_ENUM64: u32 = 19;
/// Deepest nesting of anonymous members and qualifiers that is followed.
const MAX_DEPTH: u32 = 32;
/// Members that are looked at for one: some hundreds in a kernel's largest struct. Types that contain themselves have no end.
const MAX_MEMBERS: u32 = 1 << 16;

/// Why type information cannot be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read the kernel's type information {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not BTF, or cut short.
    #[error("the kernel's type information is malformed at byte {at}: {what}")]
    Malformed {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Parsed type information.
#[derive(Debug)]
pub struct KernelBtf {
    data: Vec<u8>,
    /// Byte offset of each type; index is the type id, 0 is void. No index of names: the few that are looked up are found
    /// by looking at all in less time than an index takes, and without its memory.
    types: Vec<u32>,
    strings: usize,
    strings_end: usize,
}

#[derive(Clone, Copy)]
struct TypeHeader {
    kind: u32,
    vlen: usize,
    kind_flag: bool,
    /// Size or referenced type.
    reference: u32,
}

impl KernelBtf {
    /// Reads the running kernel's.
    ///
    /// # Errors
    /// When the file is missing (a kernel built without `CONFIG_DEBUG_INFO_BTF`) or malformed.
    pub fn load(path: &Path) -> Result<KernelBtf, BtfError> {
        let data = std::fs::read(path).map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        KernelBtf::parse(data)
    }

    /// Parses raw BTF.
    ///
    /// # Errors
    /// When it is not BTF, cut short, or has a kind of type whose size is not known.
    pub fn parse(data: Vec<u8>) -> Result<KernelBtf, BtfError> {
        let word = |at: usize| -> Result<usize, BtfError> {
            read_u32(&data, at).map(|v| v as usize).ok_or(BtfError::Malformed { at, what: "cut short" })
        };
        if data.get(..2) != Some(&[0x9f, 0xeb]) {
            return Err(BtfError::Malformed { at: 0, what: "no BTF magic" });
        }
        let header = word(4)?;
        let range = |start: usize, len: usize| -> Result<(usize, usize), BtfError> {
            let start = header.checked_add(start);
            let end = start.and_then(|s| s.checked_add(len));
            match (start, end) {
                (Some(start), Some(end)) if end <= data.len() => Ok((start, end)),
                _ => Err(BtfError::Malformed { at: 8, what: "a section reaches beyond the end" }),
            }
        };
        let (types_start, types_end) = range(word(8)?, word(12)?)?;
        let (strings, strings_end) = range(word(16)?, word(20)?)?;
        let mut types = vec![0];
        let mut at = types_start;
        while at < types_end {
            let info = word(at + 4)? as u32;
            let kind = (info >> 24) & 0x1f;
            let vlen = (info & 0xffff) as usize;
            let tail = match kind {
                1 | 14 | 17 => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | 15 | KIND_ENUM64 => vlen * 12,
                KIND_ENUM | 13 => vlen * 8,
                2 | 7..=12 | 16 | 18 => 0,
                _ => return Err(BtfError::Malformed { at, what: "unknown kind of type" }),
            };
            types.push(u32::try_from(at).map_err(|_| BtfError::Malformed { at, what: "larger than 4 GiB" })?);
            at += 12 + tail;
        }
        if at != types_end {
            return Err(BtfError::Malformed { at, what: "the last type reaches beyond its section" });
        }
        Ok(KernelBtf { data, types, strings, strings_end })
    }

    /// All of it, as the kernel shows it.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Structs, unions, enums, typedefs and functions of this name, in order of their ids.
    fn named(&self, name: &str) -> impl Iterator<Item = u32> {
        let named = [KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_TYPEDEF, KIND_FUNC, KIND_ENUM64];
        (1..self.types.len() as u32).filter(move |id| {
            let has_it = self.at(*id).and_then(|at| read_u32(&self.data, at)).is_some_and(|at| self.is(at, name));
            has_it && self.header(*id).is_some_and(|header| named.contains(&header.kind))
        })
    }

    /// Whether the string at `offset` is this one. Without looking for its end, which takes most of a search's time.
    fn is(&self, offset: u32, name: &str) -> bool {
        let strings = self.data.get(self.strings..self.strings_end).unwrap_or_default();
        let rest = strings.get(offset as usize..).unwrap_or_default();
        !name.is_empty() && rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|b| *b == 0))
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.types.get(id as usize).map(|at| *at as usize)
    }

    fn header(&self, id: u32) -> Option<TypeHeader> {
        let at = self.at(id)?;
        if id == 0 {
            return None;
        }
        let info = read_u32(&self.data, at + 4)?;
        Some(TypeHeader {
            kind: (info >> 24) & 0x1f,
            vlen: (info & 0xffff) as usize,
            kind_flag: info >> 31 != 0,
            reference: read_u32(&self.data, at + 8)?,
        })
    }

    fn name(&self, offset: u32) -> &[u8] {
        string(&self.data, self.strings, self.strings_end, offset)
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            match self.header(id)? {
                TypeHeader { kind: KIND_TYPEDEF | 9 | 10 | 11 | 18, reference, .. } => id = reference,
                _ => return Some(id),
            }
        }
        None
    }

    /// Offset in bits and type of a member, looked for in anonymous structs and unions as well.
    /// `left` is how many members may still be looked at.
    fn member(&self, id: u32, wanted: &str, depth: u32, left: &mut u32) -> Option<(u32, u32)> {
        let header = self.header(id)?;
        if depth == 0 || !matches!(header.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let at = self.at(id)?;
        for i in 0..header.vlen {
            *left = left.checked_sub(1)?;
            let entry = at + 12 + i * 12;
            let name = self.name(read_u32(&self.data, entry)?);
            let member_type = read_u32(&self.data, entry + 4)?;
            let raw = read_u32(&self.data, entry + 8)?;
            let bits = if header.kind_flag { raw & 0xff_ffff } else { raw };
            if name == wanted.as_bytes() {
                return Some((bits, member_type));
            }
            if name.is_empty()
                && let Some(inner) = self.resolve(member_type)
                && let Some((more, found)) = self.member(inner, wanted, depth - 1, left)
            {
                return Some((bits.checked_add(more)?, found));
            }
        }
        None
    }

    /// Byte offset of a member, with dots for nested ones: `offset_of("task_struct", "sched_info.last_queued")`.
    /// `None` when this kernel has no such struct or member, or it is a bit field off a byte boundary.
    pub fn offset_of(&self, type_name: &str, path: &str) -> Option<u32> {
        let mut id = self
            .named(type_name)
            .find(|id| self.header(*id).is_some_and(|h| matches!(h.kind, KIND_STRUCT | KIND_UNION) && h.vlen > 0))?;
        let mut bits = 0u32;
        for part in path.split('.') {
            id = self.resolve(id)?;
            let mut left = MAX_MEMBERS;
            let (more, next) = self.member(id, part, MAX_DEPTH, &mut left)?;
            bits = bits.checked_add(more)?;
            id = next;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Value of an enumerator: `enumerator("cgroup_subsys_id", "cpu_cgrp_id")`.
    pub fn enumerator(&self, type_name: &str, wanted: &str) -> Option<u32> {
        for id in self.named(type_name) {
            let header = self.header(id)?;
            if header.kind != KIND_ENUM {
                continue;
            }
            let at = self.at(id)?;
            for i in 0..header.vlen {
                let entry = at + 12 + i * 8;
                if self.name(read_u32(&self.data, entry)?) == wanted.as_bytes() {
                    return read_u32(&self.data, entry + 4);
                }
            }
        }
        None
    }

    /// Whether there is a type or function of this name. A tracepoint `x` has a typedef `btf_trace_x`.
    pub fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// Number of arguments of the tracepoint `name`, the implicit first one left out; `None` when there is none.
    pub fn tracepoint_args(&self, name: &str) -> Option<usize> {
        let typedef = self.header(self.named(&format!("btf_trace_{name}")).next()?)?;
        let pointer = self.header(typedef.reference)?;
        let proto = self.header(pointer.reference)?;
        (proto.kind == 13).then(|| proto.vlen.saturating_sub(1))
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The NUL-terminated string at `offset` of the string section; empty when it is out of bounds.
fn string(data: &[u8], start: usize, end: usize, offset: u32) -> &[u8] {
    let Some(rest) = data.get(start..end).and_then(|s| s.get(offset as usize..)) else { return &[] };
    let len = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
    &rest[..len]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tiny BTF: `struct a { int x; union { int y; struct b z; }; }`, `struct b { int p; int q; }`, an enum.
    fn sample() -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut name = |s: &str| {
            let at = strings.len() as u32;
            strings.extend_from_slice(s.as_bytes());
            strings.push(0);
            at
        };
        let (int, a, b, x, y, z, p, q, e, e1) = (
            name("int"),
            name("a"),
            name("b"),
            name("x"),
            name("y"),
            name("z"),
            name("p"),
            name("q"),
            name("e"),
            name("e1"),
        );
        let mut types: Vec<u32> = Vec::new();
        types.extend([int, 1 << 24, 4, 32]); // 1: int
        types.extend([b, (KIND_STRUCT << 24) | 2, 8, p, 1, 0, q, 1, 32]); // 2: struct b
        types.extend([0, (KIND_UNION << 24) | 2, 8, y, 1, 0, z, 2, 0]); // 3: anonymous union
        types.extend([a, (KIND_STRUCT << 24) | 2, 12, x, 1, 0, 0, 3, 32]); // 4: struct a
        types.extend([e, (KIND_ENUM << 24) | 1, 4, e1, 7]); // 5: enum e
        built(&types, &strings)
    }

    pub(in crate::collect) fn built(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let type_len = (types.len() * 4) as u32;
        let mut out = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, type_len, type_len, strings.len() as u32] {
            out.extend_from_slice(&u32::to_le_bytes(word));
        }
        for word in types {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(strings);
        out
    }

    #[test]
    fn members_are_found_through_anonymous_unions_and_dots() {
        let btf = KernelBtf::parse(sample()).expect("valid");
        assert_eq!(btf.offset_of("a", "x"), Some(0));
        assert_eq!(btf.offset_of("a", "y"), Some(4));
        assert_eq!(btf.offset_of("a", "z.q"), Some(8));
        assert_eq!(btf.offset_of("a", "nope"), None);
        assert_eq!(btf.offset_of("nope", "x"), None);
        assert_eq!(btf.enumerator("e", "e1"), Some(7));
        assert!(btf.has("a") && !btf.has("c"));
    }

    #[test]
    fn a_struct_that_contains_itself_has_an_end() {
        // 1: an int; 2: `struct a { struct a; struct a; }`, both without a name.
        let types = [1, 1 << 24, 4, 32, 5, (KIND_STRUCT << 24) | 2, 8, 0, 2, 0, 0, 2, 0];
        let btf = KernelBtf::parse(built(&types, b"\0int\0a\0")).expect("valid");
        assert!(btf.has("a"));
        assert_eq!(btf.offset_of("a", "x"), None);
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_survived() {
        let good = sample();
        for len in 0..good.len() {
            let _ = KernelBtf::parse(good[..len].to_vec());
        }
        for at in 0..good.len() {
            for value in [0u8, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(btf) = KernelBtf::parse(bad) {
                    let _ = btf.offset_of("a", "z.q");
                    let _ = btf.enumerator("e", "e1");
                    let _ = btf.tracepoint_args("x");
                }
            }
        }
    }
}
