//! The pure core of storage disaster recovery: what follows from a `MirrorPeer`. No client, no clock, no async.
//!
//! Read in this order: [`mirrorpeer`] (from what was seen to what is to be written, and what users are told), [`store`]
//! (what a cluster hands over about its bucket), [`ramen`] (the text of Ramen's configuration), [`classes`] (replication
//! classes of a `DRPolicy`), [`mapping`] (which storage client belongs to which), [`odf_info`] (what storage operators tell
//! about themselves), [`client_info`] (what the console is told of that), [`names`] (names that users of the Go orchestrator
//! know).
pub mod classes;
pub mod client_info;
pub mod mapping;
pub mod mirrorpeer;
pub mod names;
pub mod odf_info;
pub mod ramen;
pub mod store;
