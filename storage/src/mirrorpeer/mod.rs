//! From what was seen of a `MirrorPeer` to what is to be written, and to what users are told.
//!
//! [`Observed`] is what was seen; [`plan()`] derives what it asks for ([`client`] where storage clients are paired), [`mode()`]
//! which kind of storage it pairs; [`decide()`] says
//! what to write for it, [`removal`] what when it is being deleted, [`status`] what users read; [`ramen`] edits Ramen's
//! configuration for all `MirrorPeer`s at once.
mod buckets;
mod change;
mod client;
mod decide;
mod mode;
mod ownership;
mod plan;
mod profiles;
mod provider;
mod ramen;
mod removal;
mod seen;
mod status;
mod wanted;

pub use self::{
    buckets::{StoreClient, StoreKey, StoreUse, stated_secret},
    change::{Change, Decision},
    decide::decide,
    mode::{Mode, ModeError, mode},
    plan::{PlanError, concerned, peerings, plan, protects_same},
    profiles::{CLASSES_PROFILE, CLIENT_PROFILE, CONVERGED_PROFILE, S3_PROFILE},
    provider::{Ends, Provider, ends, provided_by, provider_clusters},
    ramen::{RamenDecision, StoreSeen, decide as decide_ramen},
    seen::{Agent, Cluster, Foreign, Observed, Ramen, is_leaving, older},
    status::Status,
    wanted::{Plan, Tokens},
};

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
