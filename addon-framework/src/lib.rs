//! The Open Cluster Management addon framework for Rust.
pub mod addon;
pub mod agent;
mod compare;
mod csr;
pub mod manager;
pub mod process;
mod rbac;
mod registration;
pub mod runtime;
mod work;

pub use addon::{Addon, AddonError, Options, Registration, Removal, object};
pub use manager::{BuildError, Builder, Manager};
