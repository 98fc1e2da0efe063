//! Where the fields of the scheduler's tracepoints lie, as the kernel that was recorded described them: the tracing data of a
//! perf.data file holds its `events/sched/*/format`. No offset is known beforehand.

use super::bytes::{Cursor, u16_at, u32_at, u64_at};

/// A field of a tracepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    at: usize,
    size: usize,
    /// It holds where the text is, and how long.
    is_located: bool,
}

impl Field {
    /// Its number, as 64 bits without a sign.
    #[inline]
    pub(super) fn number(self, raw: &[u8]) -> Option<u64> {
        match self.size {
            4 => u32_at(raw, self.at).map(u64::from),
            8 => u64_at(raw, self.at),
            2 => u16_at(raw, self.at).map(u64::from),
            1 => raw.get(self.at).copied().map(u64::from),
            _ => None,
        }
    }

    /// A thread id, a CPU or the like. What is negative is none.
    #[inline]
    pub(super) fn id(self, raw: &[u8]) -> Option<u32> {
        self.number(raw).and_then(|id| u32::try_from(id).ok()).filter(|id| *id <= i32::MAX as u32)
    }

    #[inline]
    pub(super) fn cpu(self, raw: &[u8]) -> Option<u16> {
        self.number(raw).and_then(|cpu| u16::try_from(cpu).ok())
    }

    /// A command name.
    pub(super) fn comm(self, raw: &[u8]) -> [u8; 16] {
        let (at, size) = match (self.is_located, u32_at(raw, self.at)) {
            (true, Some(place)) => ((place & 0xffff) as usize, (place >> 16) as usize),
            (true, None) => (0, 0),
            (false, _) => (self.at, self.size),
        };
        super::bytes::comm(raw.get(at..at.saturating_add(size)).unwrap_or_default())
    }
}

/// What `format` of a tracepoint says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) name: String,
    pub(super) id: u16,
    fields: Vec<(String, Field)>,
    print: String,
}

impl Format {
    fn parse(text: &str) -> Option<Format> {
        let mut format = Format::default();
        let mut id = None;
        for line in text.lines() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix("name: ") {
                format.name = name.to_owned();
            } else if let Some(number) = line.strip_prefix("ID: ") {
                id = number.parse().ok();
            } else if let Some(field) = line.strip_prefix("field:") {
                format.fields.extend(parse_field(field));
            } else if let Some(print) = line.strip_prefix("print fmt: ") {
                format.print = print.to_owned();
            }
        }
        Some(Format { id: id?, ..format })
    }

    pub(super) fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find(|(of, _)| of == name).map(|(_, field)| *field)
    }

    /// Bits of `prev_state` by the letter that its print format gives them, as in `{ 0x0010, "X" }`.
    pub(super) fn letters(&self) -> impl Iterator<Item = (u32, &str)> {
        self.print.split('{').skip(1).filter_map(|part| {
            let (bits, rest) = part.split_once(',')?;
            let letter = rest.split('"').nth(1)?;
            Some((number(bits.trim())?, letter))
        })
    }
}

/// `char prev_comm[16]; offset:8; size:16; signed:0;`, with tabs for blanks.
fn parse_field(text: &str) -> Option<(String, Field)> {
    let mut parts = text.split(';').map(str::trim);
    let declared = parts.next()?;
    let number = |part: Option<&str>, name: &str| part?.strip_prefix(name)?.parse().ok();
    let (at, size) = (number(parts.next(), "offset:")?, number(parts.next(), "size:")?);
    let name = declared.split('[').next()?.split_whitespace().next_back()?;
    // `__data_loc char[] comm`: the brackets belong to the type.
    let is_located = declared.starts_with("__data_loc");
    let name = if is_located { declared.split_whitespace().next_back()? } else { name };
    Some((name.to_owned(), Field { at, size, is_located }))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The formats of the scheduler's tracepoints in tracing data (tools/perf/util/trace-event-info.c). `None` where it is not
/// what it should be.
pub(super) fn read(mut data: Cursor<'_>) -> Option<Vec<Format>> {
    if data.take(10)? != b"\x17\x08\x44tracing" {
        return None;
    }
    data.until_nul()?;
    // Byte order, size of a long, size of a page.
    data.take(6)?;
    for name in [&b"header_page"[..], b"header_event"] {
        if data.until_nul()? != name {
            return None;
        }
        data.sized()?;
    }
    for _ in 0..data.u32()? {
        data.sized()?;
    }
    let mut formats = Vec::new();
    for _ in 0..data.u32()? {
        let is_sched = data.until_nul()? == b"sched";
        for _ in 0..data.u32()? {
            let text = data.sized()?;
            if is_sched {
                formats.extend(Format::parse(&String::from_utf8_lossy(text)));
            }
        }
    }
    Some(formats)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: &str = "\
name: sched_switch
ID: 372
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:char prev_comm[16];	offset:8;	size:16;	signed:0;
	field:pid_t prev_pid;	offset:24;	size:4;	signed:1;
	field:long prev_state;	offset:32;	size:8;	signed:1;
	field:__data_loc char[] next_comm;	offset:40;	size:4;	signed:0;

print fmt: \"%s\", (REC->prev_state & 3) ? __print_flags(REC->prev_state & 3, \"|\", { 0x00000001, \"S\" }, { 2, \"D\" }) : \"R\"
";

    #[test]
    fn fields_lie_where_the_format_says() {
        let format = Format::parse(SWITCH).expect("a format");
        assert_eq!((format.name.as_str(), format.id, format.fields.len()), ("sched_switch", 372, 5));
        let mut raw = [0; 50];
        raw[8..11].copy_from_slice(b"a\xff ");
        raw[24..28].copy_from_slice(&7i32.to_le_bytes());
        raw[32..40].copy_from_slice(&2u64.to_le_bytes());
        raw[40..44].copy_from_slice(&(3u32 << 16 | 46).to_le_bytes());
        raw[46..49].copy_from_slice(b"b\0c");
        let field = |name| format.field(name).expect("a field");
        assert_eq!((field("prev_pid").id(&raw), field("prev_state").number(&raw)), (Some(7), Some(2)));
        assert_eq!(
            (&field("prev_comm").comm(&raw)[..4], &field("next_comm").comm(&raw)[..3]),
            (&b"a\xff \0"[..], &b"b\0\0"[..])
        );
        assert_eq!((format.field("none"), field("prev_state").number(&raw[..39])), (None, None));
        raw[24..28].copy_from_slice(&(-1i32).to_le_bytes());
        assert_eq!(field("prev_pid").id(&raw), None);
        assert_eq!(format.letters().collect::<Vec<_>>(), [(1, "S"), (2, "D")]);
    }
}
