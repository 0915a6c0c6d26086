//! Scenarios on real API servers with the real Open Cluster Management, all on one environment.
mod bad_input;
mod chaos;
mod drift;
mod envelopes;
mod faults;
mod framework;
mod handover;
mod hub;
mod removal;
mod rights;
mod secrecy;
mod topologies;
mod validation;
