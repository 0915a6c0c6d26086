//! Every Kubernetes type that the multicluster orchestrator owns or speaks, and the names of what it creates. No I/O.
//!
//! Re-exports [`kube`] and [`k8s_openapi`], so that a bump of the two touches one crate.
pub mod compare;
pub mod duration;
pub mod names;
#[macro_use]
pub mod ocm;
pub mod odf;
pub mod peering;
mod sensitive;
mod status;

pub use k8s_openapi;
pub use kube;

pub use self::{sensitive::Sensitive, status::Status};
