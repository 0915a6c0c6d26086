//! OCM.
