//! The storage demo: two storage clusters and Ramen, as `MirrorPeer`s find them, and the product at work on them. What stands in
//! for the operators goes on in the environment's supervisor, so that the demo can be tried by hand afterwards.
pub mod site;
pub mod story;
mod table;

/// Namespace of the storage clusters.
const NAMESPACE: &str = "openshift-storage";
/// Namespace of Ramen's hub operator.
const RAMEN: &str = "ramen-system";
