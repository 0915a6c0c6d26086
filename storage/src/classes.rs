//! Replication classes.
