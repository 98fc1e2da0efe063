//! Files that hold code of traced processes: opened while they can be, kept open for when their process has exited.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::demangle::plain;
use super::elf::Elf;
use super::golang;
use super::gopclntab::Table;
use super::maps::{FileId, Mapping};
use super::names::{MAX_TABLES, Names};

/// Files that are kept open; beyond, the one that was not asked for the longest is closed.
pub(super) const MAX_FILES: usize = 64;

/// Open files by what the kernel tells them apart by.
pub(super) struct Files {
    proc: PathBuf,
    open: HashMap<FileId, Binary>,
    /// Counts what is asked: see [`Binary::asked`].
    asked: u64,
}

/// An open file.
pub(super) struct Binary {
    /// Of this opening: a device and inode may come again for another file, once this one is closed.
    pub(super) opening: u64,
    file: File,
    /// Tells whether the file was written to.
    written: Written,
    /// Read when it is first asked for a name.
    contents: Option<Result<Contents, &'static str>>,
    /// To know what was not asked for the longest.
    asked: u64,
}

struct Contents {
    elf: Elf,
    go: Option<Table>,
    /// Read when Go does not tell a name.
    names: Option<Result<Names, String>>,
}

type Written = (u64, Option<SystemTime>);

impl Files {
    pub(super) fn new(proc: &Path) -> Files {
        Files { proc: proc.into(), open: HashMap::new(), asked: 0 }
    }

    /// Whether the file of a mapping is open.
    pub(super) fn has(&self, mapping: &Mapping) -> bool {
        self.open.contains_key(&mapping.file)
    }

    /// The opening of the file of a mapping, if it is open.
    pub(super) fn opening(&mut self, mapping: &Mapping) -> Option<u64> {
        self.asked += 1;
        let binary = self.open.get_mut(&mapping.file)?;
        binary.asked = self.asked;
        Some(binary.opening)
    }

    /// The file of a mapping. The error says why it cannot be read.
    pub(super) fn get(&mut self, tgid: u32, mapping: &Mapping) -> Result<&mut Binary, String> {
        self.asked += 1;
        // What stood in the file before is no longer what stands there.
        if self.open.get(&mapping.file).is_some_and(Binary::is_changed) {
            self.open.remove(&mapping.file);
        }
        if !self.has(mapping) {
            let (file, meta) = open(&self.proc, tgid, mapping)?;
            let written = written(&meta);
            self.make_room();
            self.open.insert(mapping.file, Binary { opening: self.asked, file, written, contents: None, asked: 0 });
        }
        let binary = self.open.get_mut(&mapping.file).ok_or("not open")?;
        binary.asked = self.asked;
        Ok(binary)
    }

    /// Drops symbols that were not asked for the longest, until all fit. Call after a lookup.
    pub(super) fn drop_symbols(&mut self) {
        let mut bytes: u64 = self.open.values().map(Binary::bytes).sum();
        while bytes > MAX_TABLES {
            let with = self.open.values_mut().filter(|binary| binary.bytes() > 0 && binary.asked < self.asked);
            let Some(oldest) = with.min_by_key(|binary| binary.asked) else { return };
            bytes -= oldest.bytes();
            oldest.contents = None;
        }
    }

    fn make_room(&mut self) {
        while self.open.len() >= MAX_FILES {
            let Some((oldest, _)) = self.open.iter().min_by_key(|(_, binary)| binary.asked) else { return };
            let oldest = *oldest;
            self.open.remove(&oldest);
        }
    }
}

impl Binary {
    fn is_changed(&self) -> bool {
        self.file.metadata().map_or(true, |meta| written(&meta) != self.written)
    }

    /// The name of the function whose code stands at `at` in the file. The error is where that is, as tools that read
    /// the file count, and why there is no name.
    pub(super) fn name(&mut self, at: u64) -> Result<String, (u64, String)> {
        let contents = self.contents.get_or_insert_with(|| Contents::read(&self.file));
        let contents = contents.as_mut().map_err(|why| (at, (*why).to_string()))?;
        let address = contents.elf.address_of_code(at).ok_or_else(|| (at, "no code of the file".to_string()))?;
        if let Some(name) = contents.go.and_then(|table| table.name(&self.file, address)) {
            return Ok(plain(&name));
        }
        let names = contents.names.get_or_insert_with(|| Names::read(&self.file, &contents.elf));
        match names {
            Ok(names) => names.name(address).map_err(|why| (address, why.into())),
            Err(why) => Err((address, why.clone())),
        }
    }

    /// Memory that its symbols take.
    fn bytes(&self) -> u64 {
        match &self.contents {
            Some(Ok(Contents { names: Some(Ok(names)), .. })) => names.bytes,
            _ => 0,
        }
    }
}

impl Contents {
    fn read(file: &File) -> Result<Contents, &'static str> {
        let elf = Elf::read(file)?;
        let go = golang::table(file, &elf);
        Ok(Contents { elf, go, names: None })
    }
}

fn written(meta: &Metadata) -> Written {
    (meta.len(), meta.modified().ok())
}

/// Opens the file of a mapping: as the kernel keeps it for the process, which is always the right one, even where it was
/// deleted, lies in a container, or in a file system that gives other numbers than the map; or by its path, where
/// that is told to be the same file.
fn open(proc: &Path, tgid: u32, mapping: &Mapping) -> Result<(File, Metadata), String> {
    let process = proc.join(tgid.to_string());
    let kept = process.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end));
    let why = match fs::read_link(&kept) {
        // Since the map was read, something else may have been mapped there.
        Ok(target) if target.as_os_str().as_bytes() == mapping.name() => match open_regular(&kept) {
            Ok(open) => return Ok(open),
            Err(e) => e,
        },
        Ok(_) => io::ErrorKind::NotFound.into(),
        Err(e) => e,
    };
    let exited = !process.exists();
    if mapping.is_deleted() {
        return Err(match why.kind() {
            _ if exited => "deleted, and its process has exited".into(),
            io::ErrorKind::NotFound => "deleted, and no longer mapped".into(),
            _ => format!("deleted, and cannot be opened: {why}"),
        });
    }
    let path = mapping.path();
    let mut inside = OsString::from(process.join("root"));
    inside.push(OsStr::from_bytes(&path));
    // A process that has exited tells its root no more. Most share ours.
    let path = if exited { OsString::from_vec(path) } else { inside };
    match open_regular(Path::new(&path)) {
        Ok((_, meta)) if !is_same(mapping.file, &meta) => Err("another file is at its path".into()),
        Ok(open) => Ok(open),
        Err(e) if exited => Err(format!("process has exited, and its file cannot be opened: {e}")),
        Err(e) => Err(format!("its file cannot be opened: {e}")),
    }
}

/// Whether it is the file of a map. Btrfs and overlayfs, which have no device of their own, tell another in maps than
/// elsewhere: there the same inode at the same path is the same file.
fn is_same(file: FileId, meta: &Metadata) -> bool {
    let (major, minor) = (libc::major(meta.dev()), libc::minor(meta.dev()));
    file.inode == meta.ino() && ((file.major, file.minor) == (major, minor) || major == 0)
}

/// Opens a regular file for reading. To open anything else may wait, or do something.
fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let found = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    let meta = found.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    // The same file, and nothing that took its place since.
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    Ok((file, meta))
}
