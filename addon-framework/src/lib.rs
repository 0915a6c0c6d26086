//! The Open Cluster Management addon framework for Rust.
pub mod agent;
pub mod runtime;
