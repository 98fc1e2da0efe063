//! Go's own table of functions, `.gopclntab`, which a Go program needs to run, and so has however it was stripped.
//!
//! Only what leads from a program counter to the name of its function is read, of each layout since Go 1.2. The table is
//! read where it stands, some bytes at a time: it takes no memory, however large it is. All that it says is checked
//! when it is used.
//!
//! The layouts are described in Go's `debug/gosym/pclntab.go` and `runtime/symtab.go`.

use super::bytes::Bytes;
use super::elf::Stretch;

/// Bytes of a name.
pub(super) const LONGEST_NAME: usize = 4_096;
/// The most functions among which one is searched by its name.
const MAX_SEARCH: u64 = 1 << 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Go 1.2 to 1.15.
    Go12,
    /// Go 1.16 and 1.17: parts of the table begin where the header says.
    Go116,
    /// Go 1.18 and later: functions stand relative to the start of the code. 1.20 changed nothing that is read here.
    Go118,
}

/// A table whose header is sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    layout: Layout,
    /// The whole table.
    stretch: Stretch,
    /// Bytes of an address.
    pointer: u64,
    functions: u64,
    /// Where the list of functions begins; what it names counts from `data`. All count from the table's beginning.
    list: u64,
    data: u64,
    names: u64,
    /// Added to the program counters of the list.
    text: u64,
}

impl Table {
    /// Whether a table may begin so.
    pub(super) fn begins_with(head: &[u8; 8]) -> bool {
        layout_of(head).is_some()
    }

    /// Reads the header of a table that begins at `stretch`, and ends with it or before.
    pub(super) fn parse(bytes: &(impl Bytes + ?Sized), stretch: Stretch) -> Option<Table> {
        let mut head = [0; 8];
        bytes.read(stretch.at, &mut head)?;
        let layout = layout_of(&head)?;
        let mut table =
            Table { layout, stretch, pointer: head[7].into(), functions: 0, list: 0, data: 0, names: 0, text: 0 };
        let word = |nth: u64| table.word(bytes, 8 + nth * table.pointer);
        (table.functions, table.names, table.data, table.list) = match layout {
            Layout::Go12 => (word(0)?, 0, 0, 8 + table.pointer),
            Layout::Go116 => (word(0)?, word(2)?, word(6)?, word(6)?),
            Layout::Go118 => (word(0)?, word(3)?, word(7)?, word(7)?),
        };
        // Pairs of a program counter and where the function is described, and the end of the last function.
        let list = table.functions.checked_mul(2)?.checked_add(1)?.checked_mul(table.field())?;
        let sound = table.functions > 0 && table.list.checked_add(list)? <= stretch.size && table.names < stretch.size;
        sound.then_some(table)
    }

    /// Functions are told relative to the start of the code, which must be found.
    pub(super) fn needs_text(&self) -> bool {
        self.layout == Layout::Go118
    }

    /// Where in the table the start of the code stood until Go 1.25.
    pub(super) fn place_of_text(&self) -> u64 {
        8 + 2 * self.pointer
    }

    /// Bytes of an address in this program.
    pub(super) fn pointer(&self) -> u64 {
        self.pointer
    }

    /// The same table, of code that begins at `text`.
    pub(super) fn with_text(self, text: u64) -> Table {
        Table { text, ..self }
    }

    /// The name of the function that an address lies in.
    pub(super) fn name(&self, bytes: &(impl Bytes + ?Sized), pc: u64) -> Option<Vec<u8>> {
        let pc = pc.checked_sub(self.text)?;
        if pc < self.pc(bytes, 0)? || pc >= self.pc(bytes, self.functions)? {
            return None;
        }
        // The last that begins at or before it: `low` does, `high` does not.
        let (mut low, mut high) = (0, self.functions);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.pc(bytes, middle)? <= pc { low = middle } else { high = middle }
        }
        self.name_of(bytes, low)
    }

    /// Where, counted from the start of the code, the first function begins whose name `matches`.
    pub(super) fn find(&self, bytes: &(impl Bytes + ?Sized), matches: impl Fn(&[u8]) -> bool) -> Option<u64> {
        let found = |nth: &u64| self.name_of(bytes, *nth).is_some_and(|name| matches(&name));
        self.pc(bytes, (0..self.functions.min(MAX_SEARCH)).find(found)?)
    }

    fn pc(&self, bytes: &(impl Bytes + ?Sized), nth: u64) -> Option<u64> {
        // `nth` is at most `functions`, whose list was found to fit.
        self.number(bytes, self.list + 2 * nth * self.field(), self.field())
    }

    fn name_of(&self, bytes: &(impl Bytes + ?Sized), nth: u64) -> Option<Vec<u8>> {
        let described = self.number(bytes, self.list + (2 * nth + 1) * self.field(), self.field())?;
        // A description begins with the program counter again, then where the name stands.
        let entry = if self.layout == Layout::Go118 { 4 } else { self.pointer };
        let place = self.number(bytes, self.data.checked_add(described)?.checked_add(entry)?, 4)?;
        self.text_at(bytes, self.names.checked_add(place)?)
    }

    /// The bytes before the next NUL.
    fn text_at(&self, bytes: &(impl Bytes + ?Sized), mut at: u64) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() < LONGEST_NAME {
            let mut chunk = [0; 128];
            let left = self.stretch.size.checked_sub(at)?;
            let chunk = &mut chunk[..usize::try_from(left).unwrap_or(usize::MAX).min(128)];
            if chunk.is_empty() {
                return None;
            }
            bytes.read(self.stretch.at.checked_add(at)?, chunk)?;
            if let Some(end) = chunk.iter().position(|byte| *byte == 0) {
                text.extend_from_slice(&chunk[..end]);
                return (!text.is_empty()).then_some(text);
            }
            text.extend_from_slice(chunk);
            at += chunk.len() as u64;
        }
        None
    }

    /// Bytes of each number in the list.
    fn field(&self) -> u64 {
        if self.layout == Layout::Go118 { 4 } else { self.pointer }
    }

    fn word(&self, bytes: &(impl Bytes + ?Sized), at: u64) -> Option<u64> {
        self.number(bytes, at, self.pointer)
    }

    /// A number of 4 or 8 bytes inside the table.
    fn number(&self, bytes: &(impl Bytes + ?Sized), at: u64, size: u64) -> Option<u64> {
        if at.checked_add(size)? > self.stretch.size {
            return None;
        }
        let at = self.stretch.at.checked_add(at)?;
        if size == 8 { bytes.u64(at) } else { bytes.u32(at).map(u64::from) }
    }
}

/// Of the first 8 bytes: magic, two zeros, the size of the smallest instruction and of an address.
fn layout_of(head: &[u8; 8]) -> Option<Layout> {
    let [a, b, c, d, 0, 0, 1 | 2 | 4, 4 | 8] = *head else { return None };
    match u32::from_ne_bytes([a, b, c, d]) {
        0xffff_fffb => Some(Layout::Go12),
        0xffff_fffa => Some(Layout::Go116),
        0xffff_fff0 | 0xffff_fff1 => Some(Layout::Go118),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
