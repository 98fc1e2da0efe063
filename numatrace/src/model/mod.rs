//! The model: events in, snapshot out. No clock, no terminal, no aya, no I/O.
