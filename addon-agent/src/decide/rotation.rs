//! When the agent's key pair is replaced, and how long the one before it is kept: pure, each case a line of a table below.
use peering_api::{
    names,
    peering::{PeerExport, PeerLink, PeerMember},
};

/// What is known when it is decided about the key pairs.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the annotation on the `PeerMember` says, if it is there.
    pub asked: Option<&'a str>,
    /// What it said when the pair was replaced last.
    pub acted: Option<&'a str>,
    /// The hub has not seen the current pair: it is newer than whatever has been asked for.
    pub unpublished: bool,
    /// The pair before is kept.
    pub rotating: bool,
    /// Somebody may still need it.
    pub needed: bool,
}

/// What is to be done with the key pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Remember what was asked for without doing it.
    Remember,
    /// Make a new pair and keep the current one.
    Rotate,
    /// Drop the pair before.
    Drop,
}

/// The value of the annotation that asks for a rotation. An empty one asks for nothing.
#[must_use]
pub fn asked(member: &PeerMember) -> Option<&str> {
    let annotations = member.metadata.annotations.as_ref()?;
    let value = annotations.get(names::ROTATE_KEY_ANNOTATION)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

/// Decides what is to be done. A rotation waits for the end of the one before: two pairs are kept at most.
#[must_use]
pub fn step(view: &View<'_>) -> Step {
    let news = view.asked.is_some() && view.asked != view.acted;
    match (view.rotating, view.needed) {
        (true, false) => Step::Drop,
        (false, _) if news && view.unpublished => Step::Remember,
        (false, _) if news => Step::Rotate,
        _ => Step::Nothing,
    }
}

/// What the carrier of a link holds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It has not been read yet.
    Unknown,
    /// No envelope.
    Nothing,
    /// An envelope that is sealed to the key of this fingerprint.
    SealedTo(String),
}

/// The current public key.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// As links name it.
    pub key: &'a str,
    /// As envelopes name it.
    pub fingerprint: &'a str,
}

/// Whether the pair before the current one may still be needed, given everything that this cluster takes part in.
///
/// It is needed until
/// 1. every Peering knows this cluster by the current key: the next one is trusted only as the successor of a known one;
/// 2. every link to this cluster names the current key, and what has arrived for it is sealed to it: others seal to the
///    key that links name, so nothing else arrives any more;
/// 3. every envelope in the exports of this cluster is authenticated by the current key.
///
/// Destinations that have not opened those envelopes yet do not need this cluster's private key for that, but the public one:
/// the manager leaves it in their links.
#[must_use]
pub fn is_needed(
    current: Current<'_>,
    member: &PeerMember,
    links: &[(&PeerLink, Arrived)],
    exports: &[&PeerExport],
) -> bool {
    let known = member.spec.known_fingerprint.as_deref() == Some(current.fingerprint);
    let sealed = links
        .iter()
        .filter(|(link, _)| is_live(*link) && link.spec.confidential);
    let mut sealed = sealed.filter(|(link, arrived)| {
        let named = link.spec.to.public_key.as_deref() == Some(current.key);
        let stale = match arrived {
            Arrived::Unknown => true,
            Arrived::Nothing => false,
            Arrived::SealedTo(fingerprint) => fingerprint != current.fingerprint,
        };
        !named || stale
    });
    let live = exports.iter().filter(|export| is_live(**export));
    let mut envelopes = live
        .filter_map(|export| Some(&export.status.as_ref()?.envelopes))
        .flatten();
    !known || sealed.next().is_some() || envelopes.any(|envelope| envelope.sender_fingerprint != current.fingerprint)
}

fn is_live<K: kube::Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use peering_api::peering::{
        LinkEnd, PeerExportSpec, PeerExportStatus, PeerLinkSpec, PeerMemberSpec, SealedEnvelope,
    };

    use super::*;
    use crate::decide::fixtures::{now, pair};

    #[test]
    fn steps() {
        let view = |asked, acted, unpublished, rotating, needed| View {
            asked,
            acted,
            unpublished,
            rotating,
            needed,
        };
        for (view, expected) in [
            (view(None, None, false, false, false), Step::Nothing),
            (view(Some("a"), None, false, false, false), Step::Rotate),
            // After a restart, nothing is done twice.
            (view(Some("a"), Some("a"), false, false, false), Step::Nothing),
            (view(Some("b"), Some("a"), false, false, true), Step::Rotate),
            // A person takes the wish back.
            (view(None, Some("a"), false, false, false), Step::Nothing),
            // The pair is newer than the wish.
            (view(Some("a"), None, true, false, false), Step::Remember),
            (view(Some("a"), Some("a"), true, false, false), Step::Nothing),
            (view(Some("b"), Some("a"), true, true, true), Step::Nothing),
            // The end of a rotation, and another one that has been asked for meanwhile.
            (view(Some("a"), Some("a"), false, true, true), Step::Nothing),
            (view(Some("a"), Some("a"), false, true, false), Step::Drop),
            (view(Some("b"), Some("a"), false, true, true), Step::Nothing),
            (view(Some("b"), Some("a"), false, true, false), Step::Drop),
            (view(None, Some("a"), false, true, false), Step::Drop),
        ] {
            assert_eq!(step(&view), expected, "{view:?}");
        }
    }

    fn member(known: &str) -> PeerMember {
        let spec = PeerMemberSpec {
            cluster: "east".to_owned(),
            known_fingerprint: Some(known.to_owned()),
            ..PeerMemberSpec::default()
        };
        PeerMember::new("east", spec)
    }

    #[test]
    fn an_empty_wish_is_none() {
        let mut member = member("k");
        assert_eq!(asked(&member), None);
        for (value, expected) in [("", None), ("2026-11-21", Some("2026-11-21"))] {
            let annotation = (names::ROTATE_KEY_ANNOTATION.to_owned(), value.to_owned());
            member.metadata.annotations = Some([annotation].into());
            assert_eq!(asked(&member), expected);
        }
    }

    fn link(key: &str, confidential: bool) -> PeerLink {
        let to = LinkEnd {
            cluster: "east".to_owned(),
            public_key: Some(key.to_owned()),
            ..LinkEnd::default()
        };
        let spec = PeerLinkSpec {
            confidential,
            to,
            ..PeerLinkSpec::default()
        };
        PeerLink::new("link", spec)
    }

    fn export(sender: Option<&str>) -> PeerExport {
        let envelope = |sender: &str| SealedEnvelope {
            sender_fingerprint: sender.to_owned(),
            ..SealedEnvelope::default()
        };
        let mut export = PeerExport::new("export", PeerExportSpec::default());
        export.status = Some(PeerExportStatus {
            envelopes: sender.map(envelope).into_iter().collect(),
            ..PeerExportStatus::default()
        });
        export
    }

    fn leaving<K: kube::Resource>(mut object: K) -> K {
        object.meta_mut().deletion_timestamp = Some(Time(now()));
        object
    }

    #[test]
    fn the_pair_before_is_kept_until_nobody_needs_it() {
        let (old, new) = (pair(1).public().clone(), pair(2).public().clone());
        let (before, now) = (old.fingerprint(), new.fingerprint());
        let (known, to_new, to_old) = (member(&now), link(&new.to_base64(), true), link(&old.to_base64(), true));
        let stranger = PeerMember::new("east", PeerMemberSpec::default());
        let public = link(&old.to_base64(), false);
        let (sealed_now, sealed_before) = (Arrived::SealedTo(now.clone()), Arrived::SealedTo(before.clone()));
        let (by_new, by_old, empty) = (export(Some(&now)), export(Some(&before)), export(None));
        let (link_gone, export_gone) = (leaving(to_old.clone()), leaving(by_old.clone()));
        let run = |member: &PeerMember, links: &[(&PeerLink, Arrived)], exports: &[&PeerExport]| {
            let current = Current {
                key: &new.to_base64(),
                fingerprint: &now,
            };
            is_needed(current, member, links, exports)
        };
        let links = |links: &[(&PeerLink, Arrived)]| run(&known, links, &[]);
        let exports = |exports: &[&PeerExport]| run(&known, &[], exports);
        for (case, needed, expected) in [
            ("nothing to keep it for", links(&[]), false),
            ("nobody knows the new one", run(&stranger, &[], &[]), true),
            ("a Peering knows the old one", run(&member(&before), &[], &[]), true),
            (
                "a link is told, nothing came",
                links(&[(&to_new, Arrived::Nothing)]),
                false,
            ),
            (
                "a link is told, new came",
                links(&[(&to_new, sealed_now.clone())]),
                false,
            ),
            (
                "a link is told, old came",
                links(&[(&to_new, sealed_before.clone())]),
                true,
            ),
            ("what came is not known", links(&[(&to_new, Arrived::Unknown)]), true),
            ("a link is not told", links(&[(&to_old, Arrived::Nothing)]), true),
            (
                "a link is not told, new came",
                links(&[(&to_old, sealed_now.clone())]),
                true,
            ),
            (
                "one of two links is not told",
                links(&[(&to_new, sealed_now), (&to_old, Arrived::Nothing)]),
                true,
            ),
            ("a link goes", links(&[(&link_gone, sealed_before)]), false),
            (
                "a public link needs no key",
                links(&[(&public, Arrived::Unknown)]),
                false,
            ),
            ("an export is sealed by the new one", exports(&[&by_new]), false),
            ("an export is sealed by the old one", exports(&[&by_old]), true),
            (
                "one of two is sealed by the old one",
                exports(&[&by_new, &by_old]),
                true,
            ),
            ("an export has nothing yet", exports(&[&empty]), false),
            ("an export goes", exports(&[&export_gone]), false),
        ] {
            assert_eq!(needed, expected, "{case}");
        }
    }
}
