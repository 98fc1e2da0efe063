use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr;

use proptest::prelude::*;

use super::elf::{Elf, Stretch};
use super::gopclntab::tests::written;
use super::names::Names;
use super::*;

fn resolver() -> Resolver {
    Resolver::new(Path::new("/proc"))
}

fn own() -> u32 {
    std::process::id()
}

/// A directory of a test, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("numatrace-symbols-{name}-{}", own()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the kernel lets this process open what another has mapped, which takes a capability.
fn opens_mapped_files() -> bool {
    let exe = fs::read_dir("/proc/self/map_files").ok().and_then(|mut files| files.next()?.ok());
    exe.is_some_and(|file| File::open(file.path()).is_ok())
}

#[inline(never)]
fn a_function_of_this_test() -> u64 {
    std::hint::black_box(own().into())
}

#[test]
fn a_function_of_this_program_is_told_by_its_name() {
    let ip = a_function_of_this_test as fn() -> u64 as usize as u64;
    let mut resolver = resolver();
    for _ in 0..2 {
        assert_eq!(resolver.symbol(own(), ip), "numatrace::symbols::tests::a_function_of_this_test");
    }
    let exe = std::env::current_exe().expect("a path");
    assert_eq!(resolver.mapping(own(), ip), Some(exe.display().to_string()));
    resolver.forget(own());
    assert_eq!(resolver.symbol(own(), ip), "numatrace::symbols::tests::a_function_of_this_test");
}

/// Pages that are mapped while it lives.
struct Pages(*mut libc::c_void);

const SIZE: usize = 1 << 16;

impl Pages {
    fn map(protection: i32, flags: i32) -> Pages {
        Pages::map_from(protection, flags, -1)
    }

    fn of(file: &File) -> Pages {
        Pages::map_from(libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd())
    }

    fn map_from(protection: i32, flags: i32, fd: i32) -> Pages {
        // SAFETY: where the kernel places it, nothing else is.
        let at = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, fd, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Pages(at)
    }

    fn addr(&self) -> u64 {
        self.0 as u64
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: nothing refers to these pages.
        unsafe { libc::munmap(self.0, SIZE) };
    }
}

#[test]
fn memory_without_a_file_in_words() {
    let anon = Pages::map(libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let shared = Pages::map(libc::PROT_READ, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    let code = Pages::map(libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let mut resolver = resolver();
    let words = resolver.mapping(own(), anon.addr()).expect("mapped");
    assert!(words.starts_with("anon 0x"), "{words}");
    assert_eq!(resolver.mapping(own(), shared.addr()), Some("shared anonymous memory".into()));
    assert_eq!(resolver.symbol(own(), code.addr()), format!("{:#x} (JIT or anonymous code)", code.addr()));
    assert_eq!(resolver.symbol(own(), shared.addr()), format!("{:#x} (JIT or anonymous code)", shared.addr()));
    assert_eq!((resolver.mapping(own(), 8), resolver.symbol(own(), 8)), (None, "0x8 (not mapped)".into()));
    // SAFETY: reads a number that the kernel gave this process.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if vdso != 0 {
        assert_eq!(resolver.mapping(own(), vdso), Some("vdso".into()));
        assert_eq!(resolver.symbol(own(), vdso + 0x10), "vdso+0x10 (not looked up)");
    }
}

#[test]
fn code_in_a_file_that_is_only_memory_is_no_program() {
    let file = super::names::memory(c"a jit").expect("memory");
    file.set_len(SIZE as u64).expect("a size");
    let pages = Pages::of(&file);
    let mut resolver = resolver();
    for _ in 0..2 {
        assert_eq!(resolver.mapping(own(), pages.addr()), Some("/memfd:a jit (deleted)".into()));
        let ip = pages.addr() + 0x10;
        assert_eq!(resolver.symbol(own(), ip), format!("{ip:#x} (JIT or anonymous code)"));
    }
}

#[test]
fn a_process_that_never_was_is_told_to_have_exited() {
    // Beyond the most that the kernel gives.
    let mut resolver = resolver();
    resolver.meet(u32::MAX);
    assert_eq!(resolver.symbol(u32::MAX, 0x1000), "0x1000 (process has exited)");
    assert_eq!(resolver.mapping(u32::MAX, 0x1000), None);
}

const PROGRAM: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    __attribute__((noinline)) static int marked(int x) { return x * 3 + getpid(); }
    int main(int argc, char **argv) {
        int local = argc;
        printf("%p %p %p\n", (void *)marked, (void *)&local, malloc(16));
        fflush(stdout);
        for (;;) { pause(); local += marked(local); }
    }
"#;

/// A program in C that runs and has told its addresses.
struct Running {
    child: Child,
    path: PathBuf,
    code: u64,
    stack: u64,
    heap: u64,
}

impl Running {
    /// Nothing where there is no compiler.
    fn start(scratch: &Scratch, name: &str, flags: &[&str]) -> Option<Running> {
        let (source, path) = (scratch.0.join("program.c"), scratch.0.join(name));
        fs::write(&source, PROGRAM).expect("written");
        match Command::new("cc").arg("-O1").args(flags).arg("-o").arg(&path).arg(&source).status() {
            Ok(status) => assert!(status.success(), "cc {flags:?}"),
            Err(e) => {
                eprintln!("skipped: no C compiler: {e}");
                return None;
            }
        }
        let mut child = Command::new(&path).stdout(Stdio::piped()).spawn().expect("runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let told: Vec<u64> = line
            .split_whitespace()
            .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).expect("an address"))
            .collect();
        let [code, stack, heap] = told[..] else { panic!("{line}") };
        Some(Running { child, path, code, stack, heap })
    }

    fn tgid(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn a_function_of_another_program_is_told_by_its_name() {
    let scratch = Scratch::new("named");
    for flags in [&["-no-pie"][..], &["-pie", "-fPIE"]] {
        let Some(running) = Running::start(&scratch, "pro gram", flags) else { return };
        let mut resolver = resolver();
        assert_eq!(resolver.symbol(running.tgid(), running.code), "marked");
        assert_eq!(resolver.mapping(running.tgid(), running.code), Some(running.path.display().to_string()));
        assert_eq!(resolver.mapping(running.tgid(), running.stack), Some("stack".into()));
        assert_eq!(resolver.mapping(running.tgid(), running.heap), Some("heap".into()));
    }
}

#[test]
fn a_stripped_program_is_told_with_the_place_that_tools_count() {
    let scratch = Scratch::new("stripped");
    for (flags, base) in [(&["-s", "-no-pie"][..], None), (&["-s", "-pie", "-fPIE"], Some(0xfff))] {
        let Some(running) = Running::start(&scratch, "bare", flags) else { return };
        let told = resolver().symbol(running.tgid(), running.code);
        let place = told.strip_prefix("bare+0x").and_then(|rest| rest.strip_suffix(" (stripped)"));
        let place = u64::from_str_radix(place.expect(&told), 16).expect("a number");
        match base {
            None => assert_eq!(place, running.code),
            Some(page) => assert!(place < 0x10_000 && place & page == running.code & page, "{told}"),
        }
    }
}

#[test]
fn a_deleted_program_keeps_its_names() {
    let scratch = Scratch::new("deleted");
    let Some(mut running) = Running::start(&scratch, "gone", &[]) else { return };
    let mut met = resolver();
    met.meet(running.tgid());
    fs::remove_file(&running.path).expect("removed");
    assert_eq!(met.symbol(running.tgid(), running.code), "marked");

    let told = resolver().symbol(running.tgid(), running.code);
    let path = format!("{} (deleted)", running.path.display());
    assert_eq!(resolver().mapping(running.tgid(), running.code), Some(path));
    if opens_mapped_files() {
        assert_eq!(told, "marked");
    } else {
        assert!(told.starts_with("gone+0x") && told.contains(" (deleted, and cannot be opened: "), "{told}");
    }
    // Another file at the same path is not mistaken for it.
    fs::write(&running.path, "#!/bin/sh\n").expect("written");
    assert_eq!(resolver().symbol(running.tgid(), running.code), told);
    running.end();
    assert_eq!(met.symbol(running.tgid(), running.code), "marked");
}

#[test]
fn a_program_that_was_met_is_told_after_it_exits() {
    let scratch = Scratch::new("exited");
    let Some(mut running) = Running::start(&scratch, "brief", &[]) else { return };
    let (tgid, code) = (running.tgid(), running.code);
    let mut met = resolver();
    met.meet(tgid);
    let mut mapped = resolver();
    assert!(mapped.mapping(tgid, code).is_some());
    // Files are opened even where the map was read before.
    let mut asked = resolver();
    assert!(asked.mapping(tgid, code).is_some());
    asked.meet(tgid);
    running.end();
    assert_eq!(resolver().symbol(tgid, code), format!("{code:#x} (process has exited)"));
    // Only its map is known, and its file is still there.
    assert_eq!(mapped.symbol(tgid, code), "marked");
    fs::remove_file(&running.path).expect("removed");
    assert_eq!(met.symbol(tgid, code), "marked");
    assert_eq!(asked.symbol(tgid, code), "marked");
    assert_eq!(met.mapping(tgid, running.heap), Some("heap".into()));
}

#[test]
fn a_file_that_took_the_place_of_a_program_is_not_read() {
    let scratch = Scratch::new("replaced");
    let Some(mut running) = Running::start(&scratch, "old", &[]) else { return };
    let mut mapped = resolver();
    assert!(mapped.mapping(running.tgid(), running.code).is_some());
    let new = scratch.0.join("new");
    fs::copy(&running.path, &new).expect("copied");
    fs::rename(new, &running.path).expect("renamed");
    running.end();
    let told = mapped.symbol(running.tgid(), running.code);
    assert!(told.starts_with("old+0x") && told.ends_with(" (another file is at its path)"), "{told}");
}

#[test]
fn a_file_that_is_cut_short_kills_nothing() {
    let scratch = Scratch::new("short");
    let Some(mut running) = Running::start(&scratch, "short", &[]) else { return };
    let mut resolver = resolver();
    assert_eq!(resolver.symbol(running.tgid(), running.code), "marked");
    running.end();
    File::options().write(true).open(&running.path).and_then(|file| file.set_len(100)).expect("cut");
    let told = resolver.symbol(running.tgid(), running.code + 1);
    assert!(told.starts_with("short+0x") && told.ends_with(')'), "{told}");
}

/// Memory as a file.
fn file(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("numatrace-elf-{}-{:?}", own(), std::thread::current().id()));
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).expect("a file");
    file.write_all(bytes).expect("written");
    fs::remove_file(path).expect("removed");
    file
}

const CODE: u64 = 0x40_1000;

/// A program without sections: a page with headers, one of code, and what is only read, which holds `table` at `inside`.
fn program(entry: u64, table: &[u8], inside: u64) -> Vec<u8> {
    let mut out = b"\x7fELF".to_vec();
    out.extend([2, if cfg!(target_endian = "little") { 1 } else { 2 }, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend([2_u16, 62].iter().flat_map(|number| number.to_ne_bytes()));
    out.extend(1_u32.to_ne_bytes());
    out.extend([entry, 64, 0].iter().flat_map(|number| number.to_ne_bytes()));
    out.extend(0_u32.to_ne_bytes());
    out.extend([64_u16, 56, 2, 64, 0, 0].iter().flat_map(|number| number.to_ne_bytes()));
    for (flags, at, size) in [(5_u32, 0x1000, 0x1000), (4, 0x2000, inside + table.len() as u64)] {
        out.extend([1_u32, flags].iter().flat_map(|number| number.to_ne_bytes()));
        let address = at + 0x40_0000;
        out.extend([at, address, address, size, size, 0x1000_u64].iter().flat_map(|number| number.to_ne_bytes()));
    }
    out.resize(0x2000 + inside as usize, 0xff);
    out.extend_from_slice(table);
    out
}

#[test]
fn a_table_of_go_is_found_where_no_section_tells_it() {
    let functions = [(CODE, "internal/cpu.init"), (CODE + 0x40, "_rt0_amd64_linux"), (CODE + 0x80, "main.main")];
    // Alignments, one of them behind the first piece that is searched.
    for inside in [0, 0x18, (1 << 18) - 8, 1 << 18] {
        // Told by the header until Go 1.25; since then only by where the program begins; before 1.18 not needed.
        for (magic, text) in
            [(0xffff_fff1, CODE), (0xffff_fff1, 0), (0xffff_fff0, CODE), (0xffff_fffa, 0), (0xffff_fffb, 0)]
        {
            let mut table = written(magic, 8, CODE, &functions, CODE + 0x100);
            if text == 0 && magic == 0xffff_fff1 {
                table[24..32].fill(0);
            }
            let file = file(&program(CODE + 0x40, &table, inside));
            let elf = Elf::read(&file).expect("ELF");
            let found = golang::table(&file, &elf).expect("found");
            // Other programs with sections are not searched.
            let elf = Elf { has_sections: true, ..elf };
            assert!(golang::table(&file, &elf).is_none());
            assert!(golang::table(&file, &Elf { is_go: true, ..elf }).is_some());
            assert_eq!(found.name(&file, CODE + 0x90), Some(b"main.main".to_vec()), "{magic:#x} {text:#x} {inside:#x}");
        }
    }
    // The program begins elsewhere, so where its code begins is not known.
    let mut table = written(0xffff_fff1, 8, CODE, &functions, CODE + 0x100);
    table[24..32].fill(0);
    let file = file(&program(CODE + 0x20, &table, 0));
    assert!(golang::table(&file, &Elf::read(&file).expect("ELF")).is_none());
}

#[test]
fn what_is_no_program_is_told_to_be_none() {
    for bytes in [&b""[..], b"\x7fEL", b"#!/bin/sh\n", &[0; 4_096]] {
        assert_eq!(Elf::read(&file(bytes)).err(), Some("not an ELF file"));
    }
    assert_eq!(Elf::read(&file(b"\x7fELF\x02\x01\x01")).err(), Some("its ELF headers cannot be read"));
}

/// A program with symbols, to be damaged.
fn sample() -> Vec<u8> {
    // Every Linux has a shell, with symbols that it takes from others or gives.
    fs::read("/bin/sh").expect("a shell")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_damage_to_a_program_is_survived(
        headers in proptest::collection::vec((0_u64..64, any::<u8>()), 0..3),
        sections in proptest::collection::vec((any::<u64>(), any::<u8>()), 0..20),
        anywhere in proptest::collection::vec((any::<u64>(), any::<u8>()), 0..50),
        at in any::<u64>(), cut in 0_u64..3,
    ) {
        let bytes = sample();
        let size = bytes.len() as u64;
        let file = file(&bytes);
        let table = u64::from_ne_bytes(bytes[40..48].try_into().expect("8 bytes"));
        let damage = headers.into_iter().map(|(at, value)| (at.max(4), value))
            .chain(sections.into_iter().map(|(at, value)| (table + at % (size - table), value)))
            .chain(anywhere.into_iter().map(|(at, value)| (5 + at % (size - 5), value)));
        for (at, value) in damage {
            file.write_all_at(&[value], at).expect("written");
        }
        if cut == 0 {
            file.set_len(at % size).expect("cut");
        }
        if let Ok(elf) = Elf::read(&file) {
            let go = golang::table(&file, &elf);
            let names = Names::read(&file, &elf);
            for address in (0..size).step_by(997).chain([at]) {
                elf.address_of_code(address);
                elf.pointer(&file, address);
                go.and_then(|table| table.name(&file, address));
                if let Ok(names) = &names {
                    let _ = names.name(address);
                }
            }
        }
    }
}

#[test]
fn symbols_that_lie_tell_a_reason() {
    // One symbol, whose name begins behind the names, ends behind all memory, or is not UTF-8.
    for (name, value, size, names, expected) in [
        (1, CODE, 16, &b"\0good\0"[..], Ok("good")),
        (1, CODE, 0, b"\0good\0", Ok("good")),
        (1, CODE, u64::MAX, b"\0good", Ok("good")),
        (9, CODE, 16, b"\0good\0", Err("no symbol there")),
        (0, CODE, 16, b"\0good\0", Err("a function without a name")),
        (1, CODE, 16, b"\0\xff\0", Err("its symbols cannot be read")),
        (1, 0, 16, b"\0good\0", Err("no symbol there")),
    ] {
        let mut bytes = vec![0; 24];
        bytes.extend(u32::to_ne_bytes(name));
        bytes.extend([0x12, 0, 1, 0]);
        bytes.extend([value, size].iter().flat_map(|number: &u64| number.to_ne_bytes()));
        bytes.extend_from_slice(names);
        let file = file(&bytes);
        let (symbols, names) = (Stretch { at: 0, size: 48 }, Stretch { at: 48, size: names.len() as u64 });
        let elf = Elf { wide: true, symtab: Some(super::elf::Table { symbols, names }), ..Elf::default() };
        let table = Names::read(&file, &elf).expect("read");
        // Were the file mapped into memory, this would kill.
        file.set_len(0).expect("cut");
        let found = table.name(CODE);
        assert_eq!(found.as_deref(), expected.as_ref().map(|name| *name), "{value:#x}");
    }
    assert_eq!(Names::read(&file(b""), &Elf::default()).err(), Some("stripped".into()));
    let endless = Stretch { at: 0, size: u64::MAX };
    let table = Some(super::elf::Table { symbols: endless, names: endless });
    let elf = Elf { wide: true, symtab: table, dynsym: table, ..Elf::default() };
    assert_eq!(Names::read(&file(b""), &elf).err(), Some("its symbols take 16.0EiB".into()));
}
