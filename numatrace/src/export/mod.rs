//! Recordings in formats of other programs.

pub mod perfetto;
