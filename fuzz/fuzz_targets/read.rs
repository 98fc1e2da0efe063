//! What a report does with a file.

use std::io::Write as _;
use std::path::Path;

use numatrace::model::{Limits, Model};
use numatrace::recording::{Timeline as _, reader::Reader};
use numatrace::report::text::{TextOptions, write};
use numatrace::source::{Source as _, SourceStatus, apply};

/// Reads all of it, and makes a report.
pub fn everything(bytes: &[u8]) {
    let path = format!("/dev/shm/numatrace-fuzz-{}", std::process::id());
    let path = Path::new(&path);
    std::fs::File::create(path).and_then(|mut file| file.write_all(bytes)).expect("room in /dev/shm");
    let Ok(mut reader) = Reader::open(path) else { return };
    let mut model = Model::new(reader.head().meta.clone(), reader.head().topology.clone(), Limits::default());
    while reader.next_batch(&mut |record| apply(record, &mut model)).is_ok_and(|status| status == SourceStatus::More) {}
    let _ = reader.incomplete();
    write(&model.snapshot(), &TextOptions::default(), &mut std::io::sink()).expect("a sink takes everything");
}
