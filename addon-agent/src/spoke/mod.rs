//! This cluster, at its edge: what the agent sees of its objects ([`observed`]), the watches that it sees them through
//! ([`pool`]), and the few writes that it makes ([`mod@write`] for targets; for sources: [`provision`], [`token`], [`signing`]).
mod json;
pub mod observed;
pub mod pool;
pub mod provision;
pub mod refusal;
pub mod signing;
pub mod token;
pub mod value;
pub mod write;

pub use self::{
    observed::{Observed, Place, Seen, carrier_of, target_of},
    pool::{Pool, User},
};
