//! The manager binary.
fn main() {}
