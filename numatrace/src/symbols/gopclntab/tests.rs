use super::*;
use proptest::prelude::*;

/// A table as Go writes it, of functions `(program counter, name)` and the end of the last. `text` is subtracted where
/// the layout does so.
pub(crate) fn written(magic: u32, pointer: u8, text: u64, functions: &[(u64, &str)], end: u64) -> Vec<u8> {
    let relative = magic <= 0xffff_fff1;
    let number = |value: u64, size: u8| {
        if size == 8 { value.to_ne_bytes().to_vec() } else { (value as u32).to_ne_bytes().to_vec() }
    };
    let field = if relative { 4 } else { pointer };
    let pc = |value: u64| if relative { value - text } else { value };

    let mut names = vec![0];
    let mut places = Vec::new();
    for (_, name) in functions {
        places.push(names.len() as u64);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    // The header, without and with the places of the parts.
    let words = match magic {
        0xffff_fffb => 1,
        0xffff_fffa => 7,
        _ => 8,
    };
    let head = 8 + words * u64::from(pointer);
    let (names_at, list_at) =
        if words == 1 { (0, head) } else { (head, (head + names.len() as u64).next_multiple_of(8)) };
    let list = (2 * functions.len() as u64 + 1) * u64::from(field);
    // What the list names counts from the list, or in the oldest layout from the beginning, as names do.
    let base = if words == 1 { 0 } else { list_at };
    let described = list_at + list + 8;
    let each = u64::from(if relative { 4 } else { pointer }) + 4;
    let names_behind = described + each * functions.len() as u64;

    let mut out = [&magic.to_ne_bytes()[..], &[0, 0, 1, pointer]].concat();
    let parts: &[u64] = match words {
        1 => &[functions.len() as u64],
        7 => &[functions.len() as u64, 0, names_at, 0, 0, 0, list_at],
        _ => &[functions.len() as u64, 0, text, names_at, 0, 0, 0, list_at],
    };
    parts.iter().for_each(|part| out.extend(number(*part, pointer)));
    if words > 1 {
        out.extend_from_slice(&names);
        out.resize(list_at as usize, 0);
    }
    for (nth, (entry, _)) in functions.iter().enumerate() {
        out.extend(number(pc(*entry), field));
        out.extend(number(described + each * nth as u64 - base, field));
    }
    out.extend(number(pc(end), field));
    out.resize(described as usize, 0);
    for ((entry, _), place) in functions.iter().zip(places) {
        out.extend(number(pc(*entry), if relative { 4 } else { pointer }));
        out.extend(number(if words == 1 { names_behind + place } else { place }, 4));
    }
    if words == 1 {
        out.extend_from_slice(&names);
    }
    out
}

const MAGICS: [u32; 4] = [0xffff_fffb, 0xffff_fffa, 0xffff_fff0, 0xffff_fff1];
const TEXT: u64 = 0x40_1000;

fn table(bytes: &[u8]) -> Option<Table> {
    let table = Table::parse(bytes, Stretch { at: 0, size: bytes.len() as u64 })?;
    Some(if table.needs_text() { table.with_text(TEXT) } else { table })
}

fn functions() -> Vec<(u64, String)> {
    (0..100).map(|nth| (TEXT + nth * 0x30, format!("main.(*T{nth}).run"))).collect()
}

#[test]
fn an_address_leads_to_its_function_in_every_layout() {
    let functions = functions();
    let named: Vec<_> = functions.iter().map(|(pc, name)| (*pc, name.as_str())).collect();
    let end = TEXT + 100 * 0x30;
    for (magic, pointer) in MAGICS.into_iter().flat_map(|magic| [(magic, 8), (magic, 4)]) {
        let bytes = written(magic, pointer, TEXT, &named, end);
        let table = table(&bytes).expect("a table");
        let name = |pc| table.name(&bytes[..], pc).map(|name| String::from_utf8(name).expect("UTF-8"));
        for (pc, expected) in &functions {
            for inside in [*pc, pc + 1, pc + 0x2f] {
                assert_eq!(name(inside).as_ref(), Some(expected), "{magic:#x} {pointer} {inside:#x}");
            }
        }
        assert_eq!([name(TEXT - 1), name(end), name(0), name(u64::MAX)], [None, None, None, None]);
        assert_eq!(
            table
                .find(&bytes[..], |name| name == b"main.(*T7).run")
                .map(|at| at + if table.needs_text() { TEXT } else { 0 }),
            Some(TEXT + 7 * 0x30)
        );
    }
}

#[test]
fn names_are_long_and_have_an_end() {
    for (length, known) in [(1, true), (127, true), (128, true), (129, true), (4_000, true), (5_000, false)] {
        let name = "n".repeat(length);
        let bytes = written(0xffff_fff1, 8, TEXT, &[(TEXT, &name)], TEXT + 1);
        let found = table(&bytes).expect("a table").name(&bytes[..], TEXT);
        assert_eq!(found, known.then(|| name.into_bytes()), "{length}");
    }
}

#[test]
fn a_table_that_is_cut_off_is_no_table_or_lacks_names() {
    let bytes = written(0xffff_fffb, 8, 0, &[(TEXT, "a"), (TEXT + 8, "b")], TEXT + 16);
    for size in 0..bytes.len() {
        let found = table(&bytes[..size]).and_then(|table| table.name(&bytes[..size], TEXT + 8));
        assert_eq!(found, None, "{size}");
    }
    assert_eq!(table(&bytes).and_then(|table| table.name(&bytes[..], TEXT + 8)), Some(b"b".to_vec()));
}

/// Of a program with an empty `main`, by Go 1.27.3 for amd64 with `-ldflags='-s -w'`; what is not read here is zeroed.
#[test]
fn a_table_that_go_wrote() {
    let packed = include_bytes!("../fixtures/go1.27.gopclntab.zst");
    let bytes = zstd::decode_all(&packed[..]).expect("zstd");
    let table = Table::parse(&bytes[..], Stretch { at: 0, size: bytes.len() as u64 }).expect("a table").with_text(TEXT);
    for (name, expected) in EXPECTED {
        assert_eq!(table.find(&bytes[..], |found| found == name.as_bytes()), Some(*expected), "{name}");
        assert_eq!(table.name(&bytes[..], TEXT + expected + 1), Some(name.as_bytes().to_vec()));
    }
}

/// As Go's `nm` tells them of the same program, counted from `runtime.text`.
const EXPECTED: &[(&str, u64)] = &[
    ("runtime.mallocgc", 0x7_4580),
    ("runtime.memmove", 0x7_a640),
    ("_rt0_amd64_linux", 0x7_b260),
    ("main.main", 0x7_cb00),
];

proptest! {
    #[test]
    fn any_damage_is_survived(
        magic in proptest::sample::select(&MAGICS[..]), wide in any::<bool>(), cut in 0_usize..600,
        damage in proptest::collection::vec((0_usize..600, any::<u8>()), 0..8),
        pcs in proptest::collection::vec(any::<u64>(), 1..8),
    ) {
        let named: Vec<_> = (0..10).map(|nth| (TEXT + nth * 0x30, "main.main")).collect();
        let mut bytes = written(magic, if wide { 8 } else { 4 }, TEXT, &named, TEXT + 0x1000);
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let bytes = &bytes[..bytes.len().saturating_sub(cut)];
        if let Some(table) = table(bytes) {
            for pc in pcs.into_iter().chain((0..0x200).map(|nth| TEXT + nth)) {
                table.name(bytes, pc);
            }
            table.find(bytes, |_| false);
        }
    }
}
