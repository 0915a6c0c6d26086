//! All decisions of the agent, as pure functions of observed objects. Nothing in here talks to anybody.
//!
//! [`export`]: what a source cluster publishes. [`secret`] and [`bundle`]: what is done with a target, given the links that
//! end there. [`link`]: what their status says afterwards. [`member`]: what the agent says about itself.
pub mod bundle;
pub mod export;
pub mod group;
pub mod link;
pub mod member;
pub mod secret;

#[cfg(test)]
pub mod fixtures;

pub use self::group::{Action, Decision, Group, LinkView, OwnShare};

use peering_api::peering::ArtefactKind;

/// Decides about one target and all links that end there.
#[must_use]
pub fn decide(group: &Group<'_>) -> Decision {
    let is_bundle = |view: &LinkView<'_>| view.link.spec.kind == ArtefactKind::CaBundle;
    if group.links.iter().any(is_bundle) {
        bundle::decide(group)
    } else {
        secret::decide(group)
    }
}
