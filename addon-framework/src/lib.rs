//! The Open Cluster Management addon framework for Rust.
//!
//! An addon has two halves. On the hub a manager watches for `ManagedClusterAddOn` objects, deploys an agent to each of
//! those clusters by a `ManifestWork`, and gives it an identity and permissions on the hub. On the cluster the agent waits
//! for its credentials, works, and renews a Lease that says so.
//!
//! * [`addon`]: the trait to implement; [`Manager`] runs it on the hub.
//! * [`agent`]: what the agent on a cluster needs.
//! * [`runtime`]: what both run on; also for controllers of your own.
//!
//! It behaves on the wire as the Go framework does (names, labels, owner references, conditions and their reasons), and
//! works beside OCM's own addon-manager, which makes and owns the `ManagedClusterAddOn` objects. It speaks
//! `addon.open-cluster-management.io/v1beta1`, which OCM serves since 1.2, and converts at the edge for older hubs.
//!
//! `examples/helloworld.rs` is a whole addon. A binary installs a rustls crypto provider first thing in `main`, and chooses
//! the version feature of `k8s-openapi`.
pub mod addon;
pub mod agent;
mod config;
mod csr;
mod health;
mod hooks;
mod hosted;
pub mod manager;
pub mod process;
mod rbac;
mod registration;
pub mod runtime;
mod simple;
mod site;
mod template;
mod versions;
mod work;

use peering_api::compare;

pub use addon::{Addon, AddonError, Options, Registration, Removal, object};
pub use config::{ConfigKind, Configs, Settings, rewrite_image, spec_hash};
pub use csr::{Signer, SignerError, SigningCa};
pub use health::{Health, Probe, Probes};
pub use manager::{BuildError, Builder, Manager};
pub use simple::Simple;
pub use site::Site;
pub use template::Templates;
pub use versions::AddonVersions;
pub use work::Feedback;
