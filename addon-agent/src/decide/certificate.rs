//! The private key of a certificate that a link asks for: made once on this cluster, kept in a Secret beside the agent, and
//! removed with the link. Only a request for its signature leaves the cluster.
use std::collections::BTreeMap;

use exchange::certificate::{self, RequestError, Subject};
use peering_api::{
    Sensitive, names,
    peering::{CertificateSubject, ObjectRef, PeerLinkSpec},
};

use super::{
    action::{Action, DataObject, Wanted},
    content::PRIVATE_KEY,
    group::our_labels,
};
use crate::spoke::{Place, Seen, observed::normal};

/// What is known of the key of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The link holds no certificate.
    None,
    /// Its watch has not said anything.
    Pending,
    /// A key has to be made: there is none, or what stands there cannot be used.
    Make,
    /// There can be none for now, and why.
    Missing(String),
    /// The key (PEM).
    Ready(Sensitive),
}

/// Where the key stands.
#[must_use]
pub fn place(link: &PeerLinkSpec, agent_namespace: &str) -> Option<Place> {
    link.certificate.as_ref()?;
    let name = names::certificate_key_name(&link.id);
    Some(normal(&ObjectRef::core("Secret", agent_namespace, &name)))
}

/// What is known of the key, given its Secret.
#[must_use]
pub fn key(link: &PeerLinkSpec, place: &Place, seen: &Seen) -> Key {
    let object = match seen {
        Seen::Pending => return Key::Pending,
        Seen::Denied => {
            return Key::Missing(format!(
                "the agent may not make a key in {place}: the right arrives with ManifestWork {}",
                names::work_name(&link.peering, 0)
            ));
        }
        Seen::Unknown | Seen::Absent => return Key::Make,
        Seen::Present(object) => object,
    };
    if object.owner() != Some(&link.id) {
        return Key::Missing(format!(
            "{place} exists and is not of this link: expected it to hold the key of its certificate; delete it"
        ));
    }
    let key = object.data.get(PRIVATE_KEY);
    match key.filter(|key| certificate::PublicKey::of_private(key).is_ok()) {
        _ if object.terminating => Key::Pending,
        Some(key) => Key::Ready(key.clone()),
        None => Key::Make,
    }
}

/// The Secret that keeps a new key.
#[must_use]
pub fn keep(link: &PeerLinkSpec, key: Sensitive, seen: &Seen) -> Action {
    let wanted = Wanted::Data(DataObject {
        type_: Some("Opaque".to_owned()),
        labels: our_labels(&link.id, &link.peering),
        annotations: BTreeMap::new(),
        data: [(PRIVATE_KEY.to_owned(), key)].into(),
        exact: true,
    });
    match seen {
        Seen::Present(object) if wanted.must_recreate(object) => Action::Recreate(wanted),
        Seen::Present(_) => Action::Apply(wanted),
        _ => Action::Create(wanted),
    }
}

/// What is done with the key when the link goes.
#[must_use]
pub fn withdraw(link: &PeerLinkSpec, seen: &Seen) -> Action {
    match seen {
        Seen::Present(object) if object.owner() == Some(&link.id) && !object.terminating => Action::Delete,
        _ => Action::None,
    }
}

/// What is to be signed: what was asked before, as long as it is for this subject and key. Each request is signed with
/// other random bytes, so a new one for the same would make the source sign again.
pub fn request(subject: &CertificateSubject, key: &Sensitive, before: Option<&str>) -> Result<String, RequestError> {
    let subject = Subject {
        common_name: subject.common_name.clone(),
        organizations: subject.organizations.iter().cloned().collect(),
        dns_names: subject.dns_names.iter().cloned().collect(),
        ..Subject::default()
    };
    let ours = certificate::PublicKey::of_private(key)?;
    let fits = |before: &&str| certificate::check(before, &subject).is_ok_and(|checked| *checked.key() == ours);
    match before.filter(fits) {
        Some(before) => Ok(before.to_owned()),
        None => certificate::request(key, &subject),
    }
}

#[cfg(test)]
mod tests {
    use peering_api::names::LINK_LABEL;

    use super::*;
    use crate::{
        decide::fixtures::{after, link},
        spoke::Observed,
    };

    fn asking() -> PeerLinkSpec {
        PeerLinkSpec {
            certificate: Some(CertificateSubject {
                common_name: "peer-west".into(),
                organizations: vec!["readers".into()],
                dns_names: vec![],
            }),
            ..link("a").spec
        }
    }

    fn pem() -> Sensitive {
        rcgen::KeyPair::generate().unwrap().serialize_pem().into_bytes().into()
    }

    #[test]
    fn a_key_is_made_once_and_removed_with_the_link() {
        let link = asking();
        let place = place(&link, "agents").unwrap();
        assert_eq!(place.to_string(), format!("Secret agents/peering-key-{}", link.id));
        assert_eq!(key(&link, &place, &Seen::Absent), Key::Make);
        let made = pem();
        let stored = after(&keep(&link, made.clone(), &Seen::Absent), None).unwrap();
        let stored = Seen::Present(stored);
        assert_eq!(key(&link, &place, &stored), Key::Ready(made));
        assert_eq!(withdraw(&link, &stored), Action::Delete);
        assert_eq!(withdraw(&link, &Seen::Absent), Action::None);
        assert_eq!(
            super::place(&fixtures_link(), "agents"),
            None,
            "who asks for none has none"
        );
    }

    fn fixtures_link() -> PeerLinkSpec {
        link("a").spec
    }

    #[test]
    fn what_cannot_be_used_is_replaced_and_what_is_not_ours_left_alone() {
        let link = asking();
        let place = place(&link, "agents").unwrap();
        let seen = |owner: &str, data: &[u8]| {
            Seen::Present(Observed {
                labels: [(LINK_LABEL.to_owned(), owner.to_owned())].into(),
                data: [(PRIVATE_KEY.to_owned(), data.to_vec().into())].into(),
                ..Observed::default()
            })
        };
        assert_eq!(key(&link, &place, &seen(&link.id, b"junk")), Key::Make);
        let foreign = seen("another", pem().expose());
        assert!(matches!(key(&link, &place, &foreign), Key::Missing(_)));
        assert_eq!(withdraw(&link, &foreign), Action::None);
        assert!(matches!(key(&link, &place, &Seen::Denied), Key::Missing(_)));
        assert_eq!(key(&link, &place, &Seen::Pending), Key::Pending);
    }

    #[test]
    fn the_same_request_is_asked_until_subject_or_key_change() {
        let (one, two) = (pem(), pem());
        let subject = asking().certificate.unwrap();
        let first = request(&subject, &one, None).unwrap();
        assert_eq!(request(&subject, &one, Some(&first)).unwrap(), first);
        assert_ne!(request(&subject, &two, Some(&first)).unwrap(), first);
        let other = CertificateSubject {
            common_name: "x".into(),
            ..subject.clone()
        };
        assert_ne!(request(&other, &one, Some(&first)).unwrap(), first);
        assert_ne!(request(&subject, &one, Some("junk")).unwrap(), "junk");
        let masters = CertificateSubject {
            organizations: vec!["system:masters".into()],
            ..subject
        };
        assert!(request(&masters, &one, None).is_err());
    }
}
