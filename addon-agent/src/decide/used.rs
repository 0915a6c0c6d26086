//! What is used once, such as a ticket: whether a target has used what it was made from (`usedWhen`).
//!
//! Once used it stays so as long as the target stands and is to be made in the same way. If it is deleted, or is to be made
//! in another way (another endpoint), its source is asked for a new one.
use exchange::expression::{Condition, Scope};
use peering_api::{
    names,
    peering::{PeerLink, PeerLinkSpec, condition, reasons},
};

use super::{group::LinkView, link::Said};
use crate::spoke::{Observed, Place, Seen};

/// A digest of what a target is made by, apart from its content.
#[must_use]
pub fn digest(spec: &PeerLinkSpec) -> String {
    // Both always serialise.
    let target = serde_json::to_string(&spec.target).unwrap_or_default();
    let parameters = serde_json::to_string(&spec.parameters).unwrap_or_default();
    names::digest(&["used/v1", &target, &parameters], 32)
}

fn is_known(link: &PeerLink) -> bool {
    let known = link.status.as_ref().and_then(|status| status.used.as_ref());
    known.is_some_and(|known| *known == digest(&link.spec))
}

/// Whether the target of a link stands and has used its content. `held` is the target where it is this link's.
#[must_use]
pub fn stands(view: &LinkView<'_>, held: Option<&Observed>) -> bool {
    view.link.spec.target.used_when.is_some() && held.is_some_and(|target| !target.terminating) && is_known(view.link)
}

/// What the status of a link says of it, given how its target was seen.
#[must_use]
pub fn said(link: &PeerLink, place: &Place, target: &Seen) -> Said<String> {
    let spec = &link.spec;
    let Some(used_when) = &spec.target.used_when else {
        return Said::Gone;
    };
    let target = match target {
        Seen::Pending | Seen::Denied | Seen::Unknown => return Said::Nothing,
        Seen::Absent => return Said::Gone,
        Seen::Present(target) => target,
    };
    if target.owner() != Some(&spec.id) || target.terminating {
        return Said::Gone;
    }
    if is_known(link) {
        return Said::Nothing;
    }
    // Made as the link says now: what stands there may still be of another making.
    let status = link.status.as_ref();
    let delivered = status.and_then(|status| condition(&status.conditions, reasons::DELIVERED));
    let current =
        delivered.is_some_and(|said| said.status == "True" && said.observed_generation == link.metadata.generation);
    let scope = Scope {
        params: spec.parameters.clone(),
        peering: spec.peering.clone(),
        source: spec.from.cluster.clone(),
        destination: Some(spec.to.cluster.clone()),
        extra: [("self".to_owned(), target.value(place))].into(),
    };
    // A status that is not filled in yet, or an expression that fails on it: not used as far as is known.
    let holds = Condition::parse(used_when).and_then(|condition| condition.holds(&scope));
    Said::all((current && holds.unwrap_or(false)).then(|| digest(spec)))
}

#[cfg(test)]
mod tests {
    use peering_api::peering::PeerLinkStatus;
    use serde_json::json;

    use super::*;
    use crate::{
        decide::fixtures::{link, now},
        spoke::observed::{Body, normal},
    };

    fn ticket(used: Option<&str>, delivered: bool) -> PeerLink {
        let mut link = link("ticket");
        link.spec.target.used_when = Some("self.status.state == 'Peered'".into());
        let said = addon_framework::runtime::conditions::Wanted::new(reasons::DELIVERED, delivered, "R", "");
        link.status = Some(PeerLinkStatus {
            used: used.map(str::to_owned),
            conditions: vec![addon_framework::runtime::conditions::merge(
                &[],
                &said.at(link.metadata.generation),
                now(),
            )],
            ..PeerLinkStatus::default()
        });
        link
    }

    fn target(link: &PeerLink, state: &str) -> Observed {
        Observed {
            uid: Some("u".into()),
            labels: [(names::LINK_LABEL.to_owned(), link.spec.id.clone())].into(),
            body: Some(Body(json!({"status": {"state": state}}))),
            ..Observed::default()
        }
    }

    #[test]
    fn a_ticket_is_used_once_and_stays_so_while_its_target_stands() {
        let fresh = ticket(None, true);
        let place = normal(&fresh.spec.target.object);
        let said = |link: &PeerLink, target: Seen| super::said(link, &place, &target);
        let present = |link: &PeerLink, state: &str| Seen::Present(target(link, state));
        assert_eq!(said(&fresh, present(&fresh, "Pending")), Said::Gone);
        assert_eq!(said(&fresh, present(&fresh, "Peered")), Said::This(digest(&fresh.spec)));
        let early = ticket(None, false);
        assert_eq!(
            said(&early, present(&early, "Peered")),
            Said::Gone,
            "of an earlier making"
        );

        let used = ticket(Some(&digest(&fresh.spec)), true);
        assert_eq!(
            said(&used, present(&used, "Failed")),
            Said::Nothing,
            "it does not come back"
        );
        assert_eq!(said(&used, Seen::Pending), Said::Nothing);
        assert_eq!(said(&used, Seen::Absent), Said::Gone, "somebody deleted it");
        let mut foreign = target(&used, "Peered");
        foreign.labels.clear();
        assert_eq!(said(&used, Seen::Present(foreign)), Said::Gone);
        let mut moved = used.clone();
        moved.spec.parameters.insert("endpoint".into(), "other:50051".into());
        assert_eq!(
            said(&moved, present(&moved, "Pending")),
            Said::Gone,
            "it is to be made anew"
        );

        let there = target(&used, "Peered");
        assert!(stands(&LinkView::new(&used), Some(&there)));
        assert!(!stands(&LinkView::new(&used), None));
        assert!(!stands(&LinkView::new(&moved), Some(&there)));
        assert!(!stands(&LinkView::new(&fresh), Some(&there)));
    }
}
