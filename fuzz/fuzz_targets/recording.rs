//! Any bytes as a recording: read, or refused in a sentence.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read::everything(bytes));

#[path = "read.rs"]
mod read;
