//! The addon-manager.
mod peering;
fn main() {}
