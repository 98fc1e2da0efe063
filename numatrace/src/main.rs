//! The `numatrace` program.
fn main() {}
