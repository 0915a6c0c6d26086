//! What a link wrote at another place before its target moved: make before break, so it goes when the new target stands.
use peering_api::peering::PeerLinkSpec;

use super::{
    Obstacle,
    action::{self, Action},
};
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

/// What keeps a link that goes away from being sure of that place.
#[must_use]
pub fn obstacle(place: &Place, seen: &Seen) -> Option<Obstacle> {
    match seen {
        Seen::Pending => Some(Obstacle::Pending),
        Seen::Denied => Some(Obstacle::Refused(format!(
            "the agent may not read {place}, where this link wrote before: the right arrives with the ManifestWork of the Peering"
        ))),
        Seen::Unknown | Seen::Absent | Seen::Present(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use peering_api::{
        names,
        peering::{DeletionPolicy, ObjectRef},
    };

    use super::*;
    use crate::{decide::fixtures::link, spoke::Observed};

    fn moved() -> PeerLinkSpec {
        PeerLinkSpec {
            previous: Some(ObjectRef::core("Secret", "ns", "old")),
            ..link("a").spec
        }
    }

    fn owned(by: &str) -> Seen {
        Seen::Present(Observed {
            labels: [(names::LINK_LABEL.to_owned(), by.to_owned())].into(),
            ..Observed::default()
        })
    }

    #[test]
    fn only_what_carries_the_links_id_goes() {
        let mut link = moved();
        let ours = owned(&link.id);
        assert_eq!(action(&link, &ours), Action::Delete);
        for seen in [
            owned("another"),
            Seen::Present(Observed::default()),
            Seen::Absent,
            Seen::Denied,
            Seen::Pending,
        ] {
            assert_eq!(action(&link, &seen), Action::None, "{seen:?}");
        }
        link.target.deletion_policy = DeletionPolicy::Orphan;
        assert_eq!(action(&link, &ours), Action::Release { data: None });
    }

    #[test]
    fn a_place_of_before_is_another_one() {
        let mut link = moved();
        assert_eq!(place(&link).map(|place| place.name).as_deref(), Some("old"));
        link.previous = Some(ObjectRef {
            resource: Some("secrets".into()),
            ..link.target.object.clone()
        });
        assert_eq!(place(&link), None, "the target itself, named in other words");
        link.previous = None;
        assert_eq!(place(&link), None);
    }

    #[test]
    fn who_goes_away_has_to_know_what_is_there() {
        let place = place(&moved()).unwrap();
        assert_eq!(obstacle(&place, &Seen::Pending), Some(Obstacle::Pending));
        assert!(matches!(obstacle(&place, &Seen::Denied), Some(Obstacle::Refused(_))));
        for seen in [Seen::Unknown, Seen::Absent, owned("x")] {
            assert_eq!(obstacle(&place, &seen), None, "{seen:?}");
        }
    }
}
