//! What a link wrote at another place before its target moved: make before break, so it goes when the new target stands.
use peering_api::peering::PeerLinkSpec;

use super::action::{self, Action};
use crate::spoke::{Place, Seen, observed::normal};

/// The place where a link wrote before.
#[must_use]
pub fn place(link: &PeerLinkSpec) -> Option<Place> {
    let place = link.previous.as_ref().map(normal)?;
    (place != normal(&link.target.object)).then_some(place)
}

/// What is to be done there: what carries the link's id goes, by the policy of the link.
#[must_use]
pub fn action(link: &PeerLinkSpec, seen: &Seen) -> Action {
    match seen {
        Seen::Present(object) if object.owner() == Some(link.id.as_str()) => {
            action::withdraw(link.target.deletion_policy, object)
        }
        _ => Action::None,
    }
}

/// Whether a link that goes away has to wait for the watch of that place, or cannot be sure of it; `None` if all is known.
#[must_use]
pub fn obstacle(place: &Place, seen: &Seen) -> Option<Option<String>> {
    match seen {
        Seen::Pending => Some(None),
        Seen::Denied => Some(Some(format!(
            "the agent may not read {place}, where this link wrote before: the right arrives with the ManifestWork of the Peering"
        ))),
        Seen::Unknown | Seen::Absent | Seen::Present(_) => None,
    }
}
