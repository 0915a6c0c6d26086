//! The agent binary.
// NOTE to the author of this crate: logs, signals, /healthz, /readyz and /metrics are in `addon_framework::process` (log,
// stop_on_signals, Endpoint). Use them, do not write them again.
fn main() {}
