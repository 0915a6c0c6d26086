//! What an addon agent on a managed cluster needs: its credentials for the hub, and the Lease that says it is alive.
pub mod hub;
pub mod lease;
