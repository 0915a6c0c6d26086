//! From what was seen of a `MirrorPeer` to what is to be written, and to what users are told.
//!
//! [`Observed`] is what was seen; [`plan`] derives what it asks for, [`mode`] which kind of storage it pairs; [`decide`] says
//! what to write for it, [`removal`] what when it is being deleted, [`status`] what users read; [`ramen`] edits Ramen's
//! configuration for all `MirrorPeer`s at once.
mod decide;
mod mode;
mod plan;
mod ramen;
mod removal;
mod seen;
mod status;

pub use self::{
    decide::{Change, Decision, decide},
    mode::{Mode, ModeError, mode},
    plan::{
        CONVERGED_PROFILE, Plan, PlanError, S3_PROFILE, StoreKey, StoreUse, Tokens, concerned, peerings, plan,
        protects_same,
    },
    ramen::{RamenDecision, StoreSeen, decide as decide_ramen},
    seen::{Agent, Cluster, Foreign, Observed, Ramen, is_leaving, older},
    status::Status,
};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
