//! Names that somebody chose to do harm where they are shown, a recording in which everything is called so, and what must be
//! true of any output with such names in it.

use std::path::Path;

use numatrace::decode::{Event, decode};
use numatrace_common::abi::{Cgroup, CgroupPath, PATH_PIECE, Where, kind};
use zerocopy::IntoBytes as _;

use crate::exported::{FIRST_TID, Wanted, head, records_named, save, tell};

/// What it is for, and the name: at most 15 bytes, which is what a thread's may have.
pub const NAMES: [(&str, &[u8]); 17] = [
    ("clears the screen", b"\x1b[2J\x1b[31mred"),
    ("sets the terminal's title", b"\x1b]0;evil\x07"),
    ("the same in one byte, as UTF-8 and raw", b"\xc2\x9b2J\x9b31m"),
    ("turns what follows", "a\u{202e}b\u{2066}c".as_bytes()),
    ("hides between letters", "z\u{200b}\u{feff}\u{ad}w".as_bytes()),
    ("is no UTF-8", b"\xff\xfe\xc3\x28\x80ok"),
    ("is an element", b"<script>x()</"),
    ("ends text and attribute", b"\"'></text>&lt;"),
    ("is a formula", b"=cmd|' /C'!A0"),
    ("is a formula, too", b"@SUM(A1:A9)"),
    ("may be one", b"+1+2"),
    ("may be one as well", b"-1-2"),
    ("ends a line", b"x\r\ny\tz\x00"),
    ("ends a field", b"a,b;c\"d"),
    ("is a command", b"$(>pwned)`>pwned`"),
    ("ends a quoted word", b"';>pwned;'"),
    ("is as long as can be", b"123456789abcdef"),
];

/// Longer ones, for what has more room: the name with more of it around.
fn long(name: &[u8]) -> Vec<u8> {
    // No text of a record holds a NUL, and a path has no empty part.
    let name: Vec<u8> = name.iter().copied().filter(|byte| *byte != 0).collect();
    [b"/kubepods/".as_slice(), &name, b"/", &name, b" ", &name].concat()
}

/// Everything in it that has a name has one of these: threads, cgroups, containers and pods, mappings, functions, callers, and
/// the target.
pub fn recording(path: &Path) {
    let wanted = Wanted { ticks: 8, steps: 200, ..Wanted::default() };
    let names = NAMES.map(|(_, name)| name.split(|byte| *byte == 0).next().unwrap_or_default());
    let names = names.map(|name| &name[..name.len().min(15)]);
    let mut records = Vec::new();
    let mut told = false;
    for record in records_named(wanted, &names) {
        if let Ok(Event::Tick(tick)) = decode(&record)
            && !std::mem::replace(&mut told, true)
        {
            let mut sink = |record: &[u8]| records.push(record.to_vec());
            (0..).zip(names).for_each(|(nth, name)| call(tick.header.ts, nth, name, &mut sink));
        }
        records.push(record);
    }
    let mut head = head(wanted);
    head.meta.target.label = String::from_utf8_lossy(&NAMES.map(|(_, name)| name).concat()).into_owned();
    head.meta.host.kernel = head.meta.target.label.clone();
    save(&head, &records, path);
}

/// The thread's cgroup, its container and where its page touches come from.
fn call(ts: u64, nth: u32, name: &[u8], sink: &mut dyn FnMut(&[u8])) {
    let (tid, tgid, number) = (FIRST_TID + nth, 4711 + (FIRST_TID + nth) % 2, 1 + nth);
    let part = || -> Vec<u8> { name.iter().copied().filter(|byte| *byte != b'\n').collect() };
    let container = [part(), part(), part(), part()];
    for (text, of) in [(long(name), kind::CGROUP_PATH), (container.join(&b'\n'), kind::CONTAINER_NAMES)] {
        for (nth, bytes) in text.chunks(PATH_PIECE).enumerate() {
            let mut piece = [0; PATH_PIECE];
            piece[..bytes.len()].copy_from_slice(bytes);
            let (offset, total) = ((nth * PATH_PIECE) as u16, text.len() as u16);
            let mut record = CgroupPath { header: CgroupPath::header(ts, 0, 0), cgroup: number, offset, total, piece };
            record.header.kind = of;
            sink(record.as_bytes());
        }
    }
    sink(Cgroup { header: Cgroup::header(ts, 0, 0), tid, cgroup: number }.as_bytes());
    let [mapping, symbol, stack] = [1, 2, 3].map(|which| 1_000 + 3 * nth + which);
    tell(ts, mapping, &long(name), sink);
    tell(ts, symbol, name, sink);
    tell(ts, stack, &[name, b"\nmain"].concat(), sink);
    let header = Where::header(ts, 0, 0);
    sink(Where { header, tid, tgid, mapping, symbol, stack, reserved: 0, local: 5, remote: 900 }.as_bytes());
}

/// The first character that is not seen as itself: it moves the cursor, turns or hides what stands beside it. The end of a
/// line is one, too, but for `lines`.
pub fn raw(text: &str, lines: bool) -> Option<char> {
    text.chars().find(|c| match c {
        '\n' => !lines,
        c if c.is_control() => true,
        '\u{ad}' | '\u{61c}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    })
}

/// Whether a spreadsheet takes a cell for a formula.
pub fn is_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err()
}

/// What of a command stands outside of single quotes, where a shell would do what it says.
pub fn unquoted(command: &str) -> String {
    command.replace(r"\'", "").split('\'').step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judges_see_what_they_are_to_see() {
        for text in ["\u{1b}[2J", "a\u{202e}", "\u{9b}", "\u{200b}", "\r"] {
            assert!(raw(text, true).is_some(), "{text:?}");
        }
        assert_eq!((raw("a\nb", true), raw("a\nb", false), raw("ö漢\\x1b", false)), (None, Some('\n'), None));
        assert!(is_formula("=1") && is_formula("-1-2") && !is_formula("-1.5") && !is_formula("'=1"));
        assert_eq!(unquoted(r"echo 'a;b' c 'it'\''s'"), "echo  c ");
        assert!(unquoted("echo $(x) 'y'").contains("$(x)"));
    }
}
