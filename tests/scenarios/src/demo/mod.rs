//! The storage demo: on each of two clusters a storage cluster of Data Foundation and a Rook by itself, on the hub Ramen, and the
//! product at work on them. What stands in for the operators goes on in the environment's supervisor, so that the demo can be
//! tried by hand afterwards.
pub mod site;
pub mod story;
mod table;

/// Namespace of the storage clusters.
const NAMESPACE: &str = "openshift-storage";
/// Namespace of Rook where it runs by itself.
const ROOK: &str = "rook-ceph";
/// The pool there that is mirrored, as `manifests/samples/rook.yaml` names it.
const POOL: &str = "replicapool";
/// Namespace of Ramen's hub operator.
const RAMEN: &str = "ramen-system";
