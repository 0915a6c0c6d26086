//! All decisions of the agent, as pure functions of observed objects. Nothing in here talks to anybody.
//!
//! Source side: [`export`] (what a source cluster publishes). Destination side, in the order in which a link goes through
//! them: [`open`] (the envelope), [`certificate`] (the key that goes with it), [`content`] (what it becomes), [`data`] and
//! [`bundle`] (what is done with the target, given the links that end there), [`wire`] (what its consumers are told),
//! [`previous`] (what stood elsewhere before), [`prove`] (does it work), [`used`] (has it served), [`link`] (what the status
//! says afterwards).
//! [`rotation`]: when the agent's key is replaced. [`member`]: what the agent says about itself, [`report`]: what
//! it shows of its cluster.
pub mod action;
pub mod bundle;
pub mod certificate;
pub mod content;
pub mod data;
pub mod expiry;
pub mod export;
pub mod fresh;
pub mod group;
pub mod link;
pub mod member;
pub mod open;
pub mod previous;
pub mod prove;
pub mod report;
pub mod rotation;
pub mod used;
pub mod wire;

#[cfg(test)]
pub mod fixtures;

pub use self::{
    action::Action,
    group::{CertificateKey, Decision, Group, LinkView, Obstacle, OwnShare},
};

use peering_api::peering::ArtefactKind;

/// Decides about one target and all links that end there.
#[must_use]
pub fn decide(group: &Group<'_>) -> Decision {
    let is_bundle = |view: &LinkView<'_>| view.link.spec.kind == ArtefactKind::CaBundle;
    if group.links.iter().any(is_bundle) {
        bundle::decide(group)
    } else {
        data::decide(group)
    }
}
