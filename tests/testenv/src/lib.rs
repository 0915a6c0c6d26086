//! Local control planes with a real Open Cluster Management, for tests and the demo.
//!
//! [`shared()`] gives the environment of a test binary: a hub, which manages itself too, and two managed clusters, each
//! with a real etcd prefix, kube-apiserver and kube-controller-manager, joined by the real OCM components, all as plain
//! processes that never outlive the test. The [`node`] of each cluster stands in for the kubelet and runs our images as local processes.
//!
//! Waiting goes through [`Env::until`], which tells why when something does not come.

pub mod access;
pub mod apply;
pub mod cluster;
pub mod controlplane;
pub mod crds;
pub mod demo;
pub mod devenv;
pub mod env;
pub mod etcd;
pub mod explain;
pub mod files;
pub mod node;
pub mod ocm;
pub mod pki;
pub mod plain_http;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod runtime;
mod shared;
pub mod wait;

pub use access::Access;
pub use cluster::Cluster;
pub use env::{Env, Options};
pub use node::{Node, RunningProcess};
pub use proxy::Proxy;
pub use shared::shared;
