//! From what was seen of a `MirrorPeer` to what is to be written, and to what users are told.
//!
//! [`Observed`] is what was seen; [`plan`] derives what it asks for ([`client`] where storage clients are paired), [`mode`]
//! which kind of storage it pairs; [`decide`] says
//! what to write for it, [`removal`] what when it is being deleted, [`status`] what users read; [`ramen`] edits Ramen's
//! configuration for all `MirrorPeer`s at once.
mod client;
mod decide;
mod mode;
mod plan;
mod ramen;
mod removal;
mod seen;
mod status;

pub use self::{
    client::{Ends, Provider, ends, provided_by, provider_clusters},
    decide::{Change, Decision, decide},
    mode::{Mode, ModeError, mode},
    plan::{
        CLASSES_PROFILE, CLIENT_PROFILE, CONVERGED_PROFILE, Plan, PlanError, S3_PROFILE, StoreClient, StoreKey,
        StoreUse, Tokens, concerned, peerings, plan, protects_same, stated_secret,
    },
    ramen::{RamenDecision, StoreSeen, decide as decide_ramen},
    seen::{Agent, Cluster, Foreign, Observed, Ramen, is_leaving, older},
    status::Status,
};

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
