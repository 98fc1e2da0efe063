//! Calls of `bpf(2)` on maps that aya has none for: values that are too large for a stack, and many elements at once.

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Pod, maps::MapData};

const LOOKUP_ELEM: libc::c_int = 1;
const UPDATE_ELEM: libc::c_int = 2;
const DELETE_ELEM: libc::c_int = 3;
const LOOKUP_BATCH: libc::c_int = 24;
const LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;

/// The part of `union bpf_attr` for one element.
#[repr(C)]
#[derive(Default)]
struct ElemAttr {
    map_fd: u32,
    fill: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for many.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Reads the element of an array into `value`.
///
/// # Errors
/// What the kernel says.
pub(super) fn read<T: Pod>(map: &MapData, index: u32, value: &mut T) -> io::Result<()> {
    let key = &raw const index as u64;
    let attr = ElemAttr { map_fd: descriptor(map), key, value: &raw mut *value as u64, ..ElemAttr::default() };
    // SAFETY: a key of an array's size, and room for a value: any bytes are one.
    let done = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_ELEM, &raw const attr, mem::size_of::<ElemAttr>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes the element of an array or a hash.
///
/// # Errors
/// What the kernel says.
pub(super) fn write<K: Pod, V: Pod>(map: &MapData, key: &K, value: &V) -> io::Result<()> {
    let (key, value) = (&raw const *key as u64, &raw const *value as u64);
    let attr = ElemAttr { map_fd: descriptor(map), key, value, ..ElemAttr::default() };
    // SAFETY: a key and a value of the map's sizes.
    let done = unsafe { libc::syscall(libc::SYS_bpf, UPDATE_ELEM, &raw const attr, mem::size_of::<ElemAttr>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes an element out of a hash; one that is not there any more is no failure.
pub(super) fn delete<K: Pod>(map: &MapData, key: &K) {
    let attr = ElemAttr { map_fd: descriptor(map), key: &raw const *key as u64, ..ElemAttr::default() };
    // SAFETY: a key of the map's size.
    unsafe { libc::syscall(libc::SYS_bpf, DELETE_ELEM, &raw const attr, mem::size_of::<ElemAttr>()) };
}

/// A place in a hash, between two calls of [`read_many`]: only the kernel understands it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(Option<u32>);

/// Reads the elements that come after `place`, as many as there is room for, and moves it on. Gives how many there were, and
/// whether they were the last.
///
/// # Errors
/// What the kernel says.
pub(super) fn read_many<K: Pod, V: Pod>(
    map: &MapData,
    place: &mut Place,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    batch(LOOKUP_BATCH, map, place, keys, values)
}

/// As [`read_many`], and takes them out of the map.
///
/// # Errors
/// What the kernel says.
pub(super) fn take_many<K: Pod, V: Pod>(
    map: &MapData,
    place: &mut Place,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    batch(LOOKUP_AND_DELETE_BATCH, map, place, keys, values)
}

fn batch<K: Pod, V: Pod>(
    command: libc::c_int,
    map: &MapData,
    place: &mut Place,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    let from = place.0.unwrap_or_default();
    let mut next = 0u32;
    let room = keys.len().min(values.len());
    let mut attr = BatchAttr {
        in_batch: place.0.map_or(0, |_| &raw const from as u64),
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: room as u32,
        map_fd: descriptor(map),
        ..BatchAttr::default()
    };
    // SAFETY: room for `count` keys and values of the map's sizes: any bytes are some.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, mem::size_of::<BatchAttr>()) };
    let ended = if done == 0 {
        false
    } else {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ENOENT) {
            return Err(error);
        }
        true
    };
    place.0 = Some(next);
    Ok(((attr.count as usize).min(room), ended))
}

fn descriptor(map: &MapData) -> u32 {
    // Descriptors are not negative.
    map.fd().as_fd().as_raw_fd() as u32
}

/// Kernel memory in bytes of all maps that this process holds, as the kernel says it to whoever holds them.
pub(super) fn memory_of_all() -> Option<u64> {
    let files = std::fs::read_dir("/proc/self/fdinfo").ok()?;
    let of_map = |info: String| {
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        field("map_type:")?;
        field("memlock:")?.parse::<u64>().ok()
    };
    Some(files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok()).filter_map(of_map).sum())
}
